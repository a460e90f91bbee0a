"""The slices of a run on a lent GPU, counted from its events."""

from trainer.config import TrainConfig
from trainer.events import Finished, GpuLent, Paused
from trainer.runs.history import RunReader


def slices(run):
    view = run.read()
    return view.slice_number, view.slices


def test_a_run_that_is_not_in_slices_counts_none(run):
    run.begins()
    run.plans()
    assert slices(run) == (None, None)


def test_in_the_first_slice_their_number_comes_from_the_pace(run):
    run.tell(GpuLent(seconds=30.0))
    run.begins()
    run.plans()
    assert slices(run) == (1, None)
    run.steps(1, 2)  # two seconds each, of 100
    assert slices(run) == (1, 7)


def test_later_it_comes_from_the_steps_of_a_whole_slice(run):
    run.tell(GpuLent(seconds=30.0))
    run.begins()
    run.plans()
    run.steps(20)
    run.tell(Paused(step=25, elapsed_seconds=9.0))
    assert run.read().state == "queued" and slices(run) == (2, 4)
    run.tell(GpuLent(seconds=30.0))
    run.begins(resumed_from_step=25)
    assert slices(run) == (2, 4)
    run.tell(Paused(step=40, elapsed_seconds=9.0))  # a slower one
    assert slices(run) == (3, 6)


def test_a_time_budget_ends_the_run_before_that(run):
    run.folder.write_config(TrainConfig(max_seconds=70.0))
    run.read = RunReader(run.folder).read
    run.tell(GpuLent(seconds=30.0))
    run.begins()
    run.plans()
    run.tell(Paused(step=5, elapsed_seconds=9.0))
    assert slices(run) == (2, 3)


def test_the_pauses_between_slices_are_no_time_of_the_run(run):
    run.tell(GpuLent(seconds=30.0))
    run.begins()
    run.plans()
    run.tell(Paused(step=5, elapsed_seconds=9.0))
    worked = run.read().elapsed_seconds
    run.now += 1000
    run.tell(GpuLent(seconds=30.0))
    run.begins(resumed_from_step=5)
    run.tell(Finished(reason="completed", step=100, elapsed_seconds=9.0, model=None))
    assert run.read().elapsed_seconds < worked + 10
