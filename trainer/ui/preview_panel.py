"""The button and the panel that show a text as it is understood, before the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.runs.ownership import OwnRuns
from trainer.runs.preview import PreviewService
from trainer.ui import preview_html
from trainer.ui.events import QUIET
from trainer.ui.visitors import Visitors
from trainer.ui.words import PREVIEW

# One at a time is made; a newer question takes the place of one that waits.
LOOKING: dict[str, Any] = {
    "show_progress": "hidden", "api_visibility": "private", "trigger_mode": "always_last", "concurrency_limit": 4,
    "concurrency_id": "preview",
}  # fmt: skip
MARK_STALE = "() => document.querySelector('#preview')?.classList.add('stale')"
MARK_FRESH = MARK_STALE.replace("add", "remove")


@dataclass(frozen=True, slots=True)
class PreviewPanel:
    """The widgets; where they stand is the tab's business."""

    button: gr.Button
    answer: gr.HTML

    def connect(
        self,
        previews: PreviewService,
        visitors: Visitors,
        asked: Callable[..., TrainConfig],
        inputs: Sequence[Any],
        triggers: Sequence[Callable[..., Any]],
        outdated_by: Sequence[Callable[..., Any]],
    ) -> None:
        """Makes a preview of what is `asked` by the `inputs` at each of the `triggers`, and at the button."""

        def look(runs: OwnRuns, *values: Any) -> Iterator[str]:
            yield preview_html.waiting()
            try:
                yield preview_html.shown(previews.preview(asked(runs, *values)))
            except TrainerError as error:
                yield preview_html.refused(error)

        for trigger in (self.button.click, *triggers):
            trigger(None, None, None, js=MARK_FRESH, **QUIET)
            trigger(visitors.own(look), list(inputs), self.answer, **LOOKING)
        gr.on(outdated_by, None, None, None, js=MARK_STALE, **QUIET)


def preview_panel() -> PreviewPanel:
    """The panel to be placed by `answer.render()`; its button stands where this is called."""
    return PreviewPanel(gr.Button(PREVIEW, size="lg", elem_id="look"), gr.HTML(elem_id="preview", render=False))
