"""Whose run is it: what one visitor of a page sees of its runs, and may do with them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.runs.folder import no_run
from trainer.runs.history import RunView
from trainer.runs.manager import RunManager
from trainer.runs.view import LIVE

KEY = re.compile(r"[A-Za-z0-9_-]{32,128}")  # too long to be guessed


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks."""

    marks: tuple[str, ...] = ()  # what runs of theirs bear; new ones get the first
    sees_all: bool = False


def new_key() -> str:
    return secrets.token_hex(24)


def mark_of_key(key: Any) -> str | None:
    """What the runs of whoever holds this key bear: from it the key can't be found. None for what is no key."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        return None
    return hashlib.sha256(key.encode()).hexdigest()


def mark_of_name(name: str) -> str:
    """What the runs of a user who is signed in bear; no mark of a key looks like this."""
    return f"@{name}"


class OwnRuns:
    """The methods of `RunManager` for one visitor, to whom the runs of others don't exist."""

    def __init__(self, runs: RunManager, visitor: Visitor, *, most: int | None = None) -> None:
        self._runs = runs
        self.visitor = visitor
        self._most = None if visitor.sees_all else most  # that wait or work at a time
        self.home = runs.home

    def start(self, config: TrainConfig, *, backend: str = "", token: str = "") -> str:
        """As `RunManager.start`. Raises: RunError, too, when this visitor has too many."""
        if not self.visitor.marks and not self.visitor.sees_all:
            raise RunError("This browser has shown no key, so the run would be nobody's.", "Reload the page.")
        owner = next(iter(self.visitor.marks), None)
        with self._admission():
            return self._runs.start(config, owner=owner, backend=backend, token=token)

    def resume(self, run_id: str, *, token: str = "") -> None:
        run_id = self._own(run_id)
        with self._admission():
            self._runs.resume(run_id, token=token)

    def stop(self, run_id: str) -> None:
        self._runs.stop(self._own(run_id))

    def rename(self, run_id: str, label: str) -> None:
        self._runs.rename(self._own(run_id), label)

    def delete(self, run_id: str) -> None:
        self._runs.delete(self._own(run_id))

    def archive(self, run_id: str, cache: Path, progress: Callable[[float], None] = lambda share: None) -> Path:
        return self._runs.archive(self._own(run_id), cache, progress)

    def view(self, run_id: str) -> RunView:
        """A run as it stands. Raises: RunError when there is none of that id, or it is another's: nobody can tell."""
        view = self._runs.view(run_id)
        if not self._has(view):
            raise no_run(run_id)
        return view

    def views(self) -> list[RunView]:
        return [view for view in self._runs.views() if self._has(view)]

    def current(self) -> RunView | None:
        return next((view for view in self.views() if view.state in LIVE), None)

    def mine(self) -> list[RunView]:
        """Those of this visitor, even where they see others: of nobody at a desk, where all are everybody's."""
        return [view for view in self.views() if not self.visitor.marks or view.owner in self.visitor.marks]

    def latest(self) -> RunView | None:
        for view in self.views():
            with suppress(RunError):  # deleted since it was listed
                return self.view(view.id)
        return None

    def shown(self, asked: str | None) -> RunView | None:
        """The run to show: the one asked for, else the one that works, else the newest."""
        if asked:
            with suppress(RunError):  # its folder may have been removed
                return self.view(asked)
        return self.current() or self.latest()

    def models(self) -> list[tuple[str, str]]:
        own = {view.id for view in self.views()}
        return [(run_id, label) for run_id, label in self._runs.models() if run_id in own]

    def model_folder(self, run_id: str) -> Path:
        return self._runs.model_folder(self._own(run_id))

    def text_of(self, run_id: str) -> Path:
        return self._runs.text_of(self._own(run_id))

    def title(self, source: str) -> str:
        return self._runs.title(source)

    def log(self, run_id: str) -> str:
        return self._runs.log(self._own(run_id))

    def _has(self, view: RunView) -> bool:
        return self.visitor.sees_all or view.owner in self.visitor.marks

    def _own(self, run_id: str) -> str:
        return self.view(run_id).id

    @contextmanager
    def _admission(self) -> Iterator[None]:
        """Lets one more run of this visitor begin. Raises: RunError when they have as many as they may."""
        with self._runs.admission:  # two at the same moment must not both be the last
            on = sum(not view.is_over for view in self.views()) if self._most is not None else 0
            if self._most is not None and on >= self._most:
                what = f"{on} of your runs {'is' if on == 1 else 'are'} waiting or working; here you may have so many."
                raise RunError(what, "Wait for one to end, or stop it.")
            yield
