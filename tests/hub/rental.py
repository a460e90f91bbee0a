"""Runs on machines of the local Hub, and what their jobs tell there."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.runs.backends import Backends
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.view import RunView

TOKEN = "hf_write_of_alice"
BACKEND = "job:t4-small"

FINISHED = 'tell(Finished(reason="completed", step=5, elapsed_seconds=5.0, model=None))'

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
