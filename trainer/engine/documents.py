"""Any source of text as documents, one string each: bundled, a file, a folder, or a data set of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset

from trainer.config import TrainConfig
from trainer.errors import DataError
from trainer.presets import BUNDLED_DATASET, is_hub_id

BUILDERS = {
    ".txt": "text", ".md": "text", ".csv": "csv", ".tsv": "csv",
    ".json": "json", ".jsonl": "json", ".parquet": "parquet",
}  # fmt: skip
USUAL_COLUMNS = ("answers.text", "text", "content", "document", "body", "article", "sentence")


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a source: those that have text, in their order."""

    rows: Dataset  # one column, "text"
    text_column: str
    skipped: int  # rows whose text was None or empty

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, indices: list[int], size: int = 1000) -> Iterator[list[str]]:
        """The texts of the documents `indices`, `size` at a time."""
        chosen = self.rows.select(indices)
        for batch in chosen.iter(batch_size=size):
            yield batch["text"]


def load_documents(config: TrainConfig) -> Documents:
    """The documents that `config` names. Raises: DataError."""
    rows, column = open_source(config)
    rows = rows.select_columns(_branch(rows, column))  # no picture beside the text is ever opened
    with _utf8_expected(config):
        joined = rows.map(
            lambda row: {"text": " ".join(texts_at(row, column)).removeprefix("\ufeff").strip()},
            remove_columns=rows.column_names,
        )
    full = joined.filter(lambda text: bool(text), input_columns="text")
    if not len(full):
        raise DataError(f"The text of {config.dataset!r} is empty.", "Choose a file or column that has text in it.")
    skipped = len(joined) - len(full)
    return Documents(full.select(range(min(len(full), config.max_documents or len(full)))), column, skipped)


def open_source(config: TrainConfig) -> tuple[Dataset, str]:
    """The rows of the source that `config` names, and the column with the text. Raises: DataError."""
    datasets.disable_progress_bars()
    with _utf8_expected(config):
        rows = _rows(config)
        return rows, _column(rows, config.text_column)


def texts_at(value: Any, path: str) -> Iterator[str]:
    """The strings under `path` (`answers.text`) of a row, through lists and structs in either order of nesting."""
    if isinstance(value, list):
        for item in value:
            yield from texts_at(item, path)
    elif isinstance(value, Mapping):
        name, _, rest = path.partition(".")
        yield from texts_at(value[path], "") if path in value else texts_at(value.get(name), rest)
    elif isinstance(value, str) and not path:
        yield value


def text_columns(features: Any, prefix: str = "") -> Iterator[str]:
    """The path of every column that holds strings, however deep."""
    if isinstance(features, dict):
        for name, feature in features.items():
            yield from text_columns(feature, f"{prefix}.{name}" if prefix else name)
    elif isinstance(features, (datasets.List, datasets.LargeList)):
        yield from text_columns(features.feature, prefix)
    elif getattr(features, "dtype", "") in ("string", "large_string"):
        yield prefix


def text_paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The path of every string in a row: for columns whose rows differ in shape, so that their type is just `Json`."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from text_paths(item, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list):
        for item in value:
            yield from text_paths(item, prefix)
    elif isinstance(value, str):
        yield prefix


def _branch(rows: Dataset, column: str) -> str:
    """The column of the table in which a path like `answers.text` begins."""
    return column if column in rows.column_names else column.partition(".")[0]


def _column(rows: Dataset, wanted: str | None) -> str:
    """The column asked for, or the likeliest: a usual name, else the one with the most text in its first rows."""
    sample = rows.select(range(min(100, len(rows))))
    mixed = sample.select_columns([name for name, feature in rows.features.items() if "Json" in repr(feature)])
    columns = [*text_columns(dict(rows.features)), *dict.fromkeys(path for row in mixed for path in text_paths(row))]
    if wanted in columns:
        return wanted
    named = ", ".join(columns) or "none"
    if wanted:
        raise DataError(f"text_column is {wanted!r}, and there is no such column.", f"Columns with text: {named}.")
    if not columns:
        raise DataError("No column of the data set holds text.", f"Its columns are: {', '.join(rows.column_names)}.")
    usual = [name for name in USUAL_COLUMNS if name in columns]
    return usual[0] if usual else max(columns, key=lambda c: sum(len(t) for row in sample for t in texts_at(row, c)))


def _rows(config: TrainConfig) -> Dataset:
    if config.dataset == "bundled":
        return _load("json", config, data_files=str(BUNDLED_DATASET / "train.jsonl"))
    path = Path(config.dataset).expanduser()
    if path.is_dir():
        return _load(str(path), config, name=config.dataset_config)
    if path.is_file():
        builder = BUILDERS.get(path.suffix.lower())
        if builder is None:
            raise DataError(f"{path.name!r} has an unknown ending.", f"Files may end in {', '.join(BUILDERS)}.")
        if not path.stat().st_size:
            raise DataError(f"The file {path.name!r} is empty.", "Choose one with text in it.")
        options = {"sample_by": "paragraph" if _has_paragraphs(path) else "line"} if builder == "text" else {}
        options |= {"sep": "\t"} if path.suffix.lower() == ".tsv" else {}
        return _load(builder, config, data_files=str(path.resolve()), **options)
    if path.suffix.lower() in BUILDERS:
        raise DataError(f"There is no file {config.dataset!r}.", "Check the path.")
    if is_hub_id(config.dataset):
        return _load(config.dataset, config, name=config.dataset_config)
    raise DataError(f"There is no data set {config.dataset!r}.", "Give 'bundled', a Hub id (owner/name), or a file.")


def _load(source: str, config: TrainConfig, **options: Any) -> Dataset:
    """`datasets.load_dataset`, with the library's many ways to fail turned into sentences."""
    what = _title(config)
    try:
        return datasets.load_dataset(source, split=config.split, **options)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise DataError(f"{what} was not found on the Hub.", "Check the name; private ones need HF_TOKEN.") from error
    except (ConnectionError, TimeoutError) as error:
        raise DataError(f"{what} could not be fetched.", "Is the Hugging Face Hub in reach?") from error
    except (datasets.exceptions.DatasetGenerationError, ValueError, RuntimeError, OSError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, UnicodeDecodeError):
            raise cause from None
        detail = next(iter(str(cause).strip().splitlines()), "")
        raise DataError(f"{what} could not be read: {detail[:300]}", "Check file, split and configuration.") from error


@contextmanager
def _utf8_expected(config: TrainConfig) -> Iterator[None]:
    """Turns a decoding error into a sentence; JSON is decoded only when its rows are looked at."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{_title(config)} is not UTF-8 text.", "Save it as UTF-8 and try again.") from error


def _title(config: TrainConfig) -> str:
    return f"The data set {Path(config.dataset).name if Path(config.dataset).exists() else config.dataset!r}"


def _has_paragraphs(path: Path) -> bool:
    """Whether documents are set apart by blank lines; else every line is one."""
    with path.open("rb") as file:
        head = file.read(1 << 20).replace(b"\r\n", b"\n")
    return b"\n\n" in head.strip()
