"""Processes that die, hang, outlive their manager or meet another one."""

import os
import signal
import time
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.runs import supervisor
from trainer.runs.folder import RunFolder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_killed_process_fails_its_run_with_the_signals_name_and_the_next_begins(stage, number):
    manager = stage.manager()
    killed, after = stage.start(manager, "wait", "quick")
    os.kill(stage.until_begun(manager, killed), number)
    view = stage.until_state(manager, killed, "failed")
    assert number.name in view.failure[0]
    assert "in its folder" in view.failure[0]  # the end of the log
    stage.until_state(manager, after, "completed")
    assert stage.last_kinds(killed) == ["failed"]


def test_a_process_without_a_last_word_fails_its_run_with_exit_code_and_log(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "mute")
    what, fix = stage.until_state(manager, run_id, "failed").failure
    assert "exit code 1" in what
    assert what.endswith("Nothing to say.")
    assert fix


def test_a_command_that_cannot_be_started_fails_its_run_and_the_next_begins(stage):
    manager = stage.manager(command=lambda folder: [str(stage.home / "nowhere")])
    ids = stage.start(manager, "quick", "quick")
    for run_id in ids:
        assert "can't be started: No such file" in stage.until_state(manager, run_id, "failed").failure[0]


def test_what_a_dead_process_started_dies_too(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "litter")
    assert "SIGSEGV" in stage.until_state(manager, run_id, "failed").failure[0]
    stray = Path("/proc", (stage.home / run_id / "stray").read_text(), "stat")
    stage.until(lambda: not stray.exists() or " Z " in stray.read_text())


def test_a_process_that_hangs_after_its_last_word_does_not_hold_up_the_queue(stage):
    manager = stage.manager(grace_seconds=0.1)
    lingering, after = stage.start(manager, "linger", "quick")
    stage.until_state(manager, after, "completed")
    assert manager.view(lingering).state == "completed"
    assert stage.last_kinds(lingering) == ["finished"]


def test_a_process_that_ignores_stop_is_killed_after_its_grace(stage):
    manager = stage.manager(grace_seconds=0.2)
    (run_id,) = stage.start(manager, "deaf")
    stage.until_begun(manager, run_id)
    manager.stop(run_id)
    assert manager.view(run_id).state == "stopping"
    view = stage.until_state(manager, run_id, "stopped")
    assert (view.step, stage.last_kinds(run_id)) == (1, ["finished"])


def test_a_new_manager_adopts_the_living_run_and_its_queue_waits_for_it(stage):
    before = stage.manager()
    first, second = stage.start(before, "wait", "quick")
    stage.until_begun(before, first)
    before.close()
    after = stage.manager()
    assert after.view(first).state == "running"
    assert after.view(second).queue_position == 1
    time.sleep(0.3)
    assert after.view(second).state == "queued"
    after.stop(first)
    stage.until_state(after, first, "stopped")
    stage.until_state(after, second, "completed")
    assert stage.order() == [f"{word} {run_id}" for run_id in (first, second) for word in ("begin", "end")]


def test_an_adopted_run_that_ignores_stop_is_killed_too(stage):
    before = stage.manager()
    (run_id,) = stage.start(before, "deaf")
    stage.until_begun(before, run_id)
    before.stop(run_id)
    before.close()
    after = stage.manager(grace_seconds=0.1)  # it sees that a stop was asked for
    stage.until_state(after, run_id, "stopped")
    assert stage.last_kinds(run_id) == ["finished"]


@pytest.mark.parametrize("adopted", [False, True])
def test_a_killed_follower_does_not_pass_for_the_end_of_its_job(adopted, stage):
    manager = stage.manager(grace_seconds=0.1)
    run_id = manager.start(TrainConfig(dataset="deaf"), backend="job:t4-small")
    stage.until_begun(manager, run_id)
    stage.folder(run_id).job.write_text("{}", encoding="utf-8")
    if adopted:
        manager.close()
        manager = stage.manager(grace_seconds=0.1)
    manager.stop(run_id)  # which the Hub does not take
    stage.until(lambda: not (stage.folder(run_id).is_alive() or manager._supervisor._stops))
    view = manager.view(run_id)
    assert view.state == "interrupted" and "rented machine may go on" in view.failure[1]


def test_a_waiting_run_whose_job_is_on_is_stopped_by_its_follower_out_of_turn(stage, monkeypatch):
    monkeypatch.setattr(supervisor, "MOST_RENTED", 0)
    manager = stage.manager()
    run_id = manager.start(TrainConfig(dataset="wait"), backend="job:t4-small")
    stage.folder(run_id).job.write_text("{}", encoding="utf-8")
    manager.stop(run_id)
    stage.until_state(manager, run_id, "stopped")
    assert stage.order() == [f"begin {run_id}", f"end {run_id}"]


def test_a_run_that_died_while_nobody_looked_is_interrupted_and_the_queue_goes_on(stage):
    before = stage.manager()
    dead, waiting = stage.start(before, "wait", "quick")
    pid = stage.until_begun(before, dead)
    before.close()
    os.kill(pid, signal.SIGKILL)
    stage.until(lambda: not RunFolder(before.home / dead).is_alive())
    after = stage.manager()
    view = after.view(dead)
    assert (view.state, view.is_over) == ("interrupted", True)
    assert "interrupted at step 1" in view.failure[0]
    stage.until_state(after, waiting, "completed")


def test_waiting_runs_are_found_again_in_their_order(stage):
    ids = [f"20260101-12000{second}-calm-lynx" for second in (2, 0, 1)]
    for run_id in ids:
        stage.folder(run_id).write_config(TrainConfig(dataset="quick"))
    manager = stage.manager()
    stage.until_state(manager, ids[0], "completed")
    assert [line for line in stage.order() if "begin" in line] == [f"begin {run_id}" for run_id in sorted(ids)]


def test_two_managers_never_start_a_run_twice_nor_two_runs_at_once(stage):
    one = stage.manager()
    ids = stage.start(one, "quick", "quick", "quick")
    two = stage.manager()  # it finds those that wait, and queues them too
    ids += stage.start(two, "quick")
    stage.until(lambda: all(two.view(run_id).state == "completed" for run_id in ids))
    lines = stage.until(lambda: stage.order() if len(stage.order()) == 2 * len(ids) else None)
    assert sorted(lines) == sorted(f"{word} {run_id}" for run_id in ids for word in ("begin", "end"))
    assert [line.split()[0] for line in lines] == ["begin", "end"] * 4


def test_a_process_that_finds_its_run_taken_does_not_fail_it(stage):
    others = []

    def too_late(folder):
        others.append(stage.begin_in_shell(folder))
        stage.until(folder.is_alive)
        return stage.command(folder)

    manager = stage.manager(command=too_late)
    (run_id,) = stage.start(manager, "wait")
    stage.until(lambda: "already running" in stage.folder(run_id).log_tail())
    stage.until(lambda: not manager._supervisor.is_on(run_id))
    assert manager.view(run_id).state == "running"
    manager.stop(run_id)
    others[0].wait()
    assert manager.view(run_id).state == "stopped"
    assert stage.last_kinds(run_id) == ["finished"]


def test_a_token_reaches_neither_the_process_nor_any_file(stage):
    manager = stage.manager(environment={**os.environ, "HF_TOKEN": "s3cret", "HUGGING_FACE_HUB_TOKEN": "s3cret"})
    (run_id,) = stage.start(manager, "quick")
    stage.until_state(manager, run_id, "completed")
    files = [path for path in stage.home.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not any(b"s3cret" in path.read_bytes() for path in files)
    assert "secret found: False" in (stage.home / run_id / "log.txt").read_text()


def test_a_process_works_in_its_folder_and_is_given_no_input(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "quick")
    stage.until_state(manager, run_id, "completed")
    assert "in its folder: True input: ''" in (stage.home / run_id / "log.txt").read_text()


def test_a_run_begun_in_the_shell_is_seen_waited_for_and_stopped(stage):
    manager = stage.manager()
    shell = RunFolder(stage.home / "20260101-120000-calm-lynx")
    shell.write_config(TrainConfig(dataset="wait"))
    with stage.begin_in_shell(shell) as process:
        stage.until(lambda: shell.pid() == process.pid)
        assert manager.view(shell.id).state == "running"
        (waiting,) = stage.start(manager, "quick")
        time.sleep(0.3)
        assert manager.view(waiting).state == "queued"
        manager.stop(shell.id)
    assert manager.view(shell.id).state == "stopped"
    stage.until_state(manager, waiting, "completed")
