"""Blocks from text: ours beside the tutorial's way, that way better written, and the tokenizer alone."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from tests.benchmarks import materials
from tests.benchmarks.comparison import OURS, Comparison, in_turns
from trainer.engine.blocks import make_blocks

TUTORIAL, IMPROVED, TOKENIZER = "tutorial's functions", "the same with `chain`, in one process", "the tokenizer alone"
PROCESSES = 4  # the tutorial's `num_proc`
Lists = list[list[int]]
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

        def mapped(way: str, concatenated: Callable[[Lists], list[int]], processes: int | None) -> None:
            """The tutorial's two passes over the data set; its functions differ in how they join lists."""
            once = {"batched": True, "num_proc": processes, "load_from_cache_file": False}
            tokens = rows.map(lambda batch: tokenizer(batch["text"]), remove_columns=["text"], **once)
            made[way] = len(tokens.map(functools.partial(_group_texts, concatenated), **once))
            # `map` with processes keeps tokenizers to one thread and takes that back for Python alone, not for them.
            os.unsetenv("TOKENIZERS_PARALLELISM")

        def alone() -> None:
            for start in range(0, len(texts), BATCH):
                tokenizer.backend_tokenizer.encode_batch_fast(texts[start : start + BATCH])

        ways = {
            TUTORIAL: lambda: mapped(TUTORIAL, lambda lists: sum(lists, []), PROCESSES),  # noqa: RUF017
            IMPROVED: lambda: mapped(IMPROVED, lambda lists: list(chain.from_iterable(lists)), None),
            TOKENIZER: alone,
            OURS: ours,
        }
        figures = in_turns({way: lambda work=work: _rate(work) for way, work in ways.items()}, repetitions)
        comparison = Comparison(name, "MB a second", figures, targets={TUTORIAL: 2.5, TOKENIZER: 0.8})
        comparison.notes = [", ".join(f"{count:,} blocks by {way}" for way, count in made.items())]
        same = np.isclose(made[OURS], made[TUTORIAL], rtol=0.01)
        comparison.notes += [] if same else ["VOID: not the same blocks."]
        yield comparison


def _group_texts(concatenated: Callable[[Lists], list[int]], examples: dict[str, Lists]) -> dict[str, Lists]:
    joined = {name: concatenated(lists) for name, lists in examples.items()}
    length = len(next(iter(joined.values()))) // BLOCK * BLOCK
    result = {name: [t[i : i + BLOCK] for i in range(0, length, BLOCK)] for name, t in joined.items()}
    result["labels"] = result["input_ids"].copy()
    return result


def _rate(work: Any) -> float:
    began = time.perf_counter()
    work()
    return MEGABYTES / (time.perf_counter() - began)
