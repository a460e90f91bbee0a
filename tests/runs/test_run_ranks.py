"""The processes of a run notice each other's end, and the one that was first is blamed."""

import pytest

from trainer.errors import RANK_LOST, RunError, TrainingError
from trainer.events import Failed
from trainer.runs import ranks
from trainer.runs.folder import RunFolder
from trainer.runs.ranks import Ranks, ranks_of

ECHO, FULL = Failed(what=RANK_LOST[0], fix=RANK_LOST[1]), Failed(what="The memory is full.", fix="Lower it.")


def nothing(cause):
    raise AssertionError("nobody was lost")


@pytest.fixture
def three(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(ranks, "BLAME_SECONDS", 0.2)
    return [Ranks(RunFolder(tmp_path), rank, 3) for rank in range(3)]


def test_whoever_died_first_is_blamed_with_its_last_words_and_not_who_only_noticed(three):
    first, second, third = three
    with first.joined(nothing):
        with pytest.raises(MemoryError), third.joined(nothing), second.joined(nothing):
            first.check()  # sees them
            third.tell_failure(ECHO)
            second.tell_failure(FULL)
            raise MemoryError
        assert first.blame(ECHO) == Failed(what="Process 2 of 3 failed: The memory is full.", fix="Lower it.")
        assert first.blame(FULL) == FULL  # its own is no echo
        with pytest.raises(TrainingError):
            first.check()


def test_a_process_left_alone_that_only_waits_is_told_to_leave(three, tmp_path):
    first, second, _ = three
    causes = []
    with second.joined(causes.append):
        with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path).hold(), first.joined(nothing):
            second.check()
            raise KeyboardInterrupt  # as a kill, it leaves no word
        while not causes:
            pass
    assert causes[0].what == "Process 1 of 3 was ended without a last word."
    assert RunFolder(tmp_path).last_record()["what"] == causes[0].what  # as nobody else is left to write it


def test_those_that_end_in_order_alarm_nobody(three):
    with three[0].joined(nothing):
        with three[1].joined(nothing):
            three[0].check()
        three[0].check()


def test_a_launcher_that_started_fewer_than_were_asked_for_is_an_error(tmp_path):
    folder = RunFolder(tmp_path)
    assert ranks_of({"WORLD_SIZE": "2", "RANK": "1"}, folder, 2).rank == 1
    assert ranks_of({"MASTER_ADDR": "cluster-3"}, folder).size == 1
    for environment, asked in [({}, 2), ({"WORLD_SIZE": "2", "RANK": "0"}, 3)]:
        with pytest.raises(RunError, match=f"^{asked} processes were asked for"):
            ranks_of(environment, folder, asked)
    with pytest.raises(RunError, match="started 1"):  # what `accelerate launch --cpu --num_processes 2` does
        ranks_of({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, folder)
