"""What becomes of runs when the machine goes down, comes up again, or sets its clock."""

import os
import signal
import time

import pytest

from trainer.config import TrainConfig
from trainer.events import Finished, RunStarted, StepLogged
from trainer.runs.folder import WAITING, RunFolder
from trainer.runs.history import RunReader


def lost(stage, todo="wait"):
    """A run whose process and page were both killed."""
    before = stage.manager()
    (run_id,) = stage.start(before, todo)
    pid = stage.until_begun(before, run_id)
    before.close()
    os.kill(pid, signal.SIGKILL)
    stage.until(lambda: not stage.folder(run_id).is_alive())
    return run_id


def test_an_interrupted_run_waits_to_be_resumed(stage):
    run_id = lost(stage)
    after = stage.manager()
    assert after.view(run_id).state == "interrupted"
    after.resume(run_id)
    stage.until_begun(after, run_id)


def test_an_interrupted_run_goes_on_by_itself_where_that_is_wanted(stage):
    run_id = lost(stage)
    after = stage.manager(auto_resume=True)
    stage.until_begun(after, run_id)
    assert after.view(run_id).state == "running"


def test_a_run_that_never_comes_to_a_checkpoint_is_not_begun_for_ever(stage):
    run_id = lost(stage)
    for attempts in (2, 3):
        manager = stage.manager(auto_resume=True)
        stage.until(lambda manager=manager, number=attempts: manager.view(run_id).attempts == number)
        manager.close()
        os.kill(stage.folder(run_id).pid(), signal.SIGKILL)
        stage.until(lambda: not stage.folder(run_id).is_alive())
    assert stage.manager(auto_resume=True).view(run_id).state == "interrupted"


@pytest.mark.parametrize("auto_resume", [False, True])
def test_a_machine_that_goes_down_lets_the_run_save_and_begins_no_other(auto_resume, stage):
    manager = stage.manager(auto_resume=auto_resume)
    first, second = stage.start(manager, "polite", "quick")
    stage.until_begun(manager, first)
    manager.shut_down()
    assert stage.last_kinds(first) == ["finished"]
    assert RunReader(stage.folder(first)).read().state == ("queued" if auto_resume else "stopped")
    assert not stage.folder(second).events.exists()
    after = stage.manager(auto_resume=auto_resume)
    if auto_resume:
        stage.until(lambda: len([line for line in stage.order() if line == f"begin {first}"]) == 2)
        after.stop(first)
    stage.until_state(after, second, "completed")


@pytest.mark.parametrize("auto_resume", [False, True])
def test_a_stop_outlives_the_page_and_the_process(auto_resume, stage):
    run_id = lost(stage, "deaf")
    stage.folder(run_id).request_stop()  # as it was when both were killed
    after = stage.manager(auto_resume=auto_resume)
    assert (after.view(run_id).state, after.view(run_id).step) == ("stopped", 1)
    assert stage.last_kinds(run_id) == ["finished"]


def test_a_stop_that_a_job_has_not_heard_is_passed_on_by_the_next_page(stage):
    manager = stage.manager()
    run_id = manager.start(TrainConfig(dataset="wait"), backend="job:t4-small")
    pid = stage.until_begun(manager, run_id)
    manager.close()
    os.kill(pid, signal.SIGKILL)
    stage.until(lambda: not stage.folder(run_id).is_alive())
    stage.folder(run_id).job.write_text("{}", encoding="utf-8")
    stage.folder(run_id).request_stop()
    after = stage.manager(secret=lambda folder: "hf_token")
    stage.until_state(after, run_id, "stopped")
    assert stage.order() == [f"begin {run_id}", f"begin {run_id}", f"end {run_id}"]


def test_a_run_that_was_to_stop_is_not_resumed_by_a_machine_that_goes_down(stage):
    manager = stage.manager(auto_resume=True)
    (run_id,) = stage.start(manager, "deaf")
    stage.until_begun(manager, run_id)
    manager.stop(run_id)
    manager.shut_down(patience_seconds=0.1)
    assert WAITING not in stage.folder(run_id).events.read_text()
    assert RunReader(stage.folder(run_id)).read().state == "stopping"


def test_all_runs_are_told_before_one_is_waited_for_when_the_machine_goes_down(stage):
    manager = stage.manager(auto_resume=True)
    (here,) = stage.start(manager, "polite")
    rented = manager.start(TrainConfig(dataset="deaf"), backend="job:t4-small")  # the newest, and so the first in line
    for run_id in (here, rented):
        stage.until_begun(manager, run_id)
    manager.shut_down(patience_seconds=2.0)
    assert stage.last_kinds(here) == ["finished"]  # it had the time to save
    assert [RunReader(stage.folder(run_id)).read().state for run_id in (here, rented)] == ["queued"] * 2


def test_a_run_that_takes_longer_to_end_than_the_machine_goes_on_where_that_is_wanted(stage):
    manager = stage.manager(auto_resume=True)
    (run_id,) = stage.start(manager, "deaf")
    stage.until_begun(manager, run_id)
    manager.shut_down(patience_seconds=0.1)
    assert not stage.folder(run_id).is_alive()
    assert RunReader(stage.folder(run_id)).read().state == "queued"
    stage.until_begun(stage.manager(auto_resume=True), run_id)


def test_a_process_that_saves_is_not_cut_off(stage):
    manager = stage.manager(grace_seconds=0.1)
    (run_id,) = stage.start(manager, "slow to save")
    stage.until_begun(manager, run_id)
    manager.stop(run_id)
    asked = time.monotonic()
    stage.until_state(manager, run_id, "stopped")
    assert time.monotonic() - asked > 1  # longer than its grace
    assert stage.last_kinds(run_id) == ["finished"]


def test_a_clock_set_back_an_hour_bends_neither_durations_nor_order(stage, monkeypatch):
    manager = stage.manager()
    first, second = stage.start(manager, "wait", "quick")
    real = time.time
    chip = {"device": "cpu", "device_name": "chip", "processes": 1, "threads": 1, "precision": "float32"}
    folder = RunFolder(stage.home / "20260101-120000-quiet-otter")
    folder.write_config(manager.view(first).config)
    folder.append(RunStarted(**chip, versions={}))
    rest = {"loss": 1.0, "learning_rate": 1.0, "grad_norm": 1.0, "tokens_per_second": 1.0, "elapsed_seconds": 0.1}
    folder.append(StepLogged(step=1, epoch=0.1, **rest))
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    time.sleep(0.2)
    folder.append(StepLogged(step=2, epoch=0.2, **rest))
    folder.append(Finished(reason="completed", step=2, elapsed_seconds=0.2, model=None))
    view = RunReader(folder).read()
    assert 0.2 <= view.elapsed_seconds < 60 and view.updated_at > view.started_at
    (third,) = stage.start(manager, "quick")
    assert [view.id for view in manager.views()][:3] == [third, second, first]
    manager.stop(first)
    stage.until_state(manager, third, "completed")
    assert [line for line in stage.order() if "begin" in line] == [f"begin {run}" for run in (first, second, third)]
