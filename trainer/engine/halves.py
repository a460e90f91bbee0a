"""The weights of a model's linear layers in bf16, all of them cast at once, and their gradients back.

Mixed precision casts each on its own, there and back: for DistilRoBERTa a third of a step's kernels, for each of which
a GPU needs some time, however small it is. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def halves(model: nn.Module) -> Iterator[None]:
    """In the place of these weights, for a pass in bf16 and the backward pass that follows."""
    own = [
        (layer._parameters, name, weight)
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
        for name, weight in layer.named_parameters(recurse=False)
    ]
    for (place, name, _), half in zip(own, _Halved.apply(*(weight for *_, weight in own)), strict=True):
        place[name] = half
    try:
        yield
    finally:
        for place, name, weight in own:
            place[name] = weight


class _Halved(torch.autograd.Function):
    """float32 to bf16, and the gradients from bf16 to float32."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # what is not used has no gradient
        return tuple(_cast(weights, torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        cast = iter(_cast([gradient for gradient in gradients if gradient is not None], torch.float32))
        return tuple(None if gradient is None else next(cast) for gradient in gradients)


def _cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    casts = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(casts, tensors)
    return casts
