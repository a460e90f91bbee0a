"""Predictions over HTTP. The docstrings are what clients and, as MCP tools, language models read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from trainer.errors import PredictionError
from trainer.inference.worker import FillService
from trainer.predictions import FilledMask, SentenceRow
from trainer.ui import form
from trainer.ui.fill_sentences import answered
from trainer.ui.visitors import Visitors


def fill_endpoints(visitors: Visitors, fills: FillService) -> list[Callable[..., Any]]:
    """The functions behind /fill_mask, /fill_jointly, /rank_words, /compare_models, /score_sentence and /fill_file."""

    def folder(model: str, key: str) -> str:
        return form.public_model(model, visitors.of(key))

    def fill_mask(text: str, model: str = "bundled", top_k: float = 5, key: str = "") -> list[list[dict[str, Any]]]:
        """Fill every <mask> in a text with its most likely tokens, each mask as if it were alone.

        Args:
            text: A text with one or more <mask> in it; [MASK] and ___ will do, too.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            top_k: How many candidates for each mask, 1 to 100.
            key: What /start_run returned with a run of yours, if you name one.

        Returns:
            One list per mask of {"score", "token", "token_str", "sequence"}, most likely first.
        """
        return _candidates(fills.fill(text, folder(model, key), top_k))

    def fill_jointly(
        text: str, model: str = "bundled", count: float = 5, order: str = "confidence", pieces: float = 1, key: str = ""
    ) -> list[dict[str, Any]]:
        """Fill all <mask> of a text together, so that the words fit one another.

        Args:
            text: A text with one or more <mask> in it.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            count: How many ways to fill the text, 1 to 100.
            order: "confidence" fills the mask the model is surest of first, "left_to_right" the first.
            pieces: Up to how many tokens a word may have, 1 to 5.
            key: What /start_run returned with a run of yours, if you name one.

        Returns:
            A list of {"words", "log_probability", "pieces", "sequence"}, likeliest for each token first;
            "words" has one word for each mask, the logarithm is natural.
        """
        return [asdict(way) for way in fills.fill_jointly(text, folder(model, key), count, order, pieces)]

    def rank_words(text: str, words: list[str], model: str = "bundled", key: str = "") -> list[list[dict[str, Any]]]:
        """How likely given words are where a <mask> stands; a word may be made of several tokens.

        Args:
            text: A text with one or more <mask> in it.
            words: The words to choose from, at most 100.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            key: What /start_run returned with a run of yours, if you name one.

        Returns:
            One list per mask, in the order of the words, of {"word", "pieces", "tokens", "log_probability", "score",
            "share", "sequence"}; "share" is that of the probabilities of the given words added up.
        """
        ranked = fills.rank(text, words, folder(model, key))
        return [[asdict(target) for target in targets] for targets in ranked]

    def compare_models(text: str, model: str, other: str, top_k: float = 5, key: str = "") -> dict[str, Any]:
        """Ask two models the same, such as one before and after fine-tuning.

        Args:
            text: A text with one or more <mask> in it.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            other: The second model, named in the same way.
            top_k: How many candidates for each mask, 1 to 100.
            key: What /start_run returned with a run of yours, if you name one.

        Returns:
            "model" and "other", each with "masks" (as /fill_mask returns them) and "pseudo_perplexity" of the words
            around the masks; "same_tokens" is false when two perplexities don't compare, for the models cut the text
            differently.
        """
        compared = fills.compare(text, *(folder(name, key) for name in (model, other)), top_k)
        sides = [
            {"masks": _candidates(filled), "pseudo_perplexity": scored.pseudo_perplexity}
            for filled, scored in zip(compared.filled, compared.scored, strict=True)
        ]
        return {"model": sides[0], "other": sides[1], "same_tokens": compared.same_tokens}

    def score_sentence(text: str, model: str = "bundled", key: str = "") -> dict[str, Any]:
        """How much each token of a sentence surprises the model that sees all the others, and its pseudo-perplexity.

        Args:
            text: A sentence; words behind <mask> stay hidden.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            key: What /start_run returned with a run of yours, if you name one.

        Returns:
            "tokens", a list of {"text", "nats", "start", "end"}; "nats" added up over "count" tokens;
            "pseudo_perplexity", e to the mean; "windows", more than 1 when the text was too long to be read at once,
            and "window_tokens".
        """
        return asdict(fills.score(text, folder(model, key)))

    def fill_file(
        file: dict[str, Any], model: str = "bundled", top_k: float = 5, key: str = ""
    ) -> list[dict[str, Any]]:
        """Fill the masks of all sentences of a file.

        Args:
            file: An uploaded .txt file with a sentence on each line, or a .csv file with a column of sentences;
                in Python `gradio_client.handle_file("sentences.txt")`.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            top_k: How many candidates for each mask, 1 to 100.
            key: What /start_run returned with a run of yours, if you name one.

        Returns:
            A list of {"number", "sentence", "mask", "rank", "word", "score", "error"}; numbers count from 1, and
            "error" says why a sentence has no answer.
        """
        path, chosen = _uploaded(file), folder(model, key)
        rows: list[SentenceRow] = []
        for _ in answered(fills, path, chosen, top_k, rows):
            pass
        return [asdict(row) for row in rows]

    return [fill_mask, fill_jointly, rank_words, compare_models, score_sentence, fill_file]


def _candidates(filled: list[FilledMask]) -> list[list[dict[str, Any]]]:
    return [[asdict(candidate) for candidate in mask.candidates] for mask in filled]


def _uploaded(file: Any) -> str:
    """The path of a file that was uploaded; no other is read. Raises: PredictionError."""
    path = file.get("path") if isinstance(file, dict) else None
    uploads = Path(get_upload_folder()).resolve()
    if not isinstance(path, str) or "\0" in path or not Path(path).resolve().is_relative_to(uploads):
        raise PredictionError("There is no uploaded file.", "Send one with gradio_client's handle_file.")
    return path
