"""JSON of strangers, made safe for the data library: bounded nesting, one object a line, faults named by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config import is_unicode
from trainer.errors import DataError

DEPTH = 32  # 10,000 end the process inside the data library
CHUNK = 1 << 20
ROW_BYTES = 32 << 20  # of one object
NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
ESCAPED, QUOTED = re.compile(rb"\\.", re.DOTALL), re.compile(rb'"[^"]*"')
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a character, perhaps with the other beside it
STEPS = np.zeros(256, np.int64)
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1
FIX = "Write a list of objects, [{...}, {...}], or one object a line."


def check_depth(path: Path, name: str) -> None:
    """Refuses deep nesting without recursion, by counting brackets outside of strings. Raises: DataError."""
    depth, rest, open_quote = 0, b"", b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            chunk = rest + chunk
            backslashes = len(chunk) - len(chunk.rstrip(b"\\"))
            rest = b"\\" if backslashes % 2 else b""  # half of an escape
            chunk = chunk[: len(chunk) - len(rest)]
            marks = open_quote + ESCAPED.sub(b"", chunk).translate(None, NOT_STRUCTURE)
            marks, quote, _ = QUOTED.sub(b"", marks).partition(b'"')
            open_quote = quote
            depths = depth + np.cumsum(STEPS[np.frombuffer(marks, np.uint8)])
            if len(depths):
                if depths.max() > DEPTH:
                    raise DataError(f"The JSON of {name!r} is nested more than {DEPTH} deep.", "Make it flatter.")
                depth = max(0, int(depths[-1]))  # a bracket too many is for the parser to name


def as_lines(path: Path, folder: Path, name: str, most_bytes: int | None) -> tuple[Path, float]:
    """The rows of a JSON or JSON Lines file, one valid object a line, and which share of the file they are.

    `most_bytes` ends the reading early. The file itself is returned where it is so already. Raises: DataError.
    """
    check_depth(path, name)
    with path.open("rb") as file:
        first = file.read(CHUNK).lstrip()[:1]
    if first == b"[":
        return _list_as_lines(path, folder / f"{path.name}.lines", name, most_bytes)
    if first != b"{":
        raise DataError(f"The file {name!r} is not JSON with rows of text.", FIX)
    if not _check_lines(path, name):
        return path, 1.0
    target = folder / f"{path.name}.lines"
    with path.open("rb") as file, target.open("wb") as copy:
        for line in file:
            whole = json.dumps(_loads(line), ensure_ascii=False) if SURROGATE.search(line) else None
            copy.write(line if whole is None else whole.encode("utf-8", "replace") + b"\n")
    return target, 1.0


def _check_lines(path: Path, name: str) -> bool:
    """Whether there is half a character in them, which is valid JSON and which the data library does not take."""
    rows, halved = 0, False
    with path.open("rb") as file:
        number = 0
        while line := file.readline(ROW_BYTES):
            number += 1
            if not line.strip():
                continue
            try:
                row = _loads(line)
            except ValueError as error:
                if rows == 0 and _is_one_object(path):
                    raise DataError(f"The file {name!r} is one JSON object, not a list of objects.", FIX) from error
                what = f"Line {number:,} of {name!r} is not valid JSON: {getattr(error, 'msg', error)}."
                raise DataError(what, "Correct or delete that line.") from error
            if not isinstance(row, dict):
                raise DataError(f"Line {number:,} of {name!r} is not a JSON object.", FIX)
            if SURROGATE.search(line) and not is_unicode(json.dumps(row, ensure_ascii=False)):
                halved = True
            rows += 1
    if rows == 1 and path.suffix != ".jsonl" and any(_is_rows(value) for value in row.values()):
        raise DataError(f"The file {name!r} is one JSON object, not a list of objects.", FIX)
    return halved


def _is_one_object(path: Path) -> bool:
    """Whether a file is a single object over many lines; large ones are not asked."""
    if path.stat().st_size > ROW_BYTES:
        return False
    try:
        return isinstance(_loads(path.read_bytes()), dict)
    except ValueError:
        return False


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _list_as_lines(path: Path, target: Path, name: str, most_bytes: int | None) -> tuple[Path, float]:
    with target.open("w", encoding="utf-8", errors="replace", newline="\n") as copy:
        end = 0
        for number, (row, end) in enumerate(_items(path, name), start=1):
            if not isinstance(row, dict):
                raise DataError(f"Entry {number:,} of the list in {name!r} is not a JSON object.", FIX)
            try:
                copy.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            except ValueError as error:  # 1e999 is read as infinity
                what = f"Entry {number:,} of the list in {name!r} has a number that is too large."
                raise DataError(what, "Leave it out, or put it into quotes.") from error
            if most_bytes and end >= most_bytes:
                return target, end / max(end, path.stat().st_size)
    if not end:
        raise DataError(f"The list in {name!r} is empty.", FIX)
    return target, 1.0


def _items(path: Path, name: str) -> Iterator[tuple[Any, int]]:
    """The entries of a JSON list, read piece by piece, and about how many bytes they took so far."""
    decoder, text, position = json.JSONDecoder(parse_constant=_no_constant), "", 0
    with path.open(encoding="utf-8", newline="") as file:

        def more() -> bool:
            nonlocal text, position
            chunk = file.read(CHUNK)
            text, position = text[position:] + chunk, 0
            return bool(chunk)

        def upcoming() -> str:
            """The next character that is not space; empty at the end."""
            nonlocal position
            while True:
                position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
                if position < len(text):
                    return text[position]
                if not more():
                    return ""

        upcoming()
        position += 1  # the bracket
        number, done = 0, 0
        if upcoming() == "]":
            return
        while True:
            number += 1
            upcoming()
            while True:
                try:
                    row, end = decoder.raw_decode(text, position)
                    if end < len(text):
                        break  # else a number might go on
                    if not more():
                        break
                except ValueError as error:
                    if len(text) - position > ROW_BYTES or not more():
                        said = getattr(error, "msg", error)
                        what = f"Entry {number:,} of the list in {name!r} is not valid JSON: {said}."
                        raise DataError(what, FIX) from error
            done += len(text[position:end].encode("utf-8", "surrogatepass"))
            position = end
            yield row, done
            separator = upcoming()
            if separator not in (",", "]"):
                what = f"The list in {name!r} breaks off or goes wrong after entry {number:,}."
                raise DataError(what, "Save it again, or correct it there.")
            position += 1
            if separator == "]":
                return


_SPACE = re.compile(r"[ \t\r\n]*")


def _loads(line: bytes) -> Any:
    return json.loads(line, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
