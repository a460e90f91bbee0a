"""A run on a rented machine: shown as it works, stopped, lost from sight and found again, its model brought home."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hub.rental import BACKEND, FINISHED, TOKEN, Rental
from trainer.config import TrainConfig


@pytest.fixture
def small(tiny_model: Callable[[str], Path], sample_text: Path) -> TrainConfig:
    """A run of seconds, on text and from a model of this machine."""
    return TrainConfig(
        model=str(tiny_model("roberta")), dataset=str(sample_text), precision="float32", block_size=32, max_steps=4,
        logging_steps=1, eval_steps=2,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_on_a_rented_machine_is_shown_like_one_here_and_its_model_comes_home(
    rental: Rental, small: TrainConfig, hub: Any
) -> None:
    manager = rental.manager()
    run_id = manager.start(small, backend=BACKEND)
    view = rental.until_over(manager, run_id)
    assert view.state == "completed", (view.failure, rental.folder(run_id).log_tail(40))
    assert [point["step"] for point in view.points] == [1, 2, 3, 4]
    assert [evaluation["step"] for evaluation in view.evaluations] == [0, 2, 4]
    assert view.device_name and view.planned and view.probes and view.has_model

    (job,) = hub.jobs.jobs
    (sent,) = job.folder.rglob("run/model")
    files = {path.name: path.read_bytes() for path in sent.iterdir()}
    assert "model.safetensors" in files
    assert files == {path.name: path.read_bytes() for path in rental.folder(run_id).model.iterdir()}
    assert job.spec["flavor"] == "t4-small" and job.spec["timeoutSeconds"] == 3600 + 900
    rental.until(lambda: not hub.repos)  # nothing is left there, and here nothing that would look for it
    assert not rental.folder(run_id).has_job()
    for path in (path for path in rental.home.rglob("*") if path.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_stopped_run_saves_itself_comes_home_and_goes_on_from_there_on_the_next_machine(
    rental: Rental, small: TrainConfig, hub: Any
) -> None:
    manager = rental.manager()
    run_id = manager.start(replace(small, max_steps=3000, eval_steps=3000), backend=BACKEND)
    rental.until_step(manager, run_id, 1)
    manager.stop(run_id)
    view = rental.until_over(manager, run_id)
    assert view.state == "stopped" and 0 < view.step < 3000, view.failure
    assert view.has_model and hub.jobs.jobs[0].stage == "COMPLETED"

    manager.resume(run_id)
    rental.until_step(manager, run_id, view.step + 1)
    begun = [record["resumed_from_step"] for record in rental.records(run_id) if record["kind"] == "run_started"]
    assert begun == [None, view.step]
    manager.stop(run_id)
    assert rental.until_over(manager, run_id).state == "stopped"


def test_every_step_is_seen_while_the_job_works_and_its_other_words_stand_in_the_log(rental: Rental) -> None:
    rental.tells(FINISHED, go=1)
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    for step in range(1, 6):
        rental.until_step(manager, run_id, step)
        assert manager.view(run_id).state == "running" and manager.view(run_id).step == step
        rental.lets_go_to(step + 1)
    view = rental.until_over(manager, run_id)
    assert view.state == "completed" and view.device_name == "NVIDIA T4"
    phases = [record["phase"] for record in rental.records(run_id) if record["kind"] == "phase_changed"]
    assert phases[0] == "Sending text and settings" and phases[-1] == "Training"
    assert "Installing" in manager.log(run_id)


def test_a_killed_follower_leaves_the_job_alone_and_the_next_page_finds_it_again(rental: Rental, hub: Any) -> None:
    rental.tells(FINISHED, go=2)
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    rental.until_step(manager, run_id, 2)
    os.kill(rental.folder(run_id).pid() or 0, signal.SIGKILL)
    view = rental.until_over(manager, run_id)
    assert view.state == "interrupted" and view.can_resume and view.failure
    assert "rented machine may go on" in view.failure[1]
    manager.close()
    rental.lets_go_to(4)  # so it works on, unseen
    time.sleep(0.5)

    after = rental.manager()
    rental.until_step(after, run_id, 4)
    assert after.view(run_id).state == "running"
    rental.lets_go_to(9)
    assert rental.until_over(after, run_id).state == "completed"
    assert len(hub.jobs.jobs) == 1
    assert [r["step"] for r in rental.records(run_id) if r["kind"] == "step_logged"] == [1, 2, 3, 4, 5]
    assert rental.kinds(run_id).count("run_started") == 1


def test_sigterm_ends_the_follower_and_not_the_job(rental: Rental, hub: Any) -> None:
    rental.tells(FINISHED, go=2)
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    rental.until_step(manager, run_id, 2)
    manager.shut_down(patience_seconds=60)  # as when a Space is restarted
    assert not rental.folder(run_id).is_alive() and hub.jobs.jobs[0].stage == "RUNNING"
    after = rental.manager()
    rental.lets_go_to(9)
    rental.until(lambda: after.view(run_id).state == "completed")
    assert len(hub.jobs.jobs) == 1


def test_a_job_whose_id_was_never_learned_is_found_by_its_label(rental: Rental, hub: Any) -> None:
    rental.tells(FINISHED, go=1)
    hub.fail("begin_job", lose_reply=True)
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    view = rental.until_over(manager, run_id)
    assert view.state == "failed" and "can't be reached" in view.failure[0]  # type: ignore[index]
    manager.resume(run_id)
    rental.until_step(manager, run_id, 1)
    rental.lets_go_to(9)
    assert rental.until_over(manager, run_id).state == "completed"
    assert len(hub.jobs.jobs) == 1


def test_stop_before_the_machine_is_there_cancels_the_job(rental: Rental, hub: Any) -> None:
    hub.jobs.busy = True
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    rental.until(lambda: manager.view(run_id).phase == "Waiting for a machine")
    manager.stop(run_id)
    assert rental.until_over(manager, run_id).state == "stopped"
    assert hub.jobs.jobs[0].stage == "CANCELED"


def test_a_job_that_does_not_heed_the_word_to_stop_is_cancelled(rental: Rental, hub: Any) -> None:
    rental.tells("time.sleep(600)")
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    rental.until_step(manager, run_id, 5)
    manager.stop(run_id)
    rental.until(lambda: manager.view(run_id).phase == "Saving")
    os.kill(rental.folder(run_id).pid() or 0, signal.SIGTERM)  # as the supervisor does when its patience is at an end
    view = rental.until_over(manager, run_id)
    assert view.state == "stopped" and view.step == 5
    assert hub.jobs.jobs[0].stage == "CANCELED"


def test_a_run_here_and_runs_on_rented_machines_do_not_wait_for_each_other(rental: Rental, hub: Any) -> None:
    rental.tells(FINISHED, go=1)
    manager = rental.manager()
    rented = [manager.start(TrainConfig(), backend=BACKEND) for _ in range(2)]
    for run_id in rented:
        rental.until_step(manager, run_id, 1)
    here = manager.start(TrainConfig(max_documents=20, max_steps=1))
    rental.until(lambda: manager.view(here).state == "completed")
    assert all(manager.view(run_id).state == "running" for run_id in rented) and len(hub.jobs.jobs) == 2
    rental.lets_go_to(9)
    for run_id in rented:
        assert rental.until_over(manager, run_id).state == "completed"


def test_a_visitors_own_token_rents_the_machine_and_after_a_restart_it_is_asked_for_again(
    rental: Rental, hub: Any
) -> None:
    rental.tells(FINISHED, go=1)
    manager = rental.manager(token="", rents=True)
    run_id = manager.start(TrainConfig(), backend=BACKEND, token=TOKEN)
    rental.until_step(manager, run_id, 1)
    manager.shut_down(patience_seconds=60)
    after = rental.manager(token="", rents=True)
    assert after.view(run_id).state == "interrupted"  # it has no token, and so lets it be
    after.resume(run_id, token=TOKEN)
    rental.until_step(after, run_id, 1)
    rental.lets_go_to(9)
    assert rental.until_over(after, run_id).state == "completed"
    assert len(hub.jobs.jobs) == 1
