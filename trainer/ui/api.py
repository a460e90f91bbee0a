"""The HTTP interface: the same services as the page, by name; with Gradio's MCP server these are its tools."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.inference.worker import FillService
from trainer.limits import Limits
from trainer.runs.manager import RunManager
from trainer.ui import form
from trainer.ui.events import FILLING, LONG, spoken
from trainer.ui.fill_api import fill_endpoints


def build_api(runs: RunManager, fills: FillService, limits: Limits) -> None:
    """Registers /start_run, /run_status, /stop_run and /list_runs, and the endpoints of `fill_api`."""

    def start_run(config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start fine-tuning a masked language model; runs wait for one another in a queue.

        Args:
            config: Settings by name, such as {"model": "bundled", "dataset": "bundled", "num_train_epochs": 3}.

        Returns:
            The state of the new run; its id stands under "run".
        """
        return runs.view(runs.start(limits.applied_to(form.public_config(config or {}, runs)))).summary()

    def run_status(run: str) -> dict[str, Any]:
        """State, progress, loss and perplexity of a run.

        Args:
            run: The id of the run.
        """
        return runs.view(run).summary()

    def stop_run(run: str) -> dict[str, Any]:
        """Stop a run; what it has learned so far is kept.

        Args:
            run: The id of the run.
        """
        runs.stop(run)
        return runs.view(run).summary()

    def list_runs() -> list[dict[str, Any]]:
        """All runs, newest first, with state, loss and perplexity."""
        return [view.summary() for view in runs.views()]

    for endpoint in fill_endpoints(runs, fills):
        name = endpoint.__name__
        gr.api(spoken(endpoint, show=str), api_name=name, **(LONG if name == "fill_file" else FILLING))
    for endpoint in (start_run, run_status, stop_run, list_runs):
        gr.api(spoken(endpoint, show=str), api_name=endpoint.__name__, concurrency_limit=8)
