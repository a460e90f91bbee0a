"""The best model is written while training goes on, where that gains something; here as if a processor gained, too."""

import errno
import threading
import time

import pytest
import torch

from tests.engine.told import of
from trainer.engine import best_model, training
from trainer.engine.loop import fit
from trainer.engine.model import MaskedLanguageModel, load_model
from trainer.errors import TrainerError
from trainer.events import CheckpointSaved, Evaluated, Failed, StepLogged

WAIT = 30.0


@pytest.fixture
def writing(monkeypatch):
    """Writes meanwhile, and has each model wait, before it is written, for what is called then."""
    monkeypatch.setattr(best_model, "WRITTEN_MEANWHILE", ("cpu",))
    original, before = MaskedLanguageModel.save, []

    def save(self, folder, weights=None):
        for act in before:
            act()
        original(self, folder, weights)

    monkeypatch.setattr(MaskedLanguageModel, "save", save)
    return before


def test_steps_are_made_meanwhile_and_what_is_kept_is_what_was_measured(
    tiny_config, tiny_model, tmp_path, writing, monkeypatch
):
    losses, three_steps_on, in_time = iter([3.0, 4.0]), threading.Event(), []
    scripted = {"perplexity": 20.0, "accuracy": 0.0, "masked_tokens": 10}
    monkeypatch.setattr(training, "evaluate_model", lambda *blocks, **how: {"loss": next(losses), **scripted})
    original = training.Training.train_step

    def step(self):
        original(self)
        if self.step == 3:
            three_steps_on.set()

    monkeypatch.setattr(training.Training, "train_step", step)
    writing.append(lambda: in_time.append(three_steps_on.wait(WAIT)))
    measured = str(tiny_model("roberta"))
    fit(tiny_config(model=measured, max_steps=4, eval_steps=4, learning_rate=1e-2), output_dir=tmp_path)
    assert in_time == [True]
    start, kept = (load_model(name).state_dict() for name in (measured, str(tmp_path / "model")))
    assert all(torch.equal(start[name], kept[name]) for name in start)


def test_who_hears_of_a_best_model_finds_it_on_the_disk_and_all_is_told_in_order(tiny_config, tmp_path, writing):
    events, written = [], []
    writing.append(lambda: (time.sleep(0.2), written.append(len(written))))

    def emit(event):
        events.append(event)
        if isinstance(event, Evaluated) and event.best:
            assert len(written) == sum(told.best for told in of(Evaluated, events))

    fit(tiny_config(max_steps=6, eval_steps=2), emit, output_dir=tmp_path)
    assert len(written) > 1 and [event.step for event in of(Evaluated, events)] == [0, 2, 4, 6]
    steps = [event.step for event in events if isinstance(event, StepLogged | Evaluated)]
    assert steps == sorted(steps)


def test_a_checkpoint_is_not_ahead_of_the_model(tiny_config, tmp_path, writing):
    """A resumed run would take an older one for the best."""
    done = []
    writing.append(lambda: (time.sleep(0.2), done.append("model")))

    def emit(event):
        if isinstance(event, CheckpointSaved):
            done.append("checkpoint")

    fit(tiny_config(max_steps=2, eval_steps=1, save_steps=1), emit, output_dir=tmp_path)
    assert done[:3] == ["model", "model", "checkpoint"]


def test_what_keeps_it_from_the_disk_is_told_and_the_one_before_stays(tiny_config, tmp_path, writing):
    def full():
        if (tmp_path / "model").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    writing.append(full)
    events = []
    with pytest.raises(TrainerError, match="The disk is full"):
        fit(tiny_config(max_steps=3, eval_steps=1), events.append, output_dir=tmp_path)
    assert isinstance(events[-1], Failed) and [event.step for event in of(Evaluated, events)] == [0]
    assert load_model(str(tmp_path / "model"))
