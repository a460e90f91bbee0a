"""A run as its model card tells of it, read from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.errors import HubError, TrainerError
from trainer.events import CheckpointSaved, Evaluated, Finished, Planned, Probed, RunStarted, StepLogged, decode_lines

Record = dict[str, Any]
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """What is known of a run. Records have the fields of their event; those of one kind are in the order of steps."""

    id: str
    config: TrainConfig
    model: Path
    started: Record  # of its newest process: device, precision, versions
    planned: Record
    points: tuple[Record, ...]
    evaluations: tuple[Record, ...]
    probes: tuple[Record, ...]
    elapsed_seconds: float
    completed: bool

    @property
    def before(self) -> Record:
        """The evaluation before training; empty when there is none."""
        return self.evaluations[0] if self.evaluations and self.evaluations[0]["step"] == 0 else {}

    @property
    def kept(self) -> Record:
        """The evaluation of the model that was kept; empty when none was measured."""
        best = [record for record in self.evaluations if record["best"]]
        return best[-1] if best else {}

    @property
    def answer(self) -> Record:
        """What the model that was kept said to the probe sentence; empty when it was not asked."""
        steps = {record["step"]: record for record in self.probes}
        return steps.get(self.kept.get("step"), {})


def read_run(folder: Path) -> TrainedRun:
    """The run in a folder. Raises: HubError when it has no model, or can't be read."""
    model = folder / "model"
    if not (model / "config.json").is_file():
        raise HubError(f"The run {folder.name!r} has no model yet.", "Wait for its first evaluation.")
    try:
        config = TrainConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, TrainerError):
        raise HubError(f"The settings of the run {folder.name!r} can't be read.", "Publish another run.") from None
    single: dict[str, Record] = {RunStarted.kind: {}, Planned.kind: {}, Finished.kind: {}}
    series: dict[str, dict[int, Record]] = {kind: {} for kind in (StepLogged.kind, Evaluated.kind, Probed.kind)}
    saved: dict[int, dict[int, Record]] = {}  # the evaluations before each checkpoint; one out of turn comes after it
    elapsed = 0.0
    for record in _records(folder / "events.jsonl"):
        kind, step = record["kind"], record.get("step")
        if kind in single:
            single[kind] = record
        elif kind in series and isinstance(step, int):
            series[kind][step] = record
        elif kind == CheckpointSaved.kind and isinstance(step, int):
            saved[step] = dict(series[Evaluated.kind])
        if kind == RunStarted.kind:  # what came after the checkpoint is done again, maybe to another end
            begun = record.get("resumed_from_step")
            begun = begun if isinstance(begun, int) else -1
            series = {name: {at: old for at, old in steps.items() if at <= begun} for name, steps in series.items()}
            series[Evaluated.kind] = dict(saved.get(begun, series[Evaluated.kind]))
        elapsed = record.get("elapsed_seconds") or elapsed
    points, evaluations, probes = (
        tuple(steps[step] for step in sorted(steps)) for steps in (series[kind] for kind in series)
    )
    return TrainedRun(
        id=folder.name,
        config=config,
        model=model,
        started=single[RunStarted.kind],
        planned=single[Planned.kind],
        points=points,
        evaluations=evaluations,
        probes=probes,
        elapsed_seconds=elapsed,
        completed=single[Finished.kind].get("reason") == "completed",
    )


def _records(path: Path) -> Iterator[Record]:
    """All whole events of a file, a part of it in memory at a time."""
    if not path.exists():
        return
    with path.open("rb") as file:
        rest = b""
        while block := file.read(READ_BYTES):
            records, used = decode_lines(rest + block)
            rest = (rest + block)[used:]
            yield from records
