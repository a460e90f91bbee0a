"""Runs on a lent GPU: slice by slice, within a visitor's quota, and none is lost when a process is killed."""

import errno
import importlib.util
import os
import sys
import time
from pathlib import Path

import gradio as gr
import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.events import CheckpointSaved, Finished, GpuLent, Paused, RunStarted, StepLogged
from trainer.runs.backends import backend_of
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.ownership import OwnRuns, Visitor
from trainer.runs.zero_gpu import TRIES, Slicer, ZeroGpu

STAND_IN = Path(__file__).parents[1] / "zero_gpu" / "spaces.py"
EVERYBODY = Visitor(sees_all=True)


def worker(path, seconds):
    """A slice as the engine would tell it: a step and a checkpoint each, three to the end of the run."""
    folder = RunFolder(Path(path))
    todo = folder.read_config().dataset
    if todo == "full disk":  # nothing can be told, and so nothing is
        return
    with folder.hold():
        if not folder.is_waiting() or folder.stop_requested():
            return
        done = max((int(file.name[5:]) for file in folder.checkpoints.glob("step-*")), default=0)
        folder.append(GpuLent(seconds=seconds))
        folder.append(RunStarted(device="cuda", device_name="chip", processes=1, threads=1, precision="float32",
                                 versions={}, resumed_from_step=done or None))  # fmt: skip
        yield "run_started"
        if todo == "hang":
            time.sleep(60)
        step = done + 1
        folder.append(StepLogged(step=step, epoch=0.1, loss=1.0, learning_rate=1.0, grad_norm=1.0,
                                 tokens_per_second=1.0, elapsed_seconds=0.1))  # fmt: skip
        yield "step_logged"
        while todo == "until stopped" and not folder.stop_requested():
            time.sleep(0.01)
            yield ""
        if folder.stop_requested():
            folder.append(Finished(reason="stopped", step=step, elapsed_seconds=0.1, model=None))
            return
        (folder.checkpoints / f"step-{step}").mkdir(parents=True)
        folder.append(CheckpointSaved(step=step, path=f"checkpoints/step-{step}", seconds=0.1))
        yield "checkpoint_saved"
        if step == 3:
            folder.append(Finished(reason="completed", step=3, elapsed_seconds=0.1, model=None))
        else:
            folder.append(Paused(step=step, elapsed_seconds=0.1))
        yield "the end"


@pytest.fixture
def spaces(monkeypatch):
    """The stand-in, as the package of that name."""
    spec = importlib.util.spec_from_file_location("spaces", STAND_IN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return module


@pytest.fixture
def manager(tmp_path):
    manager = RunManager(tmp_path, {}, starts=False)
    yield manager
    manager.close()


@pytest.fixture
def make_slicer(manager, spaces):
    return lambda seconds=30.0: Slicer(manager, ZeroGpu().lent(worker), seconds)


def states(manager, run_id):
    view = manager.view(run_id)
    return view.state, view.step


def give(slicer, own, slices=1):
    for _ in range(slices):
        list(slicer.slice_of(own))


def test_a_run_works_slice_by_slice_and_waits_between_them(manager, make_slicer):
    slicer, own = make_slicer(), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig())
    for step in (1, 2):
        give(slicer, own)
        assert states(manager, run_id) == ("queued", step)
        assert manager.view(run_id).slice_number == step + 1
    give(slicer, own)
    assert states(manager, run_id) == ("completed", 3)
    assert slicer.next_of(own) is None


def test_a_process_that_is_killed_in_a_slice_costs_no_more_than_that_slice(manager, make_slicer, spaces):
    spaces.lender.kill_after = {2: 2}
    slicer, own = make_slicer(), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig())
    give(slicer, own, 2)
    assert manager.view(run_id).state == "queued"
    give(slicer, own, 2)
    view = manager.view(run_id)
    assert (view.state, view.step) == ("completed", 3)
    assert [point["step"] for point in view.points] == [1, 2, 3]


def test_a_run_that_never_comes_to_a_checkpoint_in_its_time_fails_in_words(manager, make_slicer):
    slicer, own = make_slicer(1.0), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig(dataset="hang"))
    for slices in range(1, TRIES):
        give(slicer, own)
        assert manager.view(run_id).state == "queued", slices
    give(slicer, own)
    view = manager.view(run_id)
    assert view.state == "failed" and view.can_resume
    assert "came to no checkpoint: GPU task aborted." in view.failure[0]


def test_slices_that_end_in_order_and_come_to_nothing_are_not_asked_for_for_ever(manager, make_slicer, spaces):
    slicer, own = make_slicer(), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig(dataset="full disk"))
    give(slicer, own, TRIES)
    assert manager.view(run_id).failure[0] == f"{TRIES} slices in a row came to no checkpoint."
    give(slicer, own)
    assert len(spaces.lender.lent) == TRIES
    own.resume(run_id)
    give(slicer, own)
    assert manager.view(run_id).state == "queued" and len(spaces.lender.lent) == TRIES + 1


def test_no_further_slice_is_paid_for_where_not_even_the_end_of_a_run_can_be_told(
    manager, make_slicer, spaces, monkeypatch
):
    slicer, own = make_slicer(), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig(dataset="full disk"))
    give(slicer, own, TRIES - 1)

    def full(self, event, now=None):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                give(slicer, own)
    assert len(spaces.lender.lent) == TRIES and manager.view(run_id).state == "queued"
    give(slicer, own)
    assert len(spaces.lender.lent) == TRIES and manager.view(run_id).state == "failed"
    own.resume(run_id)
    give(slicer, own)
    assert len(spaces.lender.lent) == TRIES + 1


def test_a_slice_is_as_long_as_the_rest_of_the_visitors_quota(manager, make_slicer, spaces):
    spaces.lender.quota = 12.5
    own = OwnRuns(manager, EVERYBODY)
    own.start(TrainConfig())
    give(make_slicer(30.0), own)
    assert [seconds for _, seconds in spaces.lender.lent] == [12.0]


def test_a_quota_that_is_used_up_is_a_sentence_and_the_run_goes_on_later(manager, make_slicer, spaces):
    slicer, own = make_slicer(30.0), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig())
    give(slicer, own)
    spaces.lender.quota = 9.0
    give(slicer, own)
    view = manager.view(run_id)
    assert view.failure[0].startswith("Your ZeroGPU quota is used up: ") and "s are left" in view.failure[0]
    assert view.failure[1] == "Resume the run in 3:22:10: it goes on from its last checkpoint."
    spaces.lender.quota = 1e9
    own.resume(run_id)
    give(slicer, own, 2)
    assert states(manager, run_id) == ("completed", 3)


def test_a_gpu_that_is_not_free_is_asked_for_again(manager, make_slicer, spaces):
    spaces.lender.refusals = [gr.Error("No GPU was available after 60s", title="ZeroGPU queue timeout")]
    slicer, own = make_slicer(), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig())
    give(slicer, own)
    assert states(manager, run_id) == ("queued", 0)
    give(slicer, own, 3)
    assert states(manager, run_id) == ("completed", 3)


def test_a_stop_is_heard_in_a_slice_and_between_slices(manager, make_slicer):
    slicer, own = make_slicer(), OwnRuns(manager, EVERYBODY)
    run_id = own.start(TrainConfig(dataset="until stopped"))
    for sign in slicer.slice_of(own):
        assert sign is None
        if manager.view(run_id).step == 1 and manager.view(run_id).state == "running":
            manager.stop(run_id)
    assert states(manager, run_id) == ("stopped", 1)
    waiting = own.start(TrainConfig())
    give(slicer, own)
    manager.stop(waiting)
    assert slicer.next_of(own) is None and states(manager, waiting) == ("stopped", 1)


def test_a_visitors_quota_serves_their_own_runs_one_after_another(manager, make_slicer):
    slicer = make_slicer()
    alice, bob = (OwnRuns(manager, Visitor(marks=(name,))) for name in ("@alice", "@bob"))
    owner = OwnRuns(manager, Visitor(marks=("@owner",), sees_all=True))
    first, second, other = alice.start(TrainConfig()), alice.start(TrainConfig()), bob.start(TrainConfig())
    assert (slicer.next_of(alice), slicer.next_of(bob), slicer.next_of(owner)) == (first, other, None)
    working = slicer.slice_of(alice)
    next(working)
    assert slicer.next_of(alice) is None and slicer.next_of(bob) == other
    list(working)
    give(slicer, alice, 2)
    assert slicer.next_of(alice) == second


def test_it_is_chosen_by_itself_on_a_space_with_zero_gpu_and_refused_elsewhere(spaces):
    lent = {"SPACES_ZERO_GPU": "true"}
    assert isinstance(backend_of(lent), ZeroGpu)
    assert backend_of(lent | {"MASK_STUDIO_BACKEND": "zero", "MASK_STUDIO_SLICE_SECONDS": "120"}).seconds == 120
    assert not isinstance(backend_of(lent | {"MASK_STUDIO_BACKEND": "process"}), ZeroGpu)
    with pytest.raises(ConfigError, match="this is no Space with ZeroGPU"):
        backend_of({"MASK_STUDIO_BACKEND": "zero"})
    with pytest.raises(ConfigError, match="MASK_STUDIO_SLICE_SECONDS is 'long'; it must be a number from 1 to 600"):
        backend_of(lent | {"MASK_STUDIO_SLICE_SECONDS": "long"})


def test_a_run_on_a_rented_machine_begins_by_itself_and_takes_no_slices(tmp_path, spaces):
    told = "print('begun')"
    manager = RunManager(tmp_path, {}, starts=False, command=lambda folder: [sys.executable, "-S", "-c", told])
    try:
        slicer, own = Slicer(manager, ZeroGpu().lent(worker)), OwnRuns(manager, EVERYBODY)
        here, rented = own.start(TrainConfig()), own.start(TrainConfig(), backend="job:t4-small")
        give_up = time.monotonic() + 60
        while not manager.view(rented).is_over:
            assert slicer.next_of(own) == here and time.monotonic() < give_up
            time.sleep(0.05)
        assert "begun" in manager.log(rented)
        give(slicer, own, 3)
        assert states(manager, here) == ("completed", 3)
    finally:
        manager.close()
