"""A file of sentences with masks: how it is read, and answered part by part. Standard library only."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from trainer.config import split_at_masks
from trainer.errors import PredictionError, TrainerError
from trainer.predictions import FilePart, FilledMask, SentenceRow
from trainer.separator import separator_of

FILE_BYTES = 10 << 20
SENTENCES = 20_000  # of a file
COLUMNS = 1_000
PART_SENTENCES = 64
PART_CHARACTERS = 20_000  # of a part; one longer sentence is a part of its own


class Filler(Protocol):
    """What answers: `MaskFiller` or `FillService`."""

    def read_sentences(self, path: str) -> list[str]: ...

    def fill_many(self, texts: list[str], model: str, top_k: float) -> list[list[FilledMask] | TrainerError]: ...


def fill_file(filler: Filler, path: str, model: str, top_k: float) -> Iterator[FilePart]:
    """The answers for a file's sentences, part by part; one that can't be answered becomes a row that says why."""
    sentences = filler.read_sentences(path)
    done = 0
    for part in parts(sentences):
        answers = filler.fill_many(part, model, top_k)
        rows = [row for i, answer in enumerate(answers) for row in _rows(done + i + 1, part[i], answer)]
        done += len(part)
        yield FilePart(tuple(rows), done, len(sentences))


def read_sentences(path: str) -> list[str]:
    """The lines of a `.txt` file, or the cells of that column of a `.csv` file which has the most masks.

    Raises: PredictionError.
    """
    file = Path(path)
    if file.suffix.lower() not in (".txt", ".csv"):
        raise PredictionError(f"{file.name!r} is no .txt or .csv file.", "Give one sentence a line, or a table.")
    try:
        if file.stat().st_size > FILE_BYTES:
            raise PredictionError(f"{file.name!r} has more than {FILE_BYTES >> 20} MB.", "Cut it into several files.")
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionError(f"{file.name!r} is not UTF-8 text.", "Save it as UTF-8 and try again.") from error
    except (OSError, ValueError) as error:
        raise PredictionError(f"{file.name!r} can't be read.", "Choose another file.") from error
    lines = io.StringIO(text, newline=None)
    cells = _column(lines, file.name) if file.suffix.lower() == ".csv" else lines
    sentences = [cell.strip() for cell in cells if cell.strip()]
    if not sentences:
        raise PredictionError(f"{file.name!r} is empty.", "Choose a file with sentences in it.")
    if len(sentences) > SENTENCES:
        what = f"{file.name!r} has {len(sentences):,} sentences; at most {SENTENCES:,} are answered."
        raise PredictionError(what, "Cut it into several files.")
    return sentences


def parts(sentences: list[str]) -> Iterator[list[str]]:
    """The sentences in order, as many at a time as are answered soon."""
    part: list[str] = []
    for sentence in sentences:
        if part and (len(part) == PART_SENTENCES or sum(map(len, part)) + len(sentence) > PART_CHARACTERS):
            yield part
            part = []
        part.append(sentence)
    if part:
        yield part


def _column(lines: io.StringIO, name: str) -> list[str]:
    """The column with the most masks; a first cell without one is its heading."""
    head = lines.readline()
    lines.seek(0)
    csv.field_size_limit(FILE_BYTES)
    try:
        rows = list(csv.reader(lines, delimiter=separator_of(head)))
    except csv.Error as error:
        raise PredictionError(f"{name!r} can't be read as a table: {error}.", "Save it as CSV again.") from error
    if max(map(len, rows), default=0) > COLUMNS:
        raise PredictionError(f"{name!r} has more than {COLUMNS:,} columns.", "Keep only the one with the sentences.")
    masks = Counter(number for row in rows for number, cell in enumerate(row) for _ in split_at_masks(cell)[1:])
    if not masks:
        raise PredictionError(f"No column of {name!r} has a <mask> in it.", "Put <mask> where words are to be guessed.")
    ((column, _),) = masks.most_common(1)
    cells = [row[column] if column < len(row) else "" for row in rows]
    return cells[0 if len(split_at_masks(cells[0])) > 1 else 1 :]


def _rows(number: int, sentence: str, answer: list[FilledMask] | TrainerError) -> Iterator[SentenceRow]:
    if isinstance(answer, TrainerError):
        yield SentenceRow(number=number, sentence=sentence, error=str(answer))
        return
    for mask, filled in enumerate(answer, 1):
        for rank, candidate in enumerate(filled.candidates, 1):
            yield SentenceRow(
                number=number, sentence=sentence, mask=mask, rank=rank, word=candidate.token_str, score=candidate.score
            )
