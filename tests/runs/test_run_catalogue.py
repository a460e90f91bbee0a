"""All runs at once: a thousand that are over cost next to nothing, and one that is taken up again is noticed."""

import os
import time

import pytest

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.events import Finished, RunStarted
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager

STARTED = RunStarted(device="cpu", device_name="chip", processes=1, threads=1, precision="float32", versions={})


STOPPED = Finished(reason="stopped", step=3, elapsed_seconds=1.0, model=None)


def over(home, name, *, interrupted=False):
    folder = RunFolder(home / name)
    folder.write_config(TrainConfig())
    folder.lock.write_text("1\n")
    folder.append(STARTED)
    (folder.checkpoints / "step-3").mkdir(parents=True)
    if not interrupted:
        folder.append(STOPPED)
    return folder


def test_a_second_of_a_thousand_finished_runs_opens_no_file(thousand_runs, opened_files):
    manager = RunManager(thousand_runs, os.environ)
    assert len(manager.views()) == 1000
    opened = opened_files(thousand_runs)
    time.sleep(1.1)  # what the manager knows is then a second old, and it looks again
    assert all(view.state == "completed" for view in manager.views())
    manager.close()
    assert not opened


def test_listed_runs_that_are_over_keep_their_figures_but_not_their_curves(thousand_runs):
    manager = RunManager(thousand_runs, os.environ)
    listed = manager.views()[0]
    whole = manager.view(listed.id)
    manager.close()
    assert listed.points == () and len(whole.points) == 55
    assert (listed.version, listed.perplexity_before) == (whole.version, whole.perplexity_before)
    assert listed.perplexity_change == pytest.approx(2.718281828 ** (-54 / 60) - 1)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_that_a_shell_takes_up_again_is_noticed(stage, interrupted):
    folder = over(stage.home, "20260101-120000-calm-lynx", interrupted=interrupted)
    manager = stage.manager()
    assert [view.state for view in manager.views()] == ["interrupted" if interrupted else "stopped"]
    with folder.hold():
        if not interrupted:
            folder.append(STARTED)
        began = time.monotonic()
        stage.until(lambda: manager.views()[0].state == "running")
        assert time.monotonic() - began < 4.0
    stage.until(lambda: manager.views()[0].state == "interrupted")


def test_runs_that_come_and_go_without_the_manager_are_listed_and_dropped(stage):
    manager = stage.manager()
    assert manager.views() == []
    folder = over(stage.home, "20260101-120000-calm-lynx")
    assert [view.id for view in manager.views()] == [folder.id]
    folder.path.rename(stage.home / "elsewhere")
    assert manager.views() == []


def test_a_folder_is_no_run_before_it_has_settings(stage):
    manager = stage.manager()
    folder = RunFolder(stage.home / "20260101-120000-calm-lynx")
    folder.path.mkdir()
    assert manager.views() == []
    folder.write_config(TrainConfig())
    assert [view.id for view in manager.views()] == [folder.id]


def test_a_history_that_was_dropped_from_memory_reads_the_same_again(thousand_runs):
    manager = RunManager(thousand_runs, os.environ)
    first, *others = [view.id for view in manager.views()[:40]]
    before = manager.view(first)
    for run_id in others:
        manager.view(run_id)
    after = manager.view(first)
    manager.close()
    assert after == before and after is not before
    with pytest.raises(RunError, match="There is no run"):
        manager.view("20200101-999999-no-run")
