"""Blocks from text: ours beside the tutorial's `map` and `group_texts`, and beside the tokenizer alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from tests.benchmarks import materials
from tests.benchmarks.comparison import OURS, Comparison, in_turns
from trainer.engine.blocks import make_blocks

TUTORIAL, TOKENIZER = "tutorial's functions", "the tokenizer alone"
MEGABYTES, BLOCK, BATCH = 20, 128, 1000


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """The same text, tokenizer and blocks; the tutorial loses the rest of each thousand documents."""
    name = f"blocks from {MEGABYTES} MB of text"
    if only not in name:
        return
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = materials.text_file(folder / "text.txt", MEGABYTES).read_text(encoding="utf-8").splitlines()
        tokenizer = AutoTokenizer.from_pretrained(materials.distilroberta(folder / "model"))
        rows = Dataset.from_dict({"text": texts})
        made: dict[str, int] = {}

        def ours() -> None:
            batches = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
            made[OURS] = len(make_blocks(batches, tokenizer, BLOCK, folder / "ours.ids"))

        def tutorial() -> None:
            tokens = rows.map(lambda batch: tokenizer(batch["text"]), batched=True, remove_columns=["text"],
                              load_from_cache_file=False)  # fmt: skip
            made[TUTORIAL] = len(tokens.map(_group_texts, batched=True, load_from_cache_file=False))

        def alone() -> None:
            for start in range(0, len(texts), BATCH):
                tokenizer.backend_tokenizer.encode_batch_fast(texts[start : start + BATCH])

        ways = {TUTORIAL: tutorial, TOKENIZER: alone, OURS: ours}
        figures = in_turns({way: lambda work=work: _rate(work) for way, work in ways.items()}, repetitions)
        comparison = Comparison(name, "MB a second", figures, targets={TUTORIAL: 2.5, TOKENIZER: 0.8})
        comparison.notes = [", ".join(f"{count:,} blocks by {way}" for way, count in made.items())]
        same = np.isclose(made[OURS], made[TUTORIAL], rtol=0.01)
        comparison.notes += [] if same else ["VOID: not the same blocks."]
        yield comparison


def _group_texts(examples: dict[str, Any]) -> dict[str, Any]:
    """As in the tutorial, but for its `sum(lists, [])`, which would take hours here."""
    joined = {name: list(chain.from_iterable(lists)) for name, lists in examples.items()}
    length = len(next(iter(joined.values()))) // BLOCK * BLOCK
    result = {name: [t[i : i + BLOCK] for i in range(0, length, BLOCK)] for name, t in joined.items()}
    result["labels"] = result["input_ids"].copy()
    return result


def _rate(work: Any) -> float:
    began = time.perf_counter()
    work()
    return MEGABYTES / (time.perf_counter() - began)
