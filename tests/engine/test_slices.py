"""A run that is cut into slices is, to all who look at it, the run that was not."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from trainer.engine.loop import fit
from trainer.engine.pace import Pace
from trainer.events import CheckpointSaved, Evaluated, Finished, Paused, StepLogged

STEPS = 12


class Slices:
    """Pauses after so many questions, which come before each step after the first, and notes their seconds."""

    def __init__(self, questions):
        self.left = questions
        self.seconds = []

    def __call__(self, seconds):
        self.seconds.append(seconds)
        self.left -= 1
        return self.left < 0


def in_slices(config, emit, folder, questions):
    """How the last slice ended, and how many there were."""
    for number in range(1, 1000):
        end = fit(config, emit, output_dir=folder, resume=number > 1, should_pause=Slices(questions))
        if isinstance(end, Finished):
            return end, number
    raise AssertionError("the run did not end")


def told(events):
    """What the curves show, but for times."""
    curve = [(e.step, e.epoch, e.loss, e.learning_rate, e.grad_norm) for e in events if isinstance(e, StepLogged)]
    held_out = [(e.step, e.epoch, e.loss, e.accuracy, e.best) for e in events if isinstance(e, Evaluated)]
    return curve, held_out


@pytest.mark.parametrize("questions", [0, 1, 4])
def test_losses_evaluations_and_weights_are_those_of_an_unbroken_run(questions, tiny_config, tmp_path):
    config = tiny_config(max_steps=STEPS, eval_steps=4, logging_steps=3, save_steps=5, warmup_ratio=0.2)
    whole, parts = [], []
    fit(config, whole.append, output_dir=tmp_path / "whole")
    end, slices = in_slices(config, parts.append, tmp_path / "parts", questions)
    assert (end.reason, end.step) == ("completed", STEPS)
    assert slices == -(-STEPS // (questions + 1)) + (STEPS % (questions + 1) == 0)
    assert told(parts) == told(whole)
    for file in (f"checkpoints/step-{STEPS}/model.safetensors", "model/model.safetensors"):
        if (tmp_path / "whole" / file).exists():
            one, other = (safetensors.torch.load_file(tmp_path / name / file) for name in ("whole", "parts"))
            assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_slice_is_left_at_a_checkpoint_and_says_so_last(tiny_config, tmp_path, collected):
    end = fit(tiny_config(), collected.append, output_dir=tmp_path, should_pause=Slices(1))
    assert isinstance(end, Paused) and collected[-1] is end and end.step == 2
    assert isinstance(collected[-2], CheckpointSaved) and collected[-2].step == 2
    assert not any(isinstance(event, Finished) for event in collected)


def test_a_stop_ends_a_run_that_would_have_paused(tiny_config, stop_at, tmp_path, collected):
    end = fit(tiny_config(), collected.append, stop_at(1), tmp_path, should_pause=lambda seconds: True)
    assert isinstance(end, Finished) and end.reason == "stopped" and end.step == 1


def test_a_slice_asks_for_the_time_of_an_evaluation_before_it_begins_one(tiny_config, tmp_path):
    asked = Slices(STEPS)
    fit(tiny_config(max_steps=4, eval_steps=4), output_dir=tmp_path, should_pause=asked)
    *steps, last = asked.seconds
    assert len(steps) == 3 and last > 0 and all(second > 0 for second in steps)


def test_the_time_budget_counts_on_through_all_slices(tiny_config, tmp_path, monkeypatch):
    with monkeypatch.context() as first:
        first.setattr(Pace, "spent_seconds", property(lambda pace: 2e5))
        fit(tiny_config(), output_dir=tmp_path, should_pause=Slices(1))
    end = fit(tiny_config(max_seconds=1e5), output_dir=tmp_path, resume=True)
    assert isinstance(end, Finished) and (end.reason, end.step) == ("time_budget", 3)
