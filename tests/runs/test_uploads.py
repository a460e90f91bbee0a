"""Text that visitors brought: kept once, named by its content, and removed when nobody needs it."""

import errno
import os
import shutil
import time
import zipfile

import pytest

from trainer.config import TrainConfig
from trainer.errors import DataError
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.uploads import UNUSED_SECONDS, UPLOADS, keep_file, keep_files, keep_text, remove_unused


def brought_long_ago(home, text):
    path = keep_text(home, text)
    os.utime(path.parent, (0, 0))
    return path


def learned_from(home, text, run_id="20260101-120000-quiet-otter"):
    """A run that is over, which learned from this text."""
    folder = RunFolder(home / run_id)
    folder.write_config(TrainConfig(dataset=str(text)))
    folder.events.write_text('{"kind": "finished", "reason": "completed", "step": 1}\n', encoding="utf-8")
    return folder


def kept(home):
    return sorted(path.name for path in (home / UPLOADS).rglob("*") if path.is_file())


def test_text_that_no_run_learns_from_is_removed_after_an_hour(tmp_path):
    used, unused = brought_long_ago(tmp_path, "of a run"), brought_long_ago(tmp_path, "only looked at")
    learned_from(tmp_path, used)
    new = keep_text(tmp_path, "just now")
    remove_unused(tmp_path)
    assert used.exists() and new.exists() and not unused.parent.exists()


def test_a_new_text_removes_those_nobody_uses_and_reads_the_settings_of_runs_once_an_hour(
    tmp_path, opened_files, monkeypatch
):
    used, unused = brought_long_ago(tmp_path, "of a run"), brought_long_ago(tmp_path, "only looked at")
    settings = learned_from(tmp_path, used).config
    opened = opened_files(tmp_path)
    for hour in (1, 2):
        monkeypatch.setattr(time, "time", lambda hour=hour: 1e6 + hour * UNUSED_SECONDS)
        for text in "ab":
            assert keep_text(tmp_path, f"{text} {hour}").exists()
        assert opened.count(str(settings)) == hour
    assert used.exists() and not unused.exists()


def test_text_that_is_brought_again_is_kept_for_another_hour(tmp_path):
    text = brought_long_ago(tmp_path, "some text")
    assert keep_text(tmp_path, "some text") == text
    remove_unused(tmp_path)
    assert text.exists()


def test_no_text_is_removed_while_the_settings_of_a_run_cannot_be_read(tmp_path):
    text = brought_long_ago(tmp_path, "of a run, perhaps")
    (tmp_path / "20260101-120000-quiet-otter" / "config.json").mkdir(parents=True)
    remove_unused(tmp_path)
    assert text.exists()


def test_what_is_no_text_of_ours_is_left_alone(tmp_path):
    (tmp_path / UPLOADS / "notes").mkdir(parents=True)
    os.utime(tmp_path / UPLOADS / "notes", (0, 0))
    remove_unused(tmp_path)
    assert (tmp_path / UPLOADS / "notes").exists()


def test_with_the_last_run_that_learned_from_it_a_text_goes_too(tmp_path):
    text = brought_long_ago(tmp_path, "shared by two")
    runs = [learned_from(tmp_path, text, f"20260101-12000{n}-quiet-otter").id for n in range(2)]
    manager = RunManager(tmp_path, {}, starts=False)
    try:
        manager.delete(runs[0])
        assert text.exists()
        manager.delete(runs[1])
        assert not text.exists()
    finally:
        manager.close()


def test_a_start_removes_what_was_brought_and_never_used(tmp_path):
    text = brought_long_ago(tmp_path, "only looked at")
    RunManager(tmp_path, {}, starts=False).close()
    assert not text.exists()


def test_a_full_disk_is_said_in_words_and_keeps_no_half_of_a_text(tmp_path, monkeypatch):
    source = tmp_path / "notes.txt"
    source.write_text("some text", encoding="utf-8")

    def half_of_it(source, target):
        target.write_text("some", encoding="utf-8")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", half_of_it)
    with pytest.raises(DataError, match="No space left on device"):
        keep_file(tmp_path, source)
    assert kept(tmp_path) == []


def test_several_files_take_their_room_once_and_the_same_ones_have_the_same_name(tmp_path):
    sources = [tmp_path / name for name in ("a.txt", "b.txt")]
    for source in sources:
        source.write_text(f"text of {source.name}", encoding="utf-8")
    path = keep_files(tmp_path, sources)
    assert kept(tmp_path) == ["2-files.zip"] and zipfile.ZipFile(path).namelist() == ["0/a.txt", "1/b.txt"]
    written = path.stat().st_mtime_ns
    time.sleep(0.01)
    assert keep_files(tmp_path, sources) == path and path.stat().st_mtime_ns == written
    sources[1].write_text("another text", encoding="utf-8")
    assert keep_files(tmp_path, sources) != path
