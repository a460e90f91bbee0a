"""Any text file as UTF-8: other encodings of Unicode are rewritten, the rest is named with a guess."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from trainer.errors import DataError

CHUNK = 1 << 20
HEAD = 1 << 16  # bytes an encoding is guessed from
BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
CONTROLS = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\x1b"))
BINARY_SHARE = 0.01  # of control characters
# Encodings by the share of their characters beyond ASCII that must be letters of their script.
GUESSES = (
    ("cp949", "Korean", re.compile("[가-힣]"), 0.85),
    ("shift_jis", "Japanese", re.compile("[ぁ-ヿ]"), 0.3),
    ("euc_jp", "Japanese", re.compile("[ぁ-ヿ]"), 0.3),
    ("gb18030", "Chinese", re.compile("[一-鿿]"), 0.7),
)
MOSTLY_BEYOND_ASCII = 0.4  # of the letters of Cyrillic text; Western text has few


def as_utf8(path: Path, folder: Path, name: str) -> Path:
    """The file itself when it is UTF-8 without a mark, else its text in a file of `folder`.

    Raises: DataError for binary files and other encodings.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    encoding = next((encoding for mark, encoding in BOMS if head.startswith(mark)), None) or _unmarked_utf16(head)
    if encoding is None:
        check_utf8(path, name)
        return path
    target = folder / f"{path.name}.utf8"
    try:
        with path.open(encoding=encoding, newline="") as source, target.open("w", encoding="utf-8", newline="") as copy:
            while text := source.read(CHUNK):
                copy.write(text)
    except UnicodeError as error:
        what = f"The file {name!r} begins like {encoding.upper()} text, but is not."
        raise DataError(what, "Save it as UTF-8 and try again.") from error
    check_utf8(target, name)
    return target


def check_utf8(path: Path, name: str) -> None:
    """Raises: DataError when a file is not plain UTF-8 text, with the first line at fault."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if b"\0" in chunk:
                _refuse_binary(path, name)
                line += chunk[: chunk.index(b"\0")].count(b"\n")
                what = f"The file {name!r} has NUL bytes in it, the first in line {line:,}, which no text has."
                raise DataError(what, "Save it as plain text and try again.")
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                _refuse_binary(path, name)
                line += bytes(error.object[: error.start]).count(b"\n")
                with path.open("rb") as whole:
                    sample = whole.read(HEAD)
                    if line > 1 and sample.isascii():
                        whole.seek(max(0, file.tell() - CHUNK))
                        sample = whole.read(HEAD)
                what = f"The file {name!r} is not UTF-8 text (line {line:,}); it looks like {guessed(sample)}."
                raise DataError(what, "Save it as UTF-8 and try again.") from error
            if not chunk:
                return
            line += chunk.count(b"\n")


def guessed(data: bytes) -> str:
    """The likeliest of the older encodings, in words."""
    for encoding, language, letters, share in GUESSES:
        text = data.decode(encoding, errors="replace")
        beyond = [character for character in text if not character.isascii()]
        good = sum(bool(letters.match(character)) for character in beyond)
        if beyond and text.count("\ufffd") <= 0.01 * len(beyond) + 1 and good >= share * len(beyond):
            return f"{language} in {encoding}"
    letters_seen = [byte for byte in data if byte > 127 or chr(byte).isalpha()]
    beyond_ascii = sum(byte > 127 for byte in letters_seen)
    if beyond_ascii >= MOSTLY_BEYOND_ASCII * max(1, len(letters_seen)):
        return "Cyrillic in cp1251"
    return "Western European text in cp1252 (Latin-1)"


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 of mostly Western text betrays itself by its zeros, even without a mark."""
    halves = head[: len(head) // 2 * 2]
    if len(halves) < 4:
        return None
    zeros = [halves[start::2].count(0) * 2 / len(halves) for start in (0, 1)]
    if min(zeros) < 0.1 and max(zeros) > 0.6:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return None


def _refuse_binary(path: Path, name: str) -> None:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if len(head) - len(head.translate(None, CONTROLS)) > BINARY_SHARE * len(head) + 1:
        raise DataError(f"The file {name!r} holds binary data, not text.", "Choose a file of text.")
