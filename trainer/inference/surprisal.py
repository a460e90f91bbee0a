"""How much each token of a text surprises a model that sees all the others."""

from __future__ import annotations

import math

from trainer.errors import PredictionError
from trainer.inference.reader import WORK_TOKENS, MaskedText, Question, Reader
from trainer.predictions import ScoredSentence, ScoredToken

LEAST_WINDOW = 32  # tokens


def score(reader: Reader, text: MaskedText) -> ScoredSentence:
    """Every visible token masked in turn; masks and special tokens stay as they are and are not scored.

    A text too long to be read whole for each token is read in windows around them, as wide as the work allows.
    Source: Salazar et al. 2020, arXiv:1910.14659 (pseudo-log-likelihood). Raises: PredictionError.
    """
    places = [place for place, token in enumerate(text.ids) if token not in reader.hidden]
    frame = len(reader.framed([]))
    width = min(len(text.ids), reader.room, WORK_TOKENS // max(1, len(places)) - frame)
    if width < min(len(text.ids), LEAST_WINDOW):
        most = WORK_TOKENS // (LEAST_WINDOW + frame)
        raise PredictionError(f"The text has {len(places):,} tokens; at most {most:,} are scored.", "Shorten it.")
    questions: list[Question] = []
    for place in places:
        ids, (at,) = reader.question(text.ids, [place], width)
        questions.append(([*ids[:at], reader.mask, *ids[at + 1 :]], [at]))
    nats = [0.0] * len(places)
    for number, rows in reader.answers(questions):
        nats[number] = -float(rows[0, text.ids[places[number]]])
    total = math.fsum(nats)
    return ScoredSentence(
        tokens=_joined(text, places, nats),
        count=len(places),
        nats=total,
        pseudo_perplexity=math.exp(total / len(places)) if places and total / len(places) < 700 else None,
        windows=len(text.ids) - width + 1,
        window_tokens=width + frame,
    )


def _joined(text: MaskedText, places: list[int], nats: list[float]) -> tuple[ScoredToken, ...]:
    """One entry a token, but the tokens of one character together: byte-level pieces mean nothing alone."""
    tokens: list[ScoredToken] = []
    for place, surprise in zip(places, nats, strict=True):
        start, end = text.offsets[place]
        shown = text.text[start:end]
        start += len(shown) - len(shown.lstrip()) if shown.strip() else 0
        # A space that is a token of its own belongs to what follows.
        if tokens and (start < tokens[-1].end or start == tokens[-1].start == tokens[-1].end):
            last = tokens.pop()
            start, end, surprise = last.start, max(last.end, end), last.nats + surprise
        tokens.append(ScoredToken(text.text[start:end], surprise, start, end))
    return tuple(tokens)
