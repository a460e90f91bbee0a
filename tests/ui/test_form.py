"""The form: every setting is in it, and what visitors may name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError, DataError, RunError
from trainer.presets import SCRATCH, recommended
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.uploads import keep_file, keep_text
from trainer.ui import form

DISTILROBERTA = "distilbert/distilroberta-base"


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[RunManager]:
    manager = RunManager(tmp_path / "home", os.environ)
    yield manager
    manager.close()


def test_every_setting_has_a_widget() -> None:
    in_form = {*form.BEGINNER, *form.more_settings(), *form.CHOSEN_ELSEWHERE}
    assert in_form == {f.name for f in fields(TrainConfig)}
    widgets = form.setting_widgets([*form.BEGINNER, *form.more_settings()])
    assert all(widget.label for widget in widgets.values())


def test_the_form_begins_with_what_suits_the_bundled_model(runs: RunManager) -> None:
    assert form.setting_widgets(["learning_rate"])["learning_rate"].value == recommended("bundled")["learning_rate"]
    tutorial = dict(zip(form.SUITED, form.beginner_values(runs, DISTILROBERTA, None), strict=True))
    assert tutorial["learning_rate"] == 2e-5 and tutorial["num_train_epochs"] == 3.0


def test_visitors_reach_no_path(runs: RunManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for path in ("/etc/passwd", "../shared", "owner/name", "a/b/c", "http://127.0.0.1/x", "file:///etc"):
        with pytest.raises(ConfigError):
            form.public_config({"dataset": path}, runs)
        with pytest.raises((ConfigError, RunError)):
            form.public_model(path, runs)


def test_settings_that_were_not_given_are_those_that_suit_the_model(runs: RunManager) -> None:
    assert form.public_config({}, runs).learning_rate == recommended("bundled")["learning_rate"]
    assert form.public_config({"learning_rate": 1e-3}, runs).learning_rate == 1e-3
    assert form.public_config({"model": "distilbert/distilroberta-base"}, runs).learning_rate == 2e-5


def test_an_uploaded_file_is_kept_once_under_a_harmless_name(tmp_path: Path) -> None:
    source = tmp_path / "my notes; rm -rf.txt"
    source.write_text("text")
    kept = keep_file(tmp_path / "home", source)
    assert kept.read_text() == "text" and kept.name == "my_notes__rm_-rf.txt"
    assert keep_file(tmp_path / "home", source) == kept
    assert kept.is_relative_to(tmp_path / "home")


def test_training_from_nothing_starts_from_what_suits_it(runs: RunManager) -> None:
    assert form.public_config({"from_scratch": "mini"}, runs).learning_rate == SCRATCH["learning_rate"]


def test_a_model_of_an_earlier_run_is_trained_on_with_what_suits_the_one_it_goes_back_to(runs: RunManager) -> None:
    model = "bundled"
    for name in ("20260101-000000-quiet-otter", "20260101-000001-brave-fox"):
        folder = RunFolder(runs.home / name)
        folder.write_config(TrainConfig(model=model))
        model = str(folder.model)
    assert form.origin_of(name, runs) == "bundled"
    suited = dict(zip(form.SUITED, form.beginner_values(runs, name, None), strict=True))
    assert suited["optim"] == "muon" and suited["learning_rate"] == recommended("bundled")["learning_rate"]
    gone = "20260101-000002-keen-seal"
    assert form.origin_of(gone, runs) == gone
    new = dict(zip(form.SUITED, form.beginner_values(runs, name, "mini"), strict=True))
    assert {key: new[key] for key in SCRATCH} == SCRATCH


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mlm_probability": 2.0}, "Masked share is 2.0; it must be between 0.01 and 0.9."),
        ({"num_train_epochs": None}, "Epochs is empty; it must be a number."),
        (
            {"fsdp": True, "optim": "muon"},
            "Optimizer is 'muon' and Share the model out is true; Muon needs whole matrices: take 'adamw'.",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_names_of_the_fields(
    settings: dict[str, object], said: str, runs: RunManager
) -> None:
    with pytest.raises(ConfigError) as caught:
        form.public_config(settings, runs)
    assert form.in_words_of_the_form(caught.value).problems == (said,)


def test_an_upload_that_expired_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no longer here"):
        keep_file(tmp_path / "home", tmp_path / "gone.txt")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"'empty\.txt' is empty"):
        keep_file(tmp_path / "home", tmp_path / "empty.txt")


def test_empty_paste_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        keep_text(tmp_path, " \n ")
