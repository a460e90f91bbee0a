"""Several processes learn what one with the same global batch does, and come to one end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from trainer.engine.loop import fit, ignore
from trainer.engine.preparation import prepare
from trainer.events import decode_lines
from trainer.runs.backends import LocalDevices
from trainer.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[2]
STEPS = 60
STOPPED = 12  # at this step, or soon after


@pytest.fixture
def config(tiny_config, tiny_model, tmp_path):
    """Settings without dropout, and of a text whose last batch leaves the second process without a block."""

    def make(size, **changes):
        return tiny_config(
            model=str(tiny_model("modernbert")),
            per_device_train_batch_size=size,
            learning_rate=3e-4,
            max_steps=STEPS,
            eval_steps=5,
            save_steps=STEPS,
            **changes,
        )

    for count in range(20, 40):
        plan = prepare(make(8, max_documents=count), ignore, tmp_path / "plan").plan
        if 0 < plan.train_blocks % 8 <= 4 and plan.held_out_blocks % 8 and plan.steps_per_epoch < STOPPED:
            return lambda size, **changes: make(size, max_documents=count, **changes)
    raise AssertionError("no part of the sample text has an uneven last batch")


def numbers(events, kind):
    """By step, all that does not depend on time; a resumed run tells some steps twice."""
    names = ("epoch", "loss", "learning_rate", "grad_norm", "accuracy", "masked_tokens")
    told = [event for event in events if event["kind"] == kind]
    return {event["step"]: [event[name] for name in names if name in event] for event in told}


def torchrun(processes, *command):
    """What a person types."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", port]
    return [sys.executable, *launcher, "-m", "trainer", *command, "--processes", str(processes)]


class Launch:
    """A run of several processes on the processor, and all that it says."""

    def __init__(self, folder, command):
        self.folder, self.log = folder, folder.with_suffix(".log")
        with self.log.open("a") as log:
            self.launcher = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def events(self):
        try:
            return decode_lines((self.folder / "events.jsonl").read_bytes())[0]
        except FileNotFoundError:
            return []

    def until(self, kind, step=0):
        while not any(event["kind"] == kind and event["step"] >= step for event in self.events()):
            assert self.launcher.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.01)

    def ended(self):
        returncode = self.launcher.wait(240)
        return returncode, self.log.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [False, True])
def test_two_processes_stopped_and_three_that_go_on_give_the_numbers_of_one(fsdp, config, tmp_path):
    folder, settings = tmp_path / "run", tmp_path / "config.json"
    settings.write_text(config(4, fsdp=fsdp).to_json())
    two = Launch(folder, torchrun(2, "fit", "--config", str(settings), "--output", str(folder)))
    two.until("step_logged", STOPPED)
    (folder / "stop").touch()
    returncode, log = two.ended()
    first = two.events()
    assert returncode == 0 and first[0]["processes"] == 2, log
    assert first[-1]["kind"] == "finished" and first[-1]["reason"] == "stopped"
    assert (folder / f"checkpoints/step-{first[-1]['step']}").is_dir()

    three = Launch(folder, torchrun(3, "resume", str(folder)))
    returncode, log = three.ended()
    assert returncode == 0, log
    events = three.events()
    again = events[len(first)]
    assert again["processes"] == 3 and again["resumed_from_step"] == first[-1]["step"]
    assert events[-1]["reason"] == "completed"

    whole = []
    fit(config(8), whole.append, output_dir=tmp_path / "one")
    one = [{"kind": event.kind, **asdict(event)} for event in whole]
    for kind in ("step_logged", "evaluated"):
        theirs, ours = numbers(events, kind), numbers(one, kind)
        assert theirs.keys() >= ours.keys() and len(ours) >= STEPS // 5
        for step, told in ours.items():
            assert theirs[step] == pytest.approx(told, rel=1e-5), (kind, step)
    theirs, ours = (
        safetensors.torch.load_file(place / f"checkpoints/step-{STEPS}/model.safetensors")
        for place in (folder, tmp_path / "one")
    )
    for name, weights in ours.items():
        torch.testing.assert_close(theirs[name], weights, rtol=1e-5, atol=1e-5)
    assert theirs.keys() == ours.keys()
    kept = [
        safetensors.torch.load_file(place / "model/model.safetensors").keys() for place in (folder, tmp_path / "one")
    ]
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_as_failed_and_takes_the_others_with_it(config, tmp_path):
    folder = tmp_path / "run"
    RunFolder(folder).write_config(replace(config(4), max_steps=10**6, compile="off"))
    two = Launch(folder, LocalDevices(2).command(RunFolder(folder)))  # what the page starts
    two.until("step_logged", 1)
    first, second = (int((folder / "ranks" / rank).read_text()) for rank in "01")
    os.kill(second, signal.SIGKILL)
    killed = time.monotonic()
    returncode, log = two.ended()
    assert returncode and time.monotonic() - killed < 30, log
    assert not Path(f"/proc/{first}").exists()
    last = two.events()[-1]
    assert last["kind"] == "failed" and last["what"].startswith("Process 2 of 2 was ended"), last
