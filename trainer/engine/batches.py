"""The micro-batches of each step: which blocks, in which order, with which tokens hidden."""

from __future__ import annotations

import math

from torch import Tensor

from trainer.config import TrainConfig
from trainer.engine.masking import MaskedBatch, shuffled
from trainer.engine.preparation import Prepared


class Batches:
    """Those of one of `ranks` processes; if they are `together`, all of them have equally many."""

    def __init__(self, config: TrainConfig, prepared: Prepared, rank: int, ranks: int, *, together: bool) -> None:
        self.config = config
        self.train, self.masking = prepared.train, prepared.masking
        self.steps_per_epoch, self.global_batch = prepared.plan.steps_per_epoch, prepared.global_batch
        self.rank, self.ranks, self.together = rank, ranks, together
        self._order: tuple[int, Tensor] | None = None  # of an epoch

    def of(self, step: int) -> list[tuple[int, MaskedBatch]]:
        """Those of a step, each with its number among those of all ranks."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if not self._order or self._order[0] != epoch:
            self._order = (epoch, shuffled(len(self.train), seed=self.config.seed, epoch=epoch))
        rows = self._order[1][number * self.global_batch : (number + 1) * self.global_batch]
        size = self.config.per_device_train_batch_size
        if len(rows) <= size * (self.ranks - 1):  # a resumed run may have more ranks than it began with
            size = math.ceil(len(rows) / self.ranks)
        parts = rows.split(size)
        mine = [(place, self._masked(parts[place], epoch)) for place in range(self.rank, len(parts), self.ranks)]
        rounds = math.ceil(len(parts) / self.ranks) if self.together else 1  # in which all take part
        while len(mine) < rounds:  # a rank without work still takes part in the exchange
            mine.append((self.rank, self._masked(parts[0], epoch).without_targets()))
        return mine

    def _masked(self, blocks: Tensor, epoch: int) -> MaskedBatch:
        ids, word_starts, attention_mask = self.train.take(blocks)
        return self.masking(ids, blocks, epoch=epoch, word_starts=word_starts, attention_mask=attention_mask)
