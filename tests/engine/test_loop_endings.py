"""How a run ends: patience, a stop, its time, a loss that is no number, a mistake."""

from __future__ import annotations

import itertools
import math

import pytest
import safetensors.torch
import torch

from tests.engine.told import of, steps
from trainer.engine import evaluation, loop, training
from trainer.engine.loop import fit
from trainer.engine.model import load_model
from trainer.engine.pace import Pace
from trainer.errors import ConfigError, DataError, TrainerError, TrainingError
from trainer.events import (
    CheckpointSaved,
    Evaluated,
    Failed,
    Finished,
    StepLogged,
    Warned,
)


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 4), (None, 6)])
def test_patience_ends_a_run_that_no_longer_gets_better(patience, last, tiny_config, tmp_path, collected, monkeypatch):
    losses = itertools.chain([5.0, 4.0, 3.0], itertools.repeat(3.0))

    def scripted(*arguments, **options):
        return {"loss": next(losses), "perplexity": 1.0, "accuracy": 0.0, "masked_tokens": 10}

    monkeypatch.setattr(training, "evaluate_model", scripted)
    finished = fit(tiny_config(eval_steps=1, early_stopping_patience=patience), collected.append, output_dir=tmp_path)
    assert (finished.reason, finished.step) == ("completed", last)


def test_a_stopped_run_leaves_a_checkpoint_a_model_and_its_reason(tiny_config, stop_at, tmp_path, collected):
    finished = fit(tiny_config(max_steps=50), collected.append, stop_at(3), tmp_path)
    assert (finished.reason, finished.step) == ("stopped", 3)
    assert [event.path for event in of(CheckpointSaved, collected)] == ["checkpoints/step-3"]
    assert steps(Evaluated, collected) == [0, 3]
    weights = safetensors.torch.load_file(tmp_path / "checkpoints/step-3/model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert load_model(str(tmp_path / "model")).tokenizer.mask_token == "<mask>"
    assert len(of(Finished, collected)) == 1 and collected[-1] == finished


def test_a_run_stopped_before_its_first_step_can_be_resumed(tiny_config, tmp_path, collected):
    assert fit(tiny_config(), collected.append, lambda: True, tmp_path).step == 0
    assert fit(tiny_config(), collected.append, output_dir=tmp_path, resume=True).reason == "completed"
    assert steps(StepLogged, collected) == [1, 2, 3, 4, 5, 6]


def test_a_stop_out_of_turn_does_not_use_up_the_patience(tiny_config, stop_at, tmp_path, collected, monkeypatch):
    losses = itertools.count(3.0)  # ever worse

    def scripted(*arguments, **options):
        return {"loss": next(losses), "perplexity": 1.0, "accuracy": 0.0, "masked_tokens": 10}

    monkeypatch.setattr(training, "evaluate_model", scripted)
    config = tiny_config(max_steps=9, eval_steps=8, early_stopping_patience=1)
    assert fit(config, collected.append, stop_at(2), tmp_path).reason == "stopped"
    finished = fit(config, collected.append, output_dir=tmp_path, resume=True)
    assert (finished.reason, finished.step) == ("completed", 8)


def test_a_run_ends_when_its_time_is_over(tiny_config, tmp_path, collected):
    finished = fit(tiny_config(max_steps=10**6, max_seconds=1), collected.append, output_dir=tmp_path)
    assert finished.reason == "time_budget" and 0 < finished.step < 10**6
    assert steps(CheckpointSaved, collected)[-1] == finished.step


def test_an_evaluation_longer_than_the_time_budget_is_left_and_the_model_is_kept(
    tiny_config, tmp_path, collected, monkeypatch
):
    monkeypatch.setattr(evaluation, "ASKED_SECONDS", 0.0)
    monkeypatch.setattr(Pace, "spent_seconds", property(lambda pace: 2e5))
    finished = fit(tiny_config(max_seconds=1e5), collected.append, output_dir=tmp_path)
    assert (finished.reason, finished.step, finished.model) == ("time_budget", 0, "model")
    assert steps(CheckpointSaved, collected) == [0] and not of(Evaluated, collected)
    assert "has not been measured" in of(Warned, collected)[0].message


@pytest.mark.parametrize("step", [1, 4])
def test_a_loss_that_is_no_number_fails_the_run_and_names_the_step(step, tiny_config, tmp_path, collected, monkeypatch):
    def exploding(self):
        return 1e30 if self.step == step - 1 else 1e-3

    monkeypatch.setattr(training.Training, "_learning_rate", exploding)
    with pytest.raises(TrainingError):
        fit(tiny_config(max_steps=9, save_steps=1, eval_steps=50), collected.append, output_dir=tmp_path)
    assert isinstance(collected[-1], Failed) and len(of(Failed, collected)) == 1
    assert collected[-1].what.startswith(f"The loss was no longer a finite number at step {step + 1} (learning rate ")
    assert "lower learning_rate, 0.0003 perhaps" in collected[-1].fix
    assert steps(CheckpointSaved, collected) == list(range(1, step + 1))


def test_a_nan_in_one_batch_stops_the_run_and_the_last_good_model_stays(tiny_config, tmp_path, collected, monkeypatch):
    train_step = training.Training.train_step

    def poisoned(self):
        hooks = []
        if self.step == 5:
            embeddings = self.model.model.get_input_embeddings()
            hooks.append(embeddings.register_forward_hook(lambda module, inputs, output: output * math.nan))
        train_step(self)
        for hook in hooks:
            hook.remove()

    monkeypatch.setattr(training.Training, "train_step", poisoned)
    with pytest.raises(TrainingError):
        fit(tiny_config(max_steps=20, eval_steps=2, save_steps=2), collected.append, output_dir=tmp_path)
    assert collected[-1].what.startswith("The loss was no longer a finite number at step 6 (learning rate ")
    assert steps(Evaluated, collected) == [0, 2, 4] and steps(CheckpointSaved, collected) == [2, 4]
    for kept in ("model", "checkpoints/step-4"):
        weights = safetensors.torch.load_file(tmp_path / kept / "model.safetensors")
        assert all(tensor.isfinite().all() for tensor in weights.values())


def test_weights_that_are_no_numbers_fail_at_the_first_evaluation(tiny_config, tiny_model, tmp_path, collected):
    poisoned = load_model(str(tiny_model("roberta")))
    torch.nn.init.constant_(poisoned.model.lm_head.bias, math.nan)
    poisoned.save(tmp_path / "poisoned")
    with pytest.raises(TrainingError):
        fit(tiny_config(model=str(tmp_path / "poisoned")), collected.append, output_dir=tmp_path / "run")
    assert collected[-1].what == "The held-out loss is not a finite number at step 0."
    assert not (tmp_path / "run/model").exists()


def test_a_mistake_of_the_user_is_told_and_raised(tiny_config, tmp_path, collected):
    with pytest.raises(ConfigError):
        fit(tiny_config(learning_rate=5.0, block_size=2), collected.append, output_dir=tmp_path)
    (failed,) = collected
    assert "learning_rate is 5.0" in failed.what and "block_size is 2" in failed.what
    with pytest.raises(DataError):
        fit(tiny_config(dataset="no such"), collected.append, output_dir=tmp_path)
    assert collected[-1] == Failed(
        what="There is no data set 'no such'.", fix="Give 'bundled', a Hub id (owner/name), or a file."
    )


@pytest.mark.parametrize(
    ("error", "raised", "what"),
    [
        (ZeroDivisionError("division by zero"), ZeroDivisionError, "ZeroDivisionError: division by zero"),
        (torch.OutOfMemoryError("CUDA out of memory"), TrainerError, "The memory is full."),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), TrainerError, "The memory is full."),
    ],
)
def test_what_goes_wrong_inside_is_the_last_event_too(
    error, raised, what, tiny_config, tmp_path, collected, monkeypatch
):
    def broken(*arguments, **options):
        raise error

    monkeypatch.setattr(loop, "prepare", broken)
    with pytest.raises(raised):
        fit(tiny_config(), collected.append, output_dir=tmp_path)
    assert collected[-1].what == what
