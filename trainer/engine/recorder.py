"""The steps of a small batch on a GPU, recorded once and played from then on.

A GPU is done with what 8 blocks of 128 ask of it before Python has asked for the next of some thousand kernels; a CUDA
graph asks for all of them at once. All it reads and writes stays in one place, so that what differs from step to step
is put there before: the tokens, the masked positions, whose number must not differ, and the learning rate.
Source: "CUDA Graphs" in the notes of torch's documentation (capture of a whole network).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from trainer.engine.masking import NOBODY_ASKS, MaskedBatch

TOKENS = 16_384  # of a batch at most: a larger one keeps the GPU busy by itself
WARM_UP = 3  # steps before: libraries choose their ways, and the optimizers make what they keep
DEVIATIONS = 5  # by which a batch may have more masked positions than the mean

Numbers = tuple[Tensor, Tensor]  # nats and length of the gradient, on the device
Update = Callable[[Sequence[tuple[int, MaskedBatch]], Tensor], Numbers]


def recorded(update: Callable[[], Numbers]) -> Callable[[], Numbers]:
    """`update` as one launch, whose numbers are always in the same place. Raises: RuntimeError where it can't be."""
    graph = torch.cuda.CUDAGraph()
    here = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            numbers = update()
    except RuntimeError:
        # What broke off leaves torch on the stream of the recording, and its random numbers bound to it.
        torch.cuda.set_stream(here)
        random = torch.cuda.default_generators[here.device_index]
        random.graphsafe_set_state(torch.Generator(here.device).graphsafe_get_state())
        raise

    def play() -> Numbers:
        graph.replay()
        return numbers

    return play


def places_for(shape: tuple[int, int], probability: float) -> int:
    """As many as hardly a batch of this shape has masked positions, when each token is one with this probability."""
    tokens = math.prod(shape)
    most = tokens * probability + DEVIATIONS * math.sqrt(tokens * probability * (1 - probability))
    return min(tokens, 8 * math.ceil(most / 8))


class Recorder:
    """Takes the place of `update`, for batches of one shape."""

    def __init__(
        self,
        update: Update,
        optimizers: Sequence[torch.optim.Optimizer],
        shape: tuple[int, int],
        places: int,
        device: torch.device,
        warn: Callable[[str], None],
    ) -> None:
        """`shape`: (blocks, tokens) of a batch; `places` for masked positions."""
        self._update, self._optimizers, self._warn = update, optimizers, warn
        self.places = places
        tokens = math.prod(shape)
        self._inputs = torch.zeros(tokens + 2 * places, dtype=torch.long, device=device)
        ids, positions, targets = self._inputs.split([tokens, places, places])
        self._batch = MaskedBatch(ids.view(shape), positions, targets)
        self._rate = torch.zeros((), device=device)
        self._play: Callable[[], Numbers] | None = None
        self._warm = 0
        self._is_broken = False

    def update(self, batches: Sequence[tuple[int, MaskedBatch]], masked: Tensor) -> Numbers:
        """One step; the last batch of an epoch, which may be smaller, and one with many masks take the long way."""
        (_, batch), *others = batches
        fits = batch.input_ids.shape == self._batch.input_ids.shape and len(batch.positions) <= self.places
        if others or not fits or self._is_broken:
            return self._update(batches, masked)
        self._put(batch)
        if self._warm < WARM_UP:
            self._warm += 1
            with _own_stream(self._inputs.device):
                return self._step()
        if not self._play and not self._recording():
            return self._update(batches, masked)
        assert self._play
        self._rate.fill_(self._optimizers[0].param_groups[0]["lr"])
        return self._play()

    def _put(self, batch: MaskedBatch) -> None:
        """Where the recorded step looks for it, in one transfer."""
        batch = batch.asking(self.places)
        inputs = torch.cat([batch.input_ids.flatten(), batch.positions, batch.targets])
        self._inputs.copy_(inputs.pin_memory() if self._inputs.is_cuda else inputs, non_blocking=True)

    def _step(self) -> Numbers:
        return self._update([(0, self._batch)], (self._batch.targets != NOBODY_ASKS).sum())

    def _recording(self) -> bool:
        """Whether there is one now."""
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        before = [dict(group) for group in groups]
        try:
            for group in groups:
                group.update(lr=self._rate, capturable=True)
            self._play = recorded(self._step)
        except RuntimeError as error:
            self._is_broken = True
            for optimizer in self._optimizers:
                optimizer.zero_grad()
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            self._warn(f"The steps can't be recorded for the GPU ({reason}): the run goes on, but slower.")
        finally:
            for group, was in zip(groups, before, strict=True):
                group.clear()
                group.update(was)
        return self._play is not None


@contextmanager
def _own_stream(device: torch.device) -> Iterator[None]:
    """Work that is to be recorded must not have begun on the stream of all the rest."""
    if device.type != "cuda":
        yield
        return
    here, own = torch.cuda.current_stream(), torch.cuda.Stream()
    own.wait_stream(here)
    with torch.cuda.stream(own):
        yield
    here.wait_stream(own)
