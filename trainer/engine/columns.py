"""Where the text of a row is: in plain columns, lists, structs of lists, lists of structs, or several of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import datasets
from datasets import Dataset

from trainer.engine.mapped import stretches
from trainer.errors import DataError

USUAL_COLUMNS = ("answers.text", "text", "content", "document", "body", "article", "sentence")
BETWEEN_COLUMNS = "\n"  # a title stands above its text
LOOKED_AT = 100  # rows
TEXT = datasets.Features({"text": datasets.Value("large_string")})


def find_columns(rows: Dataset, wanted: str | None) -> list[str]:
    """The columns asked for (`title,answers.text` for two), or the likeliest one. Raises: DataError.

    That is a usual name, else the one with the most text in its first rows.
    """
    sample = rows.select(range(min(LOOKED_AT, len(rows))))
    mixed = sample.select_columns([name for name, feature in rows.features.items() if "Json" in repr(feature)])
    columns = [*text_columns(dict(rows.features)), *dict.fromkeys(path for row in mixed for path in text_paths(row))]
    if wanted in columns:
        return [wanted]
    named = ", ".join(columns[:50]) or "none"
    if wanted:
        chosen = [part.strip() for part in wanted.split(",") if part.strip()]
        missing = [part for part in chosen if part not in columns]
        if missing or not chosen:
            what = f"text_column is {wanted!r}, and there is no such column with text."
            if len(chosen) > 1:
                what = f"text_column is {wanted!r}, and there is no column {missing[0]!r} with text."
            raise DataError(what, f"Columns with text: {named}.")
        return list(dict.fromkeys(chosen))
    if not columns:
        there = ", ".join(rows.column_names[:50])
        raise DataError("No column of the data set holds text.", f"Its columns are: {there}.")
    if usual := [name for name in USUAL_COLUMNS if name in columns]:
        return usual[:1]
    seen = list(_of_columns(sample, columns))
    return [max(columns, key=lambda c: sum(len(t) for row in seen for t in texts_at(row, c)))]


def only_text(rows: Dataset, columns: list[str]) -> Dataset:
    """The rows with one column, `text`: all that stands in `columns`; empty where there is none."""
    rows = _of_columns(rows, columns)

    def joined(batch: Mapping[str, list[Any]]) -> dict[str, list[str]]:
        if len(columns) == 1 and all(isinstance(value, str) for value in batch.get(columns[0], [None])):
            return {"text": [value.strip() for value in batch[columns[0]]]}  # the usual case, and much faster
        table = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
        return {"text": [text_of(row, columns) for row in table]}

    parts = []
    for part in stretches(rows, range(len(rows))):
        some = 1 + len(part) // 4  # few batches, for each costs the pages around its head whenever its file is mapped
        how = {"batched": True, "batch_size": some, "writer_batch_size": some, "features": TEXT}
        parts.append(part.map(joined, remove_columns=rows.column_names, **how))
    return datasets.concatenate_datasets(parts) if len(rows) else Dataset.from_dict({"text": []}, TEXT)


def _of_columns(rows: Dataset, columns: list[str]) -> Dataset:
    """The rows with nothing else: no picture and no sound beside the text is ever opened."""
    branches = dict.fromkeys(c if c in rows.column_names else c.partition(".")[0] for c in columns)
    return rows.select_columns(list(branches))


def text_of(row: Mapping[str, Any], columns: list[str]) -> str:
    """The text of a row: the strings of a column with spaces between them, then those of the next."""
    parts = (" ".join(texts_at(row, column)).strip() for column in columns)
    return BETWEEN_COLUMNS.join(filter(None, parts))


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
