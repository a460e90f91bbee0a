"""What is added up between two points of the training curve."""

from __future__ import annotations

import time
from collections.abc import Collection

import torch
from accelerate import Accelerator

from trainer.engine.hardware import exact_dtype
from trainer.engine.masking import MaskedBatch


class Window:
    """The steps since the newest point; the sums are of this process alone, its `nats` on its device."""

    def __init__(self, device: torch.device) -> None:
        self.nats = torch.zeros((), device=device)
        self.masked = self.tokens = self.steps = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def note_step(self, batches: Collection[MaskedBatch]) -> None:
        """A step, of which this process had these; what has nothing to guess only keeps others company."""
        self.masked += sum(len(batch.targets) for batch in batches)
        self.tokens += sum(batch.tokens for batch in batches if len(batch.targets))
        self.steps += 1

    def sums(self, accelerator: Accelerator) -> list[float]:
        """Nats, masked tokens and tokens of all processes, which ask for it together."""
        device = accelerator.device
        counted = torch.tensor([self.masked, self.tokens], dtype=exact_dtype(device), device=device)
        total: list[float] = accelerator.reduce(torch.cat([self.nats.to(counted.dtype)[None], counted])).tolist()
        return total

    def state(self, accelerator: Accelerator) -> dict[str, float]:
        """The window of all processes for a checkpoint."""
        nats, masked, tokens = self.sums(accelerator)
        return {"nats": nats, "masked": masked, "tokens": tokens, "steps": self.steps, "seconds": self.seconds}

    def reopen(self, state: dict[str, float], *, with_sums: bool) -> None:
        """Add up on from there; the sums are taken by one process."""
        self.steps = int(state["steps"])
        self.began -= state["seconds"]
        if with_sums:
            self.nats += state["nats"]
            self.masked, self.tokens = int(state["masked"]), int(state["tokens"])
