"""When to save and when the time is over, on a clock that the test turns."""

from __future__ import annotations

import pytest

from trainer.engine import pace
from trainer.engine.pace import SAVING_PAUSE, SAVING_SHARE, Pace


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(pace.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.mark.parametrize("save_seconds", [0.01, 0.3, 5.0])
def test_saving_keeps_to_its_share_of_the_time(save_seconds, clock):
    run = Pace(clock.now, None, 60_000_000)
    began, saves = clock.now, 0
    for _ in range(40_000):
        clock.now += 0.1
        if run.save_is_due(last=False):
            clock.now += save_seconds
            run.note_save(save_seconds)
            saves += 1
    seconds = clock.now - began
    assert saves * save_seconds <= SAVING_SHARE * seconds
    assert saves >= 0.5 * min(SAVING_SHARE * seconds / save_seconds, seconds / SAVING_PAUSE)


def test_a_large_checkpoint_is_not_tried_before_it_has_earned_its_time(clock):
    run = Pace(clock.now, None, checkpoint_bytes=1_000_000_000)
    clock.now += 60
    assert not run.save_is_due(last=False)
    clock.now += 600
    assert run.save_is_due(last=False)


def test_the_last_checkpoint_needs_no_pause_but_its_share(clock):
    run = Pace(clock.now, None, checkpoint_bytes=10_000_000)
    clock.now += 1
    assert not run.save_is_due(last=True)
    clock.now += 2
    assert run.save_is_due(last=True) and not run.save_is_due(last=False)


def test_a_budget_leaves_time_for_the_last_steps_and_the_save(clock):
    run = Pace(clock.now, 60.0, checkpoint_bytes=0)
    run.note_save(10.0)
    clock.now += 100
    assert not run.is_out_of_time()  # before the first step never, or a slice might not get on
    clock.now -= 100
    for seconds, over in ((30.0, False), (45.9, False), (46.1, True)):
        clock.now = 1000.0 + seconds
        run.note_step(1.0)
        assert run.is_out_of_time() is over


def test_a_slow_first_step_is_forgotten(clock):
    run = Pace(clock.now, 100.0, checkpoint_bytes=0)
    run.note_step(20.0)
    clock.now += 30
    assert run.is_out_of_time()
    for _ in range(50):
        run.note_step(0.5)
    assert not run.is_out_of_time()


@pytest.mark.parametrize(("evaluation_seconds", "over_after"), [(0.0, 56.0), (4.0, 51.2), (40.0, 56.0)])
def test_a_budget_leaves_time_for_an_evaluation_that_takes_a_small_share_of_it(evaluation_seconds, over_after, clock):
    run = Pace(clock.now, 60.0, checkpoint_bytes=0)
    run.evaluation_seconds = evaluation_seconds
    run.note_step(1.0)
    for seconds in (-0.1, 0.1):
        clock.now = 1000.0 + over_after + seconds
        assert run.is_out_of_time() is (seconds > 0)


def test_a_budget_is_over_when_it_has_left_what_a_save_takes_even_before_the_first_step(clock):
    run, endless = (Pace(clock.now, most, checkpoint_bytes=0) for most in (60.0, None))
    run.note_save(10.0)
    clock.now += 49
    assert not run.is_over() and run.seconds_left == 11.0
    clock.now += 2
    assert run.is_over() and not run.is_out_of_time() and not endless.is_over()


def test_where_steps_take_milliseconds_the_curve_has_two_points_a_second(clock):
    run, points = Pace(clock.now, None, 60_000_000), 0
    assert run.point_is_due()  # before the first step
    for _ in range(5_000):
        clock.now += 0.002
        if run.point_is_due():
            run.note_point()
            points += 1
    assert 19 <= points <= 21
