"""How handlers are connected, and how their errors are said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from trainer.errors import TrainerError

# Plumbing of the page: not in the API's documentation, no spinner over what is being read, no waiting in line.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
# The same for what may fail: only the queue carries an error's words to the page.
QUEUED: dict[str, Any] = QUIET | {"queue": True, "concurrency_limit": 8, "concurrency_id": "start"}


def spoken(handler: Callable[..., Any], show: Callable[[str], str] = escape) -> Callable[..., Any]:
    """`handler`, with the errors that a user may see said in words; others keep their traceback in the log.

    The page takes a message for markup, in which `<mask>` would vanish; for others `show` it unchanged.
    """

    @functools.wraps(handler)
    def speaking(*values: Any, **named: Any) -> Any:
        try:
            return handler(*values, **named)
        except TrainerError as error:
            raise gr.Error(show(str(error)), print_exception=False) from None

    return speaking


def afterwards(statement: str) -> str:
    """JavaScript for `js=`, run once the page shows what a handler sent."""
    return f"() => setTimeout(() => {{ {statement} }}, 200)"
