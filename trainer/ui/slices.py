"""What lets the runs of a visitor work where a GPU is lent: their page asks for one slice after another."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.runs.ownership import OwnRuns
from trainer.runs.zero_gpu import Slicer
from trainer.ui.events import QUEUED, QUIET, spoken
from trainer.ui.visitors import Visitors

LOOK_SECONDS = 1.0
# A slice takes a minute, in which nobody else is kept waiting; who is lent a GPU when is decided elsewhere.
SLICED: dict[str, Any] = QUEUED | {"concurrency_limit": 16, "concurrency_id": "slice"}


def build_slices(visitors: Visitors, slicer: Slicer) -> None:
    """Two timers without looks, and /next_slice for those who have no page: each slice is a request of its own.

    The visitor's quota comes with a request, and the proof of it grows old. One timer sees whether a run waits, the
    other, which is on only then, has it work.
    """
    wanted = gr.State(False)
    asking = gr.Timer(LOOK_SECONDS, active=False)

    def look(runs: OwnRuns, was_wanted: bool) -> Any:
        is_wanted = slicer.next_of(runs) is not None
        return gr.skip() if is_wanted == was_wanted else (gr.Timer(active=is_wanted), is_wanted)

    gr.Timer(LOOK_SECONDS).tick(visitors.own(look), [visitors.key, wanted], [asking, wanted], **QUIET)
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
