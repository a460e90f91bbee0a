"""Training steps: ours beside `transformers.Trainer` as the tutorial has it, and with its best settings."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import materials, ways
from tests.benchmarks.comparison import OURS, Comparison, in_turns
from tests.benchmarks.utilisation import utilisation
from trainer.events import COMPILING, TRAINING
from trainer.presets import BUNDLED_MODEL

TUTORIAL, BEST, COMPILED = "tutorial recipe", "best Trainer settings", "best and torch_compile"
WARM_UP, LOGGING = 5, 5  # steps
LARGE = 256  # blocks
TOKENS = 128  # of a block
EPOCHS = 3


@dataclass(frozen=True)
class _Plan:
    """A comparison of steps."""

    name: str
    model: Path
    text: Path
    batch: int  # blocks
    steps: int
    targets: dict[str, float]
    on_gpu: bool


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """Steps of both models, beside other work, and the whole recipe; on a GPU also compiled, and of a large batch."""
    on_gpu = device == "cuda"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text, short = (materials.text_file(folder / f"{size}.txt", size) for size in (2.0, 0.2))
        big, small = materials.distilroberta(folder / "distilroberta"), BUNDLED_MODEL
        first, second = "train DistilRoBERTa's shape, batch 8 x 128", "train the bundled model, batch 8 x 128"
        large = f"train DistilRoBERTa's shape, batch {LARGE} x 128"
        on_processor = [
            _Plan(first, big, text, 8, 25, {TUTORIAL: 3.0}, on_gpu),
            _Plan(second, small, text, 8, 105, {TUTORIAL: 2.5}, on_gpu),
        ]
        on_card = [
            _Plan(first, big, text, 8, 1005, {TUTORIAL: 6.0, BEST: 2.0, COMPILED: 2.0}, on_gpu),
            _Plan(second, small, text, 8, 1005, {TUTORIAL: 2.5}, on_gpu),
            _Plan(large, big, text, LARGE, 155, {}, on_gpu),
        ]
        plans = on_card if on_gpu else on_processor
        for plan in plans:
            if only in plan.name:
                comparison = _steps(plan, repetitions)
                yield comparison
                if plan.name == (large if on_gpu else first):
                    yield utilisation(f"work done to {plan.name}", comparison.figures[OURS], big, TOKENS)
        if not on_gpu and only in (name := "train the bundled model beside other work, batch 8 x 128"):
            with ways.other_work():
                yield _steps(_Plan(name, small, text, 8, 25, {}, on_gpu), repetitions)
        if on_gpu and only in (name := "the whole recipe: three epochs of DistilRoBERTa's shape"):
            yield _recipe(name, big, text, {TUTORIAL: 6.0}, repetitions)
        if not on_gpu and only in (name := "the whole recipe: three epochs of the bundled model"):
            yield _recipe(name, small, short, {}, repetitions)


def _recipe(name: str, model: Path, text: Path, targets: dict[str, float], repetitions: int) -> Comparison:
    """Seconds from the first step to the last word, what is measured and saved in between included."""
    losses: dict[str, list[float]] = {TUTORIAL: [], OURS: []}

    def tutorial() -> float:
        told = ways.trainer(model, text, num_train_epochs=EPOCHS)
        losses[TUTORIAL].append(told["loss"])
        return float(told["whole_seconds"])

    def ours() -> float:
        told = ways.fit(model, text, num_train_epochs=EPOCHS, probe_text="")
        losses[OURS].append(_loss(told))
        return float(told[-1]["time"] - _began(told))

    figures = in_turns({TUTORIAL: tutorial, OURS: ours}, repetitions)
    medians = {way: statistics.median(values) for way, values in losses.items()}
    return Comparison(name, "s", figures, larger_is_better=False, losses=medians, targets=targets)


def _steps(plan: _Plan, repetitions: int) -> Comparison:
    losses: dict[str, list[float]] = {}
    wholes: dict[str, list[float]] = {}
    notes: dict[str, str] = {}

    def note(way: str, told: dict[str, Any]) -> float:
        """Tokens a second of a run, its loss and length kept for the report."""
        losses.setdefault(way, []).append(told["loss"])
        wholes.setdefault(way, []).append(told["whole_seconds"])
        if "choices" in told:
            notes[way] = f"{way}: {told['choices']}"
        return plan.batch * TOKENS / told["seconds"]

    def trainer(way: str, **chosen: bool) -> Callable[[], float]:
        options = {"batch": plan.batch, "max_steps": plan.steps, "warm_up": WARM_UP}
        return lambda: note(way, ways.trainer(plan.model, plan.text, **options, **chosen))

    compared = {TUTORIAL: trainer(TUTORIAL), BEST: trainer(BEST, best=True)}
    compared |= {COMPILED: trainer(COMPILED, best=True, compile=True)} if plan.on_gpu else {}
    compared[OURS] = lambda: note(OURS, _ours(plan))
    comparison = Comparison(plan.name, "tokens a second", in_turns(compared, repetitions), targets=plan.targets)
    comparison.losses = {way: statistics.median(values) for way, values in losses.items()}
    whole = ", ".join(f"{way} {statistics.median(seconds):.1f}" for way, seconds in wholes.items())
    comparison.notes = [f"{plan.steps} steps, from the first to the last, in seconds: {whole}", *notes.values()]
    return comparison


def _ours(plan: _Plan) -> dict[str, Any]:
    """A processor is made to log every few steps; a GPU logs as often as it does by itself."""
    settings: dict[str, Any] = {"per_device_train_batch_size": plan.batch, "max_steps": plan.steps}
    settings |= {} if plan.on_gpu else {"logging_steps": LOGGING}
    settings |= {"compile": "on"} if plan.batch == LARGE else {}  # as a longer run is by itself
    told = ways.fit(plan.model, plan.text, eval_steps=plan.steps, **settings)
    logged = [event for event in told if event["kind"] == "step_logged"]
    started = next(event for event in told if event["kind"] == "run_started")
    first, last = next(event for event in logged if event["step"] >= WARM_UP), logged[-1]
    hidden = ("kind", "time", "versions", "device_name", "resumed_from_step")
    return {
        "seconds": (last["time"] - first["time"]) / (last["step"] - first["step"]),
        "whole_seconds": last["time"] - _began(told),
        "loss": _loss(told),
        "choices": ", ".join(f"{name} {value}" for name, value in started.items() if name not in hidden),
    }


def _began(told: list[dict[str, Any]]) -> float:
    """When the first step did."""
    return float(next(event["time"] for event in told if event.get("phase") in (TRAINING, COMPILING)))


def _loss(told: list[dict[str, Any]]) -> float:
    """Of all steps, in the mean."""
    logged = [event for event in told if event["kind"] == "step_logged"]
    weights = [b["step"] - a["step"] for a, b in itertools.pairwise([{"step": 0}, *logged])]
    return statistics.fmean([event["loss"] for event in logged], weights)
