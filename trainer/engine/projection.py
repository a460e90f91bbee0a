"""The projection onto the vocabulary, padded to a size that suits a GPU.

Its tensor cores work best on matrices whose rows begin at multiples of 16 bytes; rows of 50,265 scores in bf16 don't.
Source: NVIDIA, "Matrix Multiplication Background User's Guide", on the alignment of dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

MULTIPLE = 64


class Projection:
    """Takes the place of this layer in a model; outside of `padded` it stays as it was."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer, self._forward = layer, layer.forward
        self._more = -layer.out_features % MULTIPLE
        self._is_padded = False
        layer.forward = self._scores  # type: ignore[method-assign]

    @contextmanager
    def padded(self, wanted: bool) -> Iterator[None]:
        """For a pass in bf16 that reads no scores by their number from the end: more follow, which are -inf."""
        self._is_padded = wanted and self._more > 0
        try:
            yield
        finally:
            self._is_padded = False

    def _scores(self, hidden: Tensor) -> Tensor:
        if not self._is_padded:
            return self._forward(hidden)
        weight, bias = self._layer.weight.to(torch.bfloat16), self._layer.bias
        bias = weight.new_zeros(len(weight)) if bias is None else bias.to(torch.bfloat16)
        weight = nn.functional.pad(weight, (0, 0, 0, self._more))
        return nn.functional.linear(hidden, weight, nn.functional.pad(bias, (0, self._more), value=-math.inf))
