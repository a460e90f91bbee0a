"""Who asks, and so whose runs a handler may touch."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.oauth import _get_valid_oauth_info_from_session
from starlette.requests import Request

from trainer.errors import RunError
from trainer.runs.manager import RunManager
from trainer.runs.ownership import OwnRuns, Visitor, mark_of_key, mark_of_name, new_key

# Made by the browser's own generator of secrets, once; a visitor who comes back has it still.
MAKE_KEY = (
    "key => key || Array.from(crypto.getRandomValues(new Uint8Array(24)),"
    " byte => byte.toString(16).padStart(2, '0')).join('')"
)
KEY_HEADER = "X-Visitor"


class Visitors:
    """Tells visitors apart by a key that their browser keeps, and by the name of those who are signed in.

    Everything else that comes from a browser can be forged: ids of runs, states, calls of hidden handlers. So every
    handler gets its runs from here. Where nobody is told `apart`, as at a desk, everybody sees all.
    """

    def __init__(
        self,
        runs: RunManager,
        *,
        apart: bool = False,
        sign_in: bool = False,
        owner: str | None = None,
        most_runs: int | None = None,
    ) -> None:
        """`sign_in`: whether a name can be believed; `owner`: the name of who sees all; call it in a `gr.Blocks`."""
        self.apart = apart
        self._runs, self._sign_in, self._owner, self._most_runs = runs, sign_in, owner, most_runs
        # Both are fixed, or each restart would forget everybody. The secret is no secret: it is sent to every browser.
        self.key = gr.BrowserState("", storage_key="mask-studio-visitor", secret="mask-studio")

    def of(self, key: Any, name: str | None = None) -> OwnRuns:
        """The runs of whoever has this key, or is signed in by this name."""
        if not self.apart:
            return OwnRuns(self._runs, Visitor(sees_all=True))
        name = name if self._sign_in else None
        marks = [mark_of_name(name)] if name else []
        if mark := mark_of_key(key):
            marks.append(mark)
        sees_all = name is not None and name == self._owner
        return OwnRuns(self._runs, Visitor(marks=tuple(marks), sees_all=sees_all), most=self._most_runs)

    def asking(self, request: Request) -> OwnRuns:
        """The runs of whoever sends a request past Gradio's events: with the key in a header, or with its cookie."""
        session = _get_valid_oauth_info_from_session(request.scope.get("session", {}))
        return self.of(request.headers.get(KEY_HEADER), session["userinfo"]["preferred_username"] if session else None)

    def checked_key(self, key: str) -> str:
        """The key of who starts a run without a browser, or a new one for those who have none. Raises: RunError."""
        if self.apart and key and not mark_of_key(key):
            raise RunError("This is not a key.", "Leave it out to get one.")
        return key or new_key()

    def own(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """`handler`, called with the asking visitor's runs in the place of its first input, which must be `key`."""

        def name_in(profile: gr.OAuthProfile | None) -> str | None:
            return profile.username if profile else None

        def knowing(profile: gr.OAuthProfile | None, key: Any, *values: Any) -> Any:
            return handler(self.of(key, name_in(profile)), *values)

        def knowing_on(profile: gr.OAuthProfile | None, key: Any, *values: Any) -> Iterator[Any]:
            yield from handler(self.of(key, name_in(profile)), *values)

        chosen: Any = knowing_on if inspect.isgeneratorfunction(handler) else knowing
        # Gradio reads from names and hints what a handler wants besides its inputs.
        own, others = inspect.signature(chosen).parameters, inspect.signature(handler).parameters
        parameters = [own["profile"], own["key"], *list(others.values())[1:]]
        chosen.__signature__ = inspect.Signature(parameters)
        hints = typing.get_type_hints(handler)
        chosen.__annotations__ = {name: hints[name] for name in others if name in hints} | chosen.__annotations__
        return chosen
