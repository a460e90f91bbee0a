"""A home with many finished runs."""

from __future__ import annotations

import math
from pathlib import Path

from trainer.config import TrainConfig
from trainer.events import Evaluated, Event, Finished, PhaseChanged, RunStarted, StepLogged, encode


def write_runs(home: Path, count: int = 1000) -> None:
    """Runs of 62 events each, some of 2020."""
    started = RunStarted(
        device="cpu", device_name="chip", processes=1, threads=2, precision="float32", versions={"torch": "2"}
    )
    told: list[Event] = [started, PhaseChanged(phase="Training"), _evaluated(0)]
    told += [event for step in range(1, 56) for event in (_logged(step), *([_evaluated(step)] * (step % 18 == 0)))]
    told.append(Finished(reason="completed", step=55, elapsed_seconds=55.0, model="model"))
    events = "".join(f"{encode(event, 1.6e9 + second)}\n" for second, event in enumerate(told))
    for number in range(count):
        folder = home / f"20200101-{number // 60:04}{number % 60:02}-plain-stone"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text("{}")
        (folder / "config.json").write_text(TrainConfig(seed=number).to_json())
        (folder / "events.jsonl").write_text(events)
        (folder / "lock").write_text("1\n")


def _evaluated(step: int) -> Evaluated:
    loss = 5.0 - step / 60
    return Evaluated(
        step=step, epoch=step / 20, loss=loss, perplexity=math.exp(loss), accuracy=0.3, masked_tokens=900, best=True
    )


def _logged(step: int) -> StepLogged:
    return StepLogged(
        step=step, epoch=step / 20, loss=5.0, learning_rate=1e-4, grad_norm=1.0, tokens_per_second=9e3,
        elapsed_seconds=step,
    )  # fmt: skip
