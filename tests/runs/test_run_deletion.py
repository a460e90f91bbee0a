"""A run that is deleted is gone as a whole, and none is whose job may still cost money."""

import shutil

import pytest

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.events import Failed, Finished, RunStarted
from trainer.runs.folder import RunFolder, run_ids
from trainer.runs.manager import RunManager

RUN = "20260101-120000-quiet-otter"
BEGUN = RunStarted(device="cpu", device_name="chip", processes=1, threads=1, precision="float32", versions={})


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / RUN)
    folder.write_config(TrainConfig(), owner="@alice")
    folder.append(BEGUN)
    return folder


@pytest.fixture
def open_manager(tmp_path):
    """Makes managers of this home, and closes them after the test."""
    managers = []

    def make(**options):
        managers.append(RunManager(tmp_path, {}, starts=False, **options))
        return managers[-1]

    yield make
    for manager in managers:
        manager.close()


@pytest.mark.parametrize("ending", [None, Failed(what="The Hub can't be reached.")])
def test_a_run_whose_job_may_go_on_is_kept_and_says_what_to_do(ending, folder, open_manager):
    folder.job.write_text("{}", encoding="utf-8")
    if ending:
        folder.append(ending)
    manager = open_manager()
    with pytest.raises(RunError, match=r"may still work on a rented machine\. Resume it, and stop it"):
        manager.delete(RUN)
    assert folder.has_job()
    folder.job.unlink()  # as following it to its end does
    manager.delete(RUN)
    assert not folder.path.exists()


def test_a_complete_run_is_deleted_though_its_job_was_not_forgotten(folder, open_manager):
    folder.job.write_text("{}", encoding="utf-8")
    folder.append(Finished(reason="completed", step=1, elapsed_seconds=1.0, model=None))
    open_manager().delete(RUN)
    assert not folder.path.exists()


@pytest.mark.parametrize("reason", [None, "stopped", "completed"])
def test_a_run_is_kept_while_another_that_may_go_on_starts_from_its_model(reason, folder, open_manager, tmp_path):
    folder.append(Finished(reason="completed", step=1, elapsed_seconds=1.0, model="model"))
    other = RunFolder(tmp_path / "20260101-120001-calm-lynx")
    other.write_config(TrainConfig(model=str(folder.model)))
    if reason:
        other.append(Finished(reason=reason, step=1, elapsed_seconds=1.0, model=None))
    manager = open_manager()
    if reason != "completed":
        with pytest.raises(RunError, match=r"calm-lynx starts from its model\. Let it come to its end, or delete it"):
            manager.delete(RUN)
        if not reason:
            manager.stop(other.id)
        manager.delete(other.id)
    manager.delete(RUN)
    assert not folder.path.exists()


def test_a_deletion_that_breaks_off_leaves_no_run_and_the_next_start_ends_it(
    folder, open_manager, tmp_path, monkeypatch
):
    def break_off(path):
        (
            path / "events.jsonl"
        ).unlink()  # without it the run would wait to begin; without owner.txt it would be nobody's
        (path / "owner.txt").unlink()
        raise PermissionError(13, "Permission denied")

    manager = open_manager()
    with monkeypatch.context() as patch, pytest.raises(RunError, match="can't be deleted: Permission denied"):
        patch.setattr(shutil, "rmtree", break_off)
        manager.delete(RUN)
    assert run_ids(tmp_path) == [] and manager.views() == []
    assert any(tmp_path.rglob("config.json"))
    assert open_manager().views() == []
    assert not any(tmp_path.rglob("config.json"))
