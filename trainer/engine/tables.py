"""Tables of strangers: width, header and rows of a CSV file, the foot of a Parquet file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet

from trainer.errors import DataError

COLUMNS = 512  # 100,000 take half a minute and 600 MB
CELL_CHARACTERS = 16 << 20
NAME_CHARACTERS = 200  # of a column
PARQUET_ROWS = 50_000_000
EXPANSION = 8  # times the limit of a file may come out of a Parquet file


def check_csv(path: Path, separator: str, name: str) -> None:
    """Raises: DataError for a table that is too wide, has no header, or has a row that does not fit it."""
    csv.field_size_limit(CELL_CHARACTERS)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(_bounded(file, name), delimiter=separator, strict=True)
        try:
            header = next((row for row in rows if row), [])
            _check_header(header, name)
            count = 0
            for row in rows:
                if len(row) > len(header):
                    what = f"Line {rows.line_num:,} of {name!r} has {len(row)} fields, its header {len(header)}."
                    raise DataError(what, "Put fields with a separator in them into quotes.")
                if count == 0 and len(row) == len(header):
                    _check_names(header, row, name)
                count += bool(row)
        except csv.Error as error:
            if "unexpected end" in str(error):
                what = f"A quote in {name!r} is opened and never closed."
            else:
                what = f"Line {rows.line_num:,} of {name!r} can't be read as a table: {error}."
            raise DataError(what, "Correct the quotes around that field.") from error
    if not count:
        raise DataError(f"The table {name!r} has a header and no rows.", "Choose a file with text in it.")


def _bounded(file: Iterator[str], name: str) -> Iterator[str]:
    for line in file:
        if len(line) > CELL_CHARACTERS:
            raise DataError(f"The table {name!r} has a line of more than {CELL_CHARACTERS:,} characters.", "Split it.")
        yield line


def _check_header(header: list[str], name: str) -> None:
    if not any(cell.strip() for cell in header):
        raise DataError(f"The table {name!r} has no header.", "Its first line must name the columns.")
    if len(header) > COLUMNS:
        what = f"The table {name!r} has {len(header):,} columns; at most {COLUMNS} are read."
        raise DataError(what, "Keep those with text.")


def _check_names(header: list[str], row: list[str], name: str) -> None:
    """A first line that is like those after it is no header."""
    numbers = any(_is_number(cell) and _is_number(below) for cell, below in zip(header, row, strict=True))
    if numbers or any(len(cell) > NAME_CHARACTERS for cell in header):
        what = f"The table {name!r} seems to have no header: its first line is like the others."
        raise DataError(what, "Put a line with the names of the columns on top, such as text.")


def _is_number(cell: str) -> bool:
    try:
        return float(cell) == float(cell)
    except ValueError:
        return False


def check_parquet(path: Path, name: str, folder: Path, limit: int, most_bytes: int | None) -> tuple[Path, float]:
    """A Parquet file that is what its foot says, and 1.0; or a sample of its first rows, and which share they are.

    Raises: DataError.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            rows, columns = file.metadata.num_rows, len(file.schema_arrow.names)
            if columns > COLUMNS or rows > PARQUET_ROWS:
                what = f"The file {name!r} has {columns:,} columns and {rows:,} rows; at most {COLUMNS} and"
                raise DataError(f"{what} {PARQUET_ROWS:,} are read.", "Keep those with text.")
            if not rows:
                raise DataError(f"The file {name!r} has no rows.", "Choose a file with text in it.")
            most = most_bytes if most_bytes and path.stat().st_size > most_bytes else math.inf
            kept, held = [], 0
            # All of it once, a little at a time: a few bytes of Parquet can stand for more than any disk holds.
            for batch in file.iter_batches(batch_size=256):
                held += batch.nbytes
                if held > EXPANSION * limit:
                    what = f"What is packed in {name!r} has more than {EXPANSION * limit / 1e6:,.0f} MB."
                    raise DataError(what, "Split it.")
                if most < math.inf:
                    kept.append(batch)
                if held > most:
                    break
            read = sum(batch.num_rows for batch in kept)
            if read in (0, rows):
                return path, 1.0
            sample = folder / f"{path.name}.sample"
            pyarrow.parquet.write_table(pyarrow.Table.from_batches(kept), sample)
            return sample, read / rows
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"The file {name!r} is not a Parquet file, or was cut short.", "Fetch it again.") from error
