"""Any source becomes documents, one string each, or a sentence that says why not."""

from __future__ import annotations

import json
import pathlib

import datasets
import pytest

from tests.engine.reading import read, texts
from trainer.config import TrainConfig
from trainer.engine.columns import text_columns, texts_at
from trainer.engine.documents import check_documents, load_documents
from trainer.errors import DataError


@pytest.fixture
def written(tmp_path):
    """Writes a file from rows, text or bytes: `written("a.jsonl", [{"text": "one"}])`."""

    def write(name, content):
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


SHAPES = {
    "struct of lists": [{"answers": {"text": ["one", "two"], "score": [1, 2]}}, {"answers": {"text": ["three"]}}],
    "list of structs": [{"answers": [{"text": "one", "score": 1}, {"text": "two"}]}, {"answers": [{"text": "three"}]}],
    "list of strings": [{"text": ["one", "two"]}, {"text": ["three"]}],
    "plain": [{"text": "one two"}, {"text": "three"}],
    "deeper": [{"a": {"b": [{"c": {"text": ["one", "two"]}}]}}, {"a": {"b": [{"c": {"text": ["three"]}}]}}],
    "rows that differ in shape": [{"answers": {"text": ["one", "two"]}}, {"answers": [{"text": "three"}]}],
    "text or list": [{"text": ["one", "two"]}, {"text": "three"}],
    "a name with a dot": [{"answers.text": "one two"}, {"answers.text": "three"}],
}


# Where rows differ in their keys, `datasets` gives a column the type `Json`, which says nothing about what is in it.
@pytest.mark.parametrize("shape", SHAPES)
def test_text_is_found_in_every_shape_of_nesting_and_joined(shape, written):
    documents = read(written("rows.jsonl", SHAPES[shape]))
    assert texts(documents) == ["one two", "three"]
    assert documents.text_column.endswith("text")
    assert documents.skipped == 0


def test_rows_without_text_are_skipped_and_counted(written):
    rows = [{"text": "one"}, {"text": None}, {"text": ""}, {"text": " \n"}, {"other": "x"}, {"text": "two"}]
    documents = read(written("rows.jsonl", rows))
    assert (texts(documents), documents.skipped) == (["one", "two"], 4)


def test_answers_that_are_missing_or_empty_are_skipped_and_counted(written):
    rows = [{"answers": {"text": ["one", None, ""]}}, {"answers": {"text": []}}, {"answers": None}, {"answers": {}}]
    documents = read(written("rows.jsonl", rows), text_column="answers.text")
    assert (texts(documents), documents.skipped) == (["one"], 3)


def test_answers_come_before_other_columns_and_the_longest_text_before_short_ones(written):
    nested = [{"title": "a long question " * 9, "text": "short", "answers": {"text": ["an answer"]}}]
    assert read(written("nested.jsonl", nested)).text_column == "answers.text"
    unusual = [{"id": "q1", "story": "once upon a time", "tag": "x"}]
    assert read(written("unusual.jsonl", unusual)).text_column == "story"
    assert read(written("chosen.jsonl", unusual), text_column="tag").text_column == "tag"


def test_a_missing_column_is_named_beside_those_there_are(written):
    path = written("rows.jsonl", [{"title": "a", "answers": {"text": ["b"]}, "score": 1}])
    with pytest.raises(DataError, match=r"'nope'.*title, answers\.text") as caught:
        read(path, text_column="nope")
    assert "score" not in caught.value.fix


def test_a_file_of_numbers_has_no_text(written):
    with pytest.raises(DataError, match="No column of the data set holds text"):
        read(written("rows.jsonl", [{"a": 1}, {"a": 2}]))


def test_paragraphs_of_a_text_file_are_documents_where_blank_lines_set_them_apart(written):
    path = written("book.txt", "one\ntwo\n\nthree\n\n\n\nfour")
    assert texts(read(path)) == ["one\ntwo", "three", "four"]


def test_lines_of_a_text_file_are_documents_where_there_are_no_blank_lines(written):
    assert texts(read(written("lines.txt", "one\ntwo\nthree"))) == ["one", "two", "three"]
    assert texts(read(written("windows.txt", "one\r\ntwo\r\n"))) == ["one", "two"]
    assert texts(read(written("note.md", "\n\none\ntwo\n\n"))) == ["one", "two"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(name, written):
    content = {"a.txt": "one\ntwo\n", "a.csv": "text,n\none,1\ntwo,2\n", "a.jsonl": '{"text":"one"}\n{"text":"two"}\n'}
    assert texts(read(written(name, b"\xef\xbb\xbf" + content[name].encode()))) == ["one", "two"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("column", [None, "text"])
def test_text_that_is_not_utf8_is_named_in_a_sentence(name, column, written):
    content = {"a.txt": "café au lait\n", "a.csv": "text\ncafé au lait\n", "a.jsonl": '{"text":"café au lait"}\n'}
    with pytest.raises(
        DataError, match=rf"{name}' is not UTF-8 text .line \d.; it looks like Western.* Save it as UTF-8"
    ):
        read(written(name, content[name].encode("latin-1")), text_column=column)


def test_json_that_is_not_utf8_in_an_unusual_column_is_named_too(written):
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read(written("a.jsonl", '{"story":"café"}\n{"story":"au lait"}\n'.encode("latin-1")))


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_an_empty_file_is_refused(content, written):
    with pytest.raises(DataError, match="is empty"):
        read(written("a.txt", content))


def test_an_unknown_ending_is_named_beside_the_known_ones(written):
    with pytest.raises(DataError, match=r"'a\.pdf' has an unknown ending.*\.txt.*\.parquet"):
        read(written("a.pdf", b"%PDF"))


def test_csv_tsv_json_and_parquet_give_the_same_documents(written, tmp_path):
    rows = {"text": ["one, two", 'three "four"'], "n": [1, 2]}
    written("a.csv", 'text,n\n"one, two",1\n"three ""four""",2\n')
    written("a.tsv", 'text\tn\none, two\t1\n"three ""four"""\t2\n')
    written("a.json", json.dumps([{"text": text, "n": n} for text, n in zip(*rows.values(), strict=True)]))
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.tsv", "a.json", "a.parquet"):
        assert texts(read(tmp_path / name)) == rows["text"], name


SURPRISES = {
    "text after 10,000 empty cells": ("a.csv", "text,n\n" + ",1\n" * 10_000 + "one,1\ntwo,2\n"),
    "a code after 10,000 numbers": ("a.csv", "text,n\n" + ",1\n" * 10_000 + "one,A17\ntwo,2\n"),
    "a key after 10 MB": ("a.jsonl", [{"n": "x" * (1 << 20)}] * 11 + [{"text": "one"}, {"text": "two", "n": 2}]),
    "text after 10 MB of null": (
        "a.jsonl",
        [{"text": None, "n": "x" * (1 << 20)}] * 11 + [{"text": "one"}, {"text": "two"}],
    ),
}


@pytest.mark.parametrize("surprise", SURPRISES)
def test_a_file_may_be_other_than_its_first_rows(surprise, written, capfd):
    assert texts(read(written(*SURPRISES[surprise]), text_column="text")) == ["one", "two"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "table",
    ["n;text\n1,5;one, more\n2,5;two\n", '"n, m";text\n1;one, more\n2;two\n', "\nn\ttext\n1\tone, more\n2\ttwo\n",
     'n,"text"\n1,"one, more"\n2,two\n', "text\n\"one, more\"\ntwo\n"],
)  # fmt: skip
def test_what_separates_the_cells_of_a_table_is_found_out(table, written):
    documents = read(written("a.csv", table))
    assert (texts(documents), documents.text_column) == (["one, more", "two"], "text")


def test_only_an_empty_cell_of_a_table_is_none(written):
    documents = read(written("a.csv", 'text,n\nNA,1\nnull,2\n,3\n"",4\nNone,5\n'))
    assert (texts(documents), documents.skipped) == (["NA", "null", "None"], 2)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_half_a_character_in_json_costs_no_more_than_itself(name, written):
    rows = ['{"text": "one \\ud83d\\ud83d\\ude00 \\\\ud83d"}', '{"text": "two \\ud83d\\ude00"}']
    content = "\n".join(rows) if name == "a.jsonl" else f"[{','.join(rows)}]"
    assert texts(read(written(name, content))) == ["one ?😀 \\ud83d", "two 😀"]


def test_no_picture_beside_the_text_is_opened(tmp_path):
    features = datasets.Features({"photo": datasets.Image(), "about": datasets.Value("string")})
    rows = {"photo": [{"bytes": b"no picture", "path": None}], "about": ["A lake of lava."]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "photos.parquet")
    assert texts(read(tmp_path / "photos.parquet")) == ["A lake of lava."]


def test_columns_are_joined_in_the_order_they_are_named(written):
    rows = [{"title": "Why?", "answers": {"text": ["Because.", "So."]}}, {"title": "How?", "answers": {"text": []}}]
    documents = read(written("rows.jsonl", rows), text_column="title, answers.text")
    assert texts(documents) == ["Why?\nBecause. So.", "How?"]
    with pytest.raises(DataError, match=r"no column 'nope'.*title"):
        read(written("rows.jsonl", rows), text_column="title,nope")


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="could not be read"):
        read(tmp_path)


def test_max_documents_takes_the_first_that_have_text(written):
    path = written("rows.jsonl", [{"text": None}, {"text": "one"}, {"text": "two"}, {"text": "three"}])
    assert texts(read(path, max_documents=2)) == ["one", "two"]
    assert len(read(path, max_documents=99)) == 3


def test_bundled_data_set_has_its_answers_found(answers):
    documents = load_documents(TrainConfig())
    assert documents.text_column == "answers.text"
    assert " ".join(answers).split() == " ".join(texts(documents)).split()


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing"])
def test_an_unknown_hub_id_without_network_is_a_sentence(name):
    with pytest.raises(DataError, match=f"'{name}' could not be fetched. Is the Hugging Face Hub in reach"):
        read(name)


@pytest.mark.parametrize("name", ["/no/such/file.txt", "two words", "../up"])
def test_what_is_neither_file_nor_hub_id_is_refused(name):
    with pytest.raises(DataError, match=r"There is no (data set|file)"):
        read(name)


@pytest.mark.parametrize("look", [load_documents, check_documents])
def test_a_file_that_may_not_be_read_is_a_sentence(look, written, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    path = written("a.txt", "one\ntwo\n")
    monkeypatch.setattr(pathlib.Path, "open", refused)
    with pytest.raises(DataError, match=r"'a\.txt' may not be read by you"):
        look(TrainConfig(dataset=str(path)))


def test_batches_give_the_chosen_documents_in_order(written):
    documents = read(written("rows.jsonl", [{"text": str(number)} for number in range(7)]))
    assert list(documents.batches([6, 1, 2, 0, 5], size=2)) == [["6", "1"], ["2", "0"], ["5"]]


def test_texts_at_a_path_passes_over_what_is_no_text():
    row = {"answers": [{"text": "one", "n": 1}, None, {"text": ["two", None, 3]}, {"other": "x"}, "y"]}
    assert list(texts_at(row, "answers.text")) == ["one", "two"]
    assert list(texts_at(row, "answers")) == ["y"]
    assert list(texts_at(row, "missing.text")) == []


def test_text_columns_are_listed_by_path():
    features = datasets.Features(
        {
            "title": datasets.Value("string"),
            "score": datasets.Value("int64"),
            "answers": {"text": datasets.List(datasets.Value("large_string"))},
            "turns": datasets.LargeList({"who": datasets.Value("string"), "at": datasets.Value("float64")}),
        }
    )
    assert list(text_columns(dict(features))) == ["title", "answers.text", "turns.who"]
