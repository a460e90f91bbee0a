"""Which tokens are hidden, and in which order blocks are seen.

Everything here is a pure function of (seed, epoch, block, position): no generator has a state that could depend on
batch size, workers, devices or on having been resumed. The hash is the finalizer of SplitMix64 (Steele, Lea and
Flood 2014, "Fast splittable pseudorandom number generators"), chained over the keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HELD_OUT_EPOCH = -1  # the held-out part keeps the masks of this "epoch" at every evaluation
NOBODY_ASKS = -100  # the target of a position that only makes up the number; no loss counts it
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1  # the rest of the chosen tokens stays as it is (Devlin et al. 2018)

# Each kind of decision draws from a stream of its own.
CHOICE, ACTION, REPLACEMENT, ORDER, DOCUMENTS, DROPOUT = range(6)


def hashed(seed: int, stream: int, *keys: Tensor | int) -> Tensor:
    """Uniform whole numbers in 0..2^53-1 for every combination of `keys` (which broadcast against each other)."""
    state = np.array([seed * 8 + stream], dtype=np.uint64)
    for key in keys:
        state = _mixed(state + np.asarray(key).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return torch.from_numpy((_mixed(state) >> 11).astype(np.int64))


def uniform(seed: int, stream: int, *keys: Tensor | int) -> Tensor:
    """Uniform numbers in [0, 1), float64, for every combination of `keys`."""
    return hashed(seed, stream, *keys).double() / 2**53


def shuffled(count: int, *, seed: int, epoch: int, stream: int = ORDER) -> Tensor:
    """A permutation of `count` indices. Shape: (count,)."""
    return hashed(seed, stream, epoch, torch.arange(count)).argsort(stable=True)


@dataclass(frozen=True, slots=True)
class MaskedBatch:
    """Blocks with some tokens hidden, and what was hidden."""

    input_ids: Tensor  # (blocks, tokens)
    positions: Tensor  # (masked,) into the flattened blocks, ascending
    targets: Tensor  # (masked,) the tokens that stood there
    attention_mask: Tensor | None = None  # (blocks, tokens), 0 at padding; None where there is none

    @property
    def tokens(self) -> int:
        """How many there are, padding aside."""
        return self.input_ids.numel() if self.attention_mask is None else int(self.attention_mask.sum())

    def to(self, device: torch.device) -> MaskedBatch:
        """The same batch on `device`, which need not have done all before when this returns."""
        parts = (self.input_ids, self.positions, self.targets, self.attention_mask)
        if device.type == "cuda":  # a GPU fetches by itself only what the system can't move
            parts = tuple(part if part is None or part.is_cuda else part.pin_memory() for part in parts)
        return MaskedBatch(*(part if part is None else part.to(device, non_blocking=True) for part in parts))

    def of_shape(self, blocks: int, asked: int) -> MaskedBatch:
        """The same as a batch of so many blocks and positions, which are all different; the further ones teach nothing.

        Neither may be fewer than there are.
        """
        more_blocks = self.input_ids[:1].expand(blocks - len(self.input_ids), -1)
        ids = torch.cat([self.input_ids, more_blocks])
        others = torch.ones(ids.numel(), dtype=torch.bool).index_fill_(0, self.positions, False)
        more = others.nonzero().squeeze(1)[: asked - len(self.positions)]
        targets = torch.cat([self.targets, torch.full_like(more, NOBODY_ASKS)])
        return MaskedBatch(ids, torch.cat([self.positions, more]), targets)

    def without_targets(self) -> MaskedBatch:
        """The same blocks with nothing to guess."""
        return MaskedBatch(self.input_ids, self.positions[:0], self.targets[:0], self.attention_mask)


@dataclass(frozen=True, slots=True)
class Masking:
    """The 80/10/10 rule of BERT, for one tokenizer and one seed."""

    seed: int
    probability: float
    mask_token_id: int
    special_ids: tuple[int, ...]
    vocabulary_size: int

    def __call__(
        self,
        ids: Tensor,
        blocks: Tensor,
        *,
        epoch: int,
        word_starts: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> MaskedBatch:
        """Hides tokens of the blocks numbered `blocks`.

        Shapes: ids (blocks, tokens); blocks (blocks,); word_starts (blocks, tokens), true where a word begins, makes
        whole words be chosen together; attention_mask (blocks, tokens), 0 at padding, which is never chosen.
        """
        position = torch.arange(ids.shape[1])
        unit = position.expand_as(ids)  # tokens with the same unit are hidden together
        if word_starts is not None:
            unit = torch.where(word_starts, unit, 0).cummax(dim=1).values
        chosen = uniform(self.seed, CHOICE, epoch, blocks[:, None], unit) < self.probability
        chosen &= ~torch.isin(ids, torch.tensor(self.special_ids))
        if attention_mask is not None:
            chosen &= attention_mask.bool()

        rows, columns = chosen.nonzero(as_tuple=True)
        positions, targets = rows * ids.shape[1] + columns, ids[rows, columns]
        action = uniform(self.seed, ACTION, epoch, blocks[rows], columns)
        replacement = hashed(self.seed, REPLACEMENT, epoch, blocks[rows], columns) % self.vocabulary_size
        shown = torch.where(action < MASK_SHARE + RANDOM_SHARE, replacement, targets)
        shown = torch.where(action < MASK_SHARE, self.mask_token_id, shown)
        hidden = ids.index_put((rows, columns), shown)
        return MaskedBatch(hidden, positions, targets, attention_mask)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> 27)) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> 31)
