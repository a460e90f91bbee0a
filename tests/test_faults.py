"""What must be survived, with the bundled model and real processes; `python -m tests.torture` kills more often."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.torture import STEPS, Outcome, begin, finish, kill_and_resume, outcome, undisturbed
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What becomes of the run that nothing disturbs."""
    return undisturbed(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that SIGTERM has ended in its last third. Copy it to go on with it."""
    seconds: list[float] = []
    while not seconds or (seconds[-1] >= 10 and len(seconds) < 3):  # a busy machine gets more tries
        folder = tmp_path_factory.mktemp("stopped") / "run"
        process = begin(folder)
        until(lambda folder=folder: RunReader(RunFolder(folder)).read().step >= STEPS * 2 // 3)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        seconds.append(time.monotonic() - asked)
    assert seconds[-1] < 10, seconds
    return folder


def until(true: Callable[[], object], seconds: float = 120.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("aim", ["save", "evaluation"])
def test_a_killed_run_resumes_to_the_same_bits_and_tells_each_step_once(
    aim: str, whole: Outcome, tmp_path: Path
) -> None:
    assert kill_and_resume(tmp_path / "run", aim, random.Random()).outcome == whole


def test_sigterm_is_a_stop_from_which_the_run_goes_on(stopped: Path, whole: Outcome, tmp_path: Path) -> None:
    view = RunReader(RunFolder(stopped)).read()
    assert view.state == "stopped" and view.can_resume and view.step < STEPS
    assert (stopped / f"checkpoints/step-{view.step}").is_dir()
    folder = shutil.copytree(stopped, tmp_path / "run")
    finish(folder)
    assert outcome(folder) == whole


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(path.read_bytes()[:-1000]), flip_a_byte, Path.unlink],
    ids=["truncated", "a byte flipped", "missing"],
)
def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(
    damage: Callable[[Path], object], stopped: Path, whole: Outcome, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    newest = max((folder / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    damage(newest / "model.safetensors")
    finish(folder)
    assert f"The checkpoint {newest.name} is damaged" in RunReader(RunFolder(folder)).read().warnings[0]
    assert outcome(folder) == whole


def test_a_model_too_large_for_the_memory_ends_in_words_that_name_what_to_lower(tmp_path: Path) -> None:
    memory = 2000 << 20  # torch and its libraries take three quarters of it
    limited = begin(
        tmp_path / "run",
        limits={resource.RLIMIT_DATA: memory},
        from_scratch="768x12x12x8192",
        max_documents=40,
        per_device_train_batch_size=8,
    )
    assert limited.wait(300) == 1
    view = RunReader(RunFolder(tmp_path / "run")).read()
    assert view.state == "failed" and view.failure is not None
    assert view.failure[0] == "The memory is full."
    assert "per_device_train_batch_size from 8 to 4" in view.failure[1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that is soon full: 260 MB, 150 of them taken."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=260m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    (disk / "ballast").write_bytes(bytes(150 << 20))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_the_run_with_words_and_it_goes_on_once_there_is_room(
    small_disk: Path, whole: Outcome
) -> None:
    folder = small_disk / "run"
    assert begin(folder).wait(300) == 1
    view = RunReader(RunFolder(folder)).read()
    assert view.state == "failed" and view.failure is not None
    assert view.failure[0] == "The disk is full." and "resume" in view.failure[1]
    (checkpoint,) = (folder / "checkpoints").iterdir()  # the one before, and no half one
    assert shutil.disk_usage(small_disk).free > 1 << 20
    (small_disk / "ballast").unlink()
    finish(folder)
    assert outcome(folder) == whole
    starts = [r for r in (folder / "events.jsonl").read_text().splitlines() if '"run_started"' in r]
    assert f'"resumed_from_step": {checkpoint.name.removeprefix("step-")}' in starts[-1]
