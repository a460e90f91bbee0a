"""Errors a user may see. Everything else that is raised is a bug and keeps its traceback.

TrainerError            what happened, and what to do about it
├── ConfigError         settings outside their limits; carries all problems at once
├── DataError           a text that can't be found, read or cut into blocks
├── ModelError          a model or tokenizer that can't be found, trusted or used for filling masks
├── PredictionError     a sentence that can't be answered
├── RunError            a run that doesn't exist, or can't be started, stopped or resumed
├── HubError            a model that can't be published: token, name, rights, room or network
└── TrainingError       a run that broke off: loss not finite, memory exhausted, process ended
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What a process says that only notices the end of another one it works with.
RANK_LOST = ("Another process of this run ended.", "Resume the run; the log says more.")
# What to do about a name the Hub doesn't know: what the page starts never gets a token, so private ones aren't for it.
NOT_FOUND = "Check the name; private ones can be used in the shell alone, with HF_TOKEN."


class TrainerError(Exception):
    """Shown to the user as it is: `what` happened, and the `fix` to try."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix

    def __reduce__(self) -> tuple[Any, ...]:  # so that it comes whole out of a child process
        return type(self), (self.what, self.fix)


class ConfigError(TrainerError):
    """Every problem of a configuration, each a sentence naming field, value and limit."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class DataError(TrainerError):
    """A text that can't be found, read or cut into blocks."""


class ModelError(TrainerError):
    """A model or tokenizer that can't be found, trusted or used for filling masks."""


class PredictionError(TrainerError):
    """A sentence that can't be answered."""


class RunError(TrainerError):
    """A run that doesn't exist, or can't be started, stopped or resumed."""


class HubError(TrainerError):
    """A model that can't be published: token, name, rights, room or network."""


class TrainingError(TrainerError):
    """A run that broke off: loss not finite, memory exhausted, process ended."""
