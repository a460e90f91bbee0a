"""What lets the runs of a visitor work where a GPU is lent: their page asks for one slice after another."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.runs.ownership import OwnRuns
from trainer.runs.view import RunView
from trainer.runs.zero_gpu import Slicer
from trainer.ui.events import QUEUED, spoken
from trainer.ui.news import News
from trainer.ui.visitors import Visitors

ASK_SECONDS = 1.0
# A slice takes a minute, in which nobody else is kept waiting; who is lent a GPU when is decided elsewhere.
SLICED: dict[str, Any] = QUEUED | {"concurrency_limit": 16, "concurrency_id": "slice"}


def build_slices(visitors: Visitors, slicer: Slicer, news: News) -> None:
    """A timer without looks, and /next_slice for those who have no page: each slice is a request of its own.

    The visitor's quota comes with a request, and the proof of it grows old. The timer is on while a run waits.
    """
    asking = gr.Timer(ASK_SECONDS, active=False)

    def is_wanted(runs: OwnRuns, view: RunView | None) -> bool:
        return slicer.next_of(runs) is not None

    news.send(is_wanted, lambda runs, view: gr.Timer(active=is_wanted(runs, view)), asking)
    asking.tick(spoken(visitors.own(slicer.slice_of)), visitors.key, None, **SLICED)

    def next_slice(key: str = "") -> dict[str, Any]:
        """Let the first of your runs that wait work for one slice on a lent GPU, from your quota.

        Args:
            key: What /start_run returned, if anything.

        Returns:
            The state of that run; nothing when none waits, or one works already.
        """
        runs = visitors.of(key)
        run_id = slicer.next_of(runs)
        for _ in slicer.slice_of(runs):
            pass
        return runs.view(run_id).summary() if run_id else {}

    gr.api(spoken(next_slice, show=str), api_name="next_slice", concurrency_limit=16, concurrency_id="slice")
