"""The texts the bundled model learned from hold nothing that it is measured on, or taught in the first minute."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet
import pytest

from trainer.presets import BUNDLED_DATASET

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
# The inputs of the recipe in the model's card, and the files kept apart for measuring.
LEARNED = ["openstax_general", "openstax_science", "wikipedia_general", "wikipedia_science"]
HELD_OUT = ["eval_wikipedia_holdout", "eval_wikitext2_valid"]

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the project")


def documents(name: str) -> list[str]:
    return pyarrow.parquet.read_table(CORPUS / f"{name}.parquet")["text"].to_pylist()


def sentences(texts: Iterable[str]) -> set[str]:
    """The sentences of some texts, without case and closing marks."""
    return {part.strip(" .!?\"'").lower() for text in texts for part in re.split(r"[.!?]\s|\n", text)}


@pytest.fixture(scope="module")
def learned() -> list[str]:
    return [text for name in LEARNED for text in documents(name)]


@needs_corpus
def test_the_corpus_is_the_recipes_inputs_and_what_is_held_out() -> None:
    assert sorted(path.stem for path in CORPUS.glob("*.parquet")) == sorted(LEARNED + HELD_OUT)


@needs_corpus
@pytest.mark.parametrize("name", HELD_OUT)
def test_no_held_out_document_was_learned(name: str, learned: list[str]) -> None:
    known = {text.strip() for text in learned}
    assert not [text[:80] for text in documents(name) if text.strip() in known]


@needs_corpus
def test_hardly_a_held_out_paragraph_was_learned(learned: list[str]) -> None:
    known = {paragraph.strip() for text in learned for paragraph in text.split("\n")}
    for name in HELD_OUT:
        paragraphs = [p.strip() for text in documents(name) for p in text.split("\n") if p.strip()]
        assert sum(paragraph in known for paragraph in paragraphs) <= 0.005 * len(paragraphs)


@needs_corpus
def test_no_cloze_sentence_and_no_bundled_answer_was_learned(learned: list[str]) -> None:
    lines = Path(__file__).with_name("cloze.jsonl").read_text(encoding="utf-8").splitlines()
    cloze = [json.loads(line) for line in lines]
    filled = [question["text"].replace("<mask>", word) for question in cloze for word in question["expected"]]
    rows = [json.loads(line) for line in (BUNDLED_DATASET / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = sentences(filled) | sentences(text for row in rows for text in (row["title"], *row["answers"]["text"]))
    assert not {sentence for sentence in asked & sentences(learned) if len(sentence.split()) > 4}


def test_the_cloze_set_has_at_least_200_sentences_with_one_mask_and_an_expected_word_each() -> None:
    lines = Path(__file__).with_name("cloze.jsonl").read_text(encoding="utf-8").splitlines()
    cloze = [json.loads(line) for line in lines]
    assert len({question["text"] for question in cloze}) == len(cloze) >= 200
    for question in cloze:
        assert question["text"].count("<mask>") == 1
        assert question["expected"] and all(word == word.strip() != "" for word in question["expected"])
