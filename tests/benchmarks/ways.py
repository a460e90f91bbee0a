"""The ways to train that are compared, each in a process of its own: `transformers.Trainer`'s, and a run as ours is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.runs import launch

PROJECT = Path(__file__).resolve().parents[2]


def trainer(model: Path, text: Path, **options: Any) -> dict[str, Any]:
    """What `trainer_run` tells of a run with these options."""
    with tempfile.TemporaryDirectory() as folder:
        parts = [str(model), str(text), folder, json.dumps(options)]
        return json.loads(_lines([sys.executable, "-m", "tests.benchmarks.trainer_run", *parts], dict(os.environ))[-1])


def fit(model: Path, text: Path, **settings: Any) -> list[dict[str, Any]]:
    """The events of a run as the page starts it: same command, same environment."""
    with tempfile.TemporaryDirectory() as folder:
        settings |= {"model": model, "dataset": text, "output": Path(folder) / "run"}
        flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        command = [sys.executable, "-m", "trainer", "fit", "--json", *flags]
        return [json.loads(line) for line in _lines(command, launch.environment(os.environ))]


@contextmanager
def other_work() -> Iterator[None]:
    """Keeps one core busy meanwhile, as somebody does who uses the machine."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def _lines(command: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()
