"""A run that was interrupted and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
import safetensors.torch
import torch

from trainer.engine import evaluation, loop, pace, training
from trainer.engine.checkpoint import MANIFEST, STATE, read_state, save_checkpoint
from trainer.engine.loop import fit
from trainer.engine.snapshot import global_batch_of
from trainer.errors import DataError, RunError
from trainer.events import Evaluated, Failed, RunStarted, StepLogged, Warned

STEPS = 24  # more than an epoch


class Interrupted(Exception):
    """What an emit raises that dies in the middle of a run."""


def curve(events):
    """Everything a point of the training curve says but its times."""
    return [(e.step, e.epoch, e.loss, e.learning_rate, e.grad_norm) for e in events if isinstance(e, StepLogged)]


def rewrite_state(folder, **changes):
    """Saves a checkpoint anew, with other counters and a manifest that fits them."""
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != MANIFEST}
    contents[STATE] = json.dumps(read_state(folder) | changes).encode()
    writers = {name: lambda path, data=data: path.write_bytes(data) for name, data in contents.items()}
    save_checkpoint(folder.parent, int(folder.name.removeprefix("step-")), writers)


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


def test_a_resumed_run_keeps_its_global_batch_and_with_it_its_place_in_the_data(config, stop_at, tmp_path):
    whole, parts = [], []
    fit(config(gradient_accumulation_steps=2), whole.append, output_dir=tmp_path / "whole")
    fit(config(gradient_accumulation_steps=2), parts.append, stop_at(7), tmp_path / "parts")
    # As another number of processes does, other settings share the same blocks out in another way.
    fit(config(gradient_accumulation_steps=1), parts.append, output_dir=tmp_path / "parts", resume=True)
    assert curve(parts) == curve(whole)


def test_a_checkpoint_of_an_older_version_tells_its_global_batch_by_its_processes(tiny_config, tmp_path):
    fit(tiny_config(max_steps=4, save_steps=4), output_dir=tmp_path)
    state = read_state(tmp_path / "checkpoints/step-4")
    assert global_batch_of(state) == state.pop("global_batch") == 8
    assert global_batch_of(state | {"processes": 3}) == 24


def test_a_checkpoint_of_a_newer_version_is_refused_and_says_so(tiny_config, tmp_path, collected):
    fit(tiny_config(max_steps=4, save_steps=4), output_dir=tmp_path)
    rewrite_state(tmp_path / "checkpoints/step-4", format=99)
    with pytest.raises(RunError, match="newer version of Mask Studio"):
        fit(tiny_config(max_steps=8), collected.append, output_dir=tmp_path, resume=True)
    assert isinstance(collected[-1], Failed) and "Update Mask Studio" in collected[-1].fix


def test_a_run_does_not_go_on_with_another_text(tiny_config, sample_text, tmp_path, collected):
    text = tmp_path / "text.txt"
    text.write_text(sample_text.read_text())
    settings = tiny_config(dataset=str(text), save_steps=4)
    fit(settings, output_dir=tmp_path / "run")
    shutil.rmtree(tmp_path / "run/blocks")
    text.write_text(sample_text.read_text().replace("the", "a"))
    with pytest.raises(RunError, match="no longer the one this run began with"):
        fit(settings, collected.append, output_dir=tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run/blocks")
    text.unlink()
    with pytest.raises(DataError):
        fit(settings, collected.append, output_dir=tmp_path / "run", resume=True)
    assert (tmp_path / "run/checkpoints/step-4").is_dir()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 5},
        {"whole_word_mask": True, "lr_scheduler_type": "cosine"},
        {"from_scratch": "32x2x2x400", "optim": "muon"},
        {"line_by_line": True, "whole_word_mask": True},
    ],
    ids=["plain", "accumulated", "whole words", "from scratch", "line by line"],
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


def test_a_model_that_was_best_out_of_turn_is_forgotten_on_resuming(config, stop_at, tmp_path, monkeypatch):
    def run(folder, losses, *stops):
        script = iter(losses)

        def scripted(*arguments, **options):
            return {"loss": next(script), "perplexity": 1.0, "accuracy": 0.0, "masked_tokens": 10}

        monkeypatch.setattr(training, "evaluate_model", scripted)
        for stop in stops:
            fit(config(eval_steps=10), output_dir=tmp_path / folder, resume=True, should_stop=stop)
        return (tmp_path / folder / "model/model.safetensors").read_bytes()

    whole = run("whole", [9.0, 5.0, 6.0, 7.0], stop_at(99))
    assert run("parts", [9.0, 5.0, 1.0, 6.0, 2.0, 7.0], stop_at(13), stop_at(23, 13), stop_at(99, 23)) == whole
    assert run("stopped", [9.0, 5.0, 1.0], stop_at(13)) != whole


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


def test_other_versions_and_settings_than_those_of_the_checkpoint_are_named(config, tmp_path, collected):
    fit(config(max_steps=6), output_dir=tmp_path)
    folder = tmp_path / "checkpoints/step-6"
    rewrite_state(folder, versions=read_state(folder)["versions"] | {"torch": "1.0"})
    fit(config(max_steps=7), collected.append, output_dir=tmp_path, resume=True)
    assert [event.message for event in collected if isinstance(event, Warned)] == [
        f"The checkpoint was made with torch 1.0, this is {torch.__version__}.",
        "Since the checkpoint, max_steps was changed from 6 to 7.",
    ]


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_a_stop_in_an_evaluation_saves_at_once_and_who_resumes_the_run_begins_it_again(
    patience, config, tmp_path, monkeypatch
):
    whole, parts, evaluated = [], [], []
    settings, evaluate = config(eval_steps=6), training.Training.evaluate

    def noted(self, why_leave):
        evaluated.append(self.step)
        return evaluate(self, why_leave)

    monkeypatch.setattr(evaluation, "ASKED_SECONDS", 0.0)
    monkeypatch.setattr(loop, "PATIENT_SECONDS", patience)
    monkeypatch.setattr(training.Training, "evaluate", noted)
    fit(settings, whole.append, output_dir=tmp_path / "whole")
    evaluated.clear()
    end = fit(settings, parts.append, lambda: evaluated[-1:] == [6], tmp_path / "parts")
    assert (end.reason, end.step, end.model) == ("stopped", 6, "model")
    out_of_turn = [6] if patience else []
    assert evaluated == [0, 6, *out_of_turn]
    assert [event.step for event in parts if isinstance(event, Evaluated)] == [0, *out_of_turn]
    fit(settings, parts.append, output_dir=tmp_path / "parts", resume=True)
    assert evaluated == [0, 6, *out_of_turn, 6, 12, 18, 24]
    assert curve(parts) == curve(whole)
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    model = "model/model.safetensors"
    assert (tmp_path / "parts" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()


def test_a_run_in_ten_time_budgets_is_the_run_in_one(config, tmp_path, monkeypatch):
    whole, parts, ends = [], [], []
    fit(config(), whole.append, output_dir=tmp_path / "whole")
    ticks = itertools.count(0, 0.05)  # seconds between two looks at the clock
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(ticks))
    while not ends or ends[-1].reason == "time_budget":
        ends.append(fit(config(max_seconds=1.0), parts.append, output_dir=tmp_path / "parts", resume=True))
    assert len(ends) >= 10 and ends[-1].reason == "completed"
    assert [end.step for end in ends] == sorted({end.step for end in ends})  # each slice gets on
    assert curve(parts) == curve(whole)
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    model = "model/model.safetensors"
    assert (tmp_path / "parts" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()
