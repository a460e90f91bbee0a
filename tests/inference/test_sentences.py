"""A file of sentences: read as people save them, answered line by line, and written so that nothing in it runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.errors import PredictionError
from trainer.inference import sentences
from trainer.inference.fill_mask import MaskFiller
from trainer.inference.sentences import parts, read_sentences
from trainer.predictions import SentenceRow, write_csv, write_jsonl

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "A <mask>.\n\n  B ___.  \r\nnone\u2028here\rlast", ["A <mask>.", "B ___.", "none\u2028here", "last"]),
        ("a.TXT", BOM + b"A <mask>.", ["A <mask>."]),
        ("a.csv", "id,text,note\n1,A <mask>.,x\n2,B [MASK].,y\n", ["A <mask>.", "B [MASK]."]),
        ("a.csv", "A <mask>.\nB ___.\n", ["A <mask>.", "B ___."]),
        ("a.csv", "id;text\n1;Well, a <mask>.\n", ["Well, a <mask>."]),
        ("a.csv", '"Well, a <mask>, this";x\n', ["Well, a <mask>, this"]),
        ("a.csv", "id\ttext\r\n1\tA <mask>.\r\n", ["A <mask>."]),
        ("a.csv", 'text\n"A, ""<mask>""\nand more."\n', ['A, "<mask>"\nand more.']),
        ("a.csv", "a,b\n<mask> x,\n<mask> y,\nno,<mask> z\n", ["<mask> x", "<mask> y", "no"]),
        ("a.csv", "text,n\nA <mask>.\n\nB <mask>.,2\n", ["A <mask>.", "B <mask>."]),
        ("a.csv", "n,text\n1\n2,A <mask> \x00.\n", ["A <mask> \x00."]),
    ],
)
def test_sentences_are_found(
    name: str, content: str | bytes, expected: list[str], written: Callable[[str, str | bytes], str]
) -> None:
    assert read_sentences(written(name, content)) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.xlsx", "A <mask>.", "no .txt or .csv file"),
        ("a.txt", "", "is empty"),
        ("a.txt", " \n \n", "is empty"),
        ("a.txt", "caf\xe9 <mask>".encode("latin-1"), "is not UTF-8"),
        ("a.csv", "", "No column of 'a.csv' has a <mask>"),
        ("a.csv", "a,b\n1,2\n", "No column of 'a.csv' has a <mask>"),
        ("a.csv", "<mask>" + "," * 1_000_000, "more than 1,000 columns"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence(
    name: str, content: str | bytes, expected: str, written: Callable[[str, str | bytes], str]
) -> None:
    with pytest.raises(PredictionError, match=expected) as caught:
        read_sentences(written(name, content))
    assert caught.value.fix


@pytest.mark.parametrize("path", ["missing.txt", "\0.txt"])
def test_a_path_that_leads_nowhere_is_a_sentence(path: str) -> None:
    with pytest.raises(PredictionError, match="can't be read"):
        read_sentences(path)


def test_files_have_limits(written: Callable[[str, str | bytes], str]) -> None:
    with pytest.raises(PredictionError, match="more than 10 MB"):
        read_sentences(written("a.txt", b"a" * (sentences.FILE_BYTES + 1)))
    with pytest.raises(PredictionError, match="20,001 sentences; at most 20,000"):
        read_sentences(written("a.txt", "a\n" * (sentences.SENTENCES + 1)))


def test_parts_are_small_and_keep_the_order() -> None:
    every = [f"{i} " + "x" * (i % 7 * 1000) for i in range(500)] + ["y" * 50_000, "z"]
    cut = list(parts(every))
    assert [sentence for part in cut for sentence in part] == every
    assert all(len(part) <= 64 and (len(part) == 1 or sum(map(len, part)) <= 20_000) for part in cut)


def test_every_sentence_gets_its_rows_or_a_reason_and_progress_is_told(
    written: Callable[[str, str | bytes], str], tiny_model: Callable[[str], Path]
) -> None:
    lines = [f"The {i} <mask> of a <mask>." for i in range(70)]
    lines[3], lines[66] = "No gap here.", "<mask>" + "a" * 60_000
    filler, model = MaskFiller(), str(tiny_model("bert"))
    told = list(filler.fill_file(written("a.txt", "\n".join(lines)), model, 2))
    assert [(part.done, part.total) for part in told] == [(64, 70), (66, 70), (67, 70), (70, 70)]
    rows = [row for part in told for row in part.rows]
    assert [row.number for row in rows] == [n for n in range(1, 71) for _ in range(1 if n in (4, 67) else 4)]
    assert all(row.sentence == lines[row.number - 1] for row in rows)
    failed = [row for row in rows if row.error]
    assert [row.number for row in failed] == [4, 67] and failed[0].error.startswith("There is no <mask> in the text.")
    assert [(row.mask, row.rank, row.word, row.score) for row in failed] == [(None, None, "", None)] * 2
    for number in (0, 65, 69):
        expected = [
            (mask, rank, candidate.token_str)
            for mask, filled in enumerate(filler.fill(lines[number], model, 2), 1)
            for rank, candidate in enumerate(filled.candidates, 1)
        ]
        assert [(row.mask, row.rank, row.word) for row in rows if row.number == number + 1] == expected


def test_what_is_wrong_with_the_request_ends_it(written: Callable[[str, str | bytes], str]) -> None:
    with pytest.raises(PredictionError, match="top_k is 0"):
        list(MaskFiller().fill_file(written("a.txt", "A <mask>."), "bundled", 0))


ROWS = [
    SentenceRow(number=1, sentence='=cmd|"/c calc"!A1 <mask>', mask=1, rank=1, word=" @SUM", score=0.25),
    SentenceRow(number=2, sentence="-1 + ___, 물\n<b>", mask=1, rank=2, word="+", score=0.125),
    SentenceRow(number=3, sentence="@a", error="There is no <mask> in the text."),
]


def test_cells_of_a_table_are_never_formulas(tmp_path: Path) -> None:
    write_csv(iter(ROWS), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["number", "sentence", "mask", "rank", "word", "score", "error"]
    assert rows[0] == ["1", '\'=cmd|"/c calc"!A1 <mask>', "1", "1", "' @SUM", "0.25", ""]
    assert rows[1] == ["2", "'-1 + ___, 물\n<b>", "1", "2", "'+", "0.125", ""]
    assert rows[2] == ["3", "'@a", "", "", "", "", "There is no <mask> in the text."]


def test_lines_of_json_hold_the_rows_as_they_are(tmp_path: Path) -> None:
    write_jsonl(ROWS, tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "" and [SentenceRow(**json.loads(line)) for line in lines] == ROWS
