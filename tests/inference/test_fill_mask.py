"""The answers are those of `transformers.pipeline("fill-mask")`; what it crashes on gets a sentence."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from trainer.errors import ModelError, PredictionError
from trainer.inference.fill_mask import MODELS_KEPT, MaskFiller

KINDS = ("roberta", "bert", "distilbert")
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
TWO_MASKS = ("The <mask> orbits the <mask>.", "<mask><mask>", "<mask> is <mask>, they said.")


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Random models whose opinions are strong, so that no two scores are nearly equal."""
    made: dict[str, str] = {}

    def make(kind: str) -> str:
        if kind not in made:
            folder = tmp_path_factory.mktemp("strong") / kind
            shutil.copytree(tiny_model(kind), folder)
            network = transformers.AutoModelForMaskedLM.from_pretrained(folder)
            with torch.no_grad():
                network.get_input_embeddings().weight.mul_(25)
            network.save_pretrained(folder)
            made[kind] = str(folder)
        return made[kind]

    return make


@pytest.fixture(scope="module")
def filler() -> MaskFiller:
    return MaskFiller()


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, model: Callable[[str], str]) -> tuple[str, Any]:
    """The folder of a model, and the library's pipeline for it."""
    folder = model(request.param)
    return folder, transformers.pipeline("fill-mask", model=folder, top_k=5, device="cpu")


def spelled(text: str, pipeline: Any) -> str:
    return text.replace("<mask>", pipeline.tokenizer.mask_token)


@pytest.mark.parametrize("text", SENTENCES)
def test_single_mask_gets_the_pipelines_answer(text: str, both: tuple[str, Any], filler: MaskFiller) -> None:
    folder, pipeline = both
    (mine,) = filler.fill(text, folder)
    theirs = pipeline(spelled(text, pipeline))
    assert [c.token for c in mine.candidates] == [answer["token"] for answer in theirs]
    assert [c.score for c in mine.candidates] == pytest.approx([answer["score"] for answer in theirs], abs=1e-6)
    assert [c.token_str for c in mine.candidates] == [answer["token_str"] for answer in theirs]
    assert [c.sequence for c in mine.candidates] == [answer["sequence"] for answer in theirs]


@pytest.mark.parametrize("text", TWO_MASKS)
def test_every_mask_of_several_gets_the_pipelines_tokens(text: str, both: tuple[str, Any], filler: MaskFiller) -> None:
    folder, pipeline = both
    mine = filler.fill(text, folder)
    theirs = pipeline(spelled(text, pipeline))
    assert len(mine) == len(theirs) == 2
    for mask, answers in zip(mine, theirs, strict=True):
        assert [c.token for c in mask.candidates] == [answer["token"] for answer in answers]
        assert [c.score for c in mask.candidates] == pytest.approx([a["score"] for a in answers], abs=1e-6)


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
def test_either_spelling_of_the_mask_is_understood(kind: str, model: Callable[[str], str], filler: MaskFiller) -> None:
    asked = [filler.fill(f"A {mask} is a {mask}.", model(kind)) for mask in ("<mask>", "[MASK]")]
    assert asked[0] == asked[1]
    assert len(filler.fill("A <mask> is a [MASK].", model(kind))) == 2


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
    assert {c.token_str: c.score for c in mask.candidates} == pytest.approx(expected, abs=1e-6)


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
    assert str(caught.value).startswith(f"top_k is {top_k!r}; it must be a whole number")
    assert "1 to 100" in str(caught.value)


def test_whole_top_k_may_come_as_a_float_for_json_has_no_other(model: Callable[[str], str], filler: MaskFiller) -> None:
    (mask,) = filler.fill("A <mask>.", model("roberta"), top_k=5.0)
    assert len(mask.candidates) == 5


def test_top_k_above_a_small_vocabulary_returns_all_of_it(tmp_path: Path, filler: MaskFiller) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "water", "boils", "."]
    transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    (mask,) = filler.fill("Water <mask>.", str(tmp_path), top_k=100)
    assert {candidate.token for candidate in mask.candidates} == set(range(len(words)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no <mask>"),
        ("No gap here.", "no <mask>"),
        ("< mask > [mask] <MASK>", "no <mask>"),
        ("A <mask> \ud83d.", "half a character"),
        ("A <mask>. " + "word " * 300, "at most 256"),
        ("<mask>" + "a" * 60_000, "60,006 characters; at most 50,000"),
        ("<mask> " * 21, "21 masks; at most 20"),
    ],
    ids=["empty", "no mask", "nearly a mask", "surrogate", "tokens", "characters", "masks"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_text_that_cannot_be_answered_is_told_what_to_do(
    kind: str, text: str, expected: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    with pytest.raises(PredictionError) as caught:
        filler.fill(text, model(kind))
    assert expected in caught.value.what and caught.value.fix.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_longest_text_a_model_reads_is_answered(kind: str, model: Callable[[str], str], filler: MaskFiller) -> None:
    tokens = filler.load(model(kind)).max_tokens
    text = "<mask>" + " the" * (tokens - 3)  # two special tokens stand around it
    assert tokens == 256 and len(filler.fill(text, model(kind))) == 1
    with pytest.raises(PredictionError, match="has 257 tokens; this model reads at most 256"):
        filler.fill(text + " the", model(kind))


def test_twenty_masks_are_answered(model: Callable[[str], str], filler: MaskFiller) -> None:
    assert len(filler.fill("<mask> " * 20, model("roberta"), top_k=1)) == 20


@pytest.mark.parametrize("name", ["no such model", "../nowhere", "nobody/nothing"])
def test_unknown_model_says_what_may_be_given(name: str, filler: MaskFiller) -> None:
    with pytest.raises(ModelError) as caught:
        filler.fill("A <mask>.", name)
    assert repr(name) in caught.value.what and "bundled" in caught.value.fix


def test_model_stays_loaded_until_its_weights_change(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("roberta"), tmp_path / "model")
    filler = MaskFiller()
    before, loaded = filler.fill("A <mask>.", str(folder)), filler.load(str(folder))
    assert filler.load(str(folder)) is loaded
    network = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    with torch.no_grad():
        network.lm_head.bias[7] = 50.0
    network.save_pretrained(folder)
    os.utime(folder / "model.safetensors", ns=(1, 1))  # a clock too coarse to see the change would fail the test
    assert filler.fill("A <mask>.", str(folder)) != before
    assert filler.fill("A <mask>.", str(folder), top_k=1)[0].candidates[0].token == 7


def test_only_the_models_used_last_stay_loaded(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    filler = MaskFiller()
    folders = [str(shutil.copytree(tiny_model("bert"), tmp_path / str(i))) for i in range(MODELS_KEPT + 1)]
    loaded = [filler.load(folder) for folder in folders]
    assert all(filler.load(folder) is model for folder, model in zip(folders[1:], loaded[1:], strict=True))
    assert filler.load(folders[0]) is not loaded[0]
