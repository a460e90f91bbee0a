"""What is added up between two points of the training curve."""

from __future__ import annotations

import time

import torch


class Window:
    """The steps since the newest point; `nats` are those of this process alone, on its device."""

    def __init__(self, device: torch.device) -> None:
        self.nats = torch.zeros((), device=device)
        self.masked = self.tokens = self.steps = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def note_step(self, masked: int, tokens: int) -> None:
        """A step of all processes, of which each added its own nats."""
        self.masked += masked
        self.tokens += tokens
        self.steps += 1

    def state(self, nats: float) -> dict[str, float]:
        """The window for a checkpoint, with the `nats` of all processes."""
        return {
            "nats": nats,
            "masked": self.masked,
            "tokens": self.tokens,
            "steps": self.steps,
            "seconds": self.seconds,
        }

    def reopen(self, state: dict[str, float], *, with_nats: bool) -> None:
        """Add up on from there; the nats are taken by one process."""
        self.nats += state["nats"] * with_nats
        self.masked, self.tokens, self.steps = (int(state[name]) for name in ("masked", "tokens", "steps"))
        self.began -= state["seconds"]
