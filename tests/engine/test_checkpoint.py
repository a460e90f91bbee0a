"""A checkpoint is whole or not there, and is verified before it is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.engine.checkpoint import STATE, newest_checkpoint, read_state, replace_folder, save_checkpoint, write_json

PROJECT = Path(__file__).resolve().parents[2]


def writers(step):
    return {
        "weights.bin": lambda path: path.write_bytes(bytes([step]) * 4096),
        STATE: lambda path: write_json(path, {"step": step}),
    }


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of steps 5 and 10."""
    for step in (5, 10):
        save_checkpoint(tmp_path, step, writers(step))
    return tmp_path


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def fail(path):
    path.write_bytes(b"half")
    raise OSError("No space left on device")


def test_the_newest_is_found_by_number_and_gives_its_state_back(saved, collected):
    save_checkpoint(saved, 100, writers(100))
    newest = newest_checkpoint(saved, collected.append)
    assert newest == saved / "step-100"
    assert read_state(newest) == {"step": 100}
    assert collected == []


def test_two_are_kept(saved):
    for step in (15, 20):
        save_checkpoint(saved, step, writers(step))
    assert names(saved) == ["step-15", "step-20"]


def test_a_new_checkpoint_stays_and_damaged_ones_of_later_steps_go(saved, collected):
    for name in ("step-5", "step-10"):
        (saved / name / "weights.bin").write_bytes(b"damaged")
    save_checkpoint(saved, 3, writers(3))
    assert newest_checkpoint(saved, collected.append) == saved / "step-3"
    assert names(saved) == ["step-3"]


def test_saving_a_step_again_replaces_it(saved, collected):
    save_checkpoint(saved, 10, writers(11))
    assert read_state(newest_checkpoint(saved, collected.append)) == {"step": 11}
    assert names(saved) == ["step-10", "step-5"]


@pytest.mark.parametrize("failing", ["weights.bin", STATE])
def test_a_writer_that_fails_leaves_no_checkpoint_and_the_old_ones_in_place(failing, saved, collected):
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(saved, 15, writers(15) | {failing: fail})
    assert not (saved / "step-15").exists()
    assert newest_checkpoint(saved, collected.append) == saved / "step-10"
    save_checkpoint(saved, 15, writers(15))
    assert names(saved) == ["step-10", "step-15"]


def test_a_process_killed_while_it_writes_leaves_no_checkpoint(saved, collected):
    program = (
        "import os, signal, sys; from pathlib import Path; from trainer.engine.checkpoint import save_checkpoint\n"
        "def half(path):\n    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "save_checkpoint(Path(sys.argv[1]), 15, {'weights.bin': lambda path: path.touch(), 'state.json': half})"
    )
    child = subprocess.run([sys.executable, "-c", program, str(saved)], cwd=PROJECT, timeout=60)
    assert child.returncode == -9
    assert not (saved / "step-15").exists()
    assert newest_checkpoint(saved, collected.append) == saved / "step-10"
    assert collected == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "weights missing": lambda folder: (folder / "weights.bin").unlink(),
    "state missing": lambda folder: (folder / STATE).unlink(),
    "one bit of the weights flipped": lambda folder: flip(folder / "weights.bin"),
    "one bit of the state flipped": lambda folder: flip(folder / STATE),
    "one bit of the manifest flipped": lambda folder: flip(folder / "manifest.json"),
    "weights truncated": lambda folder: truncate(folder / "weights.bin"),
    "weights empty": lambda folder: (folder / "weights.bin").write_bytes(b""),
    "weights a folder": lambda folder: ((folder / "weights.bin").unlink(), (folder / "weights.bin").mkdir()),
    "manifest missing": lambda folder: (folder / "manifest.json").unlink(),
    "manifest truncated": lambda folder: truncate(folder / "manifest.json"),
    "manifest garbage": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\x00garbage"),
    "manifest of nothing": lambda folder: (folder / "manifest.json").write_text("{}"),
    "manifest a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "manifest null": lambda folder: (folder / "manifest.json").write_text("null"),
    "manifest without facts": lambda folder: (folder / "manifest.json").write_text(json.dumps({STATE: None})),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_is_named_and_passed_over_for_the_one_before(damage, saved, collected):
    DAMAGES[damage](saved / "step-10")
    assert newest_checkpoint(saved, collected.append) == saved / "step-5"
    (warning,) = collected
    assert "step-10 is damaged" in warning and "passed over" in warning


def test_when_all_are_damaged_there_is_none_and_each_is_named(saved, collected):
    for step in (5, 10):
        truncate(saved / f"step-{step}" / "weights.bin")
    assert newest_checkpoint(saved, collected.append) is None
    assert ["step-10" in collected[0], "step-5" in collected[1]] == [True, True]


def test_other_names_are_no_checkpoints(saved, collected):
    for name in ("step-", "step-x", "step-99.tmp", ".step-99.tmp", "final"):
        (saved / name).mkdir()
    assert newest_checkpoint(saved, collected.append) == saved / "step-10"
    assert newest_checkpoint(saved / "missing", collected.append) is None


def test_a_folder_is_filled_first_and_then_put_in_place(tmp_path):
    target = tmp_path / "model"
    replace_folder(target, lambda folder: (folder / "weights").write_text("old"))
    assert (target / "weights").read_text() == "old"

    def write(folder):
        (folder / "weights").write_text("new")
        assert (target / "weights").read_text() == "old"

    replace_folder(target, write)
    assert (target / "weights").read_text() == "new"
    assert names(tmp_path) == ["model"]


def test_a_folder_whose_writer_fails_keeps_its_old_files(tmp_path):
    target = tmp_path / "model"
    replace_folder(target, lambda folder: (folder / "weights").write_text("old"))
    with pytest.raises(OSError):
        replace_folder(target, lambda folder: fail(folder / "weights"))
    assert (target / "weights").read_text() == "old"
    replace_folder(target, lambda folder: (folder / "weights").write_text("new"))
    assert (target / "weights").read_text() == "new"
