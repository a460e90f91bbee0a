"""Paths, names, settings, events and the lock of a run."""

import os
import re
import subprocess
import sys
import time

import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError, RunError
from trainer.events import Failed, Finished, PhaseChanged, Warned
from trainer.runs.folder import WAITING, RunFolder, find_run, run_ids
from trainer.runs.lock import locked
from trainer.runs.names import ADJECTIVES, ANIMALS, name_of, new_run_id

STOPPED = Finished(reason="stopped", step=0, elapsed_seconds=0.0, model=None)


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / "20260101-120000-quiet-otter")
    run.write_config(TrainConfig(seed=7))
    return run


def test_an_id_is_its_time_in_utc_and_a_name():
    run_id = new_run_id([], now=0)
    assert re.fullmatch(r"19700101-000000-[a-z]+-[a-z]+", run_id)
    assert name_of(run_id) == run_id[16:]
    assert name_of("my-own-folder") == "my-own-folder"


def test_ids_made_within_a_second_sort_in_the_order_they_were_made():
    ids = []
    for _ in range(30):
        ids.append(new_run_id(ids, now=1e9))
    assert ids == sorted(ids)


def test_names_repeat_only_when_all_are_taken():
    assert len(set(ADJECTIVES)) == len(set(ANIMALS)) == 32
    ids = []
    for number in range(32 * 32 + 1):
        ids.append(new_run_id(ids, now=number))
    names = [name_of(run_id) for run_id in ids]
    assert len(set(names[:-1])) == len(names) - 1
    assert names[-1] in names[:-1]


def test_the_newest_checkpoint_is_that_of_the_most_steps_and_what_is_none_is_passed_over(folder):
    assert folder.newest_checkpoint() is None
    for name in ("step-9", "step-10", "step-x", "step-", "step-11-copy", ".step-12.tmp"):
        (folder.checkpoints / name).mkdir(parents=True)
    assert folder.newest_checkpoint() == folder.checkpoints / "step-10"


@pytest.mark.parametrize("bad", ["", ".", "../x", "20260101-120000-quiet-otter/..", "20260101-120000-Quiet-otter"])
def test_anything_but_the_id_of_an_existing_run_is_refused(folder, bad):
    home = folder.path.parent
    assert find_run(home, folder.id).path == folder.path
    for run_id in (bad, folder.id + "\n", "20260101-120000-noisy-otter"):
        with pytest.raises(RunError, match="There is no run") as caught:
            find_run(home, run_id)
        assert caught.value.fix


def test_only_runs_are_listed_newest_first(folder, tmp_path):
    RunFolder(tmp_path / "20260102-120000-bold-heron").write_config(TrainConfig())
    (tmp_path / "20260103-120000-calm-lynx").mkdir()
    (tmp_path / "notes").mkdir()
    assert run_ids(tmp_path) == ["20260102-120000-bold-heron", folder.id]
    assert run_ids(tmp_path / "nowhere") == []


def test_settings_come_back_as_they_were_saved_and_leave_no_draft(folder):
    assert folder.read_config() == TrainConfig(seed=7)
    assert os.listdir(folder.path) == ["config.json"]


@pytest.mark.parametrize("text", [b"", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_unreadable_settings_are_a_run_error(folder, text):
    folder.config.write_bytes(text)
    with pytest.raises(RunError, match="settings of run quiet-otter"):
        folder.read_config()


def test_settings_nobody_knows_are_named(folder):
    folder.config.write_text('{"sead": 1}')
    with pytest.raises(ConfigError, match="seed"):
        folder.read_config()


def test_a_run_lives_while_it_is_held_and_only_one_can_hold_it(folder):
    assert not folder.is_alive()
    assert folder.pid() is None
    with folder.hold():
        assert folder.is_alive()
        assert folder.pid() == os.getpid()
        with pytest.raises(RunError, match="already running"), locked(folder.lock, patience_seconds=0):
            pass
    assert not folder.is_alive()
    assert folder.pid() is None


def test_a_killed_process_no_longer_holds_its_run(folder):
    hold = "import sys,time;from pathlib import Path;from trainer.runs.folder import RunFolder\n"
    hold += "with RunFolder(Path(sys.argv[1])).hold(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(folder.path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        assert folder.pid() == child.pid
        child.kill()
    assert not folder.is_alive()


def test_looking_does_not_keep_a_process_from_taking_its_run(folder):
    import fcntl

    folder.lock.touch()
    with open(folder.lock) as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        began = time.monotonic()
        with pytest.raises(RunError), locked(folder.lock, patience_seconds=0.05):
            pass
        assert time.monotonic() - began >= 0.05
        fcntl.flock(reader, fcntl.LOCK_UN)
        with folder.hold():
            pass


def test_stop_is_a_file(folder):
    assert not folder.stop_requested()
    folder.request_stop()
    assert folder.stop_requested()


def test_a_line_is_added_after_the_half_line_of_a_dead_process(folder):
    folder.append(Warned(message="first"))
    with open(folder.events, "ab") as file:
        file.write(b'{"kind": "warn')
    folder.append(Warned(message="second"))
    assert folder.last_record()["message"] == "second"
    assert folder.events.read_bytes().count(b"\n") == 3


def test_a_run_gets_one_end_and_not_while_it_is_alive(folder):
    with folder.hold():
        folder.end(STOPPED)
    assert folder.last_record() is None
    folder.end(STOPPED)
    folder.end(Failed(what="too late"))
    assert folder.events.read_bytes().count(b"\n") == 1
    assert folder.last_record()["kind"] == "finished"


def test_a_run_waits_until_its_first_event_and_again_when_it_is_to_be_resumed(folder):
    assert folder.is_waiting()
    folder.append(Warned(message="begun"))
    assert not folder.is_waiting()
    folder.append(PhaseChanged(phase=WAITING))
    assert folder.is_waiting()
    folder.events.write_bytes(b"garbage")
    assert not folder.is_waiting()


def test_the_tail_of_the_log_skips_empty_lines_and_survives_bytes_that_are_no_text(folder):
    assert folder.log_tail() == ""
    folder.log.write_bytes(b"x" * 100_000 + b"\n\n" + b"\n".join(b"line %d" % n for n in range(12)) + b"\n\xff\n\n")
    assert folder.log_tail(2) == "line 11\n\ufffd"
    assert len(folder.log_tail().splitlines()) == 10
