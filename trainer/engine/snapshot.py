"""A run as its checkpoints hold it, and back.

Learning rate, place in the data, masks and dropout are functions of the seed and the step (masking.py), so that the
step and the settings stand for all of them, on every device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights

from trainer.config import TrainConfig
from trainer.engine import sharding
from trainer.engine.checkpoint import STATE, save_checkpoint, take_back, write_json
from trainer.engine.kept_blocks import DECIDING
from trainer.engine.training import Training
from trainer.engine.versions import differences, versions
from trainer.errors import RunError
from trainer.events import CheckpointSaved, Warned

FORMAT = 2  # raise it when an older Mask Studio would misread what is written here
WEIGHTS, OPTIMIZER = "model.safetensors", "optimizer.pt"
FREE_TO_CHANGE = {"max_seconds", "save_steps", "compile", "fsdp"}  # other checkpoints and bits don't hang on these


def save_snapshot(training: Training, *, paused: bool = False) -> None:
    """A checkpoint from which a run goes on, the same whether it is shared out or not; there may be one already.

    `paused` when what goes on is the same run to all who look at it, and a point of its curve is half added up.
    """
    if training.saved_step == training.step:
        return
    began = time.monotonic()
    accelerator = training.accelerator
    window = training.window.state(accelerator) if paused else None
    weights = sharding.whole_weights(training.model) if training.is_sharded else None
    states = [sharding.whole_state(optimizer) for optimizer in training.optimizers]
    if accelerator.is_main_process:
        training.best_model.wait()  # a resumed run must not find an older one than the state tells of
        _write(training, weights, states, window)
        path = training.checkpoint.relative_to(training.output_dir).as_posix()
        training.emit(CheckpointSaved(step=training.step, path=path, seconds=time.monotonic() - began))
    accelerator.wait_for_everyone()
    training.pace.note_save(time.monotonic() - began)
    training.saved_step = training.step
    training.open_window()


def _write(
    training: Training,
    weights: dict[str, torch.Tensor] | None,
    states: list[dict[str, Any]],
    window: dict[str, float] | None,
) -> None:
    """`weights` come from the model itself when None, `states` are its optimizers'."""
    state = {
        "format": FORMAT,
        "step": training.step,
        "best_loss": training.best_loss if math.isfinite(training.best_loss) else None,
        "evaluations_since_best": training.evaluations_since_best,
        "evaluated_step": training.evaluated_step,
        "evaluation_seconds": training.pace.evaluation_seconds,
        "elapsed_seconds": training.elapsed_seconds,
        "paused": window and {"window": window, "spent_seconds": training.pace.spent_seconds},
        "threads": torch.get_num_threads(),
        "processes": training.accelerator.num_processes,
        "global_batch": training.prepared.global_batch,
        "text": _text(training),
        "config": asdict(training.config),
        "versions": versions(),
    }
    writers = {
        WEIGHTS: lambda path: (
            save_file(sharding.by_first_name(weights), path)
            if weights
            else save_weights(training.model.model, str(path))
        ),
        OPTIMIZER: lambda path: _save_optimizer(states, path),
        STATE: lambda path: write_json(path, state),
    }
    save_checkpoint(training.checkpoint.parent, training.step, writers)


def check_snapshot(folder: Path, state: dict[str, Any]) -> None:
    """Raises: RunError for a checkpoint that only a newer version understands."""
    if state.get("format", FORMAT) > FORMAT:
        what = f"The checkpoint {folder.name} was made by a newer version of Mask Studio"
        raise RunError(f"{what} (its format is {state['format']}, this one reads {FORMAT}).", "Update Mask Studio.")


def global_batch_of(state: dict[str, Any]) -> int | None:
    """Blocks a step of the run a checkpoint is of, which it keeps: a step stands for a place in the data.

    None without a checkpoint; versions before 0.2 noted processes instead.
    """
    if not state or "global_batch" in state:
        return state.get("global_batch")
    config = state["config"]
    return config["per_device_train_batch_size"] * config["gradient_accumulation_steps"] * state["processes"]


def text_of(state: dict[str, Any], config: TrainConfig) -> list[str] | None:
    """The digests of the blocks that a run began with; None without a checkpoint, or where it now cuts others."""
    then = state.get("config", {})
    same = all(then.get(name) == getattr(config, name) for name in (*DECIDING, "model", "from_scratch"))
    return state.get("text") if same else None


def restore_snapshot(training: Training, folder: Path, state: dict[str, Any]) -> None:
    """Goes back to where a checkpoint was made, by any number of processes.

    Raises: RunError where the steps would mean other batches.
    """
    if state.get("text", _text(training)) != _text(training):
        raise RunError(
            "The text is no longer the one this run began with.", "Bring the old one back, or start a new run."
        )
    if training.is_sharded:
        sharding.put_weights(training.model, load_file(folder / WEIGHTS))
    else:
        load_weights(training.model.model, str(folder / WEIGHTS))
    states = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
    states = states if isinstance(states, list) else [states]  # format 1 knew one optimizer
    for optimizer, one in zip(training.optimizers, states, strict=True):
        sharding.put_state(optimizer, one)
    training.step = training.saved_step = state["step"]
    training.best_loss = math.inf if state["best_loss"] is None else state["best_loss"]
    training.evaluations_since_best = state["evaluations_since_best"]
    training.evaluated_step = state["evaluated_step"]
    training.pace.evaluation_seconds = state.get("evaluation_seconds", 0.0)
    training.started -= state["elapsed_seconds"]
    if paused := state.get("paused"):
        training.window.reopen(paused["window"], with_sums=training.accelerator.is_main_process)
        training.pace.go_on(paused["spent_seconds"])
    if training.accelerator.is_main_process:
        take_back(training.output_dir / "model", folder)
    for message in (*differences(state["versions"]), *_changes(state, training.config)):
        training.emit(Warned(message=message))


def _text(training: Training) -> list[str]:
    return [training.prepared.train.digest, training.prepared.held_out.digest]


def _save_optimizer(states: list[dict[str, Any]], path: Path) -> None:
    with path.open("wb") as file:  # whose errors name the disk; torch's own writer says "unexpected pos"
        torch.save(states, file)


def _changes(state: dict[str, Any], config: TrainConfig) -> Iterator[str]:
    """A sentence for each thing that makes the rest of the run differ from what it would have been."""
    if state["threads"] != torch.get_num_threads():
        yield f"The checkpoint was made with {state['threads']} threads, here are {torch.get_num_threads()}."
    for name, now in asdict(config).items():
        then = state.get("config", {}).get(name, now)
        if then != now and name not in FREE_TO_CHANGE:
            yield f"Since the checkpoint, {name} was changed from {then!r} to {now!r}."
