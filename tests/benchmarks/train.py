"""Training steps: ours beside `transformers.Trainer` as the tutorial has it, and with its best settings."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import materials
from tests.benchmarks.comparison import OURS, Comparison, in_turns
from tests.benchmarks.utilisation import utilisation
from trainer.events import COMPILING, TRAINING
from trainer.presets import BUNDLED_MODEL
from trainer.runs import launch

PROJECT = Path(__file__).resolve().parents[2]
TUTORIAL, BEST, COMPILED = "tutorial recipe", "best Trainer settings", "best and torch_compile"
WARM_UP, LOGGING = 5, 5  # steps
LARGE = 256  # blocks
TOKENS = 128  # of a block


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """A small batch of both models; on a GPU also compiled ways and a large batch. How much of the device that uses."""
    on_gpu = device == "cuda"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = materials.text_file(folder / "text.txt", 2.0)
        big, small = materials.distilroberta(folder / "distilroberta"), BUNDLED_MODEL
        on_processor = [
            ("train DistilRoBERTa's shape, batch 8 x 128", big, 8, 25, {TUTORIAL: 3.0}),
            ("train the bundled model, batch 8 x 128", small, 8, 105, {TUTORIAL: 2.5}),
        ]
        on_card = [
            ("train DistilRoBERTa's shape, batch 8 x 128", big, 8, 1005, {TUTORIAL: 6.0, BEST: 2.0, COMPILED: 2.0}),
            ("train the bundled model, batch 8 x 128", small, 8, 1005, {TUTORIAL: 2.5}),
            (f"train DistilRoBERTa's shape, batch {LARGE} x 128", big, LARGE, 155, {}),
        ]
        plans = on_card if on_gpu else on_processor
        for name, model, batch, steps, targets in plans:
            if only in name:
                comparison = _comparison(name, model, text, batch, steps, targets, repetitions, on_gpu, folder)
                yield comparison
                if model == big and batch == (LARGE if on_gpu else 8):
                    yield utilisation(f"work done to {name}", comparison.figures[OURS], model, TOKENS)


def _comparison(
    name: str,
    model: Path,
    text: Path,
    batch: int,
    steps: int,
    targets: dict[str, float],
    repetitions: int,
    on_gpu: bool,
    folder: Path,
) -> Comparison:
    losses: dict[str, list[float]] = {}
    wholes: dict[str, list[float]] = {}
    notes: dict[str, str] = {}

    def note(way: str, told: dict[str, Any]) -> float:
        """Tokens a second of a run, its loss and length kept for the report."""
        losses.setdefault(way, []).append(told["loss"])
        wholes.setdefault(way, []).append(told["whole_seconds"])
        if "choices" in told:
            notes[way] = f"{way}: {told['choices']}"
        return batch * TOKENS / told["seconds"]

    options = {"batch": batch, "steps": steps, "warm_up": WARM_UP, "compile": False}
    ways: dict[str, Callable[[], float]] = {
        TUTORIAL: lambda: note(TUTORIAL, _trainer(model, text, options | {"best": False})),
        BEST: lambda: note(BEST, _trainer(model, text, options | {"best": True})),
    }
    if on_gpu:
        ways[COMPILED] = lambda: note(COMPILED, _trainer(model, text, options | {"best": True, "compile": True}))
    ways[OURS] = lambda: note(OURS, _ours(model, text, batch, steps, on_gpu))
    comparison = Comparison(name, "tokens a second", in_turns(ways, repetitions), targets=targets)
    comparison.losses = {way: statistics.median(values) for way, values in losses.items()}
    whole = ", ".join(f"{way} {statistics.median(seconds):.1f}" for way, seconds in wholes.items())
    comparison.notes = [f"{steps} steps, from the first to the last, in seconds: {whole}", *notes.values()]
    return comparison


def _trainer(model: Path, text: Path, options: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        parts = [str(model), str(text), folder, json.dumps(options)]
        output = _output([sys.executable, "-m", "tests.benchmarks.trainer_run", *parts], dict(os.environ))
        return json.loads(output.splitlines()[-1])


def _ours(model: Path, text: Path, batch: int, steps: int, on_gpu: bool) -> dict[str, Any]:
    """A run as the page starts it: same command, same environment, same events.

    A processor is made to log every few steps; a GPU logs as often as it does by itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = {"model": model, "dataset": text, "per_device_train_batch_size": batch, "max_steps": steps}
        settings |= {"eval_steps": steps, "output": Path(folder) / "run"}
        settings |= {} if on_gpu else {"logging_steps": LOGGING}
        settings |= {"compile": "on"} if batch == LARGE else {}  # as a longer run is by itself
        flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        command = [sys.executable, "-m", "trainer", "fit", "--json", *flags]
        told = [json.loads(line) for line in _output(command, launch.environment(os.environ)).splitlines()]
    logged = [event for event in told if event["kind"] == "step_logged"]
    started = next(event for event in told if event["kind"] == "run_started")
    began = next(event["time"] for event in told if event.get("phase") in (TRAINING, COMPILING))
    first, last = next(event for event in logged if event["step"] >= WARM_UP), logged[-1]
    weights = [b["step"] - a["step"] for a, b in itertools.pairwise([{"step": 0}, *logged])]
    hidden = ("kind", "time", "versions", "device_name", "resumed_from_step")
    return {
        "seconds": (last["time"] - first["time"]) / (last["step"] - first["step"]),
        "whole_seconds": last["time"] - began,
        "loss": statistics.fmean([event["loss"] for event in logged], weights),
        "choices": ", ".join(f"{name} {value}" for name, value in started.items() if name not in hidden),
    }


def _output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
