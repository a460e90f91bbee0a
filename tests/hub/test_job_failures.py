"""What a run on a rented machine says when it can't be had, fails there, or prints what it likes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hub.rental import BACKEND, FINISHED, TOKEN, Rental
from trainer.config import TrainConfig


def test_a_job_that_fails_says_its_last_words(rental: Rental) -> None:
    rental.tells('tell(Failed(what="The loss is not finite.", fix="Lower it."))\nsys.exit(1)')
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    assert rental.until_over(manager, run_id).failure == ("The loss is not finite.", "Lower it.")
    rental.tells('print("Out of memory, and of " + "' + TOKEN + '")\nsys.exit(3)')
    mute = manager.start(TrainConfig(), backend=BACKEND)
    view = rental.until_over(manager, mute)
    assert view.failure and "ended as ERROR: Job failed with exit code: 3" in view.failure[0]
    assert view.failure[0].endswith("Out of memory, and of ***")
    manager.resume(mute)  # nothing is left of that job that would be found again
    rental.tells(FINISHED)
    rental.until(lambda: manager.view(mute).state == "completed")


# In the place of a job's command: the real one, whose training comes to a checkpoint and is killed, without the seconds
# that the libraries take.
KILLED = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, {project!r})
from trainer.config import TrainConfig
from trainer.jobs import rented
from trainer.runs.folder import RunFolder

train = "import os; os.kill(os.getpid(), 9)"
rented.backend_of = lambda environment: SimpleNamespace(command=lambda folder: [sys.executable, "-S", "-c", train])
folder = RunFolder(Path("run").absolute())
folder.write_config(TrainConfig())
for file in (folder.model / "config.json", folder.checkpoints / "step-2" / "state.json"):
    file.parent.mkdir(parents=True)
    file.write_text("{{}}")
sys.exit(not rented.work(folder, {repo!r}, os.environ, lambda line: print(line, flush=True)))
"""


def test_what_a_run_came_to_that_fails_late_comes_home_and_stays_for_its_resumption(rental: Rental, hub: Any) -> None:
    hub.jobs.busy = True
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    repo = f"alice/mask-studio-{run_id}"
    program = KILLED.format(project=str(Path(__file__).parents[2]), repo=repo)
    hub.jobs.program, hub.jobs.busy = [sys.executable, "-c", program], False
    view = rental.until_over(manager, run_id)
    assert view.failure and "SIGKILL" in view.failure[0]
    assert view.has_model and not rental.folder(run_id).has_job()
    assert "run/checkpoints/step-2/state.json" in hub.repos[repo].files


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("begin_job", 402, "no credit for Hugging Face Jobs"),
        ("begin_job", 403, "may not rent a machine"),
        ("whoami", 401, "does not take this token"),
        ("begin_job", 500, "has a problem of its own"),
    ],
)
def test_a_refusal_is_one_sentence_and_a_fix(rental: Rental, hub: Any, kind: str, status: int, words: str) -> None:
    rental.tells(FINISHED)
    hub.fail(kind, status=status, message=f"no {TOKEN}")
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    view = rental.until_over(manager, run_id)
    assert view.state == "failed" and view.failure
    assert words in view.failure[0] and view.failure[1] and TOKEN not in view.failure[0]
    assert not hub.jobs.jobs and rental.folder(run_id).has_job() is (status >= 500)  # in which case it may have begun


def test_without_a_token_none_can_be_rented_and_a_run_that_has_a_job_says_what_is_missing(rental: Rental) -> None:
    rental.tells(FINISHED, go=1)
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    rental.until_step(manager, run_id, 1)
    manager.shut_down(patience_seconds=60)
    poor = rental.manager(token="")
    assert poor.view(run_id).state == "interrupted"
    poor.resume(run_id)
    view = rental.until(lambda: view if (view := poor.view(run_id)).state == "failed" else None)
    assert view.failure and "without a token" in view.failure[0]
    poor.close()
    rich = rental.manager()
    rich.resume(run_id)
    rental.lets_go_to(9)
    rental.until(lambda: rich.view(run_id).state == "completed")


def test_what_a_job_prints_is_believed_only_where_it_is_an_event(rental: Rental) -> None:
    lies = [
        '{"kind": "step_logged", "time": 1, "step": "many"}',
        '{"kind": "evaluated", "time": 2}',
        '{"kind": "warned", "time": 3, "message": "\\ud800"}',
        '{"kind": "finished", "time": "now", "reason": "completed", "step": 1, "elapsed_seconds": 1, "model": null}',
        '[[[[', '{"kind": "deleted_everything", "time": 4}', '{"kind": "warned", "time": 5, "message": "<b>true</b>"}',
    ]  # fmt: skip
    rental.tells("\n".join(f"print({lie!r}, flush=True)" for lie in lies) + f"\n{FINISHED}")
    manager = rental.manager()
    run_id = manager.start(TrainConfig(), backend=BACKEND)
    view = rental.until_over(manager, run_id)
    assert view.state == "completed" and view.step == 5 and not view.evaluations
    assert view.warnings == ("<b>true</b>",)
