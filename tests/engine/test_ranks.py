"""Two processes learn what one with the same global batch does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from trainer.engine.loop import fit, ignore
from trainer.engine.preparation import prepare
from trainer.events import LAST_KINDS

PROJECT = Path(__file__).resolve().parents[2]
STEPS = 12  # before the two are stopped


@pytest.fixture
def config(tiny_config, tiny_model, tmp_path):
    """Settings without dropout, and of a text whose last batch leaves the second process without a block."""

    def make(size, **changes):
        return tiny_config(
            model=str(tiny_model("modernbert")),
            per_device_train_batch_size=size,
            max_steps=5000,
            eval_steps=5,
            save_steps=5000,
            **changes,
        )

    for count in range(20, 40):
        plan = prepare(make(8, max_documents=count), ignore, tmp_path / "plan").plan
        if 0 < plan.train_blocks % 8 <= 4 and plan.held_out_blocks % 8 and plan.steps_per_epoch < STEPS:
            return lambda size: make(size, max_documents=count)
    raise AssertionError("no part of the sample text has an uneven last batch")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def numbers(events, kind):
    names = ("step", "epoch", "loss", "learning_rate", "grad_norm", "accuracy", "masked_tokens")
    return [[event[name] for name in names if name in event] for event in events if event["kind"] == kind]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_and_stop_in_order(config, stop_at, tmp_path):
    output = tmp_path / "two"
    (tmp_path / "config.json").write_text(config(4).to_json())
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command = ["-m", "trainer", "fit", "--config", str(tmp_path / "config.json"), "--output", str(output), "--json"]
    two = []
    with (
        (tmp_path / "log.txt").open("w") as log,
        subprocess.Popen(
            launch + command,
            cwd=PROJECT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as ranks,
    ):
        for line in ranks.stdout:
            two.append(json.loads(line))  # nothing but events, so the second process says nothing
            if two[-1]["kind"] == "step_logged" and two[-1]["step"] >= STEPS:
                (output / "stop").touch()
    assert ranks.returncode == 0, (tmp_path / "log.txt").read_text()[-3000:]
    assert [event["kind"] for event in two if event["kind"] in LAST_KINDS] == ["finished"]
    assert two[-1]["reason"] == "stopped" and two[0]["processes"] == 2
    assert (output / f"checkpoints/step-{two[-1]['step']}").is_dir()

    events = []
    fit(config(8), events.append, stop_at(two[-1]["step"]), tmp_path / "one")
    one = [{"kind": event.kind, **asdict(event)} for event in events]
    for kind in ("step_logged", "evaluated"):
        assert len(numbers(two, kind)) == len(numbers(one, kind)) >= (STEPS if kind == "step_logged" else 3)
        for theirs, ours in zip(numbers(two, kind), numbers(one, kind), strict=True):
            assert theirs == pytest.approx(ours, rel=1e-5)
    # What was written: each event once, though two processes worked on the folder.
    assert len((output / "events.jsonl").read_text().splitlines()) == len(two)


@pytest.mark.slow
def test_two_processes_resume_what_two_began(config, tmp_path):
    output = tmp_path / "two"

    def two_processes(*command):
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
        ended = subprocess.run(
            [sys.executable, *launch, "-m", "trainer", *command, "--json"],
            cwd=PROJECT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return [json.loads(line) for line in ended.stdout.splitlines()]

    settings = asdict(config(4)) | {"max_seconds": 5.0}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    first = two_processes("fit", "--config", str(tmp_path / "config.json"), "--output", str(output))
    step = first[-1]["step"]
    assert first[-1]["reason"] == "time_budget" and step > 0

    (output / "config.json").write_text(json.dumps(settings | {"max_seconds": None, "max_steps": step + 3}))
    second = two_processes("resume", str(output))
    assert second[0]["resumed_from_step"] == step
    assert second[-1]["reason"] == "completed" and second[-1]["step"] == step + 3
