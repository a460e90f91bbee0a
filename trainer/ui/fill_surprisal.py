"""A sentence coloured by how much each of its words surprises the model."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.inference.worker import FillService
from trainer.predictions import ScoredSentence
from trainer.runs.ownership import OwnRuns
from trainer.ui import fill_html, form
from trainer.ui.events import ASKED, FILLING, HIDDEN, QUIET, forgotten_with, spoken
from trainer.ui.visitors import Visitors
from trainer.ui.words import BITS, NATS, NO_SURPRISAL

COLUMNS = ["token", "surprisal", "probability"]


def build_surprisal(
    button: gr.Button, text: gr.Textbox, model: gr.Dropdown, visitors: Visitors, fills: FillService
) -> gr.Column:
    """Lays out the coloured sentence and connects it to its button."""
    with gr.Column(visible=False) as column:
        measured = gr.State(None)  # text and its surprisal, for another unit needs no model
        coloured = gr.HTML(fill_html.empty(NO_SURPRISAL), elem_id="surprisal", js_on_load=None)
        unit = gr.Radio(
            [NATS, BITS],
            value=NATS,
            label="Unit",
            show_label=False,
            container=False,
            elem_id="unit",
            elem_classes="pills",
        )
        with gr.Accordion("The same as a table", open=False, visible=False) as folded:
            table = gr.Dataframe(headers=COLUMNS, interactive=False, wrap=True, buttons=["copy"], label="Surprisal")

    def measure(runs: OwnRuns, asked: str, name: str, in_unit: str) -> list[Any]:
        scored = fills.score(asked, form.public_model(name, runs))
        return [(asked, scored), *_shown(asked, scored, in_unit)]

    def convert(known: tuple[str, ScoredSentence] | None, in_unit: str) -> Any:
        return _shown(*known, in_unit) if known else gr.skip()

    outputs = [coloured, folded, table]
    button.click(
        spoken(visitors.own(measure)),
        [visitors.key, text, model, unit],
        [measured, *outputs],
        show_progress_on=coloured,
        **ASKED,
        **FILLING,
    )
    unit.change(convert, [measured, unit], outputs, **QUIET)
    forgotten_with(model, {measured: None, coloured: fill_html.empty(NO_SURPRISAL), folded: HIDDEN})
    return column


def _shown(text: str, scored: ScoredSentence, unit: str) -> list[Any]:
    return [
        fill_html.coloured(text, scored, unit),
        gr.update(visible=True),
        gr.update(headers=["token", f"surprisal ({unit})", "probability"], value=fill_html.token_rows(scored, unit)),
    ]
