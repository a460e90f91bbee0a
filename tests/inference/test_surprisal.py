"""Surprisal: every token masked in turn, the same as one at a time, and told in characters a reader can see."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from tests.inference.plain import Plain
from trainer.errors import PredictionError
from trainer.inference import reader
from trainer.inference.fill_mask import MaskFiller
from trainer.presets import BUNDLED_MODEL

KINDS = ("roberta", "bert", "distilbert", "modernbert")
SENTENCES = (
    "The Milky Way is a spiral galaxy.",
    "  Two   spaces,\ttabs\nand lines.  ",
    "Le café était déjà vu.",
    "물은 100도에서 끓는다.",
    "水は百度で沸騰する。",
    "Stars \N{SPARKLES} shine \N{GRINNING FACE}!",
    "שלום עולם",
    "a",
)


def one_at_a_time(plain: Plain, text: str) -> list[float]:
    ids = plain.ids(text)
    hidden = {plain.tokenizer.cls_token_id, plain.tokenizer.sep_token_id, plain.mask}
    nats = []
    for place, token in enumerate(ids):
        if token not in hidden:
            masked = [*ids[:place], plain.mask, *ids[place + 1 :]]
            nats.append(-float(plain.log_probabilities(masked)[place, token]))
    return nats


@pytest.mark.parametrize("kind", [*KINDS, "bundled"])
@pytest.mark.parametrize("text", SENTENCES)
def test_sum_and_pseudo_perplexity_are_those_of_a_plain_loop(
    kind: str, text: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    folder = str(BUNDLED_MODEL) if kind == "bundled" else model(kind)
    expected = one_at_a_time(Plain(folder), text)
    scored = filler.score(text, folder)
    assert scored.count == len(expected) and scored.windows == 1
    assert scored.nats == pytest.approx(math.fsum(expected), rel=1e-5, abs=1e-5)
    assert scored.pseudo_perplexity == pytest.approx(math.exp(math.fsum(expected) / len(expected)), rel=1e-5)
    assert math.fsum(token.nats for token in scored.tokens) == pytest.approx(scored.nats)
    if len(scored.tokens) == scored.count:
        assert [token.nats for token in scored.tokens] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kind", [*KINDS, "bundled"])
@pytest.mark.parametrize("text", SENTENCES)
def test_tokens_stand_where_the_text_has_them_and_cut_no_character(
    kind: str, text: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    tokens = filler.score(text, kind if kind == "bundled" else model(kind)).tokens
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert all(one.end <= two.start for one, two in itertools.pairwise(tokens))
    said = "".join(token.text for token in tokens)
    assert "".join(said.split()) == "".join(text.split())


def test_byte_level_pieces_of_a_character_are_one_token(filler: MaskFiller) -> None:
    scored = filler.score("물 \N{SPARKLES}")
    assert [token.text for token in scored.tokens] == ["물", "\N{SPARKLES}"]
    assert scored.count > 3


def test_masks_stay_hidden_and_are_not_scored_however_they_are_spelled(
    model: Callable[[str], str], filler: MaskFiller
) -> None:
    text = "The _____ orbits the [MASK] of a <mask> star."
    scored = filler.score(text, model("roberta"))
    expected = one_at_a_time(Plain(model("roberta")), "The <mask> orbits the <mask> of a <mask> star.")
    assert scored.nats == pytest.approx(math.fsum(expected), rel=1e-5)
    assert all(text[token.start : token.end] == token.text for token in scored.tokens)
    assert not {"_", "MASK", "mask"} & {token.text for token in scored.tokens}
    assert scored.tokens[-1].text == "." and scored.tokens[-1].end == len(text)


def test_a_long_text_is_read_in_windows_around_each_token(model: Callable[[str], str], filler: MaskFiller) -> None:
    text = " ".join(["the water of a star and", "is not in the sun to"][i % 2] for i in range(60))
    reference = Plain(model("bert"))
    scored = filler.score(text, model("bert"))
    ids = reference.ids(text)
    assert scored.window_tokens == 256 and scored.windows == len(ids) - 256 + 1 and scored.count == len(ids) - 2
    for place in (1, 150, len(ids) - 2):
        start = max(0, min(place - 1 - 127, len(ids) - 2 - 254))
        inside = [ids[0], *ids[1 + start : 1 + start + 254], ids[-1]]
        at = place - start
        inside[at] = reference.mask
        expected = -float(reference.log_probabilities(inside)[at, ids[place]])
        assert scored.tokens[place - 1].nats == pytest.approx(expected, rel=1e-4)


def test_windows_become_narrower_before_a_text_is_refused(
    model: Callable[[str], str], filler: MaskFiller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("reader", "surprisal"):
        monkeypatch.setattr(f"trainer.inference.{module}.WORK_TOKENS", 4_000)
    scored = filler.score("the " * 100, model("bert"))
    assert scored.window_tokens == 40 and scored.count == 100
    with pytest.raises(PredictionError, match=r"has 120 tokens; at most 117 are scored\. Shorten it"):
        filler.score("the " * 120, model("bert"))
    assert reader.WORK_TOKENS == 4_000


@pytest.mark.parametrize("text", ["", "   ", "<mask>", "___ [MASK]", "</s>"])
def test_a_text_without_a_word_is_a_sentence(text: str, model: Callable[[str], str], filler: MaskFiller) -> None:
    with pytest.raises(PredictionError, match="no word in the text"):
        filler.score(text, model("roberta"))


def test_two_models_are_compared_on_the_visible_words_alone(model: Callable[[str], str], filler: MaskFiller) -> None:
    text = "The ___ orbits the [MASK]."
    compared = filler.compare(text, model("roberta"), model("bert"), top_k=3)
    for side, name in enumerate((model("roberta"), model("bert"))):
        assert compared.filled[side] == filler.fill(text, name, 3)
        assert compared.scored[side] == filler.score(text, name)
    assert not compared.same_tokens
    assert filler.compare(text, model("roberta"), model("distilbert")).same_tokens
    alone = filler.compare("<mask>", model("roberta"), model("bert"))
    assert [side.pseudo_perplexity for side in alone.scored] == [None, None] and alone.filled[0] != alone.filled[1]
