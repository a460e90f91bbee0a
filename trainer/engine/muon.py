"""Muon: the momentum of a matrix, orthogonalized, is its step.

Sources: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al. 2025,
arXiv:2502.16982, for steps as long as AdamW's. `torch.optim.Muon` computes in bf16 everywhere, which takes processors
without instructions for it some forty times as long as float32, and takes matrix after matrix.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS, ITERATIONS = (3.4445, -4.775, 2.0315), 5  # Jordan's: fast to near 1, rather than exactly there


class Muon(torch.optim.Optimizer):
    """For matrices alone; all of one shape go through their products together, in `dtype`."""

    def __init__(self, matrices: Iterable[nn.Parameter], *, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - MOMENTUM)
                alike[matrix.shape].append((matrix, matrix.grad.lerp(momentum, MOMENTUM)))  # Nesterov's look ahead
            for shape, pairs in alike.items():
                matrices, directions = zip(*pairs, strict=True)
                rate = group["lr"]  # a number, or a tensor
                length = 0.2 * math.sqrt(max(shape))  # an entry is then as large as one of AdamW's, in the mean
                steps = orthogonalized(torch.stack(directions).to(self.dtype)).to(matrices[0].dtype) * (rate * length)
                for matrix, step in zip(matrices, steps, strict=True):
                    matrix.mul_(1 - rate * group["weight_decay"]).sub_(step)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Each matrix with all its singular values near 1, by Newton and Schulz' iteration. Shape: (matrices, m, n)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    if x.shape[2] >= 2 * x.shape[1] and x.dtype == torch.float32:  # bf16 would lose the small singular values
        x = _all_steps(x @ x.mT) @ x
    else:
        for _ in range(ITERATIONS):
            x = torch.baddbmm(x, _without_a(x @ x.mT), x, beta=COEFFICIENTS[0])
    return x.mT if tall else x


def _all_steps(gram: Tensor) -> Tensor:
    """What all iterations multiply X by, found without X: a step P takes G = XX^T to PGP. Less work, for a long X."""
    product = step = _one_step(gram)
    for _ in range(ITERATIONS - 1):
        gram = step @ gram @ step
        step = _one_step(gram)
        product = step @ product
    return product


def _one_step(gram: Tensor) -> Tensor:
    """P = a + bG + cG^2."""
    step = _without_a(gram)
    step.diagonal(dim1=1, dim2=2).add_(COEFFICIENTS[0])
    return step


def _without_a(gram: Tensor) -> Tensor:
    _, b, c = COEFFICIENTS
    return torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
