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
    """Two timers without looks: one sees whether a run waits, the other, on only then, has it work.

    Each slice is a request of its own, as the visitor's quota comes with a request, and the proof of it grows old.
    """
    wanted = gr.State(False)
    asking = gr.Timer(LOOK_SECONDS, active=False)

    def look(runs: OwnRuns, was_wanted: bool) -> Any:
        is_wanted = slicer.next_of(runs) is not None
        return gr.skip() if is_wanted == was_wanted else (gr.Timer(active=is_wanted), is_wanted)

    gr.Timer(LOOK_SECONDS).tick(visitors.own(look), [visitors.key, wanted], [asking, wanted], **QUIET)
    asking.tick(spoken(visitors.own(slicer.slice_of)), visitors.key, None, **SLICED)
