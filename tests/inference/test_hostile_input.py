"""Whatever is typed gets an answer or a sentence, never another error."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.config import find_masks, split_at_masks
from trainer.errors import PredictionError
from trainer.inference.fill_mask import MaskFiller

MASKS = ("<mask>", "[MASK]", "___", "______", "[mask]")
PIECES = (
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\u200f\u05d0",
    "\N{GRINNING FACE}",
    "\ud83d",
    "<b>",
    "</s>",
    "[SEP]",
    "\n\r",
    "_",
    "물",
)
TEXTS = st.lists(st.one_of(st.sampled_from(MASKS), st.sampled_from(PIECES), st.text(max_size=12)), max_size=8).map(
    "".join
)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
)
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("kind", ["roberta", "bert"])
@BOUNDED
@given(text=TEXTS)
def test_any_text_is_answered_or_told_why_not(
    kind: str, text: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    folder = model(kind)
    asked: tuple[Callable[[], Any], ...] = (
        lambda: filler.fill(text, folder, 2),
        lambda: filler.fill_jointly(text, folder, 2),
        lambda: filler.rank(text, ["water", "unforeseeable"], folder),
        lambda: filler.score(text, folder),
    )
    for ask in asked:
        try:
            answer = ask()
        except PredictionError as error:
            assert error.what.endswith(".")
        else:
            assert answer
            if ask is asked[0]:
                assert [text[mask.start : mask.end].lower()[0] in "<[_" for mask in answer] == [True] * len(answer)


@BOUNDED
@given(target=st.one_of(st.text(max_size=10), st.sampled_from(PIECES), ANYTHING))
def test_any_word_is_scored_or_named(target: Any, model: Callable[[str], str], filler: MaskFiller) -> None:
    try:
        (targets,) = filler.rank("A <mask>.", [target], model("roberta"))
    except PredictionError as error:
        assert f"{target!r:.60}" in error.what
    else:
        assert math.isfinite(targets[0].log_probability) and targets[0].share == 1.0


@BOUNDED
@given(top_k=ANYTHING)
def test_any_number_asked_for_is_kept_or_named(top_k: Any, model: Callable[[str], str], filler: MaskFiller) -> None:
    for ask in (filler.fill, filler.fill_jointly):
        try:
            answer = ask("A <mask>.", model("bert"), top_k)
        except PredictionError as error:
            assert f"{top_k!r:.60}" in error.what and "1 to 100" in error.what
        else:
            found = answer[0].candidates if ask == filler.fill else answer
            assert len(found) == top_k


@given(st.lists(st.tuples(st.text("ab_<mask>[]", max_size=6), st.sampled_from(MASKS)), max_size=4))
@settings(deadline=None, database=None, derandomize=True)
def test_masks_are_found_where_the_text_is_split(parts: list[tuple[str, str]]) -> None:
    text = "".join(itertools.chain(*parts))
    spans = find_masks(text)
    edges = [0, *itertools.chain(*spans), len(text)]
    assert [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)] == split_at_masks(text)
    assert len(spans) <= text.count("_") // 3 + text.lower().count("mask")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "The text is None; it must be text."),
        (5, "The text is 5; it must be text."),
        (["A <mask>."], "it must be text."),
        ("a" * 10_000_000 + " <mask>", "10,000,007 characters; at most 50,000"),
        ("<mask>" * 10_000, "60,000 characters"),
        ("___ " * 10_000, "10,000 masks; at most 20"),
        ("<mask> \ud83d", "half a character"),
    ],
    ids=["none", "number", "list", "10 MB", "10,000 masks", "10,000 blanks", "surrogate"],
)
def test_what_is_no_text_or_too_much_is_told(
    text: Any, expected: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    for ask in (filler.fill, filler.fill_jointly, filler.score):
        with pytest.raises(PredictionError) as caught:
            ask(text, model("roberta"))
        assert expected in caught.value.what
    (one,) = filler.fill_many([text], model("roberta"))
    assert isinstance(one, PredictionError) and expected in one.what


@pytest.mark.parametrize("kind", ["roberta", "bert", "bundled"])
def test_twenty_thousand_characters_without_a_space_are_answered(
    kind: str, model: Callable[[str], str], filler: MaskFiller
) -> None:
    name = kind if kind == "bundled" else model(kind)
    (mask,) = filler.fill("ab" * 10_000 + "<mask>" + "\N{GRINNING FACE}" * 5_000, name)
    assert len(mask.candidates) == 5 and mask.tokens_read <= filler.models.get(name).model.max_tokens
