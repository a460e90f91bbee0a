"""A run that was interrupted and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import itertools
import json

import pytest
import safetensors.torch
import torch

from trainer.engine import training
from trainer.engine.checkpoint import STATE, read_state, save_checkpoint, write_json
from trainer.engine.loop import fit
from trainer.errors import RunError
from trainer.events import Evaluated, RunStarted, StepLogged, Warned

STEPS = 24  # more than an epoch


class Interrupted(Exception):
    """What an emit raises that dies in the middle of a run."""


def curve(events):
    """Everything a point of the training curve says but its times."""
    return [(e.step, e.epoch, e.loss, e.learning_rate, e.grad_norm) for e in events if isinstance(e, StepLogged)]


def weights(folder):
    return safetensors.torch.load_file(folder / f"checkpoints/step-{STEPS}/model.safetensors")


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.fixture
def config(tiny_config):
    """Runs with dropout (as the tiny RoBERTa has by default) that cross the end of an epoch."""
    return lambda **changes: tiny_config(**({"max_steps": STEPS, "save_steps": 6, "warmup_ratio": 0.2} | changes))


def interrupted_at(step, events):
    def emit(event):
        events.append(event)
        if isinstance(event, StepLogged) and event.step == step:
            raise Interrupted

    return emit


def test_a_folder_with_a_run_in_it_is_not_trained_over(tiny_config, tmp_path, collected):
    fit(tiny_config(max_steps=2), output_dir=tmp_path)
    with pytest.raises(RunError, match="already holds a run"):
        fit(tiny_config(max_steps=2), collected.append, output_dir=tmp_path)


def test_a_checkpoint_of_another_number_of_processes_is_refused(tiny_config, tmp_path, collected):
    fit(tiny_config(max_steps=4, save_steps=2), output_dir=tmp_path)
    for folder in (tmp_path / "checkpoints").iterdir():
        state = read_state(folder) | {"processes": 2}
        weights, optimizer = (folder / name for name in ("model.safetensors", "optimizer.pt"))
        kept = {weights.name: weights.read_bytes(), optimizer.name: optimizer.read_bytes()}
        writers = {name: lambda path, data=data: path.write_bytes(data) for name, data in kept.items()}
        step = int(folder.name.removeprefix("step-"))
        save_checkpoint(
            tmp_path / "checkpoints", step, writers | {STATE: lambda path, state=state: write_json(path, state)}
        )
    with pytest.raises(RunError, match="made by 2 processes"):
        fit(tiny_config(max_steps=8), collected.append, output_dir=tmp_path, resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 5},
        {"whole_word_mask": True, "lr_scheduler_type": "cosine"},
        {"from_scratch": "32x2x2x400"},
    ],
    ids=["plain", "accumulated", "whole words", "from scratch"],
)
def test_stopped_in_the_middle_of_an_epoch_and_resumed(changes, config, stop_at, tmp_path):
    settings, whole, parts = config(**changes), [], []
    fit(settings, whole.append, output_dir=tmp_path / "whole")
    stopped = fit(settings, parts.append, stop_at(7), tmp_path / "parts")
    assert (stopped.reason, stopped.step) == ("stopped", 7)
    assert curve(parts)[-1][1] % 1 != 0
    fit(settings, parts.append, output_dir=tmp_path / "parts", resume=True)
    assert curve(parts) == curve(whole)
    assert len(curve(whole)) == STEPS and curve(whole)[-1][1] > 1
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_broken_off_between_checkpoints_and_resumed(config, tmp_path):
    whole, parts, rest = [], [], []
    fit(config(), whole.append, output_dir=tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(config(), interrupted_at(13, parts), output_dir=tmp_path / "parts")
    torch.manual_seed(99)  # nothing may hang on the state the process is in
    fit(config(), rest.append, output_dir=tmp_path / "parts", resume=True)
    assert rest[0].resumed_from_step == 12
    assert curve(parts)[:12] + curve(rest) == curve(whole)
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    evaluated = [{e.step: e.loss for e in events if isinstance(e, Evaluated)} for events in (rest, whole)]
    assert evaluated[0].items() <= evaluated[1].items()


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_leads_to_the_same_end(config, tmp_path):
    whole, parts, rest = [], [], []
    fit(config(), whole.append, output_dir=tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(config(), interrupted_at(13, parts), output_dir=tmp_path / "parts")
    newest = tmp_path / "parts/checkpoints/step-12/optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    fit(config(), rest.append, output_dir=tmp_path / "parts", resume=True)
    (warning,) = (event for event in rest if isinstance(event, Warned))
    assert "step-12 is damaged" in warning.message
    assert rest[0].resumed_from_step == 6
    assert curve(parts)[:6] + curve(rest) == curve(whole)
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_resuming_again_and_again_changes_nothing(config, stop_at, tmp_path):
    whole, parts = [], []
    fit(config(), whole.append, output_dir=tmp_path / "whole")
    for start, step in ((0, 1), (1, 2), (2, 11)):
        fit(config(), parts.append, stop_at(step, start), tmp_path / "parts", resume=True)
    fit(config(), parts.append, output_dir=tmp_path / "parts", resume=True)
    assert curve(parts) == curve(whole)
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_finished_run_resumed_takes_no_further_step(config, tmp_path, collected):
    settings = config(max_steps=6)
    fit(settings, output_dir=tmp_path)
    finished = fit(settings, collected.append, output_dir=tmp_path, resume=True)
    assert (finished.reason, finished.step) == ("completed", 6)
    assert curve(collected) == []


def test_without_a_checkpoint_resuming_begins_anew(config, tmp_path, collected):
    fit(config(max_steps=2), collected.append, output_dir=tmp_path, resume=True)
    assert [event.resumed_from_step for event in collected if isinstance(event, RunStarted)] == [None]
    assert len(curve(collected)) == 2


def test_the_number_of_threads_is_that_of_the_checkpoint(config, stop_at, tmp_path, collected):
    # Another number adds up in another order, to other bits.
    before = torch.get_num_threads()
    fit(config(), output_dir=tmp_path, should_stop=stop_at(1))
    torch.set_num_threads(before + 1)
    try:
        fit(config(max_steps=2), collected.append, output_dir=tmp_path, resume=True)
        assert collected[0].threads == torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


def test_patience_goes_on_where_it_was(config, stop_at, tmp_path, monkeypatch):
    losses = itertools.count(3.0)  # ever worse

    def scripted(*arguments, **options):
        return {"loss": next(losses), "perplexity": 1.0, "accuracy": 0.0, "masked_tokens": 10}

    monkeypatch.setattr(training, "evaluate_model", scripted)
    settings = config(eval_steps=1, early_stopping_patience=3)
    assert fit(settings, output_dir=tmp_path, should_stop=stop_at(2)).reason == "stopped"
    finished = fit(settings, output_dir=tmp_path, resume=True)
    assert (finished.reason, finished.step) == ("completed", 3)


def test_other_versions_than_those_of_the_checkpoint_are_named(config, tmp_path, collected):
    fit(config(max_steps=6), output_dir=tmp_path)
    folder = tmp_path / "checkpoints/step-6"
    state = read_state(folder)
    state["versions"]["torch"] = "1.0"
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}
    contents[STATE] = json.dumps(state).encode()
    save_checkpoint(
        folder.parent, 6, {name: lambda path, data=data: path.write_bytes(data) for name, data in contents.items()}
    )
    assert read_state(folder)["versions"]["torch"] == "1.0"
    fit(config(max_steps=7), collected.append, output_dir=tmp_path, resume=True)
    (warning,) = (event for event in collected if isinstance(event, Warned))
    assert warning.message == f"The checkpoint was made with torch 1.0, this is {torch.__version__}."
