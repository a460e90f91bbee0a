"""Several runs side by side: their held-out curves in one chart, and their settings with the differences marked."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from trainer.errors import RunError
from trainer.runs.comparison import ComparedSetting, compared, measured_apart
from trainer.runs.ownership import OwnRuns
from trainer.runs.view import RunView
from trainer.ui import charts
from trainer.ui.events import CHOSEN, QUIET
from trainer.ui.visitors import Visitors
from trainer.ui.words import APART, CUT_DIFFERENTLY, DIFFERS, UNKNOWN, amount, label_of

FEWEST, MOST = 2, len(charts.RUN_COLORS)
FIGURES = ["run", "step", "epoch", "loss", "perplexity", "accuracy"]


class Comparison:
    """Hidden until runs are compared."""

    def __init__(self, visitors: Visitors) -> None:
        self.ids = gr.State([])
        with gr.Column(visible=False, elem_id="comparison") as self.column:
            gr.Markdown("### Comparison")
            self.legend = gr.HTML(elem_id="legend")
            self.curves = charts.curves()
            with gr.Accordion("The curves as a table", open=False):
                self.figures = gr.Dataframe(headers=FIGURES, interactive=False, buttons=["copy"], show_label=False)
            self.only = gr.Checkbox(
                True, label="Only settings that differ", container=False, elem_id="only-differences"
            )
            self.settings = gr.Dataframe(
                interactive=False, wrap=True, buttons=["copy"], show_label=False, elem_id="compared-settings"
            )
            close = gr.Button("Close the comparison", size="sm", elem_id="close-comparison")
        self.outputs = [self.ids, self.column, self.legend, self.curves, self.figures, self.settings]
        inputs = [visitors.key, self.ids, self.only]
        self.only.input(visitors.own(_settings), inputs, self.settings, **CHOSEN)
        close.click(lambda: gr.update(visible=False), None, self.column, **QUIET)

    def shown(self, runs: OwnRuns, views: list[RunView], only_differences: bool) -> list[Any]:
        """What `outputs` get to compare these runs. Raises: RunError when they are too few or too many."""
        if not FEWEST <= len(views) <= MOST:
            raise RunError(f"{len(views)} runs are chosen.", f"Choose {FEWEST} to {MOST} to compare them.")
        names, ids = charts.run_names(views), [view.id for view in views]
        return [
            ids,
            gr.update(visible=True),
            _legend(names) + _note(views),
            [
                charts.held_out_chart(views, "loss", "Held-out loss", "nats per masked token"),
                charts.held_out_chart(views, "perplexity", "Held-out perplexity", ""),
            ],
            _figures(names, views),
            _settings(runs, ids, only_differences),
        ]


def _settings(runs: OwnRuns, ids: list[str], only_differences: bool) -> dict[str, Any]:
    """The table of settings: one column a run, and one with the word that marks a difference."""
    views = [view for view in runs.views() if view.id in ids]
    rows = [
        [label_of(setting.name), *_values(runs, setting), DIFFERS if setting.differs else ""]
        for setting in compared([view.config for view in views])
        if setting.differs or not only_differences
    ]
    return {"headers": ["setting", *charts.run_names(views), ""], "data": rows}


def _values(runs: OwnRuns, setting: ComparedSetting) -> list[str]:
    sources = setting.name in ("model", "dataset")
    texts = [_text(runs.title(value) if sources and value else value) for value in setting.values]
    if len({*texts}) == len({*setting.values}):
        return texts
    different = list(dict.fromkeys(setting.values))  # two files of the same name
    return [f"{t} ({different.index(v) + 1})" for t, v in zip(texts, setting.values, strict=True)]


def _legend(names: list[str]) -> str:
    """Which colour is which run: both charts share it, and a chart's own has no room for long names."""
    colored = zip(names, charts.RUN_COLORS.values(), strict=False)
    entries = (f'<li><span style="background: {color}"></span>{escape(name)}</li>' for name, color in colored)
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _note(views: list[RunView]) -> str:
    """Why the figures of these runs can't be held against each other; empty when they can."""
    counts = {view.evaluations[0]["masked_tokens"] for view in views if view.evaluations}
    names = measured_apart(compared([view.config for view in views]))
    note = CUT_DIFFERENTLY if len(counts) > 1 else ""
    if names:
        note = APART.format(", ".join(label_of(name) for name in names))
    return note and f'<div class="warning">{note}</div>'


def _figures(names: list[str], views: list[RunView]) -> list[list[Any]]:
    return [
        [name, e["step"], f"{e['epoch']:.2f}", amount(e["loss"], 4), amount(e["perplexity"]), f"{e['accuracy']:.1%}"]
        for name, view in zip(names, views, strict=True)
        for e in view.evaluations
    ]


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
