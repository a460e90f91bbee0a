"""What is understood of a text before a run: figures, first documents, a block as the model sees it, warnings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainer.events import Planned, in_words

HIDDEN, CHANGED, KEPT = "hidden", "changed", "kept"  # what was done to a token the model has to guess
PLAN = tuple(f.name for f in fields(Planned))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownToken:
    """One token of a block, or several that make up whole characters only together."""

    text: str
    tokens: int = 1
    special: bool = False
    fate: str | None = None  # HIDDEN behind the mask, CHANGED to another, KEPT but to be guessed; None: not masked
    seen: str = ""  # what the model sees in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Time and memory of the whole run, from a few steps that were really taken."""

    seconds: float
    step_seconds: float
    memory_bytes: int  # at its peak
    memory_there: int
    device_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The plan of a run and what led to it; figures are scaled up where only a part of the text was read."""

    plan: Planned
    share: float  # of the text that was read: 1 for all, 0 when unknown
    first_documents: tuple[str, ...]
    block: tuple[ShownToken, ...]
    scripts: dict[str, float]  # of the letters, by name, the commonest first
    unknown_share: float  # of the tokens
    duplicate_share: float  # of the documents; near-duplicates count
    estimate: Estimate | None  # None when it could not be made
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """One object; the plan's figures stand beside the rest."""
        record = asdict(self)
        return json.dumps(record.pop("plan") | record, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Preview:
        """Raises: ValueError, KeyError, TypeError for what `to_json` has not made."""
        record: Mapping[str, Any] = json.loads(text)
        return cls(
            plan=Planned(**{name: record[name] for name in PLAN}),
            share=record["share"],
            first_documents=tuple(record["first_documents"]),
            block=tuple(ShownToken(**token) for token in record["block"]),
            scripts=dict(record["scripts"]),
            unknown_share=record["unknown_share"],
            duplicate_share=record["duplicate_share"],
            estimate=Estimate(**record["estimate"]) if record["estimate"] else None,
            warnings=tuple(record["warnings"]),
        )

    def in_words(self) -> str:
        """For a terminal."""
        lines = [str(in_words(self.plan))]
        if self.scripts:
            lines.append("written in " + ", ".join(f"{name} ({share:.0%})" for name, share in self.scripts.items()))
        lines.append(f"{self.unknown_share:.1%} unknown tokens, {self.duplicate_share:.1%} duplicates")
        if self.estimate:
            minutes, memory = self.estimate.seconds / 60, self.estimate.memory_bytes / 1e9
            lines.append(f"about {minutes:,.1f} minutes and {memory:,.1f} GB on {self.estimate.device_name}")
        lines.append("first block: " + "".join(token.seen or token.text for token in self.block))
        return "\n".join([*lines, *(f"warning: {message}" for message in self.warnings)])
