"""A run as a zip file: what is in it, what is not, and that it costs no memory."""

import os
import tracemalloc
import zipfile

import pytest

from trainer.errors import RunError
from trainer.runs.archive import write_archive
from trainer.runs.launch import PROJECT


@pytest.fixture
def folder(run):
    """A run with a model of 40 MB, a checkpoint, and machine paths in its log."""
    run.begins()
    run.finishes("completed")
    run.folder.log.write_text(f"made by {PROJECT}/trainer in {run.folder.path}\n")
    for name, content in {"config.json": b"{}", "model.safetensors": os.urandom(40_000_000)}.items():
        run.folder.model.mkdir(exist_ok=True)
        (run.folder.model / name).write_bytes(content)
    (run.folder.checkpoints / "step-1").mkdir(parents=True)
    (run.folder.checkpoints / "step-1" / "model.safetensors").write_bytes(b"secret")
    return run.folder


def test_model_settings_events_and_log_are_in_it_and_nothing_else(folder, tmp_path):
    (tmp_path / "elsewhere").write_text("not ours")
    (folder.model / "link.txt").symlink_to(tmp_path / "elsewhere")
    (folder.path / "stop").touch()
    path = write_archive(folder, tmp_path / "cache")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            f"quiet-otter/{name}"
            for name in ("config.json", "events.jsonl", "log.txt", "model/config.json", "model/model.safetensors")
        ]
        stored = archive.read("quiet-otter/model/model.safetensors")
        assert stored == (folder.model / "model.safetensors").read_bytes()
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        log = archive.read("quiet-otter/log.txt").decode()
        assert log == "made by (Mask Studio)/trainer in (runs)/20260101-120000-quiet-otter\n"
    assert path.name == "quiet-otter.zip" and path.is_relative_to(tmp_path / "cache")


def test_no_file_is_held_in_memory_and_progress_rises_to_one(folder, tmp_path):
    shares = []
    tracemalloc.start()
    write_archive(folder, tmp_path / "cache", shares.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert shares == sorted(shares) and 0.99 < shares[-1] <= 1.0 and len(shares) > 20


def test_an_unchanged_run_is_packed_once_and_a_changed_one_again(folder, tmp_path):
    first = write_archive(folder, tmp_path / "cache")
    made = first.stat().st_mtime_ns, first.stat().st_ino
    assert write_archive(folder, tmp_path / "cache") == first and first.stat().st_ino == made[1]
    folder.log.write_text("more\n")
    assert write_archive(folder, tmp_path / "cache") != first


def test_a_run_without_a_model_is_packed_too(run, tmp_path):
    run.begins()
    with zipfile.ZipFile(write_archive(run.folder, tmp_path / "cache")) as archive:
        assert archive.namelist() == ["quiet-otter/config.json", "quiet-otter/events.jsonl"]


def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.runs.archive.os.replace", full)
    with pytest.raises(RunError, match="can't be made: No space left on device"):
        write_archive(folder, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_an_unknown_run_has_no_archive(stage, tmp_path):
    with pytest.raises(RunError, match="There is no run"):
        stage.manager().archive("../../etc", tmp_path)
