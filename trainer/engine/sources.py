"""Any source as tables with one column of text: bundled, a file, a folder, or a data set of the Hub."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow
from datasets import Dataset

from trainer.config import TrainConfig
from trainer.engine.columns import find_columns, only_text
from trainer.engine.gate import PlainFile, admit, knows
from trainer.engine.places import local_path
from trainer.errors import NOT_FOUND, DataError
from trainer.presets import BUNDLED_DATASET, is_hub_id

STREAMED_BYTES = 2_000_000_000  # a data set of the Hub that is larger is streamed where only a part of it is wanted
SAMPLED_ROWS = 5_000  # of a data set of the Hub that is streamed for a look at it
SLICE = re.compile(r"(?P<name>[\w.-]+)(\[(?P<from>\d*):(?P<to>\d*)\])?")  # what can be streamed: `train[100:200]`
STREAMED = datasets.NamedSplit("streamed")
READING = (datasets.exceptions.DatasetGenerationError, ValueError, RuntimeError, OSError, TypeError, KeyError,
           OverflowError, pyarrow.ArrowException)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a split, those that are empty too."""

    rows: Dataset  # one column, "text"
    columns: str  # where they were found
    share: float = 1.0  # of the source that was read; less for a sample


def read_texts(config: TrainConfig, split: str, folder: Path, sample_bytes: int | None = None) -> Texts:
    """The texts of a split of the source that `config` names; `folder` takes what is unpacked and parsed.

    With `sample_bytes`, of a large source only the beginning. Raises: DataError.
    """
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong is told by us, or read otherwise
    path = local_path(config.dataset)
    if path and path.is_file():
        return _of_file(config, path, split, folder, sample_bytes)
    with in_words(config, split):
        rows = _rows(config, path, split, folder, sample_bytes)
        if not len(rows):
            raise DataError(f"The split {split!r} is empty.", "Choose a slice with rows in it.")
        columns = find_columns(rows, config.text_column)
        return Texts(only_text(rows, columns), ",".join(columns), 0.0 if rows.split == STREAMED else 1.0)


def _of_file(config: TrainConfig, path: Path, split: str, folder: Path, sample_bytes: int | None) -> Texts:
    """Each file by itself, for their columns may differ; what is packed together is one source."""
    tables, found, read, whole = [], {}, 0.0, 0.0
    with in_words(config, split):
        for file in admit(path, folder, sample_bytes=sample_bytes):
            rows = _table(file, folder / f"cache-{file.path.name}")
            columns = find_columns(rows, None if file.builder == "text" else config.text_column)
            tables.append(only_text(rows, columns))
            found[",".join(columns)] = None
            size = file.path.stat().st_size
            read, whole = read + size, whole + size / max(file.share, 1e-9)
        rows = datasets.concatenate_datasets(tables)
        instruction = datasets.ReadInstruction.from_spec(split).to_absolute({"train": len(rows)})
        pieces = [range(part.from_ or 0, len(rows) if part.to is None else part.to) for part in instruction]
        chosen = [rows.select(piece) for piece in pieces if len(piece)]
        if not chosen:
            raise DataError(f"The split {split!r} is empty: the text has {len(rows):,} rows.", "Choose another slice.")
        return Texts(datasets.concatenate_datasets(chosen), ", ".join(found), read / whole)


def _table(file: PlainFile, cache: Path) -> Dataset:
    """The library fixes the types of columns by a file's first rows: where later ones differ, it reads otherwise."""
    where = {"data_files": str(file.path.resolve()), "split": "train", "cache_dir": str(cache)}
    load = functools.partial(datasets.load_dataset, file.builder, **where, **file.options)
    try:
        return load()
    except datasets.exceptions.DatasetGenerationError:
        if file.builder == "csv":
            names = load(nrows=1).column_names
            return load(features=datasets.Features(dict.fromkeys(names, datasets.Value("string"))))
        if file.builder == "json":
            return load(chunksize=file.path.stat().st_size)
        raise


def _rows(config: TrainConfig, path: Path | None, split: str, folder: Path, sample_bytes: int | None) -> Dataset:
    if config.dataset == "bundled":
        return datasets.load_dataset("json", data_files=str(BUNDLED_DATASET / "train.jsonl"), split=split)
    if path and path.is_dir():
        return datasets.load_dataset(str(path), name=config.dataset_config, split=split)
    if knows(config.dataset):
        raise DataError(f"There is no file {config.dataset!r}.", "Check the path.")
    if not is_hub_id(config.dataset):
        fix = "Give 'bundled', a Hub id (owner/name), or a file."
        raise DataError(f"There is no data set {config.dataset!r}.", fix)
    wanted = SLICE.fullmatch(split)
    count = _rows_to_stream(config, wanted, sample_bytes)
    if wanted and count:
        start = int(wanted["from"] or 0)
        return streamed(config.dataset, config.dataset_config, wanted["name"], start, count, folder)
    return datasets.load_dataset(config.dataset, name=config.dataset_config, split=split)


def _rows_to_stream(config: TrainConfig, wanted: re.Match[str] | None, sample_bytes: int | None) -> int | None:
    """How many rows to fetch one by one of a data set that is too large to fetch whole; None to fetch it whole.

    What is not `wanted` in rows, such as `train[:10%]`, is had in no other way. Raises: DataError for too much.
    """
    info = datasets.load_dataset_builder(config.dataset, name=config.dataset_config).info
    size = info.download_size or 0
    limit = min(STREAMED_BYTES, _room() // 3)
    if size <= (sample_bytes if wanted and sample_bytes else limit):
        return None
    what = f"The data set {config.dataset!r} has {size / 1e9:,.1f} GB, which is much to fetch."
    if not wanted:
        raise DataError(what, "Take a slice of it that is named in rows, such as train[:100000].")
    counts = [SAMPLED_ROWS] if sample_bytes else []
    counts += [int(wanted["to"]) - int(wanted["from"] or 0)] if wanted["to"] else []
    counts += [config.max_documents] if config.max_documents else []
    if not counts:
        raise DataError(what, "Take a part of it: set max_documents, or a slice such as train[:100000].")
    return max(1, min(counts))


def _room() -> int:
    """Bytes that are free where data sets of the Hub are kept."""
    cache = Path(datasets.config.HF_DATASETS_CACHE).absolute()
    return shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free


def streamed(source: str, name: str | None, split: str, start: int, count: int, folder: Path) -> Dataset:
    """Some rows of a data set, without fetching the rest; they lie in `folder`, not in a cache that only grows."""
    stream = datasets.load_dataset(source, name=name, split=split, streaming=True).skip(start).take(count)
    place = {"split": STREAMED, "cache_dir": str(folder / "streamed")}
    return datasets.Dataset.from_generator(lambda: iter(stream), features=stream.features, **place)


@contextmanager
def in_words(config: TrainConfig, split: str) -> Iterator[None]:
    """The data library's many ways to fail, as sentences."""
    what = f"The data set {title_of_source(config)}"
    try:
        yield
    except datasets.exceptions.DatasetNotFoundError as error:
        if "gated" in str(error):
            fix = "Ask for access on its page; then it can be used in the shell alone, with HF_TOKEN."
            raise DataError(f"{what} is not open to everybody.", fix) from error
        raise DataError(f"{what} was not found on the Hub.", NOT_FOUND) from error
    except (ConnectionError, TimeoutError) as error:
        raise DataError(f"{what} could not be fetched.", "Is the Hugging Face Hub in reach?") from error
    except PermissionError as error:
        raise DataError(f"{what} may not be read by you.", "Change its permissions, or choose another.") from error
    except MemoryError as error:
        raise DataError(f"{what} does not fit into memory.", "Take a part of it.") from error
    except READING as error:
        cause = error.__cause__ or error
        if isinstance(cause, UnicodeDecodeError):
            raise DataError(f"{what} is not UTF-8 text.", "Save it as UTF-8 and try again.") from error
        raise _reading_error(what, split, str(cause)) from error


def _reading_error(what: str, split: str, said: str) -> DataError:
    line = next(iter(said.strip().splitlines()), "")[:300]
    if names := re.search(r'Unknown split "(.*)"\. Should be one of (\[.*\])', line):
        return DataError(f"{what} has no split {names[1]!r}.", f"Its splits are: {_listed(names[2])}.")
    if names := re.search(r"BuilderConfig '(.*)' not found\. Available: (\[.*\])", line):
        fix = f"Its configurations are: {_listed(names[2])}."
        return DataError(f"{what} has no configuration {names[1]!r}.", fix)
    if names := re.search(r"Config name is missing\..*?(\[.*?\])", said, re.DOTALL):
        return DataError(f"{what} has several configurations.", f"Set dataset_config to one of: {_listed(names[1])}.")
    if "corresponds to no data" in line:
        return DataError(f"The split {split!r} is empty.", "Choose a slice with rows in it.")
    if "Unrecognized instruction" in line or "Unrecognized split" in line:
        return DataError(f"split is {split!r}, which is no split or slice.", "Write train, or train[:5000].")
    if "scripts are no longer supported" in line:
        return DataError(f"{what} is only a program that would fetch it, which is not run here.", "Choose another.")
    if "Couldn't cast" in said or "All the data files must have the same columns" in said:
        files = f"The files of {what[0].lower()}{what[1:]} have different columns."
        return DataError(files, "Choose another, or a configuration of it.")
    return DataError(f"{what} could not be read: {line}", "Check file, split and configuration.")


def _listed(names: str) -> str:
    """The strings of a Python list, read out."""
    return ", ".join(re.findall(r"'([^']+)'", names))


def title_of_source(config: TrainConfig) -> str:
    """The data set as a user knows it: a file without the folders it lies in."""
    path = local_path(config.dataset)
    return repr(path.name if path else config.dataset)
