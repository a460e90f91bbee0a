"""What a prediction returns, how the shell shows it, and how the rows of many sentences are saved."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One token that could stand where the mask is; the fields of `pipeline("fill-mask")`."""

    score: float  # probability, 0..1
    token: int | tuple[int, ...]  # several only for a given word
    token_str: str
    sequence: str  # what the model read, with this token filled in


@dataclass(frozen=True, slots=True)
class FilledMask:
    """The candidates for one mask, most likely first (or in the order of the targets asked for)."""

    candidates: tuple[Candidate, ...]
    start: int = 0  # where the mask stands in the text, in characters
    end: int = 0
    tokens_read: int = 0  # less than `tokens` when the text is too long: then a window around the mask was read
    tokens: int = 0  # of the whole text, special ones included


@dataclass(frozen=True, slots=True, kw_only=True)
class JointFilling:
    """All masks of a text filled together."""

    words: tuple[str, ...]  # one for each mask
    log_probability: float  # nats: each piece's given those filled before it, added up
    pieces: int  # tokens filled in; fillings of different lengths compare by `log_probability / pieces`
    sequence: str  # what the model read, filled in


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTarget:
    """A given word as the filling of a mask."""

    word: str  # as it was given, without spaces around it
    pieces: tuple[str, ...]
    tokens: tuple[int, ...]  # the ids of the pieces
    log_probability: float  # nats
    score: float  # probability, 0..1
    share: float  # of the candidates' probabilities added up, 0..1
    sequence: str  # what the model read, with this word filled in

    @property
    def candidate(self) -> Candidate:
        """Told as other answers are."""
        token = self.tokens[0] if len(self.tokens) == 1 else self.tokens
        token_str = self.pieces[0] if len(self.pieces) == 1 else self.word
        return Candidate(score=self.score, token=token, token_str=token_str, sequence=self.sequence)


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token (or all those of one character) and how much it surprised the model."""

    text: str
    nats: float  # -log probability, given all the rest
    start: int  # where it stands in the text, in characters
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSentence:
    """The surprisal of every visible token of a text."""

    tokens: tuple[ScoredToken, ...]
    count: int  # tokens scored: several may stand for one character
    nats: float  # in all: minus the pseudo-log-likelihood
    pseudo_perplexity: float | None  # exp(nats / count); None when nothing was scored or it overflows
    windows: int  # 1: every token was guessed from the whole text, else from a window around it
    window_tokens: int  # the length of a window, special tokens included


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answers of two models to the same text; the first is `model`, the second `other`."""

    filled: tuple[list[FilledMask], list[FilledMask]]
    scored: tuple[ScoredSentence, ScoredSentence]  # without the masks, which stay hidden
    same_tokens: bool  # else they cut the text differently, and perplexities for each token don't compare


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceRow:
    """One answer for one mask of one sentence of a file, or why there is none."""

    number: int  # of the sentence, 1-based
    sentence: str
    mask: int | None = None  # 1-based
    rank: int | None = None  # 1-based
    word: str = ""
    score: float | None = None  # probability, 0..1
    error: str = ""


@dataclass(frozen=True, slots=True)
class FilePart:
    """The rows of the sentences answered last, and how far the file is done."""

    rows: tuple[SentenceRow, ...]
    done: int  # sentences
    total: int


def shown(answer: object) -> str:
    """An answer, or nested lists of some, as lines for the shell."""
    match answer:
        case Candidate():
            return f"{answer.score:7.2%}  {answer.token_str!r:20}  {answer.sequence}"
        case JointFilling():
            return f"{answer.log_probability:8.3f}  {' / '.join(answer.words):20}  {answer.sequence}"
        case ScoredToken():
            return f"{answer.nats:8.3f}  {answer.text}"
        case ScoredSentence():
            mean = "" if answer.pseudo_perplexity is None else f", pseudo-perplexity {answer.pseudo_perplexity:,.4g}"
            return f"{shown(answer.tokens)}\n{answer.nats:8.3f}  nats for {answer.count} tokens{mean}"
        case list() | tuple():
            return "\n".join(map(shown, answer))
    raise TypeError(answer)


def write_csv(rows: Iterable[SentenceRow], path: Path) -> None:
    """The rows with a header; a cell that a spreadsheet would run as a formula begins with an apostrophe.

    Source: OWASP, "CSV Injection".
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # Excel needs the mark
        writer = csv.writer(file)
        writer.writerow(f.name for f in fields(SentenceRow))
        writer.writerows([_inert(cell) for cell in asdict(row).values()] for row in rows)


def write_jsonl(rows: Iterable[SentenceRow], path: Path) -> None:
    """The rows, one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def _inert(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@")) else cell
