"""The right half of the first tab: a run while it works, and after."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import gradio as gr

from trainer.errors import RunError
from trainer.runs.ownership import OwnRuns
from trainer.runs.view import LIVE, RunView
from trainer.ui import charts, run_panel
from trainer.ui.events import QUIET, afterwards
from trainer.ui.visitors import Visitors
from trainer.ui.words import NO_LOG, STATES, amount

PLOT_SECONDS = 2.0  # between two drawings of the curves while a run goes on
LOG_SECONDS = 2.0  # between two looks at the log while it is open
TO_THE_END = "const log = document.querySelector('#log textarea'); log.scrollTop = log.scrollHeight"
PICKED_FROM = 20  # the newest runs; the Runs tab has the others
TABLE = ["step", "epoch", "loss", "perplexity", "accuracy"]


class LiveView:
    """Fixed components that are told what changed; they hold no truth, so a reload or a second tab shows the same."""

    def __init__(self, visitors: Visitors) -> None:
        self.watched = gr.State(None)  # id of the run shown; None means the one that runs, or the newest
        self.seen = gr.State(())  # what this browser was last sent
        self.picker = gr.Dropdown(label="Run", container=False, visible=False, elem_id="run-picker")
        self.panel = gr.HTML(run_panel.panel(None), elem_id="run-panel")
        with gr.Row(visible=False, elem_classes="plots") as self.plots:
            self.loss = _chart("loss", "Loss", "nats per masked token")
            self.perplexity = _chart("perplexity", "Perplexity", "held out")
        self.probe = gr.HTML("", elem_id="probe")
        self.resume_button = gr.Button("Resume", visible=False, size="lg", elem_id="resume")
        self.try_button = gr.Button("Try this model", variant="primary", size="lg", visible=False, elem_id="try-model")
        with gr.Accordion("Numbers and settings of this run", open=False, visible=False) as self.details:
            self.table = gr.Dataframe(headers=TABLE, interactive=False, label="Held out", buttons=["copy"])
            self.settings = gr.Code(language="json", label="Settings", interactive=False)
        self.update = visitors.own(self.refresh)  # for the inputs that follow
        self.inputs = [visitors.key, self.watched, self.seen]
        self._build_log(visitors)

    def _build_log(self, visitors: Visitors) -> None:
        """The end of the log, read only while it is open."""
        with gr.Accordion("Log", open=False, elem_id="log") as folded:
            text = gr.Textbox(show_label=False, container=False, lines=4, max_lines=16, interactive=False,
                              placeholder=NO_LOG, buttons=["copy"], elem_classes="verbatim")  # fmt: skip
        timer = gr.Timer(LOG_SECONDS, active=False)
        read, inputs = visitors.own(self.log), [visitors.key, self.watched]
        opened = folded.expand(read, inputs, text, **QUIET)
        opened.then(None, None, None, js=afterwards(TO_THE_END)).then(
            lambda: gr.Timer(active=True), None, timer, **QUIET
        )
        folded.collapse(lambda: gr.Timer(active=False), None, timer, **QUIET)
        timer.tick(read, inputs, text, **QUIET)

    def log(self, runs: OwnRuns, watched: str | None) -> str:
        """The end of the log of the run that is shown."""
        view = self.shown(runs, watched)
        return runs.log(view.id) if view else ""

    def outputs(self, start: gr.Button, stop: gr.Button) -> list[Any]:
        """The components that `refresh` returns values for."""
        run = [self.panel, self.probe, self.resume_button, self.try_button, self.details, self.table, self.settings]
        return [self.picker, *run, start, stop, self.plots, self.loss, self.perplexity, self.seen]

    def choices(self, runs: OwnRuns, shown: str | None = None) -> list[tuple[str, str]]:
        """The newest runs and the one that is shown, with their states, for the picker."""
        views = runs.views()
        offered = views[:PICKED_FROM] + [view for view in views[PICKED_FROM:] if view.id == shown]
        return [(f"{view.name} · {STATES[view.state]}", view.id) for view in offered]

    def shown(self, runs: OwnRuns, watched: str | None) -> RunView | None:
        """The run to show: the one asked for, else the one that runs, else the newest."""
        if watched:
            with suppress(RunError):  # its folder may have been removed
                return runs.view(watched)
        return runs.current() or runs.latest()

    def refresh(self, runs: OwnRuns, watched: str | None, seen: tuple[Any, ...]) -> list[Any] | dict[str, Any]:
        """What timer and page load send; nothing when this browser has it all."""
        view = self.shown(runs, watched)
        if view is None or (seen and seen[0] == (view.id, view.version)):
            return gr.skip()
        _, drawn, drawn_at, offered = seen or ((), (), 0.0, None)
        curves = (view.id, len(view.points), len(view.evaluations), view.steps, view.is_over)
        now = time.time()
        redraw = curves != drawn and (view.is_over or view.id not in drawn or now - drawn_at >= PLOT_SECONDS)
        # What was held back for later must not count as seen.
        version = (view.id, view.version) if redraw or curves == drawn else ()
        choices = (view.id, self.choices(runs, view.id))  # sent when they change, for an update closes an open list
        pick = gr.update(choices=choices[1], value=view.id, visible=len(choices[1]) > 1)
        return [
            pick if choices != offered else gr.skip(),
            *_run_updates(view, runs),
            *(_plot_updates(view) if redraw else [gr.skip()] * 3),
            (version, curves if redraw else drawn, now if redraw else drawn_at, choices),
        ]


def _run_updates(view: RunView, runs: OwnRuns) -> list[Any]:
    live = view.state in LIVE or view.state == "queued"
    return [
        run_panel.panel(view),
        run_panel.probe(view),
        gr.update(visible=view.can_resume),
        gr.update(visible=view.has_model and view.is_over),
        gr.update(visible=bool(view.evaluations)),
        [[e["step"], f"{e['epoch']:.2f}", amount(e["loss"], 4), amount(e["perplexity"]), f"{e['accuracy']:.1%}"]
         for e in view.evaluations],
        _settings(view, runs),
        gr.update(visible=not live),
        gr.update(visible=live, interactive=view.state != "stopping"),
    ]  # fmt: skip


def _plot_updates(view: RunView) -> list[Any]:
    return [
        gr.update(visible=bool(view.points or view.evaluations)),
        charts.loss_frame(view),
        charts.perplexity_frame(view),
    ]


def _settings(view: RunView, runs: OwnRuns) -> str:
    """The settings that are on, without the machine's own paths."""
    values = asdict(view.config) if view.config else {}
    for name in {"model", "dataset"} & values.keys():
        values[name] = runs.title(values[name])
    return json.dumps({k: v for k, v in values.items() if v is not None}, indent=2, ensure_ascii=False)


def _chart(y: str, title: str, y_title: str) -> gr.LinePlot:
    return gr.LinePlot(
        x="step", y=y, color="curve", color_map=charts.COLORS, height=260, title=title, x_title="step", y_title=y_title,
        color_title=" ", y_axis_format=".4~g", buttons=["fullscreen", "export"], min_width=280, elem_id=f"{y}-chart",
    )  # fmt: skip
