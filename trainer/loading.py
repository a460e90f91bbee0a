"""What makes the large libraries load in two thirds of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """For imports: what they make is there to stay, yet is looked through for garbage, over and over, to the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # or all of it is looked through again when the process ends
        gc.enable()
