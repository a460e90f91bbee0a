"""The last layer's feed-forward network, run for the tokens that are asked about alone.

What it makes of one token does not depend on the others, and nobody looks at theirs: of six layers and 15 % masked,
that is a tenth of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

FEED_FORWARDS: dict[str, Callable[[Any], tuple[Any, str]]] = {  # whose method it is, and its name
    "bert": lambda base: (base.encoder.layer[-1], "feed_forward_chunk"),
    "distilbert": lambda base: (base.transformer.layer[-1].ffn, "forward"),
    "modernbert": lambda base: (base.layers[-1].mlp, "forward"),
    "roberta": lambda base: (base.encoder.layer[-1], "feed_forward_chunk"),
    "xlm-roberta": lambda base: (base.encoder.layer[-1], "feed_forward_chunk"),
}


class LastLayer:
    """Takes its place in a model; `positions` (asked,) count into the flattened batch and are set before each call."""

    def __init__(self, model: Any) -> None:
        self.positions: Tensor | None = None
        find = FEED_FORWARDS.get(model.config.model_type)
        if find is None or getattr(model.config, "chunk_size_feed_forward", 0):
            return
        owner, name = find(model.base_model)
        self._feed_forward = getattr(owner, name)
        setattr(owner, name, self._at_positions)

    def _at_positions(self, hidden: Tensor) -> Tensor:
        """Shapes: (texts, tokens, width) -> the same, zero where nobody asks."""
        if self.positions is None:
            return self._feed_forward(hidden)
        flat = hidden.flatten(0, 1)
        asked = self._feed_forward(flat[self.positions])
        return asked.new_zeros(flat.shape).index_copy(0, self.positions, asked).view_as(hidden)
