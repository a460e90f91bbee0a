"""Of a data set, the splits and slices that are asked for are read, in their order."""

from __future__ import annotations

import json

import pytest

from tests.engine.reading import read, texts
from trainer.engine.sources import streamed
from trainer.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A data set folder with ten rows to learn from and two to test."""
    path = tmp_path / "dataset"
    path.mkdir()
    for split, count in (("train", 10), ("test", 2)):
        lines = [json.dumps({"text": f"{split} {number}"}) + "\n" for number in range(count)]
        (path / f"{split}.jsonl").write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("split", "first", "count"),
    [
        ("train", "train 0", 10),
        ("train[:5]", "train 0", 5),
        ("train[:5000]", "train 0", 10),
        ("train[20%:50%]", "train 2", 3),
        ("test", "test 0", 2),
        ("test+train[:1]", "test 0", 3),
    ],
)
def test_split_and_slice_of_a_folder(folder, split, first, count):
    documents = read(folder, split=split)
    assert (texts(documents)[0], len(documents)) == (first, count)


@pytest.mark.parametrize("source", ["folder", "file"])
@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("validation", r"has no split 'validation'\. Its splits are: "),
        ("train[90:]", r"The split 'train\[90:\]' is empty"),
        ("train[:", "is no split or slice"),
    ],
)
def test_a_split_that_is_not_there_is_refused_in_a_sentence_with_those_that_are(folder, source, split, said):
    with pytest.raises(DataError, match=said) as caught:
        read(folder if source == "folder" else folder / "train.jsonl", split=split)
    assert split != "validation" or caught.value.fix.endswith("train, test." if source == "folder" else "train.")


def test_a_given_validation_split_stands_at_the_end_and_slices_apply_to_files_too(folder):
    documents = read(folder, split="train[:3]", validation_split="test")
    assert texts(documents) == ["train 0", "train 1", "train 2", "test 0", "test 1"]
    assert documents.validation == 2
    of_file = read(folder / "train.jsonl", split="train[:80%]", validation_split="train[80%:]", max_documents=4)
    assert (len(of_file), of_file.validation) == (6, 2)


@pytest.mark.parametrize(
    ("split", "numbers"),
    [("train[5:]+train[:5]", [*range(5, 10), *range(5)]), ("train[:50%]+train[:50%]", [*range(5)] * 2)],
)
def test_slices_of_a_file_come_in_the_order_they_are_named(folder, split, numbers):
    assert texts(read(folder / "train.jsonl", split=split)) == [f"train {number}" for number in numbers]


def test_a_data_set_that_is_streamed_gives_the_rows_asked_for_and_lies_where_it_is_told(folder, tmp_path):
    rows = streamed(str(folder), None, "train", 2, 5, tmp_path / "here")
    assert rows["text"] == [f"train {number}" for number in range(2, 7)]
    (file,) = rows.cache_files
    assert file["filename"].startswith(str(tmp_path / "here"))
