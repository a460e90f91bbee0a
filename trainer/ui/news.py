"""What changed: one question a second for the whole page, answered by a few short marks.

Gradio builds every component anew that a handler skips, some milliseconds for each, so a timer had better have none
for its outputs. It fills hidden marks; what belongs to a mark is sent when that changes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import gradio as gr

from trainer.runs.ownership import OwnRuns
from trainer.ui.events import QUIET
from trainer.ui.visitors import Visitors

SECONDS = 1.0
Look = Callable[[OwnRuns, str | None], object]


class News:
    """Looks at a visitor's runs; what belongs to a look is sent when, and only when, what it sees changed."""

    def __init__(self, visitors: Visitors, watched: gr.State) -> None:
        """Every look is given the visitor's runs and the id of the one that is `watched`."""
        self._own = visitors.own
        self._looks: list[Look] = []
        self._marks: list[gr.Textbox] = []
        self._inputs = [visitors.key, watched]

    def send(self, look: Look, part: Callable[..., Any], outputs: Any, *more: gr.State) -> None:
        """Has `part` answer for its `outputs`, from what looks are given and `more`, when this one sees a change."""
        mark = hidden_mark(render=False)
        mark.change(self._own(part), [*self._inputs, *more], outputs, **QUIET)
        self._looks.append(look)
        self._marks.append(mark)

    @property
    def asked(self) -> tuple[Any, ...]:
        """What an event has to do for the page to be told at once; to be used once all looks are there."""
        return self._own(self._answer), self._inputs, self._marks

    def begin(self) -> None:
        """Asks from now on; outside of all tabs, as what is in a closed one hears of no change."""
        for mark in self._marks:
            mark.render()
        gr.Timer(SECONDS).tick(*self.asked, **QUIET)

    def _answer(self, runs: OwnRuns, watched: str | None) -> list[str]:
        return [mark_of(look(runs, watched)) for look in self._looks]


def hidden_mark(*, render: bool = True) -> gr.Textbox:
    """A text that nobody sees; its `change` is heard while the tab that it is in is open."""
    return gr.Textbox(visible="hidden", render=render)


def mark_of(seen: object) -> str:
    """A short text that is another one where `seen` is something else."""
    return f"{zlib.crc32(repr(seen).encode()):08x}"
