"""The documents of any source: those of its rows that have text, in their order, one string each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from trainer.config import TrainConfig
from trainer.engine.gate import admit
from trainer.engine.mapped import stretches
from trainer.engine.places import local_path
from trainer.engine.sources import Texts, in_words, read_texts, title_of_source
from trainer.errors import DataError

WORD_CHARACTERS = 40  # longer ones are sentences of a language that puts no spaces between words
PART_CHARACTERS = 1_000_000
LOOK_BYTES = 1 << 20  # of a large file, for a look at its columns


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a source; those of a given validation split stand at the end."""

    rows: Dataset  # one column, "text"
    text_column: str
    skipped: int  # rows whose text was None or empty
    validation: int = 0  # documents of a given validation split
    share: float = 1.0  # of the source that was read; less for a sample, 0 when unknown
    scratch: object = field(default=None, repr=False)  # the folder that goes with the last reader

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, indices: Sequence[int] | np.ndarray, size: int = 1000) -> Iterator[list[str]]:
        """The texts of the documents `indices`, up to `size` at a time, and fewer where they are long."""
        for rows in stretches(self.rows, indices):
            for batch in rows.iter(batch_size=size):
                yield from _parts(batch["text"])


def load_documents(config: TrainConfig, scratch: Path | None = None, *, sample_bytes: int | None = None) -> Documents:
    """The documents that `config` names; files of strangers are rewritten into `scratch`. Raises: DataError."""
    own = None if scratch else tempfile.TemporaryDirectory(prefix="mask-studio-")
    folder = scratch or Path(own.name if own else "")
    learned = read_texts(config, config.split, folder / "text", sample_bytes)
    full = _full(learned, config)
    skipped = len(learned.rows) - len(full)
    full = full.select(range(min(len(full), config.max_documents or len(full))))
    if config.validation_split is None:
        return Documents(full, learned.columns, skipped, share=learned.share, scratch=own)
    given = read_texts(config, config.validation_split, folder / "validation", sample_bytes)
    validation = _full(given, config)
    skipped += len(given.rows) - len(validation)
    everything = datasets.concatenate_datasets([full, validation])
    return Documents(everything, learned.columns, skipped, len(validation), learned.share, own)


def check_documents(config: TrainConfig) -> None:
    """Judges every byte of the source, but parses only its beginning. Raises: DataError."""
    with tempfile.TemporaryDirectory(prefix="mask-studio-") as folder:
        path = local_path(config.dataset)
        if path and path.is_file():
            with in_words(config, config.split):
                admit(path, Path(folder) / "judged")
        check_length(load_documents(config, Path(folder), sample_bytes=LOOK_BYTES))


def check_length(documents: Documents) -> None:
    """Raises: DataError for a text of a single word: there is nothing to guess it from."""
    text = documents.rows[0]["text"]
    if len(documents) == 1 and len(text) <= WORD_CHARACTERS and len(text.split()) == 1:
        raise DataError(f"There is too little text to learn from: only {text!r}.", "Use some sentences at least.")


def _parts(texts: list[str]) -> Iterator[list[str]]:
    """The texts, in parts of about a million characters: what is made of a part lies in memory at once."""
    part, characters = [], 0
    for text in texts:
        part.append(text)
        characters += len(text)
        if characters >= PART_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part


def _full(texts: Texts, config: TrainConfig) -> Dataset:
    lengths = [pc.binary_length(rows["text"]) for rows in texts.rows.with_format("arrow").iter(100_000)]
    has_text = np.concatenate([np.empty(0, bool), *(np.asarray(part) > 0 for part in lengths)])
    full = texts.rows if has_text.all() else texts.rows.select(np.flatnonzero(has_text))
    if not len(full):
        raise DataError(
            f"The text of {title_of_source(config)} is empty.", "Choose a file or column that has text in it."
        )
    return full
