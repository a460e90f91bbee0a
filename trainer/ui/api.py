"""The HTTP interface: the same services as the page, by name; with Gradio's MCP server these are its tools."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr

from trainer.inference.worker import FillService
from trainer.limits import Limits
from trainer.runs.manager import RunManager
from trainer.ui import form
from trainer.ui.events import spoken


def build_api(runs: RunManager, fills: FillService, limits: Limits) -> None:
    """Registers /fill_mask, /start_run, /run_status, /stop_run and /list_runs."""

    def fill_mask(text: str, model: str = "bundled", top_k: float = 5) -> list[list[dict[str, Any]]]:
        """Fill every <mask> in a text with its most likely tokens.

        Args:
            text: A text with one or more <mask> in it.
            model: "bundled", a Hugging Face Hub id, or the id of a finished run.
            top_k: How many candidates for each mask, 1 to 100.

        Returns:
            One list per mask of {"score", "token", "token_str", "sequence"}, most likely first.
        """
        filled = fills.fill(text, form.public_model(model, runs), top_k)
        return [[asdict(candidate) for candidate in mask.candidates] for mask in filled]

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

    limits = {fill_mask: {"concurrency_limit": 4, "concurrency_id": "fill"}}
    for endpoint in (fill_mask, start_run, run_status, stop_run, list_runs):
        named = {"api_name": endpoint.__name__, **limits.get(endpoint, {"concurrency_limit": 8})}
        gr.api(spoken(endpoint, show=str), **named)
