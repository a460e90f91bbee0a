"""All masks of a text filled together, so that the words fit one another: beam search over the masks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from trainer.errors import PredictionError
from trainer.inference.reader import MaskedText, Question, Reader, check_work
from trainer.predictions import JointFilling

ORDERS = ("confidence", "left_to_right")
PIECES = 5  # of one word
WIDTH = 20  # of the beam, or the number of answers asked for when that is larger


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text in which some masks are filled."""

    ids: list[int]
    open: list[int]  # places not yet filled
    nats: float  # log-probability of what is filled


def fill_jointly(
    reader: Reader, text: MaskedText, count: int, order: str, pieces: int, repeats: bool
) -> list[JointFilling]:
    """The `count` best fillings with 1 to `pieces` tokens for each mask, by log-probability for each token filled in.

    Raises: PredictionError.
    """
    masks, width = text.masks, max(count, WIDTH)
    spread = len(masks) * (pieces - 1)
    if masks[-1] - masks[0] + 1 + spread > reader.room:
        what = f"The masks are too far apart to be filled together; this model reads {reader.room:,} tokens at once."
        raise PredictionError(what, "Shorten the text between them.")
    ids, places = reader.question(text.ids, masks, reader.room - spread)
    fillings = pieces ** len(masks)  # each with (pieces + 1) / 2 tokens a mask, filled one after the other
    work = fillings * len(masks) * (pieces + 1) // 2 * width * (len(ids) + spread)
    check_work(work, "Use fewer masks, fewer tokens a word, or a shorter text.")
    found: dict[str, JointFilling] = {}
    for lengths in itertools.product(range(1, pieces + 1), repeat=len(masks)):
        spread_ids, gaps = _spread(ids, places, lengths)
        inner = {place: True for gap in gaps for place in gap[1:]}
        first = {gap[0]: False for gap, apart in zip(gaps, text.apart, strict=True) if apart}
        every = [place for gap in gaps for place in gap]
        for hypothesis in search(reader, spread_ids, every, width, order, repeats=repeats, continues=inner | first):
            filling = JointFilling(
                words=tuple(reader.tokenizer.decode([hypothesis.ids[at] for at in gap]).strip() for gap in gaps),
                log_probability=hypothesis.nats,
                pieces=sum(lengths),
                sequence=reader.decoded(hypothesis.ids),
            )
            # The same text may come about from different tokens.
            found[filling.sequence] = max(found.get(filling.sequence, filling), filling, key=_nats_a_piece)
    return sorted(found.values(), key=_nats_a_piece, reverse=True)[:count]


def search(
    reader: Reader,
    ids: list[int],
    places: list[int],
    width: int,
    order: str,
    *,
    repeats: bool = True,
    continues: Mapping[int, bool] = MappingProxyType({}),
) -> list[Hypothesis]:
    """The likeliest fillings of the places of a text, at most `width`, best first.

    At each step every hypothesis fills one place: the leftmost, or the one whose likeliest token is the most probable.
    Its log-probability is the sum over the steps of log p(token | text, tokens filled before): that of all the tokens
    together, if the model were consistent, which masked language models are only nearly. Special tokens are never an
    answer; without `repeats` no token is taken twice; `continues` says whether a place goes on with the word before it.
    Source: Jiang et al. 2020, arXiv:2010.06189 (X-FACTR: confidence-based, left to right; length by the mean).
    """
    beam = [Hypothesis(ids, places, 0.0)]
    for _ in places:
        questions: list[Question] = [(hypothesis.ids, hypothesis.open) for hypothesis in beam]
        grown: list[Hypothesis] = []
        for number, answer in reader.answers(questions):
            parent, rows = beam[number], answer.clone()
            used = [] if repeats else [parent.ids[place] for place in places if place not in parent.open]
            rows[:, reader.never + used] = -torch.inf
            for row, place in zip(rows, parent.open, strict=True):
                if place in continues:
                    row[reader.continues != continues[place]] = -torch.inf
            at = int(rows.amax(-1).argmax()) if order == "confidence" else 0
            best = rows[at].topk(min(width, rows.shape[1]))
            rest = [*parent.open[:at], *parent.open[at + 1 :]]
            for nats, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                if nats > -torch.inf:
                    filled = list(parent.ids)
                    filled[parent.open[at]] = token
                    grown.append(Hypothesis(filled, rest, parent.nats + nats))
        beam = sorted(grown, key=lambda hypothesis: hypothesis.nats, reverse=True)[:width]
    return beam


def _spread(ids: list[int], places: list[int], lengths: tuple[int, ...]) -> tuple[list[int], list[range]]:
    """The text with each mask repeated, and where they then stand."""
    repeats = dict(zip(places, lengths, strict=True))
    spread, gaps = [], []
    for place, token in enumerate(ids):
        if place in repeats:
            gaps.append(range(len(spread), len(spread) + repeats[place]))
        spread += [token] * repeats.get(place, 1)
    return spread, gaps


def _nats_a_piece(filling: JointFilling) -> float:
    return filling.log_probability / filling.pieces
