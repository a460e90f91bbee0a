"""How handlers are connected, and how their errors are said."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr

from trainer.errors import TrainerError

# Plumbing of the page: not in the API's documentation, no spinner over what is being read, no waiting in line.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
# The same for what a hand chooses: the last choice holds. By itself Gradio drops one made while it answers another.
CHOSEN: dict[str, Any] = QUIET | {"trigger_mode": "always_last"}
# Plumbing for what may fail: only the queue carries an error's words to the page.
QUEUED: dict[str, Any] = QUIET | {"queue": True, "concurrency_limit": 8, "concurrency_id": "start"}
HIDDEN = gr.update(visible=False)
# Questions to a model: many at once, for those that wait together are answered together, but fewer than Gradio has
# threads (40), so that the page goes on. Those about whole files, which take long, keep nobody else waiting.
FILLING: dict[str, Any] = {"concurrency_limit": 32, "concurrency_id": "fill"}
LONG: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "file"}
# From the page: a newer question takes the place of one that waits.
ASKED: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "always_last"}


def spoken(handler: Callable[..., Any], show: Callable[[str], str] = escape) -> Callable[..., Any]:
    """`handler`, with the errors that a user may see said in words; others keep their traceback in the log.

    The page takes a message for markup, in which `<mask>` would vanish; for others `show` it unchanged.
    """

    def said(error: TrainerError) -> gr.Error:
        return gr.Error(show(str(error)), print_exception=False)

    @functools.wraps(handler)
    def speaking(*values: Any, **named: Any) -> Any:
        try:
            return handler(*values, **named)
        except TrainerError as error:
            raise said(error) from None

    @functools.wraps(handler)
    def speaking_on(*values: Any, **named: Any) -> Iterator[Any]:
        try:
            yield from handler(*values, **named)
        except TrainerError as error:
            raise said(error) from None

    return speaking_on if inspect.isgeneratorfunction(handler) else speaking


def forgotten_with(model: gr.Dropdown, empty: dict[Any, Any]) -> None:
    """Empties an answer when another model is chosen, as whose answer it would be taken."""
    model.change(lambda: list(empty.values()), None, list(empty), **QUIET)


def afterwards(statement: str) -> str:
    """JavaScript for `js=`, run once the page shows what a handler sent."""
    return f"() => setTimeout(() => {{ {statement} }}, 200)"
