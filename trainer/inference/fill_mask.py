"""What a masked language model makes of a text: `MaskFiller` answers the questions about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.engine import hardware
from trainer.errors import PredictionError, TrainerError
from trainer.inference import joint, ranking, sentences, surprisal
from trainer.inference.model_cache import MEMORY_BYTES, ModelCache
from trainer.inference.reader import MASKS, WORK_TOKENS, MaskedText, Question, Reader
from trainer.predictions import (
    Candidate,
    Comparison,
    FilePart,
    FilledMask,
    JointFilling,
    ScoredSentence,
    ScoredTarget,
)

TOP_K = 100
WINDOW = WORK_TOKENS // MASKS  # tokens around each mask of a long text, if the model reads that many


class MaskFiller:
    """Answers what stands behind a mask; the models used last stay loaded, as far as `memory_bytes` go.

    A mask may be written `<mask>`, `[MASK]`, `___` or as the model does. Raises: PredictionError, ModelError.
    Example: `MaskFiller().fill("The Milky Way is a <mask> galaxy.")[0].candidates[0].token_str`
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        here = hardware.choose()
        self.models = ModelCache(here.device, memory_bytes, precision=here.precision)

    def fill(
        self, text: str, model: str = "bundled", top_k: float = 5, targets: Sequence[str] | None = None
    ) -> list[FilledMask]:
        """One entry per mask: the `top_k` likeliest tokens, or the `targets` (of one token each) in the order given.

        The answers are those of `pipeline("fill-mask")`: each mask is filled with the others left open, and scores are
        shares of the whole vocabulary. Of a text longer than the model reads, a window around each mask is read.
        """
        count, reader = _whole("top_k", top_k, TOP_K), self.models.get(model)
        words = ranking.checked_words(targets) if targets else []
        read = _with_masks(reader, text)
        masks = range(len(read.masks)) if words else ()
        wanted = [[_one_token(reader, read, number, word) for word in words] for number in masks]
        return _fill(reader, [read], count, wanted)[0]

    def fill_many(
        self, texts: Sequence[str], model: str = "bundled", top_k: float = 5
    ) -> list[list[FilledMask] | TrainerError]:
        """As `fill` for many texts at once, which is faster; an error stands in the place of its own text's answer."""
        count, reader = _whole("top_k", top_k, TOP_K), self.models.get(model)
        answers: list[list[FilledMask] | TrainerError | MaskedText] = []
        for text in texts:
            try:
                answers.append(_with_masks(reader, text))
            except TrainerError as error:
                answers.append(error)
        filled = iter(_fill(reader, [answer for answer in answers if isinstance(answer, MaskedText)], count))
        return [next(filled) if isinstance(answer, MaskedText) else answer for answer in answers]

    def fill_jointly(
        self,
        text: str,
        model: str = "bundled",
        count: float = 5,
        order: str = "confidence",
        pieces: float = 1,
        repeats: bool = True,
    ) -> list[JointFilling]:
        """The best ways to fill all masks together, each with 1 to `pieces` tokens, by a beam search.

        At each step one mask is filled given those before: the one the model is surest of, or (`left_to_right`) the
        first. The log-probabilities of the steps are added up; fillings are ordered by their mean for each token.
        Models like to say a word twice; without `repeats` they may not.
        """
        most, tokens = _whole("count", count, TOP_K), _whole("pieces", pieces, joint.PIECES)
        if order not in joint.ORDERS:
            raise PredictionError(f"order is {order!r:.60}; it must be one of {', '.join(joint.ORDERS)}.")
        reader = self.models.get(model)
        return joint.fill_jointly(reader, _with_masks(reader, text), most, order, tokens, repeats)

    def rank(self, text: str, targets: Sequence[str], model: str = "bundled") -> list[tuple[ScoredTarget, ...]]:
        """For each mask the given words in their order, with their probabilities; see `ranking.rank`."""
        reader = self.models.get(model)
        return ranking.rank(reader, _with_masks(reader, text), targets)

    def score(self, text: str, model: str = "bundled") -> ScoredSentence:
        """The surprisal of each token of a text, in nats, and its pseudo-perplexity; see `surprisal.score`."""
        reader = self.models.get(model)
        scored = surprisal.score(reader, reader.read(text, offsets=True))
        if not any(token.text.strip() for token in scored.tokens):
            raise PredictionError("There is no word in the text to be scored.", "Write a sentence.")
        return scored

    def compare(self, text: str, model: str, other: str, top_k: float = 5) -> Comparison:
        """What two models make of the same text: the candidates for each mask, and the surprisal of all the rest."""
        filled, scored = [], []
        for name in (model, other):
            filled.append(self.fill(text, name, top_k))
            reader = self.models.get(name)
            scored.append(surprisal.score(reader, reader.read(text, offsets=True)))
        cuts = [[(token.start, token.end) for token in sentence.tokens] + [sentence.count] for sentence in scored]
        return Comparison(filled=tuple(filled), scored=tuple(scored), same_tokens=cuts[0] == cuts[1])

    def read_sentences(self, path: str) -> list[str]:
        """See `sentences.read_sentences`."""
        return sentences.read_sentences(path)

    def fill_file(self, path: str, model: str = "bundled", top_k: float = 5) -> Iterator[FilePart]:
        """See `sentences.fill_file`."""
        return sentences.fill_file(self, path, model, top_k)


def _fill(
    reader: Reader, texts: Sequence[MaskedText], count: int, wanted: Sequence[Sequence[int]] = ()
) -> list[list[FilledMask]]:
    """For each mask of each text the `count` likeliest tokens, or those `wanted` for it."""
    asked: list[tuple[MaskedText, list[FilledMask], range]] = []  # a text, its answers, and the masks of a question
    questions: list[Question] = []
    answers: list[list[FilledMask]] = []
    for text in texts:
        answers.append([FilledMask(())] * len(text.masks))
        whole = len(text.ids) <= reader.room
        step = len(text.masks) if whole else 1
        for first in range(0, len(text.masks), step):
            asked.append((text, answers[-1], range(first, first + step)))
            questions.append(reader.question(text.ids, text.masks[first : first + step], None if whole else WINDOW))
    for number, rows in reader.answers(questions):
        text, filled, masks = asked[number]
        ids, places = questions[number]
        for mask, place, row in zip(masks, places, rows, strict=True):
            tokens = wanted[mask] if wanted else row.topk(min(count, len(reader.tokenizer))).indices.tolist()
            candidates = [
                Candidate(
                    score=score,
                    token=token,
                    token_str=reader.tokenizer.decode([token]),
                    sequence=reader.filled(ids, place, [token]),
                )
                for token, score in zip(tokens, row[tokens].exp().tolist(), strict=True)
            ]
            start, end = text.spans[mask]
            filled[mask] = FilledMask(tuple(candidates), start, end, len(ids), len(reader.framed(text.ids)))
    return answers


def _with_masks(reader: Reader, text: str) -> MaskedText:
    read = reader.read(text)
    if not read.masks:
        raise PredictionError("There is no <mask> in the text.", "Put <mask> where a word is to be guessed.")
    return read


def _one_token(reader: Reader, text: MaskedText, number: int, word: str) -> int:
    """The one token that means `word` at mask `number`."""
    for ids in reader.spelled(text, number, word):
        if len(ids) == 1 and ids[0] != reader.unknown:
            return ids[0]
    raise PredictionError(f"{word!r} is not one token of this model.", "Choose a more common word.")


def _whole(name: str, value: float, most: int) -> int:
    """A number that is whole, for JSON has no other than floats. Raises: PredictionError."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= most or value != int(value):
        raise PredictionError(f"{name} is {value!r:.60}; it must be a whole number from 1 to {most}.")
    return int(value)
