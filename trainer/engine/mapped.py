"""Rows that lie in mapped files, read in stretches, each through a mapping of its own.

A mapped page that was read stays in the resident set as long as its mapping does, and `datasets` keeps that as long as
the rows: in the end all of a text of 2 GB would lie in memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

import numpy as np
from datasets import Dataset

STRETCH_BYTES = 64 << 20


def stretches(rows: Dataset, indices: Sequence[int] | np.ndarray) -> Iterator[Dataset]:
    """The rows `indices`, in stretches of about 64 MB; what one has read is given back when the next is taken."""
    count = max(1, len(rows) * STRETCH_BYTES // max(1, rows.data.nbytes))
    packed = pickle.dumps(rows) if rows.cache_files else None  # what lies in files is pickled as their names
    for start in range(0, len(indices), count):
        own = pickle.loads(packed) if packed else rows
        yield own.select(indices[start : start + count])
