"""Answers as the lines of a chart, and as its table twin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.predictions import Candidate, FilledMask, JointFilling, ScoredTarget
from trainer.ui.charts import readable
from trainer.ui.words import UNKNOWN, percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of an answer's chart."""

    label: str  # no other bar of the chart has it
    shares: tuple[float | None, ...]  # probabilities, 0..1; one for each model, None where it is too small to be known
    words: tuple[str, ...] | None  # what a click writes into the sentence; None when it can't be written
    mask: int | None = None  # whose word it is, 0-based; None: one word for each mask
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedWord:
    """A word with its place in the answers of two models."""

    label: str
    token_str: str
    scores: tuple[float | None, float | None]  # None: not among the words asked for
    ranks: tuple[int | None, int | None]  # 1-based

    @property
    def change(self) -> str:
        """How far the word has moved up or down from the first model to the second."""
        before, after = self.ranks
        if before is None or after is None:
            return "new" if before is None else "gone"
        if before == after:
            return "="
        return f"\u25b2{before - after}" if after < before else f"\u25bc{after - before}"


def mask_bars(mask: FilledMask, number: int) -> list[Bar]:
    """The candidates for one mask, likeliest first."""
    ordered = sorted(mask.candidates, key=lambda candidate: -candidate.score)
    return [
        Bar(label=label, shares=(candidate.score,), words=writable(candidate.token_str), mask=number)
        for label, candidate in zip(labels(ordered), ordered, strict=True)
    ]


def target_bars(targets: Sequence[ScoredTarget], number: int) -> list[Bar]:
    """The given words by their share of the probability that all of them have."""
    ordered = sorted(targets, key=lambda target: -target.log_probability)
    return [
        Bar(
            label=label,
            shares=(target.share,),
            words=(target.word,),
            mask=number,
            note=f"{percent(target.score)} raw",
        )
        for label, target in zip(_apart([readable(target.word) for target in ordered]), ordered, strict=True)
    ]


def joint_bars(fillings: Sequence[JointFilling]) -> list[Bar]:
    """The fillings of all masks together, in their order."""
    names = [" \u00b7 ".join(readable(word) for word in filling.words) for filling in fillings]
    return [
        Bar(label=label, shares=(math.exp(filling.log_probability),), words=_all_writable(filling.words))
        for label, filling in zip(_apart(names), fillings, strict=True)
    ]


def compared(first: FilledMask, second: FilledMask, count: int, *, same_tokens: bool) -> list[RankedWord]:
    """The `count` likeliest words of each of two models, ordered by the second."""

    def places(mask: FilledMask) -> dict[str, tuple[int, Candidate]]:
        ranked: dict[str, tuple[int, Candidate]] = {}
        for rank, candidate in enumerate(mask.candidates, start=1):
            word = candidate.token_str
            ranked.setdefault(word if same_tokens else word.strip(), (rank, candidate))
        return ranked

    before, after = places(first), places(second)
    shown = [word for place in (after, before) for word, (rank, _) in place.items() if rank <= count]
    words = sorted(dict.fromkeys(shown), key=lambda word: _place(after, before, word))
    tokens = [(after.get(word) or before[word])[1] for word in words]
    return [
        RankedWord(
            label=label,
            token_str=token.token_str,
            scores=(_score(before, word), _score(after, word)),
            ranks=(before[word][0] if word in before else None, after[word][0] if word in after else None),
        )
        for word, token, label in zip(words, tokens, labels(tokens), strict=True)
    ]


def compared_bars(words: Sequence[RankedWord], number: int) -> list[Bar]:
    """Two bars for each word."""
    return [
        Bar(label=word.label, shares=word.scores, words=writable(word.token_str), mask=number, note=word.change)
        for word in words
    ]


def answer_rows(filled: Sequence[FilledMask]) -> list[list[Any]]:
    """The table twin of the charts: mask, rank, word, probability, sentence."""
    return [
        [number, rank, word, f"{candidate.score:.2%}", candidate.sequence]
        for number, mask in enumerate(filled, start=1)
        for rank, (word, candidate) in enumerate(zip(labels(mask.candidates), mask.candidates, strict=True), start=1)
    ]


def target_rows(ranked: Sequence[Sequence[ScoredTarget]]) -> list[list[Any]]:
    """The table twin for given words, in the order given: mask, word, pieces, probability, share, sentence."""
    return [
        [number, target.word, " + ".join(map(readable, target.pieces)), f"{target.score:.3g}", f"{target.share:.2%}",
         target.sequence]
        for number, targets in enumerate(ranked, start=1)
        for target in targets
    ]  # fmt: skip


def compared_rows(masks: Sequence[Sequence[RankedWord]]) -> list[list[Any]]:
    """The table twin of a comparison: mask, word, rank and probability before, the same after, change."""
    return [
        [number, word.label, *(cell for i in (0, 1) for cell in (word.ranks[i] or UNKNOWN, _cell(word.scores[i]))),
         word.change]
        for number, words in enumerate(masks, start=1)
        for word in words
    ]  # fmt: skip


def labels(candidates: Sequence[Candidate]) -> list[str]:
    """Readable words, one for each token: ` the` and `the` must not share a bar."""
    names: list[str] = []
    for candidate in candidates:
        name = readable(candidate.token_str)
        if name in names and not candidate.token_str.startswith(" "):
            name = f"{name} (no space)"
        names.append(f"{name} (token {candidate.token})" if name in names else name)
    return names


def writable(token: str) -> tuple[str] | None:
    """What a token adds to a sentence; None when that can't be seen."""
    word = token.strip()
    return (token.removeprefix("##"),) if word and word.isprintable() and "\ufffd" not in word else None


def _all_writable(words: Sequence[str]) -> tuple[str, ...] | None:
    return tuple(words) if all(map(writable, words)) else None


def _apart(names: Sequence[str]) -> list[str]:
    return [f"{name} ({names[:at].count(name) + 1})" if name in names[:at] else name for at, name in enumerate(names)]


def _score(places: dict[str, tuple[int, Candidate]], word: str) -> float | None:
    return places[word][1].score if word in places else None


def _place(after: dict[str, tuple[int, Candidate]], before: dict[str, tuple[int, Candidate]], word: str) -> float:
    """What words are ordered by: the rank in the second answer, those it lacks by the first, behind the others."""
    return after[word][0] if word in after else len(after) + before[word][0]


def _cell(score: float | None) -> str:
    return UNKNOWN if score is None else f"{score:.2%}"
