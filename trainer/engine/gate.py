"""Files of strangers, judged by their bytes before a library opens them.

What comes out are UTF-8 text, tables and JSON lines within bounds, each as a file that the data library reads without
a surprise: it would follow magic numbers instead of names, unpack without end, and crash on deep nesting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.engine.decoding import as_utf8
from trainer.engine.json_rows import as_lines
from trainer.engine.tables import check_csv, check_parquet
from trainer.engine.unpacking import unpack_gzip, unpack_zip
from trainer.errors import DataError
from trainer.separator import separator_of

BUILDERS = {
    ".txt": "text", ".md": "text", ".csv": "csv", ".tsv": "csv",
    ".json": "json", ".jsonl": "json", ".parquet": "parquet",
}  # fmt: skip
PACKED = (".gz", ".zip")
MAX_BYTES = 1_000_000_000  # of a file, and of all that is packed in it
LINE_BYTES = 16 << 20
LEAST_SAMPLE = 1 << 16  # bytes of each of many files
CHUNK = 1 << 20
# How files begin that are something else than their names say.
MAGIC = (
    (b"\x1f\x8b", "gzip data"), (b"PK\x03\x04", "a zip archive or office document"), (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"\xfd7zXZ", "xz data"), (b"BZh9", "bzip2 data"),
    (b"Rar!\x1a", "a rar archive"), (b"\x28\xb5\x2f\xfd", "zstd data"), (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"), (b"%PDF-", "a PDF document"), (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"), (b"GIF8", "an image (GIF)"), (b"\xd0\xcf\x11\xe0", "an office document"),
    (b"\x7fELF", "a program"), (b"SQLite format 3", "a database"), (b"{\\rtf", "an RTF document"),
    (b"OggS", "a sound"), (b"ID3\x02", "a sound"), (b"ID3\x03", "a sound"), (b"ID3\x04", "a sound"),
)  # fmt: skip
INNER_MAGIC = {b"WEBP": "an image (WebP)", b"WAVE": "a sound", b"ftyp": "a film"}


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file that the data library may open."""

    path: Path
    name: str  # as the user knows it
    builder: str  # of the data library
    options: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0  # of its text that it holds; less for a sample


def knows(name: str) -> bool:
    """Whether a file of this name can be read, packed or plain."""
    suffix = Path(name).suffix.lower()
    return suffix in BUILDERS or suffix in PACKED


def admit(path: Path, folder: Path, *, sample_bytes: int | None = None, limit: int = MAX_BYTES) -> list[PlainFile]:
    """The files that the library may open for `path`: itself, or rewritten into `folder`.

    With `sample_bytes` only about so much of each is read. Raises: DataError for all else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, size = path.name, path.stat().st_size
    if not size:
        raise DataError(f"The file {name!r} is empty.", "Choose one with text in it.")
    if size > limit:
        what = f"The file {name!r} has {size / 1e6:,.0f} MB; at most {limit / 1e6:,.0f} MB are read."
        raise DataError(what, "Split it, or leave some of it out.")
    files = [(file, inner) for file, inner in _unpacked(path, folder, limit) if file.stat().st_size]
    each = sample_bytes and max(sample_bytes // max(1, len(files)), LEAST_SAMPLE)
    admitted = [_plain(file, inner, folder, each, limit) for file, inner in files]
    if not admitted:
        raise DataError(f"What is packed in {name!r} is empty.", "Choose one with text in it.")
    return admitted


def _unpacked(path: Path, folder: Path, limit: int) -> Iterator[tuple[Path, str]]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        inner = Path(path.stem)
        if inner.suffix.lower() not in BUILDERS:
            what = f"The name {path.name!r} does not tell what is packed in it."
            raise DataError(what, "Call it notes.txt.gz, or table.csv.gz, or whatever it is.")
        target = folder / f"unpacked{inner.suffix.lower()}"
        unpack_gzip(path, target, path.name, limit)
        yield target, path.name
    elif suffix == ".zip":
        files = unpack_zip(path, folder, path.name, limit, lambda name: Path(name).suffix.lower() in BUILDERS)
        if not files:
            raise DataError(f"There is no file of text in {path.name!r}.", f"Files in it may end in {_endings()}.")
        yield from files
    elif suffix in BUILDERS:
        yield path, path.name
    else:
        raise DataError(f"{path.name!r} has an unknown ending.", f"Files may end in {_endings()}, .gz or .zip.")


def _plain(path: Path, name: str, folder: Path, sample_bytes: int | None, limit: int) -> PlainFile:
    suffix = path.suffix.lower()
    builder = BUILDERS[suffix]
    if builder == "parquet":
        file, share = check_parquet(path, name, folder, limit, sample_bytes)
        return PlainFile(file, name, builder, share=share)
    _check_magic(path, name)
    if suffix != ".json":
        _check_lines(path, name)
    path, share = as_utf8(path, folder, name), 1.0
    if sample_bytes and path.stat().st_size > sample_bytes and suffix != ".json":
        path, share = _head(path, folder, sample_bytes, quotes=builder == "csv")
    if builder == "json":
        path, part = as_lines(path, folder, name, sample_bytes)
        return PlainFile(path, name, builder, share=share * part)
    if builder == "csv":
        separator = "\t" if suffix == ".tsv" else _separator(path)
        check_csv(path, separator, name)
        only_empty_is_none = {"keep_default_na": False, "na_values": [""]}  # else "NA", "null" and "None" were, too
        return PlainFile(path, name, builder, {"sep": separator, "encoding": "utf-8", **only_empty_is_none}, share)
    if not _has_paragraphs(path):
        return PlainFile(path, name, builder, {"sample_by": "line"}, share)
    _check_paragraphs(path, name)
    return PlainFile(path, name, builder, {"sample_by": "paragraph"}, share)


def _check_magic(path: Path, name: str) -> None:
    with path.open("rb") as file:
        head = file.read(16)
    kind = next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
    kind = kind or (INNER_MAGIC.get(head[8:12]) if head.startswith(b"RIFF") else INNER_MAGIC.get(head[4:8]))
    if kind:
        raise DataError(
            f"The file {name!r} is {kind}, not text.", "Choose a file of text, or give it the right ending."
        )


def _check_lines(path: Path, name: str) -> None:
    """Refuses a line that no machine could hold together with what is made of it."""
    length = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            first, _, rest = chunk.partition(b"\n")
            length += len(first)
            if length > LINE_BYTES:
                what = f"The file {name!r} has a line of more than {LINE_BYTES >> 20} MB."
                raise DataError(what, "Break it into lines or paragraphs.")
            if len(first) < len(chunk):
                length = len(rest) - rest.rfind(b"\n") - 1


def _check_paragraphs(path: Path, name: str) -> None:
    """The same for what stands between blank lines, which is one document."""
    length = 0
    with path.open("rb") as file:
        for line in file:
            length = length + len(line) if line.strip(b"\r\n") else 0
            if length > LINE_BYTES:
                what = f"The file {name!r} has a paragraph of more than {LINE_BYTES >> 20} MB."
                raise DataError(what, "Put blank lines between all documents, or none if each line is one.")


def _head(path: Path, folder: Path, most: int, *, quotes: bool) -> tuple[Path, float]:
    """The first lines of a UTF-8 file as one of their own, and which share of it they are."""
    with path.open("rb") as file:
        data = file.read(most)
    end = data.rfind(b"\n") + 1
    if quotes:  # a line may end within them
        outside, within = end, data.count(b'"', 0, end) % 2
        while within:
            start = data.rfind(b"\n", 0, outside - 1) + 1
            within ^= data.count(b'"', start, outside) % 2
            outside = start
        end = outside if outside > end // 8 else end  # a single one, far above, is the sign for inches
    head = data[:end] or data.decode("utf-8", errors="ignore").encode()
    target = folder / f"head{len(list(folder.iterdir()))}{path.suffix.lower()}"
    target.write_bytes(head)
    return target, len(head) / path.stat().st_size


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return separator_of(next((line for line in file if line.strip()), ""))


def _has_paragraphs(path: Path) -> bool:
    """Whether documents are set apart by blank lines; else every line is one."""
    with path.open("rb") as file:
        head = file.read(CHUNK).replace(b"\r\n", b"\n")
    return b"\n\n" in head.strip()


def _endings() -> str:
    return ", ".join(BUILDERS)
