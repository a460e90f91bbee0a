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
    for start in range(0, len(indices), count):
        places = np.asarray(indices[start : start + count])
        first = places.min()
        own = rows.select(range(first, places.max() + 1))  # so that only the files of these rows are mapped anew
        if rows.cache_files:
            own = pickle.loads(pickle.dumps(own))  # what lies in files is pickled as their names
        yield own.select(places - first)
