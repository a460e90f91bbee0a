"""How likely given words are where a mask stands, whatever number of tokens they have."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from trainer.config import is_unicode
from trainer.errors import PredictionError
from trainer.inference.reader import MaskedText, Question, Reader, check_work
from trainer.predictions import ScoredTarget

TARGETS = 100
TARGET_CHARACTERS = 200


def rank(reader: Reader, text: MaskedText, targets: Sequence[str]) -> list[tuple[ScoredTarget, ...]]:
    """For each mask the targets in their order, the other masks left open.

    A word of n tokens stands for n masks, filled from left to right: the chain rule, with the pieces to the right of
    the one asked about hidden. Source: Kauf & Ivanova 2023, arXiv:2305.10588 (PLL-word-l2r). Raises: PredictionError.
    """
    words = checked_words(targets)
    spelled = [[_pieces(reader, text, number, word) for word in words] for number in range(len(text.masks))]
    asked: dict[tuple[tuple[int, ...], int], list[tuple[int, int, int]]] = defaultdict(list)
    sequences: dict[tuple[int, int], str] = {}
    work = 0
    for number, place in enumerate(text.masks):
        for target, pieces in enumerate(spelled[number]):
            ids, (at,) = reader.question(text.ids, [place], reader.room - len(pieces) + 1)
            sequences[number, target] = reader.filled(ids, at, pieces)
            for done, piece in enumerate(pieces):
                hidden = [*ids[:at], *pieces[:done], *[reader.mask] * (len(pieces) - done), *ids[at + 1 :]]
                question = tuple(hidden), at + done
                work += 0 if question in asked else len(hidden)
                check_work(work, "Shorten the text, or give fewer or shorter words.")
                asked[question].append((number, target, piece))
    questions: list[Question] = [(list(ids), [place]) for ids, place in asked]
    nats = [[0.0] * len(words) for _ in text.masks]
    wanted = list(asked.values())
    for question, rows in reader.answers(questions):
        for number, target, piece in wanted[question]:
            nats[number][target] += float(rows[0, piece])
    return [
        tuple(
            ScoredTarget(
                word=word,
                pieces=tuple(reader.tokenizer.decode([piece]) for piece in spelled[number][target]),
                tokens=tuple(spelled[number][target]),
                log_probability=nats[number][target],
                score=math.exp(nats[number][target]),
                share=share,
                sequence=sequences[number, target],
            )
            for target, (word, share) in enumerate(zip(words, _shares(nats[number]), strict=True))
        )
        for number in range(len(text.masks))
    ]


def checked_words(targets: Sequence[str]) -> list[str]:
    """The targets without spaces around them. Raises: PredictionError."""
    given = [targets] if isinstance(targets, str) else list(targets) if isinstance(targets, (list, tuple)) else []
    if not given:
        raise PredictionError("There are no words to choose from.", "Give one or more.")
    if len(given) > TARGETS:
        raise PredictionError(f"There are {len(given):,} words; at most {TARGETS} are compared.", "Leave some out.")
    for target in given:
        readable = isinstance(target, str) and target.strip() and len(target) <= TARGET_CHARACTERS
        if not readable or not is_unicode(target):
            raise PredictionError(f"{target!r:.60} is no word that could stand there.", "Leave it out.")
    return [target.strip() for target in given]


def _pieces(reader: Reader, text: MaskedText, number: int, word: str) -> list[int]:
    ids = next(reader.spelled(text, number, word))
    if not ids or not set(ids).isdisjoint(reader.never):  # the unknown token is one of them
        raise PredictionError(f"{word!r} is not made of tokens this model knows.", "Choose another word.")
    if len(ids) > reader.room:
        raise PredictionError(f"{word!r} is longer than what this model reads.", "Choose another word.")
    return ids


def _shares(nats: list[float]) -> list[float]:
    """The probabilities over their sum; computed from the largest, for all of them may be too small for a float."""
    weights = [math.exp(one - max(nats)) for one in nats]
    return [weight / sum(weights) for weight in weights]
