"""Near-duplicates are found, whatever their order, and stand on the same side of a split."""

from __future__ import annotations

import random

from datasets import Dataset

from trainer.engine.blocks import split_documents
from trainer.engine.documents import Documents
from trainer.engine.duplicates import group_documents

WORDS = [f"{a}{b}{c}" for a in "bdfklmnprst" for b in "aeiou" for c in "bdklmnrst"]


def essay(number, words=120):
    return " ".join(random.Random(number).choices(WORDS, k=words))


def edited(text, number):
    """The same with one word changed, other case, and other spaces."""
    words = text.split()
    words[number % len(words)] = "changed"
    return "  ".join(words).title()


def documents_of(texts):
    return Documents(Dataset.from_dict({"text": texts}), "text", 0)


def test_near_duplicates_form_a_group_and_others_do_not():
    texts = [essay(number) for number in range(300)]
    copies = [edited(text, number) for number, text in enumerate(texts[:100])]
    groups, repeated = group_documents([texts, copies])
    assert len(set(groups[:300])) == 300
    together = sum(groups[number] == groups[300 + number] for number in range(100))
    assert together >= 97 and repeated == 0
    assert set(groups[300:]) <= set(groups[:100]) | set(range(300, 400))


def test_short_texts_are_grouped_only_when_they_are_the_same():
    groups, repeated = group_documents([["The Sun is hot.", "The Moon is not.", "the  sun is hot.", "The Sun is hot!"]])
    assert groups.tolist() == [0, 1, 0, 3] and repeated == 1


def test_no_document_leaks_to_the_other_side_as_a_near_duplicate():
    texts = [essay(number) for number in range(60)]
    copies = [edited(text, 119) for text in texts]
    together = [text for pair in zip(texts, copies, strict=True) for text in pair]
    learned, held = split_documents(documents_of(together), test_size=0.2, seed=3)
    assert len(held) == 24 and sorted([*learned, *held]) == list(range(120))
    assert {index // 2 for index in held}.isdisjoint(index // 2 for index in learned)


def test_a_text_of_copies_alone_is_still_split():
    learned, held = split_documents(documents_of(["The same."] * 10), test_size=0.2, seed=1)
    assert (len(learned), len(held)) == (8, 2)


def test_a_given_validation_split_is_what_is_held_out():
    documents = Documents(Dataset.from_dict({"text": list("abcde")}), "text", 0, validation=2)
    learned, held = split_documents(documents, test_size=0.9, seed=1)
    assert (learned.tolist(), held.tolist()) == ([0, 1, 2], [3, 4])
