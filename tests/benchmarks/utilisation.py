"""How much of what the device can multiply training makes use of."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from tests.benchmarks.comparison import OURS, Comparison
from trainer.config import TrainConfig
from trainer.engine import hardware

RATE = "products of matrices"
PRODUCTS, WARM_UP = 10, 3


def utilisation(name: str, tokens_per_second: list[float], model: Path, block_size: int) -> Comparison:
    """Operations a second that training needs, beside those of matrices that are large and nothing else."""
    chosen = hardware.choose()
    operations = needed(model, block_size)
    figures = {
        RATE: [matrix_rate(chosen) for _ in tokens_per_second],
        OURS: [rate * operations for rate in tokens_per_second],
    }
    return Comparison(name, "operations a second", figures, targets={RATE: 0.5} if chosen.device == "cuda" else {})


def needed(model: Path, block_size: int) -> float:
    """Operations for each token of a step of a RoBERTa: all layers for all tokens, the vocabulary for masked ones.

    A product and its sum are two; the backward pass does each product twice.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model)
    width = config.hidden_size
    layer = 4 * width**2 + 2 * width * config.intermediate_size + 2 * block_size * width
    head = TrainConfig().mlm_probability * (width**2 + width * config.vocab_size)
    return 3 * 2 * (config.num_hidden_layers * layer + head)


def matrix_rate(chosen: hardware.Hardware) -> float:
    """Operations a second of a product of large matrices, in the arithmetic of a run."""
    size = 8192 if chosen.device == "cuda" else 2048
    dtype = torch.bfloat16 if chosen.precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=chosen.device, dtype=dtype) for _ in range(2))
    for number in range(WARM_UP + PRODUCTS):
        if number == WARM_UP:
            _wait(chosen)
            began = time.perf_counter()
        left @ right
    _wait(chosen)
    return PRODUCTS * 2 * size**3 / (time.perf_counter() - began)


def _wait(chosen: hardware.Hardware) -> None:
    if chosen.device == "cuda":
        torch.cuda.synchronize()
