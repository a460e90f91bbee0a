"""Weights in oneDNN's own order, for predictions on a processor.

A product of large weights with the few tokens of a sentence waits for the weights, and takes about half as long in that
order; one with many tokens takes a tenth longer. So both orders are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEW = 64  # tokens
LARGE = 1 << 15  # weights of a layer


class PackedProduct:
    """What a linear layer computes, by the order of its weights that suits the number of tokens."""

    def __init__(self, layer: nn.Linear) -> None:
        self._weight, self._bias = layer.weight.detach(), layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight, FEW)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Shape: (..., tokens, width) -> (..., tokens, new width)."""
        if tokens.numel() > FEW * tokens.shape[-1]:
            return nn.functional.linear(tokens, self._weight, self._bias)
        return torch.ops.mkldnn._linear_pointwise(tokens, self._packed, self._bias, "none", [], "")


@torch.inference_mode()
def pack(model: nn.Module, room: int) -> int:
    """Answers short texts sooner, where `room` bytes suffice for large float32 weights once more; returns those taken.

    For predictions alone, on a processor that has oneDNN.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    layers = [layer for layer in linear if _gains(layer.weight)]
    size = sum(layer.weight.nbytes for layer in layers)
    if not torch.backends.mkldnn.is_available() or size > room:
        return 0
    for layer in layers:
        layer.forward = PackedProduct(layer)  # type: ignore[method-assign]
    return size


def _gains(weight: Tensor) -> bool:
    return weight.numel() >= LARGE and weight.dtype == torch.float32 and weight.device.type == "cpu"
