"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math


def learning_rate_at(step: int, *, peak: float, warmup_steps: int, total_steps: int, kind: str = "linear") -> float:
    """Learning rate of update `step` (0-based): up in a straight line, then linear, cosine or constant.

    Units: those of `peak`. From the last step on, linear and cosine are 0.0.
    Source: linear as in `transformers.get_linear_schedule_with_warmup`, but with a first step above zero; cosine of
    Loshchilov & Hutter 2017 (SGDR), arXiv:1608.03983, without restarts.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if kind == "constant":
        return peak
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return peak * (0.5 * (1 + math.cos(math.pi * done)) if kind == "cosine" else 1 - done)
