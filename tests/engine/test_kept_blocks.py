"""A text that was cut once is not read again: by the run that goes on, or by the next run on the same text."""

from __future__ import annotations

import dataclasses
import os
import shutil

import pytest

from trainer.engine import loop
from trainer.engine.kept_blocks import key_of
from trainer.engine.loop import fit
from trainer.engine.model import load_model
from trainer.errors import DataError, RunError

READING = "Reading the text"


@pytest.fixture
def run(tiny_config, sample_text, tmp_path):
    """Runs `name` on a copy of the sample text, with changed settings: its events as dicts."""
    text = tmp_path / "notes.txt"
    shutil.copy(sample_text, text)

    def start(name, *, resume=False, should_stop=lambda: False, **changes):
        told = []
        config = tiny_config(dataset=str(text), **changes)
        fit(config, told.append, should_stop, tmp_path / "runs" / name, resume=resume)
        return [{"kind": event.kind} | dataclasses.asdict(event) for event in told]

    start.text, start.home = text, tmp_path / "runs"
    return start


def has_read(events):
    return any(event.get("phase") == READING for event in events)


def learned(events):
    return [event["loss"] for event in events if event["kind"] in ("step_logged", "evaluated")]


def test_the_next_run_on_the_same_text_takes_the_blocks_of_the_one_before_and_learns_the_same(run):
    first, second = run("first"), run("second")
    assert has_read(first) and not has_read(second)
    assert learned(first) == learned(second)
    plans = [next(event for event in events if event["kind"] == "planned") for events in (first, second)]
    assert plans[0] == plans[1]


def test_who_deletes_a_run_deletes_its_blocks_and_takes_them_from_nobody(run):
    run("first"), run("second")
    (kept,) = {os.stat(run.home / name / "blocks" / "train.ids").st_ino for name in ("first", "second")}
    shutil.rmtree(run.home / "first")
    assert os.stat(run.home / "second" / "blocks" / "train.ids").st_ino == kept
    assert os.stat(run.home / "second" / "blocks" / "train.ids").st_nlink == 1
    assert not has_read(run("third"))


@pytest.mark.parametrize(
    "changes",
    [{"block_size": 16}, {"test_size": 0.4}, {"seed": 7}, {"max_documents": 9}, {"whole_word_mask": True},
     {"line_by_line": True}, {"split": "train[:50%]"}],
)  # fmt: skip
def test_other_settings_of_the_cutting_are_other_blocks(run, changes):
    run("first", max_steps=1)
    assert has_read(run("second", max_steps=1, **changes))


def test_settings_of_the_training_alone_are_the_same_blocks(run):
    run("first", max_steps=1)
    changes = {"learning_rate": 1e-4, "mlm_probability": 0.3, "per_device_train_batch_size": 4, "num_train_epochs": 1.0}
    assert not has_read(run("second", max_steps=1, **changes))


def test_another_vocabulary_is_another_key(tiny_config, tiny_model):
    config = tiny_config()
    keys = {key_of(config, load_model(str(tiny_model(kind))).tokenizer) for kind in ("roberta", "bert")}
    assert len(keys) == 2 and None not in keys


def test_a_text_that_was_changed_is_read_again(run):
    run("first", max_steps=1)
    run.text.write_text(run.text.read_text() + "One more line of text.\n")
    assert has_read(run("second", max_steps=1))


@pytest.mark.parametrize("file", ["train.ids", "held_out.ids", "train.bounds", "blocks.json"])
@pytest.mark.parametrize("damage", ["shorter", "changed", "gone"])
def test_damaged_blocks_are_made_anew(run, file, damage):
    whole = run("first", max_steps=2)
    path = run.home / "first" / "blocks" / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "shorter" else b"\x01\x02" + content[2:])
    again = run("second", max_steps=2)
    assert has_read(again) and learned(again) == learned(whole)


def test_a_run_that_goes_on_does_not_read_its_text_again(run, stop_at):
    unbroken = run("unbroken")
    shutil.rmtree(run.home / "unbroken" / "blocks")
    stopped = run("run", should_stop=stop_at(3))
    assert has_read(stopped)
    resumed = run("run", resume=True)
    assert not has_read(resumed)
    assert learned(resumed)[-1] == learned(unbroken)[-1]


@pytest.mark.parametrize("became", ["gone", "other"])
def test_a_run_goes_on_with_its_own_blocks_whatever_became_of_its_text(became, run, stop_at):
    unbroken = run("unbroken")
    run("run", should_stop=stop_at(3))
    shutil.rmtree(run.home / "unbroken")
    run.text.unlink()
    if became == "other":
        run.text.write_text("Quite another text.\n")
    assert learned(run("run", resume=True))[-1] == learned(unbroken)[-1]


def test_own_blocks_of_other_settings_are_not_taken(run, stop_at):
    run("run", should_stop=stop_at(3))
    run.text.unlink()
    with pytest.raises(DataError):
        run("run", resume=True, block_size=16)
    assert (run.home / "run" / "blocks" / "blocks.json").exists()  # a failed attempt is not the last


def test_a_text_that_is_gone_has_no_key(tiny_config, tiny_model):
    assert key_of(tiny_config(dataset="/no/such.txt"), load_model(str(tiny_model("roberta"))).tokenizer) is None


def test_a_text_that_lies_in_the_folder_of_its_run_stays_there(run, tiny_config, sample_text):
    text = run.home / "run" / "text" / "notes.txt"
    text.parent.mkdir(parents=True)
    shutil.copy(sample_text, text)
    (run.home / "run" / "config.json").write_text(tiny_config().to_json())
    fit(tiny_config(dataset=str(text), max_steps=1), output_dir=run.home / "run")
    assert text.exists()


def test_a_folder_that_is_not_empty_and_no_run_is_left_as_it_is(run):
    mine = run.home / "run" / "blocks" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(RunError, match="'run' is not empty, and not that of a run"):
        run("run")
    assert list((run.home / "run").rglob("*")) == [mine.parent, mine]


def test_a_start_that_came_to_nothing_may_be_made_again(run, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as first:
        first.setattr(loop, "Training", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("run", from_scratch="32x2x2x400")
    assert has_read(run("run", max_steps=1))


def test_a_refused_start_leaves_the_blocks_of_the_run_that_is_there(run):
    run("run", max_steps=1)
    with pytest.raises(Exception, match="already holds a run"):
        run("run", max_steps=1)
    assert (run.home / "run" / "blocks" / "blocks.json").exists()
