"""The steps of a small batch on a GPU, recorded once and played from then on.

A GPU is done with what 8 blocks of 128 ask of it before Python has asked for the next of some thousand kernels; a CUDA
graph asks for all of them at once. All it reads and writes stays in one place, so that what differs from step to step
is put there before: the tokens, the masked positions, whose number must not differ, and the learning rate.
Source: "CUDA Graphs" in the notes of torch's documentation (capture of a whole network).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.engine.masking import NOBODY_ASKS, MaskedBatch
from trainer.events import Emit, Planned, Warned

TOKENS = 16_384  # of a batch at most: a larger one keeps the GPU busy by itself
WARM_UP = 3  # steps before: libraries choose their ways, and the optimizers make what they keep
DEVIATIONS = 5  # by which a batch may have more masked positions than the mean
STEPS_IN_FLIGHT = 4  # a GPU may still have these to do: who ends a run waits for them

Numbers = tuple[Tensor, Tensor]  # nats and length of the gradient, on the device
Update = Callable[[Sequence[tuple[int, MaskedBatch]], Tensor], Numbers]


def recorded(update: Callable[[], Numbers], stream: torch.cuda.Stream | None) -> Callable[[], Numbers]:
    """`update` as one launch, whose numbers are always in the same place. Raises what keeps it from being one."""
    graph = torch.cuda.CUDAGraph()
    here = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, stream=stream):
            numbers = update()
    except Exception:  # whatever it is, it is raised again
        # What broke off leaves torch on the stream of the recording, and its random numbers bound to it.
        torch.cuda.set_stream(here)
        random, unbound = torch.cuda.default_generators[here.device_index], torch.Generator(here.device)
        unbound.manual_seed(random.initial_seed())
        random.graphsafe_set_state(unbound.graphsafe_get_state())
        raise
    ahead: deque[torch.cuda.Event] = deque()

    def play() -> Numbers:
        if len(ahead) == STEPS_IN_FLIGHT:
            ahead.popleft().synchronize()
        graph.replay()
        ahead.append(torch.cuda.Event(blocking=True))
        ahead[-1].record()
        return numbers

    return play


def places_for(shape: tuple[int, int], probability: float) -> int:
    """As many as hardly a batch of this shape has masked positions, when each token is one with this probability."""
    tokens = math.prod(shape)
    most = tokens * probability + DEVIATIONS * math.sqrt(tokens * probability * (1 - probability))
    return min(tokens, 8 * math.ceil(most / 8))


class Recorder:
    """Takes the place of `update`, for batches of one shape or less."""

    def __init__(
        self,
        update: Update,
        optimizers: Sequence[torch.optim.Optimizer],
        config: TrainConfig,
        plan: Planned,
        device: torch.device,
        emit: Emit,
    ) -> None:
        self._update, self._optimizers, self._emit = update, optimizers, emit
        shape = config.per_device_train_batch_size, plan.block_size
        tokens, places = math.prod(shape), places_for(shape, config.mlm_probability)
        self._inputs = torch.zeros(tokens + 2 * places, dtype=torch.long, device=device)
        ids, positions, targets = self._inputs.split([tokens, places, places])
        self._batch = MaskedBatch(ids.view(shape), positions, targets)
        self._rate = torch.zeros((), device=device)
        self._places = places
        self._stream = torch.cuda.Stream() if device.type == "cuda" else None
        self._play: Callable[[], Numbers] | None = None
        self._steps = 0
        self._is_broken = False

    def update(self, batches: Sequence[tuple[int, MaskedBatch]], masked: Tensor) -> Numbers:
        """One step; a batch with very many masks takes the long way."""
        [(_, batch)] = batches
        self._steps += 1
        if self._steps == 1 or self._is_broken or len(batch.positions) > self._places:
            return self._update(batches, masked)
        self._put(batch)
        self._rate.fill_(self._optimizers[0].param_groups[0]["lr"])
        if self._play:
            return self._play()
        with self._rate_on_device(capturable=self._steps > WARM_UP):
            if self._steps <= WARM_UP:
                with self._own_stream():
                    return self._step()
            self._try_to_record()
        return self._play() if self._play else self._update(batches, masked)

    def _put(self, batch: MaskedBatch) -> None:
        """Where the recorded step looks for it, in one transfer."""
        batch = batch.of_shape(len(self._batch.input_ids), self._places)
        inputs = torch.cat([batch.input_ids.flatten(), batch.positions, batch.targets])
        self._inputs.copy_(inputs.pin_memory() if self._inputs.is_cuda else inputs, non_blocking=True)

    def _step(self) -> Numbers:
        return self._update([(0, self._batch)], (self._batch.targets != NOBODY_ASKS).sum())

    def _try_to_record(self) -> None:
        try:
            self._play = recorded(self._step, self._stream)
        except (RuntimeError, AssertionError) as error:  # of CUDA, of torch's optimizers
            self._is_broken = True
            for optimizer in self._optimizers:
                optimizer.zero_grad()
            said = f"The steps can't be recorded for the GPU ({_reason(error)}): the run goes on, but slower."
            self._emit(Warned(message=said))

    @contextmanager
    def _rate_on_device(self, *, capturable: bool) -> Iterator[None]:
        """A number would be recorded along; `capturable` is what AdamW wants to be told."""
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        before = [dict(group) for group in groups]
        for group in groups:
            group.update(lr=self._rate, capturable=capturable)
        try:
            yield
        finally:
            for group, was in zip(groups, before, strict=True):
                group.clear()
                group.update(was)

    @contextmanager
    def _own_stream(self) -> Iterator[None]:
        """Work that is to be recorded is done before on the stream of the recording."""
        if self._stream is None:
            yield
            return
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            yield
        here.wait_stream(self._stream)


def _reason(error: Exception) -> str:
    """In a line. In a function, as a variable of `error`'s own frame would keep all that it holds on the GPU."""
    first = error.__context__ or error  # the end of a recording that broke off fails as well
    return (str(first).strip() or type(first).__name__).splitlines()[0]
