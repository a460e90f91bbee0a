"""Whatever the libraries raise over a stranger's model, as a sentence for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.errors import ModelError, TrainerError


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory left, on a GPU or on the processor, whose allocator has no class for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).strip().splitlines()), "")[:300]
    return line if isinstance(error, Exception) and line else f"{type(error).__name__}: {line}".removesuffix(": ")
