"""Time and memory of a run, measured on its first steps."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.engine import hardware
from trainer.engine.masking import MaskedBatch, shuffled
from trainer.engine.model import MaskedLanguageModel
from trainer.engine.optimizer import optimizers
from trainer.engine.preparation import Prepared
from trainer.engine.recorder import Numbers, Recorder, Update
from trainer.previews import Estimate

SECONDS = 2.0
FORWARD_SHARE = 0.35  # of a step: an evaluation goes no way back
BYTES_A_WEIGHT = 16  # itself, its gradient and the optimizer's two


def measured(config: TrainConfig, prepared: Prepared, chosen: hardware.Hardware) -> Estimate | None:
    """What the whole run will take, from a trial of two seconds; the model is used up by it.

    None where the steps can't be taken: what they need is more than there is.
    """
    there = hardware.memory_bytes(chosen.device)
    if BYTES_A_WEIGHT * prepared.plan.parameters > there:
        return None
    order = shuffled(len(prepared.train), seed=config.seed, epoch=0)
    batches = order.split(config.per_device_train_batch_size)
    times: list[float] = []
    try:
        model = prepared.model.to(chosen.device).train()
        chosen_optimizers = optimizers(model, config)
        device = torch.device(chosen.device)
        update = _update(model, chosen_optimizers, device)
        if prepared.plan.cuda_graph:
            update = Recorder(update, chosen_optimizers, config, prepared.plan, device, lambda event: None).update
        began = time.monotonic()
        while time.monotonic() - began < SECONDS or len(times) < 2:
            start, start_of_work = time.monotonic(), time.process_time()
            rows = batches[len(times) % len(batches)]
            ids, word_starts, attention_mask = prepared.train.take(rows)
            batch = prepared.masking(ids, rows, epoch=0, word_starts=word_starts, attention_mask=attention_mask)
            update([(0, batch)], torch.tensor(len(batch.targets), device=device))
            if chosen.device == "cuda":
                torch.cuda.synchronize()
            # What else a processor is busy with doesn't count: no step takes longer than it computes.
            worked = time.process_time() - start_of_work if chosen.device == "cpu" else math.inf
            times.append(min(time.monotonic() - start, worked))
            if times[0] > 2 * SECONDS:
                break
    except (MemoryError, RuntimeError):  # torch says it in either way
        return None
    step = sorted(times[1:] or times)[len(times[1:] or times) // 2]
    plan = prepared.plan
    evaluations = 1 + (plan.steps / config.eval_steps if config.eval_steps else plan.steps / plan.steps_per_epoch)
    evaluation = FORWARD_SHARE * step * plan.held_out_blocks / config.per_device_train_batch_size
    seconds = plan.steps * config.gradient_accumulation_steps * step + evaluations * evaluation
    return Estimate(
        seconds=min(seconds, config.max_seconds or seconds),
        step_seconds=step * config.gradient_accumulation_steps,
        memory_bytes=_peak(chosen.device),
        memory_there=there,
        device_name=chosen.name,
    )


def _update(model: MaskedLanguageModel, chosen: list[torch.optim.Optimizer], device: torch.device) -> Update:
    """A step on one batch; how long its gradient is, nobody asks here."""

    def update(batches: Sequence[tuple[int, MaskedBatch]], masked: Tensor) -> Numbers:
        [(_, batch)] = batches
        batch = batch.to(device)
        nats: Tensor = model(batch.input_ids, batch.positions, batch.targets, batch.attention_mask)
        (nats / masked.clamp(min=1)).backward()
        for optimizer in chosen:
            optimizer.step()
            optimizer.zero_grad()
        return nats.detach(), masked

    return update


def _peak(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
