"""A run as page, shell and HTTP show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from trainer.config import TrainConfig

Record = dict[str, Any]
State = Literal["queued", "running", "stopping", "completed", "stopped", "failed", "interrupted"]

LIVE: tuple[State, ...] = ("running", "stopping")
OVER: tuple[State, ...] = ("completed", "stopped", "failed", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as it stands. Records have all fields of their event, None where an older version wrote none."""

    version: tuple[object, ...]  # changes when, and only when, something else here does
    id: str
    name: str  # the user's for it, or else the one in its id
    owner: str | None  # the mark of whom it belongs to; None when it is nobody's in particular
    state: State
    config: TrainConfig | None  # None when it can't be read
    queue_position: int | None  # 1 is the next
    phase: str  # what is being done, in words; empty when over
    step: int
    steps: int | None
    epoch: float
    device: str | None
    device_name: str | None
    precision: str | None
    threads: int | None
    planned: Record | None
    started_at: float | None  # seconds since 1970
    updated_at: float | None
    ended_at: float | None
    elapsed_seconds: float  # of work, to the newest event; pauses before a resume don't count
    remaining_seconds: float | None
    tokens_per_second: float | None
    points: tuple[Record, ...]  # `step_logged`; in this and the next two, steps rise
    evaluations: tuple[Record, ...]
    probes: tuple[Record, ...]
    warnings: tuple[str, ...]
    failure: tuple[str, str] | None  # what, fix
    has_model: bool
    can_resume: bool
    attempts: int  # processes that began since the newest checkpoint
    slice_number: int | None = None  # of a run in slices: the one that works or, while it waits, comes next
    slices: int | None = None  # about so many in all; None while nobody knows

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def may_go_on(self) -> bool:
        return self.can_resume or not self.is_over

    @property
    def before(self) -> Record:
        """The evaluation before training; empty when there is none."""
        return self.evaluations[0] if self.evaluations and self.evaluations[0]["step"] == 0 else {}

    @property
    def now(self) -> Record:
        """The newest evaluation or, when over, that of the model which was kept; empty when there is none."""
        kept = [record for record in self.evaluations if record["best"]] if self.is_over else []
        return (kept or self.evaluations or ({},))[-1]

    @property
    def loss_before(self) -> float | None:
        return self.before.get("loss")

    @property
    def loss_now(self) -> float | None:
        return self.now.get("loss")

    @property
    def perplexity_before(self) -> float | None:
        return self.before.get("perplexity")

    @property
    def perplexity_now(self) -> float | None:
        return self.now.get("perplexity")

    @property
    def perplexity_change(self) -> float | None:
        """How much the perplexity rose in training, as a share of what it was; None without both."""
        before, now = self.perplexity_before, self.perplexity_now
        return now / before - 1 if before and now and self.now is not self.before else None

    def summary(self) -> dict[str, Any]:
        """What the HTTP interface tells, ready for JSON."""
        what, fix = self.failure or (None, None)
        return {
            "run": self.id,
            "name": self.name,
            "state": self.state,
            "phase": self.phase,
            "step": self.step,
            "steps": self.steps,
            "epoch": self.epoch,
            "device": self.device_name or self.device,
            "elapsed_seconds": self.elapsed_seconds,
            "remaining_seconds": self.remaining_seconds,
            "tokens_per_second": self.tokens_per_second,
            "loss": self.loss_now,
            "loss_before": self.loss_before,
            "perplexity": self.perplexity_now,
            "perplexity_before": self.perplexity_before,
            "error": what,
            "fix": fix,
            "model": self.id if self.has_model else None,
        } | ({"slice": self.slice_number, "slices": self.slices} if self.slice_number else {})
