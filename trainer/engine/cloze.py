"""How often a model guesses the word a person would: a cloze test (Taylor 1953) of sentences with one mask each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.engine import hardware
from trainer.engine.model import MaskedLanguageModel, load_model
from trainer.errors import DataError


def score_cloze(config: TrainConfig, path: Path) -> dict[str, Any]:
    """Shares of the sentences in a JSON lines file whose expected word is the first guess, and among the first five.

    Each line is `{"text": "... <mask> ...", "expected": ["word", ...]}`; case doesn't count.
    Raises: DataError, ModelError.
    """
    questions = _questions(path)
    where = hardware.choose(config.precision)
    model = load_model(config.model, precision=where.precision).to(where.device)
    ranks = [_rank(model, question["text"], question["expected"]) for question in questions]
    return {
        "sentences": len(ranks),
        "top_1": sum(rank < 1 for rank in ranks) / len(ranks),
        "top_5": sum(rank < 5 for rank in ranks) / len(ranks),
    }


def _rank(model: MaskedLanguageModel, text: str, expected: list[str]) -> int:
    """The place of the first guess that was expected; 5 when it is none of the first five."""
    right = {word.lower() for word in expected}
    words = [word.strip().lower() for word, _ in model.top_words(text, 5)]
    return next((rank for rank, word in enumerate(words) if word in right), 5)


def _questions(path: Path) -> list[dict[str, Any]]:
    try:
        questions = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        if not questions or not all(isinstance(q["expected"], list) for q in questions):
            raise ValueError("no questions in it")
        if not all(isinstance(text, str) for q in questions for text in (q["text"], *q["expected"])):
            raise ValueError("what stands in it is not all text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path.name!r} is no cloze set: {error}.",
            'Lines must be {"text": "... <mask> ...", "expected": ["word"]}.',
        ) from error
    return questions
