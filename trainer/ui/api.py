"""The HTTP interface: the same services as the page, by name; with Gradio's MCP server these are its tools."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.inference.worker import FillService
from trainer.limits import Limits
from trainer.ui import form
from trainer.ui.events import FILLING, LONG, spoken
from trainer.ui.fill_api import fill_endpoints
from trainer.ui.visitors import Visitors


def build_api(visitors: Visitors, fills: FillService, limits: Limits) -> None:
    """Registers /start_run, /run_status, /stop_run and /list_runs, and the endpoints of `fill_api`."""

    def start_run(config: dict[str, Any] | None = None, key: str = "") -> dict[str, Any]:
        """Start fine-tuning a masked language model; runs wait for one another in a queue.

        Args:
            config: Settings by name, such as {"model": "bundled", "dataset": "bundled", "num_train_epochs": 3}.
            key: The "key" of an earlier answer, for runs of the same owner.

        Returns:
            The state of the new run; its id stands under "run". On a public page also the "key" without which nobody
            finds the run again.
        """
        key = visitors.checked_key(key)
        runs = visitors.of(key)
        view = runs.view(runs.start(limits.applied_to(form.public_config(config or {}, runs))))
        return view.summary() | ({"key": key} if visitors.apart else {})

    def run_status(run: str, key: str = "") -> dict[str, Any]:
        """State, progress, loss and perplexity of a run.

        Args:
            run: The id of the run.
            key: What /start_run returned with it, if anything.
        """
        return visitors.of(key).view(run).summary()

    def stop_run(run: str, key: str = "") -> dict[str, Any]:
        """Stop a run; what it has learned so far is kept.

        Args:
            run: The id of the run.
            key: What /start_run returned with it, if anything.
        """
        runs = visitors.of(key)
        runs.stop(run)
        return runs.view(run).summary()

    def list_runs(key: str = "") -> list[dict[str, Any]]:
        """Your runs, newest first, with state, loss and perplexity.

        Args:
            key: What /start_run returned, if anything.
        """
        return [view.summary() for view in visitors.of(key).views()]

    for endpoint in fill_endpoints(visitors, fills):
        name = endpoint.__name__
        gr.api(spoken(endpoint, show=str), api_name=name, **(LONG if name == "fill_file" else FILLING))
    for endpoint in (start_run, run_status, stop_run, list_runs):
        gr.api(spoken(endpoint, show=str), api_name=endpoint.__name__, concurrency_limit=8)
