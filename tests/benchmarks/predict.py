"""Predictions: ours beside the library's pipeline, and a sentence's surprisal beside one token at a time."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import transformers

from tests.benchmarks import materials
from tests.benchmarks.comparison import OURS, Comparison, in_turns
from tests.inference.plain import Plain
from trainer.inference.fill_mask import MaskFiller
from trainer.presets import BUNDLED_MODEL

# A sentence of about sixty tokens.
LONG = (
    "The Milky Way is a large spiral galaxy that contains the Sun, its planets and some hundred billion other stars, "
    "and most of them are smaller and cooler than the Sun, which is why we can see only a few thousand of these with "
    "the naked eye on a dark night."
)
CLOZE = Path(__file__).parents[1] / "cloze.jsonl"
PIPELINE, LOOP = "pipeline", "one token at a time"


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """One sentence, 64 sentences and the surprisal of one, with both models; all on the processor, in float32."""
    lines = CLOZE.read_text(encoding="utf-8").splitlines()[:64]
    with tempfile.TemporaryDirectory() as scratch:
        models = {"the bundled model": BUNDLED_MODEL, "DistilRoBERTa's shape": materials.distilroberta(Path(scratch))}
        for title, folder in models.items():
            filler, plain, name = MaskFiller(), Plain(str(folder)), str(folder)
            pipeline = transformers.pipeline("fill-mask", model=plain.network, tokenizer=plain.tokenizer, device="cpu")
            texts = [json.loads(line)["text"].replace("<mask>", plain.tokenizer.mask_token) for line in lines]
            for what, ways, targets, times in _plans(filler, plain, pipeline, name, texts):
                what = f"{what}, {title}"
                if only in what:
                    for ask in ways.values():  # loads and warms up
                        ask()
                    figures = in_turns({way: _timed(ask, times) for way, ask in ways.items()}, max(repetitions, 5))
                    yield Comparison(what, "ms", figures, larger_is_better=False, targets=targets)


def _plans(
    filler: MaskFiller, plain: Plain, pipeline: Any, model: str, texts: list[str]
) -> list[tuple[str, dict[str, Callable[[], object]], dict[str, float], int]]:
    """What is asked, in which ways, the ratios wanted, and how many answers make one measurement."""
    one = {PIPELINE: lambda: pipeline(texts[0]), OURS: lambda: filler.fill(texts[0], model)}
    many = {PIPELINE: lambda: pipeline(texts), OURS: lambda: filler.fill_many(texts, model)}
    score = {LOOP: lambda: _one_by_one(plain), OURS: lambda: filler.score(LONG, model)}
    return [
        ("fill, 1 sentence", one, {PIPELINE: 1.8}, 20),
        (f"fill, {len(texts)} sentences", many, {PIPELINE: 5.0}, 1),
        (f"surprisal of {len(plain.ids(LONG)) - 2} tokens", score, {LOOP: 5.0}, 1),
    ]


def _timed(ask: Callable[[], object], times: int) -> Callable[[], float]:
    """Milliseconds of one answer, the mean of `times`."""

    def measure() -> float:
        began = time.perf_counter()
        for _ in range(times):
            ask()
        return (time.perf_counter() - began) / times * 1e3

    return measure


def _one_by_one(plain: Plain) -> None:
    ids = plain.ids(LONG)
    for place in range(1, len(ids) - 1):
        masked = [*ids[:place], plain.mask, *ids[place + 1 :]]
        float(plain.log_probabilities(masked)[place, ids[place]])
