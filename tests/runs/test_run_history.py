"""What a run's events add up to."""

import json
import statistics
import time

import pytest

from trainer.config import TrainConfig
from trainer.events import CheckpointSaved, Failed, PhaseChanged, Probed, Warned
from trainer.runs.folder import WAITING
from trainer.runs.history import RunReader


def test_a_run_without_events_is_queued(run):
    view = run.read(queue_position=3)
    assert (view.state, view.queue_position, view.phase) == ("queued", 3, WAITING)
    assert (view.name, view.step, view.config, view.is_over) == ("quiet-otter", 0, TrainConfig(), False)


def test_a_process_that_has_said_nothing_yet_is_starting(run):
    view = run.read(alive=True, queue_position=1)
    assert (view.state, view.phase, view.queue_position) == ("running", "Starting", None)


def test_a_living_run_shows_what_its_events_say(run):
    probe = Probed(step=0, text="a <mask>", candidates=[{"score": 0.5, "token_str": " b"}])
    run.begins()
    run.tell(PhaseChanged(phase="Training"))
    run.plans()
    run.evaluates(0, 5.0)
    run.tell(probe)
    run.steps(5)
    run.tell(Warned(message="slow"))
    run.evaluates(5, 4.0)
    run.steps(10)
    with run.folder.hold():
        view = run.read()
    assert (view.state, view.phase, view.step, view.steps, view.epoch) == ("running", "Training", 10, 100, 1.0)
    assert (view.device, view.device_name, view.precision, view.threads) == ("cuda", "NVIDIA T4", "bf16", 2)
    assert [point["step"] for point in view.points] == [5, 10]
    assert [record["loss"] for record in view.evaluations] == [5.0, 4.0]
    assert view.probes[0]["candidates"] == probe.candidates
    assert (view.warnings, view.planned["documents"], view.tokens_per_second) == (("slow",), 10, 900.0)
    assert (view.started_at, view.updated_at, view.ended_at, view.elapsed_seconds) == (1000, 1016, None, 16)
    assert (view.loss_before, view.loss_now, view.perplexity_before, view.perplexity_now) == (5.0, 4.0, 50.0, 40.0)


def test_the_remaining_time_follows_the_pace_of_recent_steps_and_is_unknown_before_two_points(run):
    run.begins()
    run.plans()
    run.steps(10)
    assert run.read(alive=True).remaining_seconds is None
    run.steps(20)
    assert run.read(alive=True).remaining_seconds == pytest.approx(80 * 2 / 10)


def test_a_time_budget_bounds_the_remaining_time(run):
    run.folder.write_config(TrainConfig(max_seconds=10.0))
    run.begins()
    run.plans()
    run.steps(1, 2)
    assert run.read(alive=True).remaining_seconds == pytest.approx(10 - 6)


@pytest.mark.parametrize(
    ("reason", "state"), [("completed", "completed"), ("time_budget", "completed"), ("stopped", "stopped")]
)
def test_a_run_is_over_with_its_last_word_even_while_the_process_is_still_ending(run, reason, state):
    run.begins()
    run.finishes(reason)
    view = run.read(alive=True)
    assert (view.state, view.is_over, view.phase, view.ended_at, view.failure) == (state, True, "", 1002, None)


def test_a_failed_run_says_what_and_how_to_mend_it(run):
    run.begins()
    run.tell(Failed(what="It broke.", fix="Mend it."))
    view = run.read()
    assert (view.state, view.failure) == ("failed", ("It broke.", "Mend it."))


def test_a_run_asked_to_stop_is_stopping_while_it_lives(run):
    run.begins()
    run.folder.request_stop()
    assert run.read(alive=True).state == "stopping"


def test_a_dead_run_without_a_last_word_is_interrupted_and_says_how_to_go_on(run):
    run.begins()
    run.steps(5)
    view = run.read()
    assert (view.state, view.is_over, view.ended_at) == ("interrupted", True, 1002)
    what = "The run was interrupted at step 5: its process ended without a last word."
    assert view.failure == (what, "Resume it: it goes on from the beginning.")
    (run.folder.checkpoints / "step-5").mkdir(parents=True)
    view = RunReader(run.folder).read()
    assert view.can_resume
    assert view.failure == (what, "Resume it: it goes on from its last checkpoint.")


def test_a_half_written_line_waits_until_it_is_whole(run):
    run.begins()
    run.steps(5)
    whole = run.folder.events.read_bytes()
    run.folder.events.write_bytes(whole[:-40])
    half = run.read(alive=True)
    assert half.points == ()
    assert run.read(alive=True) is half
    run.folder.events.write_bytes(whole)
    assert [point["step"] for point in run.read(alive=True).points] == [5]


def test_a_resumed_run_does_again_what_came_after_its_checkpoint(run):
    run.begins()
    run.plans()
    run.evaluates(0, 5.0)
    run.steps(5, 10)
    run.evaluates(10, 4.0)
    run.steps(15)
    run.tell(Failed(what="The process was ended by SIGKILL."))
    assert run.read().state == "failed"
    run.now += 3600
    run.tell(PhaseChanged(phase=WAITING))
    assert run.read(queue_position=1).state == "queued"
    assert run.read(alive=True).state == "running"
    run.now += 3600
    run.begins(resumed_from_step=10)
    view = run.read(alive=True)
    assert (view.state, view.step, view.epoch, view.failure) == ("running", 10, 1.0, None)
    assert [point["step"] for point in view.points] == [5, 10]
    run.evaluates(10, 4.0)
    run.steps(15)
    run.finishes("completed")
    view = run.read()
    assert view.state == "completed"
    assert [point["step"] for point in view.points] == [5, 10, 15]
    assert [record["step"] for record in view.evaluations] == [0, 10]
    assert (view.started_at, view.elapsed_seconds) == (1000, 14 + 6)  # the two hours between don't count


def test_an_evaluation_after_the_checkpoint_is_forgotten_when_the_run_goes_on(run):
    run.begins()
    run.evaluates(0, 5.0)
    run.steps(7)
    run.tell(CheckpointSaved(step=7, path="checkpoints/step-7", seconds=0.1))
    run.evaluates(7, 4.0)
    run.finishes("stopped")
    assert [record["step"] for record in run.read().evaluations] == [0, 7]
    run.begins(resumed_from_step=7)
    assert [record["step"] for record in run.read(alive=True).evaluations] == [0]
    assert [point["step"] for point in run.read(alive=True).points] == [7]


def test_a_run_that_starts_over_forgets_its_first_try(run):
    run.begins()
    run.evaluates(0, 5.0)
    run.steps(5)
    run.begins()
    view = run.read(alive=True)
    assert (view.points, view.evaluations, view.step) == ((), (), 0)


def test_the_pace_is_that_of_the_process_that_runs_now(run):
    run.begins()
    run.plans()
    run.steps(10, 20)
    run.now += 3600
    run.begins(resumed_from_step=20)
    run.steps(30)
    assert run.read(alive=True).remaining_seconds is None
    run.steps(40)
    assert run.read(alive=True).remaining_seconds == pytest.approx(60 * 2 / 10)


def test_the_kept_model_is_the_best_one_and_its_numbers_are_shown_at_the_end(run):
    run.begins()
    run.evaluates(0, 5.0)
    run.evaluates(10, 3.0)
    run.evaluates(20, 4.0, best=False)
    assert run.read(alive=True).loss_now == 4.0
    run.finishes("completed")
    assert run.read().loss_now == 3.0


def test_unknown_kinds_missing_fields_and_garbage_are_passed_over(run):
    run.folder.config.write_text("garbage")
    run.begins()
    with open(run.folder.events, "ab") as file:
        for line in (b"\xff\x00", b"[]", b'{"kind": "dreamt"}', b'{"kind": "step_logged"}', b'{"kind": 7}'):
            file.write(line + b"\n")
        file.write(b'{"kind": "step_logged", "step": 3, "epoch": "x", "time": NaN, "of_the_future": 1}\n')
        file.write(b'{"kind": "evaluated", "step": 0}\n{"kind": "planned", "steps": null}\n{"kind": "warned"}\n')
    view = run.read(alive=True)
    assert [point["step"] for point in view.points] == [3]
    assert view.points[0]["loss"] is None
    assert (view.config, view.loss_before, view.steps, view.remaining_seconds) == (None, None, None, None)
    json.dumps(view.summary(), allow_nan=False)


def test_the_version_changes_when_something_visible_does_and_only_then(run):
    versions = []

    def look(**known):
        versions.append(run.read(**known).version)

    look(queue_position=2)
    look(queue_position=1)
    look(alive=True)
    run.begins()
    look(alive=True)
    run.folder.request_stop()
    look(alive=True)
    run.folder.model.mkdir()
    (run.folder.model / "config.json").touch()
    look(alive=True)
    look()
    assert len(set(versions)) == len(versions)
    assert run.read() is run.read()


def test_a_poll_with_nothing_new_costs_well_under_a_millisecond(run, monkeypatch):
    run.begins()
    run.steps(*range(1, 500))
    with run.folder.hold():
        run.read()
        monkeypatch.setattr("trainer.events.decode_lines", None)
        seconds = []
        for _ in range(200):
            began = time.perf_counter()
            run.read()
            seconds.append(time.perf_counter() - began)
        assert statistics.median(seconds) < 0.0005


def test_a_view_already_handed_out_does_not_change(run):
    run.begins()
    run.steps(1)
    view = run.read(alive=True)
    run.steps(2)
    assert len(run.read(alive=True).points) == 2
    assert len(view.points) == 1


def test_events_that_were_replaced_are_read_anew(run):
    run.begins()
    run.steps(1, 2)
    run.read(alive=True)
    run.folder.events.unlink()
    run.begins()
    assert run.read(alive=True).points == ()


def test_the_summary_has_what_http_promises_and_no_paths(run):
    run.begins()
    run.plans()
    run.evaluates(0, 5.0)
    run.steps(5)
    run.tell(Failed(what="It broke.", fix="Mend it."))
    summary = run.read().summary()
    assert set(summary) == set(
        "run name state phase step steps epoch device elapsed_seconds remaining_seconds tokens_per_second loss "
        "perplexity perplexity_before loss_before error fix model".split()
    )
    assert (summary["state"], summary["device"], summary["error"]) == ("failed", "NVIDIA T4", "It broke.")
    assert str(run.folder.path.parent) not in json.dumps(summary)
