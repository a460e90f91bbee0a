"""Weights in oneDNN's own order, for predictions on a processor.

A product of large weights with the few tokens of a sentence waits for the weights, and takes about half as long in that
order; one with many tokens takes a tenth longer. So both orders are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEW = 64  # tokens
LARGE = 1 << 19  # weights of a layer; smaller ones lie in the processor's caches


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


def packable(model: nn.Module) -> list[nn.Linear]:
    """The layers that gain by it: large ones in float32, on a processor that has oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return []
    layers = ((module, module.weight) for module in model.modules() if isinstance(module, nn.Linear))
    return [
        layer
        for layer, weight in layers
        if weight.numel() >= LARGE and weight.dtype == torch.float32 and weight.device.type == "cpu"
    ]


@torch.inference_mode()
def pack(layers: list[nn.Linear]) -> None:
    """Gives up training for answers to short texts in half the time; takes the memory of the weights once more."""
    for layer in layers:
        layer.forward = PackedProduct(layer)  # type: ignore[method-assign]
