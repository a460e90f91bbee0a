"""Masks filled together: the beam finds what trying everything finds, and pairs fit better than chosen one by one."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.inference.plain import TOY, Plain
from trainer.errors import PredictionError
from trainer.inference.fill_mask import MaskFiller
from trainer.inference.joint import search

WORDS = range(5, len(TOY))
PHRASES = [
    json.loads(line) for line in Path(__file__).with_name("phrases.jsonl").read_text(encoding="utf-8").splitlines()
]
TOY_TEXT = "the <mask> orbits the <mask> ."
ORDERS = ("confidence", "left_to_right")


def exhaustive(plain: Plain, ids: list[int], order: str) -> dict[tuple[int, ...], float]:
    """The log-probability of every filling, by the same procedure, with nothing left out."""
    open_places = [place for place, token in enumerate(ids) if token == plain.mask]
    if not open_places:
        return {tuple(ids): 0.0}
    rows = plain.log_probabilities(ids)
    surest = max(open_places, key=lambda place: float(rows[place, list(WORDS)].max()))
    place = surest if order == "confidence" else open_places[0]
    fillings = {}
    for token in WORDS:
        rest = exhaustive(plain, [*ids[:place], token, *ids[place + 1 :]], order)
        fillings |= {filled: nats + float(rows[place, token]) for filled, nats in rest.items()}
    return fillings


@pytest.mark.parametrize("order", ORDERS)
def test_a_beam_as_wide_as_the_vocabulary_finds_the_same_pairs_as_trying_all(
    order: str, toy: str, filler: MaskFiller
) -> None:
    every = exhaustive(Plain(toy), Plain(toy).ids(TOY_TEXT), order)
    expected = sorted(every.values(), reverse=True)
    reader = filler.models.get(toy)
    found = search(reader, *reader.question(*_places(filler, toy, TOY_TEXT)), len(TOY), order)
    assert [one.nats for one in found] == pytest.approx(expected[: len(TOY)], abs=1e-4)
    assert all(every[tuple(one.ids)] == pytest.approx(one.nats, abs=1e-4) for one in found)


@pytest.mark.parametrize("order", ORDERS)
def test_a_beam_that_keeps_everything_is_exhaustive_for_three_masks(order: str, toy: str, filler: MaskFiller) -> None:
    text = "<mask> orbits <mask> <mask> ."
    every = exhaustive(Plain(toy), Plain(toy).ids(text), order)
    reader = filler.models.get(toy)
    found = search(reader, *reader.question(*_places(filler, toy, text)), len(WORDS) ** 2, order)
    best = sorted(every.items(), key=lambda item: -item[1])[: len(found)]
    assert len(found) == len(WORDS) ** 2
    assert [tuple(one.ids) for one in found] == [ids for ids, _ in best]
    assert [one.nats for one in found] == pytest.approx([nats for _, nats in best], abs=1e-4)


def _places(filler: MaskFiller, folder: str, text: str) -> tuple[list[int], list[int]]:
    read = filler.models.get(folder).read(text)
    return read.ids, read.masks


@pytest.mark.parametrize("order", ORDERS)
def test_the_answers_are_the_best_of_all_pairs_with_words_sequence_and_log_probability(
    order: str, toy: str, filler: MaskFiller
) -> None:
    every = exhaustive(Plain(toy), Plain(toy).ids(TOY_TEXT), order)
    whole = {ids: nats for ids, nats in every.items() if TOY.index("##s") not in ids}  # no word begins with that
    expected = sorted(whole.items(), key=lambda item: -item[1])[:10]
    found = filler.fill_jointly(TOY_TEXT, toy, count=10, order=order)
    assert [one.words for one in found] == [(TOY[ids[2]], TOY[ids[5]]) for ids, _ in expected]
    assert [one.log_probability for one in found] == pytest.approx([nats for _, nats in expected], abs=1e-4)
    # Full stops are written without a space before them.
    assert all(one.sequence == f"the {one.words[0]} orbits the {one.words[1]}.".replace(" .", ".") for one in found)
    assert all(one.pieces == 2 for one in found)


def test_one_mask_alone_gets_the_answers_of_fill_without_special_tokens(toy: str, filler: MaskFiller) -> None:
    (mask,) = filler.fill("the <mask> is hot .", toy, top_k=100)
    usual = [c for c in mask.candidates if c.token in WORDS and TOY[c.token] != "##s"]
    found = filler.fill_jointly("the <mask> is hot .", toy, count=100)
    assert [one.words for one in found] == [(c.token_str,) for c in usual]
    assert [math.exp(one.log_probability) for one in found] == pytest.approx([c.score for c in usual], abs=1e-6)


def test_without_repeats_no_word_is_taken_twice(toy: str, filler: MaskFiller) -> None:
    found = filler.fill_jointly(TOY_TEXT, toy, count=100, repeats=False)
    assert found and all(len(set(one.words)) == 2 for one in found)
    assert any(len(set(one.words)) == 1 for one in filler.fill_jointly(TOY_TEXT, toy, count=100))


def test_a_blank_of_several_pieces_is_one_word_and_lengths_compare_by_the_mean(toy: str, filler: MaskFiller) -> None:
    found = filler.fill_jointly("the <mask> is hot .", toy, count=100, order="left_to_right", pieces=2)
    means = [one.log_probability / one.pieces for one in found]
    assert means == sorted(means, reverse=True)
    longer = {one.words[0]: one for one in found if one.pieces == 2}
    assert set(longer) == {f"{TOY[token]}s" for token in WORDS if TOY[token] not in ("##s", ".")} | {".s"}
    reference = Plain(toy)
    ids = reference.ids("the <mask> <mask> is hot .")
    first = reference.log_probabilities(ids)[2, TOY.index("moon")]
    ids[2] = TOY.index("moon")
    second = reference.log_probabilities(ids)[3, TOY.index("##s")]
    assert longer["moons"].log_probability == pytest.approx(float(first + second), abs=1e-4)
    assert longer["moons"].sequence == "the moons is hot."


@pytest.mark.parametrize("kind", ["roberta", "modernbert"])
def test_words_after_a_space_begin_with_one_and_go_on_without(
    kind: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    for one in filler.fill_jointly("The <mask> of the <mask>.", model(kind), count=50, pieces=2):
        begun, _, rest = one.sequence.removeprefix("The ").partition(" of the ")
        assert (begun.strip(), rest.removesuffix(".").strip()) == one.words
        assert not any(" " in word for word in one.words)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"text": "No gap here."}, "no <mask>"),
        ({"order": "random"}, "order is 'random'; it must be one of confidence, left_to_right"),
        ({"pieces": 6}, "pieces is 6; it must be a whole number from 1 to 5"),
        ({"count": 0}, "count is 0; it must be a whole number from 1 to 100"),
        ({"text": "<mask> " * 20, "pieces": 5}, "would read billions of tokens; at most 100,000"),
        ({"text": "<mask> " + "the " * 300 + "<mask>"}, "too far apart to be filled together"),
    ],
    ids=["no mask", "order", "pieces", "count", "work", "apart"],
)
def test_what_cannot_be_filled_together_is_a_sentence(
    request_: dict[str, Any], expected: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    with pytest.raises(PredictionError, match=expected):
        filler.fill_jointly(**{"text": "A <mask>.", "model": model("roberta"), **request_})


def test_in_a_long_text_a_window_around_all_masks_is_read(model: Callable[[str], str], filler: MaskFiller) -> None:
    text = "the " * 300 + "<mask> of <mask> " + "the " * 300
    (best,) = filler.fill_jointly(text, model("bert"), count=1)
    assert len(best.words) == 2 and 200 < best.sequence.count("the") < 260


def test_pairs_chosen_jointly_fit_better_than_words_chosen_one_by_one(filler: MaskFiller) -> None:
    """Measured on phrases whose two words depend on each other; see `phrases.jsonl`."""
    gains, found_jointly, found_alone = [], 0, 0
    for phrase in PHRASES:
        expected = {tuple(word.lower() for word in pair) for pair in phrase["expected"]}
        masks = filler.fill(phrase["text"], top_k=30)
        words = [[c for c in mask.candidates if not c.token_str[0].isalnum()] for mask in masks]  # no ends of words
        pairs = sorted(itertools.product(*words), key=lambda pair: -pair[0].score * pair[1].score)
        alone = [tuple(c.token_str.strip().lower() for c in pair) for pair in pairs[:20]]
        joint = filler.fill_jointly(phrase["text"], count=20, order="left_to_right")
        found_alone += not expected.isdisjoint(alone)
        found_jointly += not expected.isdisjoint(tuple(word.lower() for word in one.words) for one in joint)
        gains.append(joint[0].log_probability - _left_to_right(filler, phrase["text"], [c.token for c in pairs[0]]))
    assert min(gains) > -1e-4 and sum(gains) / len(gains) > 1.0  # nats
    assert found_jointly > found_alone


def _left_to_right(filler: MaskFiller, text: str, tokens: list[int]) -> float:
    reader = filler.models.get("bundled")
    ids, places = reader.question(*_places(filler, "bundled", text))
    nats = 0.0
    for place, token in zip(places, tokens, strict=True):
        ((_, rows),) = reader.answers([(ids, [place])])
        nats += float(rows[0, token])
        ids = [*ids[:place], token, *ids[place + 1 :]]
    return nats


def test_a_model_with_damaged_weights_is_a_sentence(model: Callable[[str], str], tmp_path: Path) -> None:
    reference = Plain(model("bert"))
    with torch.no_grad():
        reference.network.cls.predictions.bias[3] = math.nan
    reference.network.save_pretrained(tmp_path)
    reference.tokenizer.save_pretrained(tmp_path)
    for ask in (MaskFiller().fill, MaskFiller().fill_jointly, MaskFiller().score):
        with pytest.raises(PredictionError, match="not a number"):
            ask("A <mask> and more.", str(tmp_path))
