"""What can break off a run from outside, or lies in a stranger's model, in words for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.config import TrainConfig
from trainer.errors import RANK_LOST, ModelError, TrainerError, TrainingError

# What allocators say that have no class for it: the processor's, and a GPU's outside of torch's own
MEMORY_FULL = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def in_words(error: BaseException, config: TrainConfig) -> TrainingError | None:
    """The error a user can mend, or None for what is a bug."""
    if is_out_of_memory(error):
        return out_of_memory(config)
    if is_full_disk(error):
        return TrainingError(
            "The disk is full.", "Make room and resume: the model and the checkpoint from before are kept."
        )
    return TrainingError(*RANK_LOST) if _is_lost_rank(error) else None


def out_of_memory(config: TrainConfig) -> TrainingError:
    """Names the setting to lower and to what, so that the training stays the same where that is possible."""
    batch, batches = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if batch > 1:
        lower = f"per_device_train_batch_size from {batch} to {batch // 2}"
        same = f" and raise gradient_accumulation_steps from {batches} to {2 * batches}" if batch % 2 == 0 else ""
    else:
        lower, same = f"block_size from {config.block_size} to {max(8, config.block_size // 2)}", ""
    return TrainingError("The memory is full.", f"Lower {lower}{same}, or choose a smaller model.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory left, on a GPU or on the processor."""
    said = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in said for words in MEMORY_FULL)


def is_full_disk(error: BaseException) -> bool:
    """Whether there was no room left on the disk."""
    # The writer of safetensors tells the system's number in its text alone.
    return any(
        getattr(cause, "errno", None) in DISK_FULL or "No space left on device" in str(cause) for cause in _chain(error)
    )


def _is_lost_rank(error: BaseException) -> bool:
    """Whether the exchange with other processes broke off; gloo's errors are of no class of their own."""
    exchange = torch.distributed.is_available() and torch.distributed.is_initialized()
    return exchange and (isinstance(error, torch.distributed.DistError) or "gloo" in str(error))


@contextmanager
def blamed_on_model(what: str, fix: str = "Choose another model.") -> Iterator[None]:
    """Turns errors of any kind into a ModelError that begins with `what`: the libraries take files at their word.

    The tokenizers' panics are among them; they derive from BaseException and would pass by every other handler.
    """
    try:
        yield
    except TrainerError:
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise ModelError(f"{what}: it does not fit into this machine's memory.", "Choose a smaller one.") from error
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{what}: {_first_line(error)}", fix) from error


def _chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).strip().splitlines()), "")[:300]
    return line if isinstance(error, Exception) and line else f"{type(error).__name__}: {line}".removesuffix(": ")
