"""A run on a rented machine: shown as it works, stopped, lost from sight and found again, its model brought home."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.runs import supervisor
from trainer.runs.backends import Backends
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.view import RunView

TOKEN = "hf_write_of_alice"
BACKEND = "job:t4-small"
LOCAL_JOBS = Path(__file__).with_name("local_jobs.py")

# In the place of a job's command: tells what a run tells, as far as the file `go` lets it, without the seconds that
# the libraries take.
TELLER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {project!r})
from trainer.events import Finished, Failed, PhaseChanged, RunStarted, StepLogged, encode

def tell(event):
    print(encode(event), flush=True)

def wait(step):
    while int(Path({go!r}).read_text()) < step:
        time.sleep(0.02)

print("Installing", flush=True)
tell(RunStarted(device="cuda", device_name="NVIDIA T4", processes=1, threads=1, precision="bf16",
                versions={{}}))
tell(PhaseChanged(phase="Training"))
for step in range(1, 6):
    wait(step)
    tell(StepLogged(step=step, epoch=step / 5, loss=1.0, learning_rate=1.0, grad_norm=1.0, tokens_per_second=1.0,
                    elapsed_seconds=float(step)))
wait(6)
{ending}
"""


class Rental:
    """A manager whose runs may rent machines of the local Hub."""

    def __init__(self, hub: Any, home: Path) -> None:
        self.hub, self.home, self.managers = hub, home, list[RunManager]()
        self.go = home.parent / "go"
        self.lets_go_to(9)

    def manager(self, token: str = TOKEN, *, rents: bool = False) -> RunManager:
        environment = os.environ | {
            "HF_ENDPOINT": self.hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(self.home.parent / "hf-home"),
            "HF_TOKEN": "hf_that_no_process_may_see",
        }
        backends = Backends({"MASK_STUDIO_BACKEND": "process"}, token, rents=rents)
        given = {"command": backends.command, "secret": backends.secret}
        self.managers.append(RunManager(self.home, environment, 60.0, **given))
        return self.managers[-1]

    def tells(self, ending: str = "", go: int = 9) -> None:
        """From now on jobs tell this story, up to step `go`, and end so."""
        program = TELLER.format(project=str(Path(__file__).parents[2]), go=str(self.go), ending=ending)
        self.lets_go_to(go)
        self.hub.jobs.program = [sys.executable, "-c", program]

    def lets_go_to(self, step: int) -> None:
        self.go.with_suffix(".new").write_text(str(step))
        os.replace(self.go.with_suffix(".new"), self.go)

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.home / run_id)

    def records(self, run_id: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.folder(run_id).events.read_text().splitlines()]

    def kinds(self, run_id: str) -> list[str]:
        return [record["kind"] for record in self.records(run_id)]

    def until(self, true: Callable[[], Any], seconds: float = 180.0) -> Any:
        give_up = time.monotonic() + seconds
        while not (value := true()):
            assert time.monotonic() < give_up, "it did not happen in time"
            time.sleep(0.05)
        return value

    def until_over(self, manager: RunManager, run_id: str) -> RunView:
        return self.until(lambda: view if (view := manager.view(run_id)).is_over else None)  # type: ignore[no-any-return]

    def until_step(self, manager: RunManager, run_id: str, step: int) -> None:
        def reached() -> bool:
            view = manager.view(run_id)
            assert view.state not in ("failed", "stopped"), view.failure
            return view.step >= step

        self.until(reached)


@pytest.fixture
def rental(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rental]:
    spec = importlib.util.spec_from_file_location("local_jobs", LOCAL_JOBS)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "local_jobs", module)
    spec.loader.exec_module(module)
    hub.jobs = module.LocalJobs(hub.url, tmp_path / "jobs")
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.05)
    rental = Rental(hub, tmp_path / "home")
    yield rental
    for manager in rental.managers:
        manager.close()
    hub.jobs.close()
    for path in rental.home.iterdir():
        if pid := RunFolder(path).pid():
            os.kill(pid, signal.SIGKILL)


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


FINISHED = 'tell(Finished(reason="completed", step=5, elapsed_seconds=5.0, model=None))'


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
