"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from trainer.config import LOGGING_STEPS, TrainConfig
from trainer.engine import hardware
from trainer.engine.checkpoint import CHECKPOINTS, newest_checkpoint, read_state
from trainer.engine.failures import in_words, is_full_disk
from trainer.engine.kept_blocks import BLOCKS
from trainer.engine.places import check_folder
from trainer.engine.preparation import TEXT, TOKENIZER, Stopped, prepare
from trainer.engine.snapshot import check_snapshot, global_batch_of, restore_snapshot, save_snapshot, text_of
from trainer.engine.training import Training
from trainer.engine.versions import versions
from trainer.errors import RunError, TrainerError
from trainer.events import (
    COMPILING,
    SAVING,
    TRAINING,
    Emit,
    Event,
    Failed,
    Finished,
    Paused,
    PhaseChanged,
    RunStarted,
    Warned,
)

PREPARATION_TIME = timedelta(hours=12)  # the other ranks wait while the first one reads and cuts the text
EARLY, PAUSED = ("stopped", "time_budget"), "paused"  # reasons to end before the last step, and for a while
PATIENT_SECONDS = 3.0  # a stopped run is evaluated once more if that takes no longer


def ignore(event: Event) -> None:
    """An `emit` for those who don't listen."""


def never() -> bool:
    """A `should_stop` for runs nobody stops."""
    return False


def without_end(seconds: float) -> bool:
    """A `should_pause` for runs that may take as long as they need."""
    return False


def fit(
    config: TrainConfig,
    emit: Emit = ignore,
    should_stop: Callable[[], bool] = never,
    output_dir: str | Path = "mask-studio-run",
    *,
    resume: bool = False,
    should_pause: Callable[[float], bool] = without_end,
) -> Finished | Paused:
    """Fine-tunes a masked language model; `output_dir/model` is the best so far by held-out loss.

    Everything that happens is told to `emit`; the last event is exactly one `Finished`, `Failed` or `Paused`.
    `should_stop` is asked before every step, and now and then in an evaluation. With `resume` the run goes on from its
    newest sound checkpoint.
    `should_pause`, for a process that is to end before the run does, is asked, too, with the seconds that come before
    it can end in order; if so the run is saved and left: who resumes it gets what an unbroken run would have become.
    Raises: TrainerError, after it was told as `Failed`.
    """
    folder = Path(output_dir)
    try:
        config.check()
        if not resume and any((folder / made).exists() for made in (CHECKPOINTS, "model")):
            raise RunError(f"The folder {folder.name!r} already holds a run.", "Resume it, or choose another one.")
        if not resume:
            check_folder(folder)
        try:
            return _fit(config, emit, should_stop, should_pause, folder, resume)
        except BaseException as error:  # a Ctrl-C, too
            # Who resumes it needs the blocks, even without the text; but a full disk has no room for the last words.
            came_to_nothing = not (resume or (folder / CHECKPOINTS).exists())
            for made in (BLOCKS, TOKENIZER) if came_to_nothing else (BLOCKS,) if is_full_disk(error) else ():
                shutil.rmtree(folder / made, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(folder / TEXT, ignore_errors=True)
    except Exception as error:
        failure = error if isinstance(error, TrainerError) else in_words(error, config)
        if failure is None:
            emit(Failed(what=f"{type(error).__name__}: {error}", fix="This is a bug; the log has the details."))
            raise
        emit(Failed(what=failure.what, fix=failure.fix))
        raise failure from (None if failure is error else error)


def _fit(
    config: TrainConfig,
    emit: Emit,
    should_stop: Callable[[], bool],
    should_pause: Callable[[float], bool],
    output_dir: Path,
    resume: bool,
) -> Finished | Paused:
    began = time.monotonic()
    warnings: list[str] = []
    checkpoint = newest_checkpoint(output_dir / CHECKPOINTS, warnings.append) if resume else None
    state = read_state(checkpoint) if checkpoint else {}
    if checkpoint:
        check_snapshot(checkpoint, state)
        torch.set_num_threads(state["threads"])  # another number adds up in another order, to other bits
    chosen = hardware.choose(config.precision)
    accelerator = Accelerator(
        cpu=chosen.device == "cpu",
        mixed_precision="no",  # the model itself chooses its arithmetic, whatever a launcher was configured to
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PREPARATION_TIME)],
    )
    if not accelerator.is_main_process:
        emit = ignore
    elif not resume:
        shutil.rmtree(output_dir / TOKENIZER, ignore_errors=True)  # of a run that broke off, and of another text
    emit(
        RunStarted(
            device=chosen.device,
            device_name=chosen.name,
            processes=accelerator.num_processes,
            threads=chosen.threads,
            precision=chosen.precision,
            versions=versions(),
            resumed_from_step=state.get("step"),
        )
    )
    for message in warnings:
        emit(Warned(message=message))
    share = config.per_device_train_batch_size * config.gradient_accumulation_steps  # of each process
    torch.manual_seed(config.seed)  # new weights, where a model is made from nothing
    try:
        with accelerator.main_process_first():
            prepared = prepare(
                config,
                emit,
                output_dir,
                should_stop,
                precision=chosen.precision,
                global_batch=global_batch_of(state) or share * accelerator.num_processes,
                begun=text_of(state, config),
            )
    except Stopped:
        return _end("stopped", state.get("step", 0), state.get("elapsed_seconds", 0.0), emit, output_dir)
    shutil.rmtree(output_dir / TEXT, ignore_errors=True)  # it is blocks now
    with closing(Training(config, prepared, accelerator, emit, output_dir, began)) as training:
        if checkpoint:
            restore_snapshot(training, checkpoint, state)
        reason = _steps(training, should_stop, should_pause)
    accelerator.wait_for_everyone()  # for the model that one of them has written
    return _end(reason, training.step, training.elapsed_seconds, emit, output_dir)


def _steps(training: Training, should_stop: Callable[[], bool], should_pause: Callable[[float], bool]) -> str:
    """Trains, measures and saves until a reason to end, which it returns."""
    config, plan, pace, accelerator = training.config, training.plan, training.pace, training.accelerator
    eval_steps = config.eval_steps or plan.steps_per_epoch
    begun = training.step

    def why_leave() -> str | None:
        """Asked in evaluations, by all ranks together."""
        stop, time_over = _any(accelerator, should_stop(), pace.is_over())
        return "stopped" if stop else "time_budget" if time_over else None

    training.emit(PhaseChanged(phase=COMPILING if plan.compile else TRAINING))
    while True:
        training.best_model.tell()
        # Occasional work first, so that step 0 and the last step are treated like all others.
        done = training.step >= plan.steps
        evaluation_due = (training.step % eval_steps == 0 or done) and training.step != training.evaluated_step
        ending = pace.ending_seconds + (pace.evaluation_seconds if evaluation_due else 0.0)
        pauses = training.step > begun and should_pause(ending)  # every slice gets on, or the run would never end
        may_log = config.logging_steps is not None or pace.point_is_due()
        told = should_stop(), pace.is_out_of_time(), pace.save_is_due(last=done), pauses, may_log
        stop, time_over, may_save, pause, may_log = _any(accelerator, *told)
        log_due = may_log and training.step % (config.logging_steps or LOGGING_STEPS) == 0
        reason = "completed" if done else "stopped" if stop else "time_budget" if time_over else None
        early = reason in EARLY
        pause = pause and not early
        save_due = training.step % config.save_steps == 0 if config.save_steps else may_save and (log_due or done)
        if early or evaluation_due or save_due or log_due:
            training.log()
        if pause:
            training.emit(PhaseChanged(phase=SAVING))
            save_snapshot(training, paused=True)
            return PAUSED
        if evaluation_due and not early:
            reason = training.evaluate(why_leave) or reason  # one that is left is none: who resumes the run begins it
            early = reason in EARLY
        if early:
            training.emit(PhaseChanged(phase=SAVING))
            save_snapshot(training)  # before an evaluation out of turn, of which a resumed run must know nothing
            training.best_model.set_aside(training.checkpoint)
            if training.step != training.evaluated_step:
                _measure(training, PATIENT_SECONDS if reason == "stopped" else math.inf)
        if not early and not training.is_patient():
            reason = "completed"
        if save_due and training.step:
            save_snapshot(training)
        if reason:
            return reason
        training.train_step()


def _measure(training: Training, patience_seconds: float) -> None:
    """An evaluation out of turn, where patience and time budget allow it; a first model is kept in any case."""
    pace, accelerator = training.pace, training.accelerator
    end = time.monotonic() + min(patience_seconds, pace.seconds_left)

    def is_late(seconds: float = 0.0) -> str | None:
        return "late" if _any(accelerator, time.monotonic() + seconds > end)[0] else None

    late = is_late(pace.evaluation_seconds) or training.evaluate(is_late)
    if late and not training.evaluated_step:
        training.keep_unmeasured()


def _end(reason: str, step: int, elapsed_seconds: float, emit: Emit, output_dir: Path) -> Finished | Paused:
    counted = {"step": step, "elapsed_seconds": elapsed_seconds}
    model = "model" if (output_dir / "model").exists() else None
    end = Paused(**counted) if reason == PAUSED else Finished(reason=reason, model=model, **counted)
    emit(end)
    return end


def _any(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Each flag, raised when it is on any rank, so that all ranks do the same."""
    if accelerator.num_processes == 1:
        return list(flags)
    raised = torch.tensor([flags], dtype=torch.int32, device=accelerator.device)
    return [bool(flag) for flag in accelerator.gather(raised).amax(0)]
