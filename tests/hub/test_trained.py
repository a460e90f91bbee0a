"""A run as its card tells of it: what a resumed run did again, or did not keep, is not told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.events import CheckpointSaved, Evaluated, Event, Finished, RunStarted, StepLogged, encode
from trainer.hub.trained import TrainedRun, read_run

STOPPED = Finished(reason="stopped", step=6, elapsed_seconds=6.0, model="model")


def begun(resumed_from_step: int | None = None) -> RunStarted:
    chip: dict[str, Any] = {"device": "cpu", "device_name": "chip", "precision": "float32", "versions": {}}
    return RunStarted(processes=1, threads=1, resumed_from_step=resumed_from_step, **chip)


def logged(step: int) -> StepLogged:
    rest = {"loss": 5.0, "learning_rate": 1e-3, "grad_norm": 1.0, "tokens_per_second": 900.0}
    return StepLogged(step=step, epoch=step / 4, elapsed_seconds=step, **rest)


def measured(step: int, loss: float, best: bool = True) -> Evaluated:
    rest: dict[str, Any] = {"perplexity": 10 * loss, "accuracy": 0.25, "masked_tokens": 1234}
    return Evaluated(step=step, epoch=step / 4, loss=loss, best=best, **rest)


def saved(step: int) -> CheckpointSaved:
    return CheckpointSaved(step=step, path=f"checkpoints/step-{step}", seconds=0.1)


@pytest.fixture
def told(trained_run: Callable[..., Path]) -> Callable[..., TrainedRun]:
    """The run that told these events."""

    def read(*events: Event) -> TrainedRun:
        folder = trained_run()
        lines = [encode(event, 1000.0 + number) for number, event in enumerate(events)]
        (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_run(folder)

    return read


FIRST = (begun(), measured(0, 6.0), logged(4), measured(4, 5.0), logged(6), saved(6), measured(6, 4.0), STOPPED)


def test_an_evaluation_after_the_save_counts_while_its_model_is_the_one_that_was_kept(told: Any) -> None:
    assert told(*FIRST).kept["step"] == 6


def test_an_evaluation_after_the_save_is_not_told_once_the_run_went_on_with_the_model_before(told: Any) -> None:
    run = told(*FIRST, begun(6), logged(8), measured(8, 5.5, best=False), STOPPED)
    assert [record["step"] for record in run.evaluations] == [0, 4, 8]
    assert run.kept["step"] == 4
    assert [record["step"] for record in run.points] == [4, 6, 8]


def test_a_run_that_went_on_twice_from_one_checkpoint_tells_what_it_did_last(told: Any) -> None:
    run = told(*FIRST, begun(6), measured(8, 3.0), begun(6), measured(10, 4.5), STOPPED)
    assert [record["step"] for record in run.evaluations] == [0, 4, 10]


def test_a_run_that_began_anew_tells_nothing_of_its_first_try(told: Any) -> None:
    run = told(begun(), measured(0, 6.0), logged(4), measured(4, 5.0), begun(), measured(0, 6.0), logged(2), STOPPED)
    assert [record["step"] for record in run.evaluations] == [0]
    assert [record["step"] for record in run.points] == [2]
