"""A model as predictions use it: a text's tokens, masks and windows, and the answers to many questions at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from trainer.config import find_masks, is_unicode
from trainer.engine import hardware
from trainer.engine.model import MaskedLanguageModel
from trainer.errors import ModelError, PredictionError

CHARACTERS = 50_000  # of one text
MASKS = 20
WORK_TOKENS = 100_000  # read for one request: some 10 s of the bundled model on two cores
BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768, "mps": 8_192}  # more don't fit into a processor's caches
BATCH_SCORES = 1 << 24  # of the vocabulary at all positions of a batch
PADDING = 1.25  # longest text of a batch over its shortest

Question = tuple[list[int], list[int]]  # tokens with the special ones around, and the places asked about


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A text as the model's tokens, without the special ones around it."""

    text: str
    ids: list[int]
    masks: list[int]  # places in `ids`
    spans: list[tuple[int, int]]  # of the masks in `text`, in characters
    offsets: list[tuple[int, int]]  # of the tokens in `text`, in characters; empty unless asked for

    @property
    def apart(self) -> list[bool]:
        """Whether there is a space before each mask."""
        return [self.text[:start][-1:].isspace() for start, _ in self.spans]


class Reader:
    """One model with its tokenizer."""

    def __init__(self, model: MaskedLanguageModel) -> None:
        self.model = model
        self.tokenizer: Any = model.tokenizer
        self._weights = sum(weight.numel() for weight in model.parameters())
        self.mask = int(self.tokenizer.mask_token_id)
        whole, bare = self._tokenize("a", add_special_tokens=True), self._tokenize("a")
        before = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), 0)
        self._before, self._after = whole[:before], whole[before + len(bare) :]
        self.room = model.max_tokens - len(self._before) - len(self._after)
        if self.room < 1:
            raise ModelError(f"The model reads at most {model.max_tokens} tokens.", "Choose one that reads sentences.")
        self._padding = getattr(model.model.config, "pad_token_id", None) or 0
        self._special = set(self.tokenizer.all_special_ids)
        self.unknown = self.tokenizer.unk_token_id
        self.hidden = self._special - {self.unknown}
        self.vocabulary = model.model.get_input_embeddings().num_embeddings
        self.never = sorted(self._special.union(range(len(self.tokenizer), self.vocabulary)))  # not an answer

    def read(self, text: str, *, offsets: bool = False) -> MaskedText:
        """The tokens of a text, with any spelling of the mask understood. Raises: PredictionError."""
        if not isinstance(text, str):
            raise PredictionError(f"The text is {text!r:.60}; it must be text.")
        if len(text) > CHARACTERS:
            what = f"The text has {len(text):,} characters; at most {CHARACTERS:,} are read."
            raise PredictionError(what, "Shorten it.")
        if not is_unicode(text):
            raise PredictionError("The text has half a character in it, which no tokenizer reads.", "Type it anew.")
        own = self.tokenizer.mask_token
        spans = find_masks(text, own)
        if len(spans) > MASKS:
            raise PredictionError(f"The text has {len(spans):,} masks; at most {MASKS} are filled.", "Leave some out.")
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        spelled = own.join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
        ids = self._tokenize(spelled)
        masks = [place for place, token in enumerate(ids) if token == self.mask]
        if len(masks) != len(spans):
            raise PredictionError("This model's tokenizer can't tell the masks of the text.", "Put spaces around them.")
        return MaskedText(text, ids, masks, spans, self._offsets(spelled, ids, spans) if offsets else [])

    def framed(self, ids: list[int]) -> list[int]:
        """With the special tokens around, as the model wants it."""
        return [*self._before, *ids, *self._after]

    def question(self, ids: list[int], places: Sequence[int], width: int | None = None) -> Question:
        """About tokens of a text: the whole text, or the `width` tokens around those places when there are more."""
        width = min(self.room, width or self.room)
        start = max(0, min((places[0] + places[-1] + 1 - width) // 2, len(ids) - width))
        shift = len(self._before) - start
        return self.framed(ids[start : start + width]), [place + shift for place in places]

    @torch.inference_mode()
    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[int, Tensor]]:
        """The number of a question and the log-probabilities at its places, questions of like length together.

        Shapes: (places, vocabulary), in nats. Raises: PredictionError.
        """
        device = self.model.model.device
        for batch in self._batches(questions):
            texts = [questions[number][0] for number in batch]
            longest = len(texts[-1])
            ids = torch.tensor([[*text, *[self._padding] * (longest - len(text))] for text in texts], device=device)
            lengths = torch.tensor([len(text) for text in texts], device=device)
            read = None if len(texts[0]) == longest else torch.arange(longest, device=device) < lengths[:, None]
            places = [row * longest + place for row, number in enumerate(batch) for place in questions[number][1]]
            with hardware.threads_for(self._weights * ids.numel()):
                rows = self.model.logits(ids, torch.tensor(places, device=device), read).float().log_softmax(-1)
            if rows.isnan().any():
                raise PredictionError("The model's answer is not a number; its weights are damaged.", "Choose another.")
            yield from zip(batch, rows.split([len(questions[number][1]) for number in batch]), strict=True)

    def filled(self, ids: list[int], place: int, tokens: Sequence[int]) -> str:
        """What a question asks about, as text with `tokens` at `place`; other masks stay visible."""
        text = [*ids[:place], *tokens, *ids[place + 1 :]]
        if ids.count(self.mask) == 1:
            return self.decoded(text)
        hidden, answer = self._special - {self.mask}, range(place, place + len(tokens))
        kept = self.tokenizer.decode([piece for at, piece in enumerate(text) if piece not in hidden or at in answer])
        # RoBERTa's mask has taken the space before it into itself.
        return re.sub(rf"\s*{re.escape(self.tokenizer.mask_token)}", f" {self.tokenizer.mask_token}", kept).strip()

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def spelled(self, text: MaskedText, number: int, word: str) -> Iterator[list[int]]:
        """The tokens of a word at mask `number`: as the text before the mask asks for, then the other way.

        A byte-level tokenizer has different tokens for a word with and without a space before it.
        """
        for space in (" ", "") if text.apart[number] else ("", " "):
            yield self._tokenize(f"{space}{word}")

    @cached_property
    def continues(self) -> Tensor:
        """Whether each token goes on with the word before it: letters or digits, no space. Shape: (vocabulary,)."""
        word = self._tokenize("a")
        shown = self.tokenizer.batch_decode([[*word, token] for token in range(len(self.tokenizer))])
        tails = [text[len(self.tokenizer.decode(word)) :] for text in shown]
        padding = [False] * (self.vocabulary - len(tails))
        return torch.tensor([tail.isalnum() for tail in tails] + padding, device=self.model.model.device)

    def _batches(self, questions: Sequence[Question]) -> Iterator[list[int]]:
        """The numbers of the questions, shortest first, as many together as are answered fast."""
        most_tokens = BATCH_TOKENS[self.model.model.device.type]
        pads = self.model.head is not None  # of an unknown architecture, padding may change the answers
        batch: list[int] = []
        scores = 0
        for number in sorted(range(len(questions)), key=lambda number: len(questions[number][0])):
            length, asked = len(questions[number][0]), len(questions[number][1]) * self.vocabulary
            if batch and (
                length > len(questions[batch[0]][0]) * (PADDING if pads else 1)
                or length * (len(batch) + 1) > most_tokens
                or scores + asked > BATCH_SCORES
            ):
                yield batch
                batch, scores = [], 0
            batch.append(number)
            scores += asked
        if batch:
            yield batch

    def _tokenize(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])

    def _offsets(self, spelled: str, ids: list[int], spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Where each token stands in the text as it was typed, for masks may be spelled longer or shorter there."""
        if not self.tokenizer.is_fast:
            raise PredictionError("This model's tokenizer can't tell where its tokens stand.", "Choose another model.")
        told = self.tokenizer(spelled, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
        longer, seen, offsets = 0, 0, []
        for token, (start, end) in zip(ids, told["offset_mapping"], strict=True):
            if token == self.mask:
                offsets.append(spans[seen])
                longer += spans[seen][1] - spans[seen][0] - len(self.tokenizer.mask_token)
                seen += 1
            else:
                offsets.append((start + longer, end + longer))
        return offsets


def check_work(tokens: int, fix: str) -> None:
    """Refuses what would keep everybody else waiting. Raises: PredictionError."""
    if tokens > WORK_TOKENS:
        many = f"{tokens:,}" if tokens < 10**9 else "billions of"
        what = f"For this the model would read {many} tokens; at most {WORK_TOKENS:,} are read for one question."
        raise PredictionError(what, fix)
