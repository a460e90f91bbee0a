"""What can break off a run from outside, in words for its user."""

from __future__ import annotations

import errno

import torch

from trainer.config import TrainConfig
from trainer.errors import TrainingError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def in_words(error: BaseException, config: TrainConfig) -> TrainingError | None:
    """The error a user can mend, or None for what is a bug."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error):
        return out_of_memory(config)
    if any(_is_full_disk(cause) for cause in _chain(error)):
        return TrainingError(
            "The disk is full.", "Make room and resume: the model and the checkpoint from before are kept."
        )
    return None


def out_of_memory(config: TrainConfig) -> TrainingError:
    """Names the setting to lower and to what, so that the training stays the same where that is possible."""
    batch, batches = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if batch > 1:
        lower = f"per_device_train_batch_size from {batch} to {batch // 2}"
        same = f" and raise gradient_accumulation_steps from {batches} to {2 * batches}" if batch % 2 == 0 else ""
    else:
        lower, same = f"block_size from {config.block_size} to {max(8, config.block_size // 2)}", ""
    return TrainingError("The memory is full.", f"Lower {lower}{same}, or choose a smaller model.")


def _is_full_disk(error: BaseException) -> bool:
    # The writer of safetensors tells the system's number in its text alone.
    return getattr(error, "errno", None) in DISK_FULL or "No space left on device" in str(error)


def _chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
