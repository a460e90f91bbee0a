"""The answers are those of `transformers.pipeline("fill-mask")`; what it crashes on gets a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from trainer.errors import ModelError, PredictionError, TrainerError
from trainer.inference.fill_mask import MaskFiller

KINDS = ("roberta", "bert", "distilbert", "modernbert")
SENTENCES = (
    "The Milky Way is a <mask> galaxy.",
    "<mask> boils at a hundred degrees.",
    "Water boils at a hundred <mask>",
    "<mask>",
    "<mask>.",
    "  The   Sun is a <mask>  .  ",
    "Why is the sky <mask>?",
    "(<mask>)",
    '"<mask>!" said the physicist.',
    "A cell has a membrane, a nucleus and <mask>, among others.",
    "pre<mask>post",
    "It weighs 5,972 <mask> kilograms.",
    "The first line.\nThe <mask> line.",
    "Tabs\tand\u00a0spaces\u2003are <mask>.",
    "Die Erde ist <mask>er als der Mond.",
    "Le café était <mask> déjà vu.",
    "물은 100도에서 <mask>.",
    "水は<mask>。",
    "Stars \N{SPARKLES} are <mask> \N{GRINNING FACE}",
    "THE EARTH ORBITS THE <mask>.",
)
SEVERAL_MASKS = (
    "The <mask> orbits the <mask>.",
    "<mask><mask>",
    "<mask> is <mask>, they said.",
    "The <mask> of <mask> is <mask>.",
    "<mask> and <mask>, <mask> and <mask>.",
    "<mask>",
    "A <mask> on a <mask> in a <mask> by a <mask> is <mask>.",
)


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, model: Callable[[str], str]) -> tuple[str, Any]:
    """The folder of a model, and the library's pipeline for it."""
    folder = model(request.param)
    return folder, transformers.pipeline("fill-mask", model=folder, top_k=5, device="cpu")


def tiny_bert(folder: Path, tokenizer: Any) -> str:
    """A random model for a tokenizer of a few words."""
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    return str(folder)


def spelled(text: str, pipeline: Any) -> str:
    return text.replace("<mask>", pipeline.tokenizer.mask_token)


@pytest.mark.parametrize("text", SENTENCES)
def test_single_mask_gets_the_pipelines_answer(text: str, both: tuple[str, Any], filler: MaskFiller) -> None:
    folder, pipeline = both
    (mine,) = filler.fill(text, folder)
    theirs = pipeline(spelled(text, pipeline))
    assert [c.token for c in mine.candidates] == [answer["token"] for answer in theirs]
    assert [c.score for c in mine.candidates] == pytest.approx(
        [answer["score"] for answer in theirs], rel=1e-5, abs=1e-6
    )
    assert [c.token_str for c in mine.candidates] == [answer["token_str"] for answer in theirs]
    assert [c.sequence for c in mine.candidates] == [answer["sequence"] for answer in theirs]


@pytest.mark.parametrize("text", SEVERAL_MASKS)
def test_every_mask_of_several_gets_the_pipelines_tokens(text: str, both: tuple[str, Any], filler: MaskFiller) -> None:
    folder, pipeline = both
    mine = filler.fill(text, folder)
    theirs = pipeline(spelled(text, pipeline))
    theirs = theirs if isinstance(theirs[0], list) else [theirs]
    assert len(mine) == len(theirs) == text.count("<mask>")
    for mask, answers in zip(mine, theirs, strict=True):
        assert [c.token for c in mask.candidates] == [answer["token"] for answer in answers]
        assert [c.score for c in mask.candidates] == pytest.approx([a["score"] for a in answers], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", [*KINDS, "electra"])  # the last has a head that is not known
def test_many_texts_at_once_get_the_answers_they_get_alone(
    kind: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    folder = model(kind)
    texts = ["No gap here.", *SENTENCES, *SEVERAL_MASKS, "The " + "long " * 300 + "<mask> end."]
    together = filler.fill_many(texts, folder)
    assert isinstance(together[0], PredictionError) and "no <mask>" in together[0].what
    for text, found in zip(texts[1:], together[1:], strict=True):
        expected = filler.fill(text, folder)
        assert not isinstance(found, TrainerError)
        assert [[c.token for c in mask.candidates] for mask in found] == [
            [c.token for c in mask.candidates] for mask in expected
        ]
        for mine, alone in zip(found, expected, strict=True):
            assert [c.score for c in mine.candidates] == pytest.approx(
                [c.score for c in alone.candidates], rel=1e-5, abs=1e-6
            )
            assert [c.sequence for c in mine.candidates] == [c.sequence for c in alone.candidates]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bundled", ["The water orbits the <mask>.", "The <mask> orbits the water."]),
        ("bert", ["the water orbits the [MASK].", "the [MASK] orbits the water."]),
    ],
)
def test_sequence_of_several_masks_fills_one_and_leaves_the_others_visible(
    name: str, expected: list[str], model: Callable[[str], str], filler: MaskFiller
) -> None:
    folder = name if name == "bundled" else model(name)
    masks = filler.fill("The <mask> orbits the <mask>.", folder, targets=["water"])
    assert [mask.candidates[0].sequence for mask in masks] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_any_spelling_of_the_mask_is_understood(kind: str, model: Callable[[str], str], filler: MaskFiller) -> None:
    plain = filler.fill("A <mask> is a <mask>.", model(kind))
    for mask in ("[MASK]", "___", "________", "<MASK>", "[mask]"):
        found = filler.fill(f"A {mask} is a {mask}.", model(kind))
        assert [one.candidates for one in found] == [one.candidates for one in plain]
        assert [(one.start, one.end) for one in found] == [(2, 2 + len(mask)), (8 + len(mask), 8 + 2 * len(mask))]
    assert len(filler.fill("A <mask> is a [MASK], ___.", model(kind))) == 3


def test_the_models_own_spelling_of_the_mask_is_understood(tmp_path: Path, filler: MaskFiller) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "@gap@", "water", "boils", "."]
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, mask_token="@gap@")
    folder = tiny_bert(tmp_path, tokenizer)
    own, usual = (filler.fill(f"Water {mask}.", folder) for mask in ("@gap@", "<mask>"))
    assert own[0].candidates == usual[0].candidates and (own[0].start, own[0].end) == (6, 11)


def test_scores_are_shares_of_the_whole_vocabulary_most_likely_first(
    model: Callable[[str], str], filler: MaskFiller
) -> None:
    (mask,) = filler.fill("A <mask>.", model("roberta"), top_k=100)
    scores = [candidate.score for candidate in mask.candidates]
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) < 1
    assert len({candidate.token for candidate in mask.candidates}) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_targets_come_in_the_order_given_with_their_share_of_the_vocabulary(
    kind: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    space = " " if kind != "bert" else ""
    (mask,) = filler.fill("A <mask>.", model(kind), targets=["of", " the ", "and", "the"])
    assert [candidate.token_str for candidate in mask.candidates] == [
        f"{space}{w}" for w in ("of", "the", "and", "the")
    ]
    pipeline = transformers.pipeline("fill-mask", model=model(kind), device="cpu")
    theirs = pipeline(spelled("A <mask>.", pipeline), targets=[f"{space}{word}" for word in ("of", "the", "and")])
    expected = {answer["token_str"]: answer["score"] for answer in theirs}
    assert {c.token_str: c.score for c in mask.candidates} == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_target_that_is_only_known_without_a_space_is_found(model: Callable[[str], str], filler: MaskFiller) -> None:
    (mask,) = filler.fill("A <mask>", model("roberta"), targets=["."])
    assert mask.candidates[0].token_str == "."


def test_empty_list_of_targets_means_none(model: Callable[[str], str], filler: MaskFiller) -> None:
    assert filler.fill("A <mask>.", model("bert"), targets=[]) == filler.fill("A <mask>.", model("bert"))


@pytest.mark.parametrize("target", ["unforeseeable", "two words", "", "  ", "\ud83d", "\N{SPARKLES}", "<mask> x"])
@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_target_that_is_no_token_is_named(
    kind: str, target: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    with pytest.raises(PredictionError) as caught:
        filler.fill("A <mask>.", model(kind), targets=["the", target])
    assert repr(target) in caught.value.what and caught.value.fix


@pytest.mark.parametrize("top_k", [0, -1, 10**9, 101, 2.5, math.nan, math.inf, -math.inf, "5", True, None, [5]])
def test_top_k_out_of_range_or_of_another_type_names_value_and_limit(
    top_k: Any, model: Callable[[str], str], filler: MaskFiller
) -> None:
    with pytest.raises(PredictionError) as caught:
        filler.fill("A <mask>.", model("roberta"), top_k=top_k)
    with pytest.raises(PredictionError):
        filler.fill_many(["A <mask>."], model("roberta"), top_k)
    assert str(caught.value).startswith(f"top_k is {top_k!r}; it must be a whole number")
    assert "1 to 100" in str(caught.value)


def test_whole_top_k_may_come_as_a_float_for_json_has_no_other(model: Callable[[str], str], filler: MaskFiller) -> None:
    (mask,) = filler.fill("A <mask>.", model("roberta"), top_k=5.0)
    assert len(mask.candidates) == 5


def test_top_k_above_a_small_vocabulary_returns_all_of_it(tmp_path: Path, filler: MaskFiller) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "water", "boils", "."]
    folder = tiny_bert(tmp_path, transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}))
    (mask,) = filler.fill("Water <mask>.", folder, top_k=100)
    assert {candidate.token for candidate in mask.candidates} == set(range(len(words)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no <mask>"),
        ("No gap here.", "no <mask>"),
        ("< mask > mask [ mask ] __", "no <mask>"),
        ("A <mask> \ud83d.", "half a character"),
        ("<mask>" + "a" * 60_000, "60,006 characters; at most 50,000"),
        ("<mask> " * 21, "21 masks; at most 20"),
    ],
    ids=["empty", "no mask", "nearly a mask", "surrogate", "characters", "masks"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_text_that_cannot_be_answered_is_told_what_to_do(
    kind: str, text: str, expected: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    with pytest.raises(PredictionError) as caught:
        filler.fill(text, model(kind))
    assert expected in caught.value.what and caught.value.fix.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_long_text_a_window_around_each_mask_is_read(
    kind: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    folder = model(kind)
    room = filler.models.get(folder).room  # 256 with the two special tokens around
    network = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    (whole,) = filler.fill("<mask>" + " the" * (room - 1), folder)
    assert whole.tokens_read == whole.tokens == 256
    words = ["and", "of", "the", "to", "a", "is", "in"] * 100
    for places in ((0, 699), (3, 20), (200, 400)):
        text = " ".join("<mask>" if place in places else word for place, word in enumerate(words))
        ids = tokenizer(text.replace("<mask>", tokenizer.mask_token), add_special_tokens=False)["input_ids"]
        masks = [place for place, token in enumerate(ids) if token == tokenizer.mask_token_id]
        for place, mask in zip(masks, filler.fill(text, folder), strict=True):
            assert (mask.tokens_read, mask.tokens) == (256, len(ids) + 2)
            start = max(0, min(place - room // 2, len(ids) - room))
            window = [tokenizer.cls_token_id, *ids[start : start + room], tokenizer.sep_token_id]
            with torch.no_grad():
                expected = network(torch.tensor([window])).logits[0, place - start + 1].softmax(-1).topk(5)
            assert [c.token for c in mask.candidates] == expected.indices.tolist()
            assert [c.score for c in mask.candidates] == pytest.approx(expected.values.tolist(), rel=1e-5, abs=1e-6)
            assert len(mask.candidates[0].sequence) < len(text) / 2


def test_twenty_masks_are_answered(model: Callable[[str], str], filler: MaskFiller) -> None:
    assert len(filler.fill("<mask> " * 20, model("roberta"), top_k=1)) == 20


@pytest.mark.parametrize("name", ["no such model", "../nowhere", "nobody/nothing"])
def test_unknown_model_says_what_may_be_given(name: str, filler: MaskFiller) -> None:
    with pytest.raises(ModelError) as caught:
        filler.fill("A <mask>.", name)
    assert repr(name) in caught.value.what and "bundled" in caught.value.fix
