"""The last layer's feed-forward network, run for the tokens that are asked about alone.

What it makes of one token does not depend on the others, and nobody looks at theirs: of six layers and 15 % masked,
that is a tenth of the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class LastLayer:
    """Takes the place of that network, a method of `owner`, in a model; outside of `at` it stays as it was."""

    def __init__(self, owner: Any, name: str) -> None:
        self._positions: Tensor | None = None
        self._feed_forward = getattr(owner, name)
        # A configuration that has it work through a text part by part is no longer one that counts its tokens.
        self._in_parts = bool(getattr(owner, "chunk_size_feed_forward", 0))
        setattr(owner, name, self._at_positions)

    @contextmanager
    def at(self, positions: Tensor) -> Iterator[None]:
        """For a pass that asks for these alone: (asked,) into the flattened batch."""
        self._positions = None if self._in_parts else positions
        try:
            yield
        finally:
            self._positions = None

    def _at_positions(self, hidden: Tensor) -> Tensor:
        """Shapes: (texts, tokens, width) -> the same, zero where nobody asks."""
        if self._positions is None:
            return self._feed_forward(hidden)
        flat = hidden.flatten(0, 1)
        asked = self._feed_forward(flat[self._positions])
        return asked.new_zeros(flat.shape).index_copy(0, self._positions, asked).view_as(hidden)
