"""Loss, perplexity and accuracy of a model on held-out blocks, under masks that are always the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import datasets
import evaluate
import torch
from accelerate import Accelerator

from trainer.engine.blocks import Blocks
from trainer.engine.hardware import exact_dtype
from trainer.engine.masking import HELD_OUT_EPOCH, Masking
from trainer.engine.model import MaskedLanguageModel

GPU_TOKENS = 8_192  # at a time at least: it has done with fewer before it is asked for the next
ASKED_SECONDS, ASKED_BATCHES = 1.0, 16  # between two questions whether to leave an evaluation


class MaskedLanguageModeling(evaluate.Metric):
    """Nats, masked tokens and correct guesses are added up and divided once, so no mean of means arises.

    Computes: loss (nats per masked token), perplexity = exp(loss) (None where it overflows), accuracy, masked_tokens.
    """

    def _info(self) -> evaluate.MetricInfo:
        features = {"nats": "float64", "masked_tokens": "int64", "correct": "int64"}
        return evaluate.MetricInfo(
            description="Loss, perplexity and accuracy on masked tokens.",
            citation="",
            inputs_description="One row a batch: summed nats, number of masked tokens, number guessed right.",
            features=datasets.Features({name: datasets.Value(kind) for name, kind in features.items()}),
        )

    def _compute(self, nats: list[float], masked_tokens: list[int], correct: list[int]) -> dict[str, Any]:
        total = sum(masked_tokens)
        loss = math.fsum(nats) / total if total else math.nan
        return {
            "loss": loss,
            "perplexity": math.exp(loss) if loss < 700 else None,
            "accuracy": sum(correct) / total if total else math.nan,
            "masked_tokens": total,
        }


class Left(Exception):
    """An evaluation was left before its end; says why."""


def to_the_end() -> None:
    """A `why_leave` for evaluations that may take as long as they need."""


def evaluate_model(
    model: MaskedLanguageModel,
    blocks: Blocks,
    masking: Masking,
    *,
    batch_size: int,
    accelerator: Accelerator,
    why_leave: Callable[[], str | None] = to_the_end,
) -> dict[str, Any]:
    """The metric over all blocks, `batch_size` or more at a time; every process computes its share, all get the whole.

    Now and then all ask together `why_leave`. Raises: Left when there is a reason.
    """
    if accelerator.device.type == "cuda":
        batch_size = max(batch_size, GPU_TOKENS // max(1, blocks.longest))
    was_training = model.training
    model.eval()
    try:
        with model.without_gradients():
            nats, correct, masked = _sums(model, blocks, masking, batch_size, accelerator, why_leave)
    finally:
        model.train(was_training)
    metric = MaskedLanguageModeling(keep_in_memory=True)
    return metric.compute(nats=[nats], masked_tokens=[int(masked)], correct=[int(correct)])


def _sums(
    model: MaskedLanguageModel,
    blocks: Blocks,
    masking: Masking,
    batch_size: int,
    accelerator: Accelerator,
    why_leave: Callable[[], str | None],
) -> list[float]:
    """Nats, correct guesses and masked tokens, of all processes."""
    asked, alone = time.monotonic(), accelerator.num_processes == 1
    exact = exact_dtype(accelerator.device)
    sums = torch.zeros(2, dtype=exact, device=accelerator.device)
    masked = 0
    stride = batch_size * accelerator.num_processes
    for number, first in enumerate(range(0, len(blocks), stride), start=1):
        # Several processes have no clock in common, but the numbers of their batches.
        if time.monotonic() - asked >= ASKED_SECONDS if alone else number % ASKED_BATCHES == 0:
            if reason := why_leave():
                raise Left(reason)
            asked = time.monotonic()
        start = first + accelerator.process_index * batch_size
        has_work = start < len(blocks)
        if not has_work and not model.is_sharded:
            break
        start = start if has_work else 0  # of a sharded model, all run through together
        indices = torch.arange(start, min(start + batch_size, len(blocks)))
        ids, word_starts, attention_mask = blocks.take(indices)
        batch = masking(ids, indices, epoch=HELD_OUT_EPOCH, word_starts=word_starts, attention_mask=attention_mask)
        batch = (batch if has_work else batch.without_targets()).to(accelerator.device)
        logits = model.logits(batch.input_ids, batch.positions, batch.attention_mask).float()
        nats = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum")
        correct = (logits.argmax(-1) == batch.targets).sum()
        sums += torch.stack([nats.to(exact), correct.to(exact)])
        masked += len(batch.targets)
    total: list[float] = accelerator.reduce(torch.cat([sums, sums.new_tensor([masked])])).tolist()
    return total
