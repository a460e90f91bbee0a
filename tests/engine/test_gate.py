"""What strangers bring is either understood, or refused in one sentence before a library opens it."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import tracemalloc
import zipfile

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from trainer.__main__ import main
from trainer.config import TrainConfig
from trainer.engine.documents import load_documents
from trainer.engine.gate import admit
from trainer.errors import DataError

LINES = "Water boils.\nIce melts.\n"
ROWS = [{"text": "Water boils."}, {"text": "Ice melts."}]
RANDOM = random.Random(0).randbytes(40_000)


def packed(names_and_texts, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, text in names_and_texts.items():
            archive.writestr(name, text)
    return stream.getvalue()


def parquet(rows):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def locked():
    data = bytearray(packed({"a.txt": LINES}))
    for at in (6, data.rindex(b"PK\x01\x02") + 8):
        data[at] |= 1
    return bytes(data)


# (name, bytes, what is said)
BAD = {
    "empty": ("a.txt", b"", "is empty"),
    "binary": ("a.txt", RANDOM, "holds binary data, not text"),
    "image": ("a.txt", b"\x89PNG\r\n\x1a\n" + RANDOM, r"is an image \(PNG\), not text"),
    "sound": ("a.txt", b"ID3\x04\0" + RANDOM, "is a sound, not text"),
    "photo": ("a.csv", b"\xff\xd8\xff\xe0" + RANDOM, r"is an image \(JPEG\)"),
    "NUL bytes": ("a.txt", b"one\ntwo\0three\n" * 9, "has NUL bytes in it, the first in line 2"),
    "Korean of old": (
        "a.txt",
        ("first\n" + "한국어 문장입니다. " * 9).encode("cp949"),
        r"line 2\); it looks like Korean in cp949",
    ),
    "Japanese of old": ("a.txt", ("これは日本語の文章です。" * 9).encode("shift_jis"), "Japanese in shift_jis"),
    "Japanese of Unix": ("a.txt", ("これは日本語の文章です。" * 9).encode("euc_jp"), "Japanese in euc_jp"),
    "Chinese of old": ("a.txt", ("这是中文句子我们在学习" * 9).encode("gb18030"), "Chinese in gb18030"),
    "Russian of old": ("a.txt", ("Вода кипит. " * 9).encode("cp1251"), "Cyrillic in cp1251"),
    "UTF-16 cut": ("a.txt", b"\xff\xfea\0b\0c\0d", "begins like UTF-16 text, but is not"),
    "one long line": ("a.txt", b"word " * 4_000_000, "a line of more than 16 MB"),
    "one long paragraph": ("a.txt", b"a\n\n" + b"Water boils.\n" * 1_300_000, "a paragraph of more than 16 MB"),
    "gzip by magic": ("a.txt", gzip.compress(LINES.encode()), "is gzip data, not text"),
    "gzip cut": ("a.txt.gz", gzip.compress(RANDOM)[:-100], "is not a gzip file, or was cut short"),
    "gzip damaged": ("a.txt.gz", gzip.compress(RANDOM)[:30] + RANDOM, "is not a gzip file, or was cut short"),
    "gzip without ending": ("a.gz", gzip.compress(LINES.encode()), "does not tell what is packed in it"),
    "gzip bomb": ("a.txt.gz", gzip.compress(b"a" * 50_000_000), "more than 200 times larger than the file"),
    "zip cut": ("a.zip", packed({"a.txt": LINES * 99})[:-40], "is not a zip archive, or was cut short"),
    "zip damaged": ("a.zip", packed({"a.txt": LINES}, zipfile.ZIP_STORED).replace(b"Wa", b"Xa"), "or was cut short"),
    "zip bomb": ("a.zip", packed({"a.txt": b"a" * 50_000_000}), "more than 200 times larger than the file"),
    "zip packed otherwise": (
        "a.zip",
        packed({"a.txt": b"a" * 50_000_000}, zipfile.ZIP_BZIP2),
        "packed in a way that is not read here",
    ),
    "zip of a dot": ("a.zip", packed({".": "x"}), "There is no file of text"),
    "zip with a path": ("a.zip", packed({"../../a.txt": LINES}), r"leads out of it: '\.\./\.\./a\.txt'"),
    "zip with a root": ("a.zip", packed({"/etc/a.txt": LINES}), "leads out of it"),
    "zip with a password": ("a.zip", locked(), "locked with a password"),
    "zip without text": ("a.zip", packed({"a.exe": "x"}), "There is no file of text"),
    "zip of nothing": ("a.zip", packed({"a.txt": ""}), "What is packed in 'a.zip' is empty"),
    "zip of too many": ("a.zip", packed({f"{i}.txt": "a" for i in range(1001)}), "holds 1,001 files; at most 1,000"),
    "parquet cut": ("a.parquet", parquet(ROWS)[:-20], "is not a Parquet file, or was cut short"),
    "parquet of nothing": ("a.parquet", parquet([{"text": "a"}])[:0] + b"PAR1", "is not a Parquet file"),
    "parquet of numbers": ("a.parquet", parquet([{"n": 1}]), "No column of the data set holds text"),
    "JSON nested 10,000 deep": ("a.json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested more than 32 deep"),
    "JSON lists nested deep": ("a.jsonl", b'{"a":"[[" ,"b":' + b"[" * 10_000, "nested more than 32 deep"),
    "JSON number": ("a.json", b"42", "is not JSON with rows of text"),
    "JSON object": ("a.json", b'{\n"data": [{"text": "one"}]\n}', "is one JSON object, not a list of objects"),
    "JSON object in a line": ("a.json", b'{"data": [{"text": "one"}]}', "is one JSON object, not a list of objects"),
    "JSON list of numbers": ("a.json", b"[1, 2]", "Entry 1 of the list in 'a.json' is not a JSON object"),
    "JSON list with infinity": ("a.json", b'[{"text": "a", "n": 1e999}]', "Entry 1 .* a number that is too large"),
    "JSON list broken": ("a.json", b'[{"text": "a"}, {"text": "b]', "Entry 2 .* is not valid JSON"),
    "JSON list without end": ("a.json", b'[{"text": "a"},\n{"text": "b"} 3', "breaks off or goes wrong after entry 2"),
    "JSON list of nothing": ("a.json", b"[ ]", "is empty"),
    "JSONL with a broken line": (
        "a.jsonl",
        b'{"text": "a"}\n' * 5 + b'{"text": "b"\n' + b'{"text": "c"}\n',
        "Line 6 .*not valid",
    ),
    "JSONL of strings": ("a.jsonl", b'{"text": "a"}\n"b"\n', "Line 2 of 'a.jsonl' is not a JSON object"),
    "JSONL with NaN": ("a.jsonl", b'{"text": "a", "n": NaN}\n', "Line 1 .* NaN"),
    "CSV of 100,000 columns": (
        "a.csv",
        b",".join(b"c%d" % i for i in range(100_000)) + b"\n1\n",
        "has 100,000 columns; at most 512",
    ),
    "CSV with a ragged row": ("a.csv", b"text,n\na,1\nb,2,3\n", "Line 3 of 'a.csv' has 3 fields, its header 2"),
    "CSV without a header": ("a.csv", b"1,Water boils.\n2,Ice melts.\n", "seems to have no header"),
    "CSV with an empty header": ("a.csv", b",\na,b\n", "has no header"),
    "CSV of a header": ("a.csv", b"text,n\n", "a header and no rows"),
    "CSV with an open quote": ("a.csv", b'text,n\n"a,1\nb,2\n', "A quote in 'a.csv' is opened and never closed"),
    "CSV of numbers": ("a.csv", b"n,m\n1,2\n", "No column of the data set holds text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence_and_nothing_is_left_behind(case, tmp_path):
    name, content, said = BAD[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        load_documents(TrainConfig(dataset=str(path)), tmp_path / "scratch")
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value) and caught.value.fix
    assert sum(file.stat().st_size for file in tmp_path.rglob("scratch/**/*") if file.is_file()) < 20_000_000


@pytest.mark.parametrize("case", BAD)
def test_in_the_shell_bad_input_is_one_line_and_exit_code_2(case, tmp_path, capsys, monkeypatch):
    name, content, said = BAD[case]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / name).write_bytes(content)
    assert main(["fit", "--dataset", str(tmp_path / name), "--output", str(tmp_path / "run")]) == 2
    assert re.fullmatch(rf"error: .*{said}.*\n", capsys.readouterr().err)
    assert not list((tmp_path / "temporary").iterdir()) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["fit", "preview"])
def test_a_single_word_is_too_little_to_learn_from(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("trainer.engine.hardware.limit_time", lambda seconds: None)  # of this process
    monkeypatch.setattr("trainer.engine.hardware.limit_memory", lambda: None)
    (tmp_path / "a.txt").write_text("water\n")
    monkeypatch.chdir(tmp_path)
    assert main([command, "--dataset", "a.txt"]) == 2
    assert capsys.readouterr().err == (
        "error: There is too little text to learn from: only 'water'. Use some sentences at least.\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_is_too_large_is_refused_by_its_size_with_the_limit(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(1_100_000_000)
    with pytest.raises(DataError, match="has 1,100 MB; at most 1,000 MB are read"):
        admit(path, tmp_path / "scratch")


GOOD = {
    "UTF-8 with a mark": ("a.txt", b"\xef\xbb\xbf" + LINES.encode()),
    "UTF-16 with a mark": ("a.txt", LINES.encode("utf-16")),
    "UTF-16 big end first": ("a.csv", b"\xfe\xff" + ("text\n" + LINES).encode("utf-16-be")),
    "UTF-16 without a mark": ("a.txt", LINES.encode("utf-16-le")),
    "gzip": ("a.txt.gz", gzip.compress(LINES.encode())),
    "table in gzip": (
        "a.csv.gz",
        gzip.compress(("n,text\n" + "".join(f"1,{line}\n" for line in LINES.split("\n"))).encode()),
    ),
    "zip": (
        "a.zip",
        packed({"one/a.txt": "Water boils.", "__MACOSX/b.txt": "x", "b.jsonl": json.dumps(ROWS[1]), "c.pdf": "x"}),
    ),
    "zip of a table and Parquet": (
        "a.zip",
        packed({"a.tsv": "text\tn\nWater boils.\t1\n", "b.parquet": parquet([{"content": "Ice melts."}])}),
    ),
    "list over lines": ("a.json", json.dumps(ROWS, indent=2).encode()),
    "list in lists": (
        "a.json",
        json.dumps([{"text": [["Water boils."], None]}, {"text": [["Ice"], ["melts."]]}]).encode(),
    ),
    "lines named json": ("a.json", "\n".join(map(json.dumps, ROWS)).encode()),
    "brackets in text": ("a.jsonl", b"\n".join(json.dumps(row | {"x": '\\"' + "[{" * 99}).encode() for row in ROWS)),
    "a column named like a number": ("a.csv", b"2024,text\nx,Water boils.\ny,Ice melts.\n"),
    "Parquet": ("a.parquet", parquet(ROWS)),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_input_is_understood(case, tmp_path):
    name, content = GOOD[case]
    (tmp_path / name).write_bytes(content)
    documents = load_documents(TrainConfig(dataset=str(tmp_path / name)))
    assert list(documents.rows["text"]) == ["Water boils.", "Ice melts."]
    assert documents.share == 1.0


def test_a_text_about_an_algorithm_is_no_sound(tmp_path):
    (tmp_path / "a.txt").write_text("ID3 is an algorithm.\n")
    assert list(load_documents(TrainConfig(dataset=str(tmp_path / "a.txt"))).rows["text"]) == ["ID3 is an algorithm."]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json", "a.parquet"])
def test_of_a_large_file_a_sample_is_read_and_its_share_told(name, tmp_path):
    numbers = [random.Random(number).getrandbits(99) for number in range(4000)]
    rows = [{"text": f'Sentence {number} about "water", ice\nand steam.'} for number in numbers]
    if name == "a.txt":
        (tmp_path / name).write_text("".join(row["text"].replace("\n", " ") + "\n" for row in rows))
    else:
        table = datasets.Dataset.from_list(rows)
        {"csv": table.to_csv, "json": lambda path: path.write_text(json.dumps(rows)), "jsonl": table.to_json,
         "parquet": table.to_parquet}[name[2:]](tmp_path / name)  # fmt: skip
    documents = load_documents(TrainConfig(dataset=str(tmp_path / name)), sample_bytes=40_000)
    assert 100 < len(documents) < 3900
    assert documents.share < 1 and len(documents) / documents.share == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", ('text,n\na pipe 5" long,1\n' + "Water boils and ice melts.,2\n" * 9000).encode()),
        ("a.csv", ("text,n\n" + "Water boils.,2\n" * 9000).encode("utf-16-le")),
        ("a.txt", ("Water boils 🌋 and ice melts.\n" * 9000).encode("utf-16")),
        ("a.txt", ("水が沸騰する。" * 9000).encode()),  # one line
    ],
    ids=["a sign for inches", "UTF-16 without a mark", "UTF-16 with emoji", "one line"],
)
def test_the_sample_of_a_good_file_is_good(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    for bytes_read in range(66_001, 66_009):  # characters are cut at every place
        documents = load_documents(TrainConfig(dataset=str(tmp_path / name)), sample_bytes=bytes_read)
        assert len(documents) and 0.1 < documents.share < 1


def test_a_large_list_is_never_held_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" + ",".join(json.dumps({"text": f"{number} " * 200}) for number in range(15_000)) + "]")
    tracemalloc.start()
    admit(path, tmp_path / "scratch")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2
