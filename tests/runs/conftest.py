"""A run that is told by hand, and managers whose runs are small processes in the place of training."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from trainer.config import TrainConfig
from trainer.events import Evaluated, Finished, Planned, RunStarted, StepLogged, encode
from trainer.runs import launch, supervisor
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader
from trainer.runs.manager import RunManager

PLANNED = Planned(
    text_column="text",
    documents=10,
    skipped_documents=0,
    words=100,
    tokens=150,
    train_blocks=8,
    held_out_blocks=2,
    held_out_documents=2,
    block_size=16,
    steps=100,
    steps_per_epoch=10,
    parameters=1000,
    architecture="bert",
    masked_positions_only=True,
)

# What a stand-in does is named by the data set of its run.
CHILD = """
import os, signal, subprocess, sys, time
from pathlib import Path
from trainer.events import SAVING, Finished, PhaseChanged, RunStarted, StepLogged
from trainer.runs.folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
todo = folder.read_config().dataset
print("secret found:", "s3cret" in os.environ.values(), flush=True)
print("in its folder:", os.getcwd() == str(folder.path), "input:", repr(sys.stdin.read()), flush=True)

def finish(reason):
    folder.append(Finished(reason=reason, step=1, elapsed_seconds=0.1, model=None))

with folder.hold():
    with open(folder.path.parent / "order.txt", "a") as order:
        order.write(f"begin {folder.id}\\n")
    if todo == "mute":
        sys.exit("Nothing to say.")
    if todo in ("deaf", "slow to save"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if todo == "polite":
        signal.signal(signal.SIGTERM, lambda number, frame: folder.request_stop())
    resumed = 1 if folder.newest_checkpoint() else None
    folder.append(RunStarted(device="cpu", device_name="chip", processes=1, threads=1, precision="float32",
                             versions={}, resumed_from_step=resumed))
    folder.append(StepLogged(step=1, epoch=0.1, loss=1.0, learning_rate=1.0, grad_norm=1.0,
                             tokens_per_second=1.0, elapsed_seconds=0.1))
    if todo == "litter":
        stray = subprocess.Popen(["sleep", "60"])
        (folder.path / "stray").write_text(str(stray.pid))
        os.kill(os.getpid(), signal.SIGSEGV)
    if todo == "checkpoint":
        (folder.checkpoints / "step-1").mkdir(parents=True, exist_ok=True)
    if todo == "slow to save":
        while not folder.stop_requested():
            time.sleep(0.01)
        folder.append(PhaseChanged(phase=SAVING))
        time.sleep(1.5)
        finish("stopped")
        sys.exit()
    while todo in ("wait", "deaf", "polite") or (todo == "checkpoint" and not resumed):
        if folder.stop_requested() and todo != "deaf":
            finish("stopped")
            break
        time.sleep(0.01)
    else:
        finish("completed")
    with open(folder.path.parent / "order.txt", "a") as order:
        order.write(f"end {folder.id}\\n")
while todo == "linger":
    time.sleep(1)
"""


class ToldRun:
    """A run whose events are told by hand; each comes two seconds after the one before."""

    def __init__(self, home):
        self.folder = RunFolder(home / "20260101-120000-quiet-otter")
        self.folder.write_config(TrainConfig())
        self.reader = RunReader(self.folder)
        self.read = self.reader.read
        self.now = 1000.0

    def tell(self, event):
        with open(self.folder.events, "a", encoding="utf-8") as file:
            file.write(encode(event, self.now) + "\n")
        self.now += 2

    def begins(self, resumed_from_step=None):
        chip = {"device": "cuda", "device_name": "NVIDIA T4", "processes": 1, "threads": 2, "precision": "bf16"}
        self.tell(RunStarted(**chip, versions={}, resumed_from_step=resumed_from_step))

    def plans(self):
        self.tell(PLANNED)

    def steps(self, *numbers):
        rest = {"loss": 5.0, "learning_rate": 1e-4, "grad_norm": 1.0, "tokens_per_second": 900.0}
        for step in numbers:
            self.tell(StepLogged(step=step, epoch=step / 10, elapsed_seconds=step, **rest))

    def evaluates(self, step, loss, best=True):
        rest = {"perplexity": 10 * loss, "accuracy": 0.5, "masked_tokens": 9, "best": best}
        self.tell(Evaluated(step=step, epoch=step / 10, loss=loss, **rest))

    def finishes(self, reason):
        self.tell(Finished(reason=reason, step=100, elapsed_seconds=1.0, model="model"))


class Stage:
    """Managers on one home, and what becomes of the runs they start."""

    def __init__(self, home):
        self.home = home
        self.managers = []

    def manager(self, grace_seconds=30.0, environment=os.environ, **options):
        options = {"command": self.command} | options
        self.managers.append(RunManager(self.home, environment, grace_seconds, **options))
        return self.managers[-1]

    def command(self, folder):
        return [sys.executable, "-S", "-c", CHILD, str(folder.path)]

    def start(self, manager, *todos):
        return [manager.start(TrainConfig(dataset=todo)) for todo in todos]

    def begin_in_shell(self, folder):
        environment, devnull = launch.environment(os.environ), subprocess.DEVNULL
        return subprocess.Popen(self.command(folder), env=environment, stdin=devnull, stdout=devnull)

    def folder(self, run_id):
        return RunFolder(self.home / run_id)

    def order(self):
        """What the processes noted, in the order in which they did: `begin ID`, `end ID`."""
        return (self.home / "order.txt").read_text().splitlines()

    def last_kinds(self, run_id):
        kinds = (json.loads(line)["kind"] for line in self.folder(run_id).events.read_text().splitlines())
        return [kind for kind in kinds if kind in ("finished", "failed")]

    def until(self, true, seconds=20.0):
        """What `true` returns, as soon as that is true."""
        give_up = time.monotonic() + seconds
        while not (value := true()):
            assert time.monotonic() < give_up, "it did not happen in time"
            time.sleep(0.01)
        return value

    def until_state(self, manager, run_id, state):
        return self.until(lambda: view if (view := manager.view(run_id)).state == state else None)

    def until_begun(self, manager, run_id):
        """The number of a run's process, once that holds the run and has told a step."""
        return self.until(lambda: self.folder(run_id).pid() if manager.view(run_id).step == 1 else None)


@pytest.fixture
def run(tmp_path):
    return ToldRun(tmp_path)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A stage, cleared of its processes after the test."""
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "KILL_AFTER_SECONDS", 0.2)
    stage = Stage(tmp_path)
    yield stage
    for manager in stage.managers:
        manager.close()
    for path in tmp_path.iterdir():
        if pid := RunFolder(path).pid():
            os.kill(pid, signal.SIGKILL)
