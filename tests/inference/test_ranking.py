"""Given words: scored whole, whatever number of tokens they have, and in the order they were given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.inference.plain import Plain
from trainer.errors import PredictionError
from trainer.inference.fill_mask import MaskFiller

KINDS = ("roberta", "bert", "distilbert", "modernbert")
WORDS = ["of", " unforeseeable ", "the", "two words", "water", "the"]


def chain_rule(plain: Plain, text: str, number: int, pieces: tuple[int, ...]) -> float:
    """The log-probability of pieces at mask `number`, each after those before it and with those behind it hidden."""
    ids = plain.ids(text)
    place = [at for at, token in enumerate(ids) if token == plain.mask][number]
    nats = 0.0
    for done in range(len(pieces)):
        gap = [*pieces[:done], *[plain.mask] * (len(pieces) - done)]
        nats += float(plain.log_probabilities([*ids[:place], *gap, *ids[place + 1 :]])[place + done, pieces[done]])
    return nats


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["A <mask>.", "The <mask> of the <mask> is large."])
def test_words_get_the_chain_rules_probability_in_the_order_given(
    kind: str, text: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    reference = Plain(model(kind))
    ranked = filler.rank(text, WORDS, model(kind))
    assert len(ranked) == text.count("<mask>")
    for number, targets in enumerate(ranked):
        assert [target.word for target in targets] == [word.strip() for word in WORDS]
        for target in targets:
            spaced = f" {target.word}"
            pieces = tuple(reference.tokenizer(spaced, add_special_tokens=False)["input_ids"])
            assert target.tokens == pieces and len(target.pieces) == len(pieces)
            assert target.log_probability == pytest.approx(chain_rule(reference, text, number, pieces), abs=1e-4)
            assert target.score == pytest.approx(math.exp(target.log_probability))
            assert target.word in target.sequence
        assert len(targets[1].tokens) > 3 and len(targets[0].tokens) == 1
        scores = [target.score for target in targets]
        assert [target.share for target in targets] == pytest.approx([one / sum(scores) for one in scores])


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_one_token_get_the_probability_that_fill_gives_them(
    kind: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    words = ["of", "the", "and"]
    (ranked,) = filler.rank("A <mask>.", words, model(kind))
    (filled,) = filler.fill("A <mask>.", model(kind), targets=words)
    assert [one.score for one in ranked] == pytest.approx([one.score for one in filled.candidates], abs=1e-6)
    assert [one.sequence for one in ranked] == [one.sequence for one in filled.candidates]


@pytest.mark.parametrize(
    ("text", "spaced"),
    [("A <mask>.", True), ("<mask> is hot.", False), ("(<mask>)", False), ("A\n<mask>", True), ("pre<mask>", False)],
)
def test_a_space_is_thought_of_where_the_text_has_one(text: str, spaced: bool, filler: MaskFiller) -> None:
    (targets,) = filler.rank(text, ["water", "\twater"])
    assert all(target.pieces[0].startswith(" ") == spaced for target in targets)
    assert targets[0].sequence == text.replace("\n", " ").replace("<mask>", "water")


def test_shares_add_up_to_one_even_when_no_probability_fits_into_a_float(
    model: Callable[[str], str], filler: MaskFiller
) -> None:
    words = ["Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" * 2, "zyx" * 38]
    (targets,) = filler.rank("A <mask>.", words, model("roberta"))
    assert [target.score for target in targets] == [0.0, 0.0]
    assert sum(target.share for target in targets) == pytest.approx(1.0)
    assert all(math.isfinite(target.log_probability) for target in targets)


def test_a_single_word_need_not_be_in_a_list(model: Callable[[str], str], filler: MaskFiller) -> None:
    assert filler.rank("A <mask>.", "water", model("bert")) == filler.rank("A <mask>.", ["water"], model("bert"))


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], "no words"),
        (None, "no words"),
        ("", "''"),
        (["the", " "], "' '"),
        (["the", None], "None"),
        (["the", 5], "5"),
        (["the", "\ud83d"], r"'\\ud83d'"),
        (["<mask>"], "'<mask>'"),
        (["</s>"], "'</s>'"),
        (["the"] * 101, "101 words; at most 100"),
        (["x" * 201], "'xxx"),
    ],
)
def test_what_is_no_word_is_named(targets: Any, expected: str, model: Callable[[str], str], filler: MaskFiller) -> None:
    with pytest.raises(PredictionError, match=expected) as caught:
        filler.rank("A <mask>.", targets, model("roberta"))
    assert caught.value.fix


def test_a_word_the_tokenizer_does_not_know_is_named(model: Callable[[str], str], filler: MaskFiller) -> None:
    with pytest.raises(PredictionError, match="'\N{SPARKLES}' is not made of tokens this model knows"):
        filler.rank("A <mask>.", ["the", "\N{SPARKLES}"], model("bert"))


def test_in_a_long_text_the_window_leaves_room_for_the_pieces(model: Callable[[str], str], filler: MaskFiller) -> None:
    (targets,) = filler.rank("the " * 300 + "<mask>" + " the" * 300, ["unforeseeable", "the"], model("roberta"))
    assert all(math.isfinite(target.log_probability) for target in targets)


def test_too_much_work_is_a_sentence(model: Callable[[str], str], filler: MaskFiller) -> None:
    words = [f"{i}unforeseeable" for i in range(100)]
    with pytest.raises(PredictionError, match="tokens; at most 100,000"):
        filler.rank("the " * 300 + "<mask> " * 5, words, model("roberta"))
