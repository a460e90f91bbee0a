"""Whose run is it: to a visitor, the runs of others don't exist, whatever they ask for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.runs.ownership import OwnRuns, Visitor, mark_of_key, mark_of_name, new_key

KEY, OTHER_KEY = "a" * 48, "b" * 48


def visitor(*keys: str, name: str | None = None) -> Visitor:
    marks = ([mark_of_name(name)] if name else []) + [str(mark_of_key(key)) for key in keys]
    return Visitor(marks=tuple(marks))


@pytest.fixture
def manager(stage: Any) -> Any:
    return stage.manager()


@pytest.fixture
def run(manager: Any, stage: Any) -> str:
    """A finished run of the holder of KEY, with a model and a text of its own."""
    text = manager.home / "uploads" / "0" / "pasted.txt"
    text.parent.mkdir(parents=True)
    text.write_text("wait no longer", encoding="utf-8")
    run_id = OwnRuns(manager, visitor(KEY)).start(TrainConfig(dataset=str(text)))
    stage.until(lambda: manager.view(run_id).is_over)
    model = stage.folder(run_id).model
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    return run_id


ASKED: dict[str, Callable[[OwnRuns, str], Any]] = {
    "view": OwnRuns.view,
    "stop": OwnRuns.stop,
    "resume": OwnRuns.resume,
    "rename": lambda runs, run: runs.rename(run, "mine"),
    "archive": lambda runs, run: runs.archive(run, runs.home / "cache"),
    "model": OwnRuns.model_folder,
    "text": OwnRuns.text_of,
    "log": OwnRuns.log,
    "delete": OwnRuns.delete,
}


def said(ask: Callable[[OwnRuns, str], Any], runs: OwnRuns, run: str) -> str:
    with pytest.raises(RunError) as caught:
        ask(runs, run)
    return str(caught.value)


@pytest.mark.parametrize("what", ASKED)
def test_anothers_run_is_as_one_that_does_not_exist(what: str, manager: Any, run: str) -> None:
    ask, nowhere = ASKED[what], "20200101-000000-no-run"
    for stranger in (visitor(OTHER_KEY), visitor(name="bob"), visitor()):
        runs = OwnRuns(manager, stranger)
        assert said(ask, runs, run).replace(run, nowhere) == said(ask, runs, nowhere)
        assert runs.views() == runs.models() == [] and runs.current() is runs.latest() is None
    assert manager.view(run).name == run[16:]


def test_its_owner_and_who_sees_all_have_every_right(manager: Any, run: str) -> None:
    for visitor_of in (visitor(KEY), visitor(OTHER_KEY, KEY, name="bob"), Visitor(sees_all=True)):
        runs = OwnRuns(manager, visitor_of)
        assert runs.view(run).id == run and [view.id for view in runs.views()] == [run]
        assert runs.model_folder(run).is_dir() and runs.text_of(run).is_file() and len(runs.models()) == 1
        assert runs.archive(run, manager.home / "cache").suffix == ".zip" and isinstance(runs.log(run), str)
        runs.rename(run, "Tea")
        latest = runs.latest()
        assert latest and latest.name == "Tea"
    OwnRuns(manager, visitor(KEY)).delete(run)
    assert manager.views() == []


def test_a_run_bears_the_name_of_who_is_signed_in_else_a_mark_from_which_no_key_can_be_found(
    manager: Any, stage: Any
) -> None:
    anonymous = OwnRuns(manager, visitor(KEY)).start(TrainConfig(dataset="x"))
    named = OwnRuns(manager, visitor(KEY, name="alice")).start(TrainConfig(dataset="x"))
    nobodys = OwnRuns(manager, Visitor(sees_all=True)).start(TrainConfig(dataset="x"))
    stage.until(lambda: manager.view(nobodys).is_over)
    assert [manager.view(run).owner for run in (anonymous, named, nobodys)] == [mark_of_key(KEY), "@alice", None]
    files = [path for path in manager.home.rglob("*") if path.is_file()]
    assert files and all(KEY.encode() not in path.read_bytes() for path in files)
    assert [view.id for view in OwnRuns(manager, visitor(KEY)).views()] == [anonymous]
    assert len(OwnRuns(manager, visitor(KEY, name="alice")).views()) == 2


def test_runs_of_a_shell_are_nobodys_in_particular(manager: Any, run: str, stage: Any) -> None:
    stage.folder(run).owner.unlink()
    fresh = stage.manager()
    assert OwnRuns(fresh, visitor(KEY)).views() == []
    assert len(OwnRuns(fresh, Visitor(sees_all=True)).views()) == 1


def test_who_has_no_key_starts_nothing(manager: Any) -> None:
    with pytest.raises(RunError, match="Reload the page"):
        OwnRuns(manager, visitor()).start(TrainConfig())
    assert manager.views() == []


@pytest.mark.parametrize("key", ["", "short", "a" * 31, "a" * 200, "a" * 40 + "\n", "ä" * 40, None, 5, ["a" * 40], {}])
def test_what_can_be_guessed_or_is_no_text_is_no_key(key: Any) -> None:
    assert mark_of_key(key) is None
    assert mark_of_key(new_key()) and new_key() != new_key()


def test_a_visitor_has_so_many_runs_on_however_fast_they_ask(manager: Any, stage: Any) -> None:
    def ask() -> None:
        try:
            started.append(OwnRuns(manager, visitor(KEY), most=2).start(TrainConfig(dataset="wait")))
        except RunError as error:
            refused.append(str(error))

    started, refused = [], []  # type: list[str], list[str]
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 2 and len(refused) == 4
    assert "2 of your runs are waiting or working" in refused[0]
    assert OwnRuns(manager, visitor(OTHER_KEY), most=2).start(TrainConfig(dataset="x"))  # others have their own
    manager.stop(started[1])
    runs = OwnRuns(manager, visitor(KEY), most=2)
    runs.start(TrainConfig(dataset="wait"))
    with pytest.raises(RunError, match="2 of your runs"):
        runs.resume(started[1])
    for view in manager.views():
        if not view.is_over:
            manager.stop(view.id)
    stage.until(lambda: all(view.is_over for view in manager.views()))


def test_a_zip_file_does_not_tell_whose_run_it_is(manager: Any, run: str, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(OwnRuns(manager, visitor(KEY)).archive(run, tmp_path / "cache")) as archive:
        assert not [name for name in archive.namelist() if "owner" in name]
    assert "owner" not in json.dumps(manager.view(run).summary())
