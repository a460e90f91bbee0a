"""Fill the masks of a text with the most likely tokens."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainer.config import is_unicode
from trainer.engine import hardware
from trainer.engine.model import MaskedLanguageModel, find_model, load_model
from trainer.errors import PredictionError
from trainer.predictions import Candidate, FilledMask

MODELS_KEPT = 3
MASKS = 20  # in one text
TOP_K = 100
CHARACTERS = 50_000


class MaskFiller:
    """Answers what stands behind a mask; the models used last stay loaded.

    Example: `MaskFiller().fill("The Milky Way is a <mask> galaxy.")[0].candidates[0].token_str`
    """

    def __init__(self) -> None:
        self._device = hardware.choose().device
        self._loaded: OrderedDict[tuple[str, int], MaskedLanguageModel] = OrderedDict()

    def fill(
        self, text: str, model: str = "bundled", top_k: float = 5, targets: Sequence[str] | None = None
    ) -> list[FilledMask]:
        """One entry per mask: the `top_k` likeliest tokens, or the `targets` in the order given.

        The answers are those of `pipeline("fill-mask")`: each mask is filled with the others left open, and scores are
        shares of the whole vocabulary. Raises: PredictionError, ModelError.
        """
        count = _whole(top_k)
        if len(text) > CHARACTERS:
            what = f"The text has {len(text):,} characters; at most {CHARACTERS:,} are read."
            raise PredictionError(what, "Shorten it.")
        filler = self.load(model)
        ids = filler.encode(text)
        masks = [place for place, token in enumerate(ids) if token == filler.tokenizer.mask_token_id]
        if len(masks) > MASKS:
            raise PredictionError(f"The text has {len(masks)} masks; at most {MASKS} are filled.", "Leave some out.")
        wanted = [target_token(filler.tokenizer, target) for target in targets or ()]
        filled = []
        for number, row in enumerate(filler.probabilities(ids)):
            tokens = wanted or _top(row, min(count, len(filler.tokenizer)))
            sequences = [_sequence(filler.tokenizer, ids, masks, number, token) for token in tokens]
            filled.append(
                FilledMask(
                    tuple(
                        Candidate(
                            score=float(row[token]),
                            token=token,
                            token_str=filler.tokenizer.decode([token]),
                            sequence=sequence,
                        )
                        for token, sequence in zip(tokens, sequences, strict=True)
                    )
                )
            )
        return filled

    def load(self, model: str) -> MaskedLanguageModel:
        """The model, from memory when its weights have not changed on disk since."""
        weights = sorted(find_model(model).glob("*.safetensors"))
        key = (model, weights[0].stat().st_mtime_ns if weights else 0)
        if key not in self._loaded:
            self._loaded[key] = load_model(model).to(self._device).eval()
            while len(self._loaded) > MODELS_KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def target_token(tokenizer: Any, target: str) -> int:
    """The one token that means `target` as a word of its own: with a space before it where the tokenizer has that."""
    word = target.strip()
    for spelling in (f" {word}", word) if word and is_unicode(word) else ():
        ids = tokenizer(spelling, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            return int(ids[0])
    raise PredictionError(f"{target!r} is not one token of this model.", "Choose a more common word.")


def _whole(top_k: float) -> int:
    if isinstance(top_k, bool) or not isinstance(top_k, (int, float)) or not math.isfinite(top_k):
        raise PredictionError(f"top_k is {top_k!r}; it must be a whole number.", f"Choose 1 to {TOP_K}.")
    if top_k != int(top_k) or not 1 <= top_k <= TOP_K:
        raise PredictionError(f"top_k is {top_k!r}; it must be a whole number from 1 to {TOP_K}.")
    return int(top_k)


def _top(row: Tensor, count: int) -> list[int]:
    return row.topk(count).indices.tolist()


def _sequence(tokenizer: Any, ids: list[int], masks: list[int], number: int, token: int) -> str:
    """The text with `token` at mask `number`; other masks stay visible."""
    filled = list(ids)
    filled[masks[number]] = token
    if len(masks) == 1:
        return str(tokenizer.decode(filled, skip_special_tokens=True))
    hidden = set(tokenizer.all_special_ids) - {tokenizer.mask_token_id}
    kept = [piece for place, piece in enumerate(filled) if piece not in hidden or place == masks[number]]
    # RoBERTa's mask has taken the space before it into itself.
    return re.sub(rf"\s*{re.escape(tokenizer.mask_token)}", f" {tokenizer.mask_token}", tokenizer.decode(kept)).strip()
