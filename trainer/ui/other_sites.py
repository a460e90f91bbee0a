"""What a browser sends at another site's wish."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]

# The names of a page at a desk. Another site can have its own name lead there, and then is no other site to a browser.
LOCAL = ("localhost", "127.0.0.1", "[::1]")


class AsStrangers:
    """Serves requests that another site's page has made as those of a stranger: without cookie and sign-in.

    On a Space the page lives in a frame, so its cookie must be one that browsers send from everywhere, and Gradio
    answers all origins. Who isn't signed in is known by a key that other sites can't read.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], hosts: tuple[str, ...] = ()) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}  # by which the page may be called besides that of the request

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and self._is_from_elsewhere(scope):
            # A copy: the middleware around this one shall neither lose nor renew the visitor's session.
            headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
            scope = {**scope, "headers": headers, "session": {}}
        await self._app(scope, receive, send)

    def _is_from_elsewhere(self, scope: Scope) -> bool:
        headers = {name: value.decode("latin-1").lower() for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        return origin is not None and origin.partition("://")[2] not in {headers.get(b"host"), *self._hosts}
