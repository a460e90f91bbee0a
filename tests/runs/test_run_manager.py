"""Runs are started, shown, stopped, resumed and deleted."""

import errno
import json
import os
import threading
import time

import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError, RunError
from trainer.runs import supervisor
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager


def test_runs_go_one_at_a_time_in_the_order_they_were_started(stage):
    manager = stage.manager()
    ids = stage.start(manager, "quick", "quick", "quick")
    assert [view.id for view in manager.views()] == ids[::-1]
    stage.until_state(manager, ids[2], "completed")
    assert stage.order() == [f"{word} {run_id}" for run_id in ids for word in ("begin", "end")]
    assert [stage.last_kinds(run_id) for run_id in ids] == [["finished"]] * 3


def test_start_answers_at_once_and_the_queue_tells_positions(stage):
    manager = stage.manager()
    first = stage.start(manager, "wait")[0]
    stage.until_begun(manager, first)
    seconds = []
    for position in (1, 2, 3):
        began = time.perf_counter()
        (run_id,) = stage.start(manager, "wait")
        seconds.append(time.perf_counter() - began)
        view = manager.view(run_id)
        assert (view.state, view.queue_position) == ("queued", position)
    assert min(seconds) < 0.1  # the others may have met a busy machine
    assert manager.view(first).state == "running"


def test_starts_from_many_threads_each_get_a_run_of_their_own(stage):
    manager = stage.manager(command=lambda folder: ["true"])
    ids = []
    threads = [threading.Thread(target=lambda: ids.extend(stage.start(manager, "wait"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == len(manager.views()) == 12


def test_a_configuration_with_problems_and_a_full_queue_are_refused(stage):
    manager = stage.manager(max_queued=1)
    with pytest.raises(ConfigError, match="learning_rate"):
        manager.start(TrainConfig(learning_rate=7.0))
    assert manager.views() == []
    (first,) = stage.start(manager, "wait")
    stage.until_begun(manager, first)
    stage.start(manager, "wait")
    with pytest.raises(RunError, match="waiting already"):
        stage.start(manager, "wait")


def test_runs_that_wait_for_their_owner_and_for_no_turn_keep_nobody_else_out(stage, monkeypatch):
    monkeypatch.setattr(supervisor, "MOST_RENTED", 0)
    manager = stage.manager(max_queued=1, starts=False)
    stage.start(manager, "wait", "wait")
    manager.start(TrainConfig(), backend="job:t4-small")
    with pytest.raises(RunError, match="1 runs are waiting already"):
        manager.start(TrainConfig(), backend="job:t4-small")


def test_a_waiting_run_is_stopped_at_once_and_never_begins(stage):
    manager = stage.manager()
    first, second, third = stage.start(manager, "wait", "quick", "quick")
    stage.until_begun(manager, first)
    manager.stop(second)
    assert manager.view(second).state == "stopped"
    assert manager.view(third).queue_position == 1
    manager.stop(first)
    stage.until_state(manager, third, "completed")
    assert f"begin {second}" not in stage.order()
    record = json.loads((stage.home / second / "events.jsonl").read_text())
    assert (record["kind"], record["reason"], record["step"], record["model"]) == ("finished", "stopped", 0, None)


def test_a_running_run_stops_in_its_own_time_and_cannot_be_stopped_again(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "wait")
    stage.until_begun(manager, run_id)
    manager.stop(run_id)
    stage.until_state(manager, run_id, "stopped")
    with pytest.raises(RunError, match="is over: stopped"):
        manager.stop(run_id)
    assert stage.last_kinds(run_id) == ["finished"]


def test_a_stopped_run_goes_on_from_its_checkpoint(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "checkpoint")
    stage.until_begun(manager, run_id)
    with pytest.raises(RunError, match="has not ended"):
        manager.resume(run_id)
    manager.stop(run_id)
    assert stage.until_state(manager, run_id, "stopped").can_resume
    manager.resume(run_id)
    assert manager.view(run_id).state in ("queued", "running")
    view = stage.until_state(manager, run_id, "completed")
    assert [point["step"] for point in view.points] == [1]
    assert not (stage.home / run_id / "stop").exists()


def test_a_complete_run_cannot_be_resumed(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "quick")
    stage.until_state(manager, run_id, "completed")
    with pytest.raises(RunError, match="is complete"):
        manager.resume(run_id)


def test_a_run_that_came_to_no_checkpoint_is_tried_again_from_the_beginning(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "mute")
    assert stage.until_state(manager, run_id, "failed").can_resume
    manager.resume(run_id)
    stage.until(lambda: len(stage.last_kinds(run_id)) == 2)
    assert [line for line in stage.order() if "begin" in line] == [f"begin {run_id}"] * 2


def test_a_run_is_deleted_only_when_it_is_over(stage):
    manager = stage.manager()
    first, second = stage.start(manager, "wait", "wait")
    stage.until_begun(manager, first)
    for run_id in (first, second):
        with pytest.raises(RunError, match="has not ended"):
            manager.delete(run_id)
    manager.stop(second)
    manager.stop(first)
    stage.until_state(manager, first, "stopped")
    for run_id in (first, second):
        manager.delete(run_id)
        with pytest.raises(RunError, match="There is no run"):
            manager.view(run_id)
    assert manager.views() == []


def test_models_are_those_of_the_runs_that_have_one(stage):
    manager = stage.manager()
    with_model, without = stage.start(manager, "quick", "quick")
    stage.until_state(manager, without, "completed")
    (stage.home / with_model / "model").mkdir()
    (stage.home / with_model / "model" / "config.json").touch()
    assert manager.models() == [(with_model, manager.view(with_model).name)]
    assert manager.model_folder(with_model) == stage.home / with_model / "model"
    with pytest.raises(RunError, match="has no model"):
        manager.model_folder(without)


def test_damaged_folders_are_shown_and_do_not_stop_the_others(stage):
    garbage = RunFolder(stage.home / "20260101-120000-calm-lynx")
    garbage.path.mkdir()
    garbage.config.write_bytes(b"\xff{")
    garbage.events.write_bytes(b"\x00\xff\n[1]\n{\n" + b"[" * 50)
    garbage.lock.write_bytes(b"\xff")
    (stage.home / "20260101-120001-calm-wren").touch()
    manager = stage.manager()
    (view,) = manager.views()
    assert (view.state, view.config) == ("interrupted", None)
    (run_id,) = stage.start(manager, "quick")
    stage.until_state(manager, run_id, "completed")


def full(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("verb", "broken"),
    [
        ("start", "write_config"),
        ("resume", "append"),
        ("stop", "request_stop"),
        ("rename", "write_label"),
        ("delete", "remove"),
    ],
)
def test_a_full_disk_is_said_in_words_by_all_that_is_done_with_runs(verb, broken, tmp_path, monkeypatch):
    manager = RunManager(tmp_path, {}, starts=False)
    try:
        waiting, over = (manager.start(TrainConfig()) for _ in range(2))
        manager.stop(over)
        monkeypatch.setattr(RunFolder, broken, full)
        given = {"start": [TrainConfig()], "stop": [waiting], "rename": [over, "otter"]}.get(verb, [over])
        with pytest.raises(RunError, match=r"No space left on device\. "):
            getattr(manager, verb)(*given)
    finally:
        manager.close()


@pytest.mark.parametrize("stops", [False, True])
def test_a_page_starts_on_a_full_disk_though_a_run_is_to_be_resumed_or_ended(stops, run, monkeypatch):
    run.begins()
    if stops:
        run.folder.request_stop()
    monkeypatch.setattr(RunFolder, "append", full)
    manager = RunManager(run.folder.path.parent, {}, starts=False, auto_resume=True)
    assert manager.view(run.folder.id).state == "interrupted"
    manager.close()


@pytest.mark.parametrize("home", ["file", "file/runs"])
def test_a_home_that_is_no_folder_is_said_in_words(home, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file.* can't be used: .*MASK_STUDIO_HOME"):
        RunManager(tmp_path / home, {})
