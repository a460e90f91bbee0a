"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from trainer.config import TrainConfig
from trainer.engine import hardware
from trainer.engine.checkpoint import newest_checkpoint, read_state
from trainer.engine.faults import is_out_of_memory
from trainer.engine.preparation import BLOCKS, prepare
from trainer.engine.training import Training
from trainer.engine.versions import versions
from trainer.errors import RunError, TrainerError, TrainingError
from trainer.events import Emit, Event, Failed, Finished, PhaseChanged, RunStarted, Warned

PREPARATION_TIME = timedelta(hours=12)  # the other ranks wait while the first one reads and cuts the text
EARLY = ("stopped", "time_budget")
CHECKPOINTS = 20  # at most, where the settings leave it open: an epoch of a tiny text is a single step
PATIENT_SECONDS = 10.0  # a stopped run is evaluated once more if that takes no longer


def ignore(event: Event) -> None:
    """An `emit` for those who don't listen."""


def never() -> bool:
    """A `should_stop` for runs nobody stops."""
    return False


def fit(
    config: TrainConfig,
    emit: Emit = ignore,
    should_stop: Callable[[], bool] = never,
    output_dir: str | Path = "mask-studio-run",
    *,
    resume: bool = False,
) -> Finished:
    """Fine-tunes a masked language model; `output_dir/model` is the best so far by held-out loss.

    Everything that happens is told to `emit`; the last event is exactly one `Finished` or `Failed`.
    `should_stop` is asked before every step. With `resume` the run goes on from its newest sound checkpoint.
    Raises: TrainerError, after it was told as `Failed`.
    """
    try:
        return _fit(config.check(), emit, should_stop, Path(output_dir), resume)
    except TrainerError as error:
        emit(Failed(what=error.what, fix=error.fix))
        raise
    except Exception as error:
        if is_out_of_memory(error):
            failure = _out_of_memory(config)
            emit(Failed(what=failure.what, fix=failure.fix))
            raise failure from error
        emit(Failed(what=f"{type(error).__name__}: {error}", fix="This is a bug; the log has the details."))
        raise


def _fit(config: TrainConfig, emit: Emit, should_stop: Callable[[], bool], output_dir: Path, resume: bool) -> Finished:
    began = time.monotonic()
    if not resume and any((output_dir / made).exists() for made in ("checkpoints", "model")):
        raise RunError(f"The folder {output_dir.name!r} already holds a run.", "Resume it, or choose another one.")
    warnings: list[str] = []
    checkpoint = newest_checkpoint(output_dir / "checkpoints", warnings.append) if resume else None
    state = read_state(checkpoint) if checkpoint else {}
    if state:
        torch.set_num_threads(state["threads"])  # another number adds up in another order, to other bits
    chosen = hardware.choose(config.precision)
    accelerator = Accelerator(
        cpu=chosen.device == "cpu",
        mixed_precision="no",  # the model itself chooses its arithmetic, whatever a launcher was configured to
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PREPARATION_TIME)],
    )
    if not accelerator.is_main_process:
        emit = ignore
    emit(
        RunStarted(
            device=chosen.device,
            device_name=chosen.name,
            processes=accelerator.num_processes,
            threads=chosen.threads,
            precision=chosen.precision,
            compile=config.compile,
            versions=versions(),
            resumed_from_step=state.get("step"),
        )
    )
    for message in warnings:
        emit(Warned(message=message))
    torch.manual_seed(config.seed)  # new weights, where a model is made from nothing
    with accelerator.main_process_first():
        prepared = prepare(config, emit, output_dir, precision=chosen.precision, processes=accelerator.num_processes)
    training = Training(config, prepared, accelerator, emit, output_dir)
    if checkpoint:
        training.load(checkpoint, state)

    plan = prepared.plan
    eval_steps = config.eval_steps or plan.steps_per_epoch
    save_steps = config.save_steps or max(eval_steps, math.ceil(plan.steps / CHECKPOINTS))
    emit(PhaseChanged(phase="Training"))
    while True:
        # Occasional work first, so that step 0 and the last step are treated like all others.
        reason = _reason_to_end(training, should_stop, time.monotonic() - began)
        early = reason in EARLY
        fresh = training.step != training.evaluated_step
        in_time = training.evaluation_seconds <= PATIENT_SECONDS
        evaluation_due = fresh and (in_time if early else training.step % eval_steps == 0 or reason == "completed")
        save_due = training.step > 0 and training.step % save_steps == 0
        if early or evaluation_due or save_due or training.step % config.logging_steps == 0:
            training.log()
        if early:
            training.save()  # before an evaluation out of turn, of which a resumed run must know nothing
        if evaluation_due:
            training.evaluate()
        elif early and not training.evaluated_step:
            training.keep_unmeasured()
        if not early and not training.is_patient():
            reason = "completed"
        if save_due and not early:
            training.save()
        if reason:
            break
        training.train_step()

    shutil.rmtree(output_dir / BLOCKS, ignore_errors=True)
    model = "model" if (output_dir / "model").exists() else None
    finished = Finished(reason=reason, step=training.step, elapsed_seconds=training.elapsed_seconds, model=model)
    emit(finished)
    accelerator.free_memory()
    return finished


def _out_of_memory(config: TrainConfig) -> TrainingError:
    batch = config.per_device_train_batch_size
    lower = f"per_device_train_batch_size from {batch} to {batch // 2}" if batch > 1 else "block_size"
    return TrainingError("The memory is full.", f"Lower {lower}, or choose a smaller model.")


def _reason_to_end(training: Training, should_stop: Callable[[], bool], seconds: float) -> str | None:
    """Why no further step is wanted; all ranks come to the same answer."""
    config, accelerator = training.config, training.accelerator
    early = 1 if should_stop() else 2 if config.max_seconds and seconds >= config.max_seconds else 0
    if accelerator.num_processes > 1:
        early = int(accelerator.gather(torch.tensor([early], device=accelerator.device)).max())
    if early:
        return EARLY[early - 1]
    return "completed" if training.step >= training.plan.steps else None
