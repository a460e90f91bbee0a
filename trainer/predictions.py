"""What a prediction returns: for every mask of a text, its most likely tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One token that could stand where the mask is; the fields of `pipeline("fill-mask")`."""

    score: float  # probability, 0..1
    token: int
    token_str: str
    sequence: str  # the text with this token filled in


@dataclass(frozen=True, slots=True)
class FilledMask:
    """The candidates for one mask, most likely first (or in the order of the targets asked for)."""

    candidates: tuple[Candidate, ...]
