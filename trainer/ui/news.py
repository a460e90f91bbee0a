"""What changed: about one question a second for all that shows a run, and the answer mostly is: nothing.

It is a plain request, for one to Gradio's events takes thirty times as much of the processor, on which a run may
work. What a run shows while it goes on comes with the answer, the same bytes for all who watch it. What changes
seldom is fetched by an event of Gradio's, which the page then begins.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trainer.presets import ASSETS
from trainer.runs.ownership import OwnRuns, Visitor
from trainer.runs.view import RunView
from trainer.ui.events import CHOSEN, QUIET
from trainer.ui.visitors import Visitors

ASK_SECONDS = 1.2  # and what an answer may be old: what happens is on the page within 1.5
FRESH_SECONDS = 0.25  # so long an answer serves all who ask the same
KEPT_SECONDS = 5.0  # so long it is kept after that, for what did not change since
ID_CHARACTERS = 200  # of a run, at most
ASK = "(key, watched) => news.ask(key, watched)"
HEAD = "".join(f"<script>{(ASSETS / name).read_text(encoding='utf-8')}</script>" for name in ("curves.js", "news.js"))
Of = Callable[[OwnRuns, RunView | None], object]  # something of a visitor's runs, and of the one that is shown


@dataclass(frozen=True, slots=True)
class _Item:
    """Something that may be new."""

    name: str
    look: Of
    content: Of | None  # what is told; None where an event fetches it

    def told(self, runs: OwnRuns, view: RunView | None) -> bytes:
        return json.dumps(self.content(runs, view) if self.content else None).encode()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was seen of all items at a time."""

    time: float
    marks: list[str]
    contents: list[bytes]  # as JSON


class News:
    """Looks at a visitor's runs; what belongs to a look is told when, and only when, what it sees changed."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self.watched = gr.Textbox(visible="hidden", render=False)  # id of the run shown; see `OwnRuns.shown`
        self._items: list[_Item] = []
        self._bells: list[gr.HTML] = []
        self._answers: dict[tuple[Visitor, str | None], _Answer] = {}
        self._looking = asyncio.Lock()
        self._server = secrets.token_hex(4)  # a page that finds another one here loads itself anew

    def tell(self, name: str, look: Of, content: Of) -> None:
        """Has the page's `news.on(name, …)` called with `content`, ready for JSON, when `look` sees a change."""
        self._items.append(_Item(name, look, content))

    def send(self, look: Of, part: Callable[..., Any], outputs: Any, *more: gr.State) -> None:
        """Has `part` answer for its `outputs`, from what looks are given and `more`, when this one sees a change."""

        def answer(runs: OwnRuns, watched: str | None, *more: Any) -> Any:
            return part(runs, runs.shown(watched), *more)

        name = f"event-{len(self._items)}"
        bell = gr.HTML(visible="hidden", render=False, js_on_load=f'news.on("{name}", () => trigger("input"))')
        bell.input(self._visitors.own(answer), [self._visitors.key, self.watched, *more], outputs, **CHOSEN)
        self._items.append(_Item(name, look, None))
        self._bells.append(bell)

    def ask_after(self, event: Any) -> None:
        """Has the page ask at once when `event` went well, about the run that is watched then."""
        event.success(None, [self._visitors.key, self.watched], None, js=ASK, **QUIET)

    def begin(self) -> None:
        """To be called once all looks are there, outside of all tabs: what is in a closed one hears of no change."""
        for component in (self.watched, *self._bells):
            component.render()

    @property
    def route(self) -> Route:
        """Where the page asks."""
        return Route("/news", self._respond)

    def marks(self, runs: OwnRuns, view: RunView | None) -> list[str]:
        """For each item, in order, a short text that is another one where its look sees something else."""
        return [mark_of(item.look(runs, view)) for item in self._items]

    async def _respond(self, request: Request) -> Response:
        runs, watched = self._visitors.asking(request), request.query_params.get("watched", "")[:ID_CHARACTERS] or None
        answer = self._answers.get((runs.visitor, watched))
        if answer is None or time.monotonic() - answer.time > FRESH_SECONDS:
            answer = await self._looked(runs, watched)
        marks = [self._server, *answer.marks]
        seen = request.query_params.get("seen", "").split(",")
        if seen == marks:
            return Response(status_code=204, headers=_headers())
        seen += [""] * len(marks)
        told = zip(self._items, seen[1:], answer.marks, answer.contents, strict=False)
        news = b",".join(b'"%s":%s' % (item.name.encode(), to) for item, was, now, to in told if was != now)
        body = b'{"marks":%s,"news":{%s}}' % (json.dumps(marks).encode(), news)
        return Response(body, media_type="application/json", headers=_headers())

    async def _looked(self, runs: OwnRuns, watched: str | None) -> _Answer:
        """A fresh answer, which others who ask the same meanwhile wait for."""
        asked = runs.visitor, watched
        async with self._looking:
            before = self._answers.get(asked)
            if before is None or time.monotonic() - before.time > FRESH_SECONDS:
                oldest = time.monotonic() - KEPT_SECONDS
                self._answers = {who: answer for who, answer in self._answers.items() if answer.time > oldest}
                self._answers[asked] = await run_in_threadpool(self._look, runs, watched, before)
            return self._answers[asked]

    def _look(self, runs: OwnRuns, watched: str | None, before: _Answer | None) -> _Answer:
        now, view = time.monotonic(), runs.shown(watched)
        marks = self.marks(runs, view)
        old = zip(before.marks, before.contents, strict=True) if before else [("", b"")] * len(marks)
        contents = [
            content if was == mark else item.told(runs, view)
            for item, mark, (was, content) in zip(self._items, marks, old, strict=True)
        ]
        return _Answer(now, marks, contents)


def _headers() -> dict[str, str]:
    """When to ask again: all pages at the same moments, for a run is kept less by one short break than by many."""
    left = ASK_SECONDS - time.monotonic() % ASK_SECONDS
    return {"Cache-Control": "no-store", "X-Ask-In": f"{left if left > FRESH_SECONDS else left + ASK_SECONDS:.3f}"}


def mark_of(seen: object) -> str:
    """A short text that is another one where `seen` is something else."""
    return f"{zlib.crc32(repr(seen).encode()):08x}"
