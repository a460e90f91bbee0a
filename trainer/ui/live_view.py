"""The right half of the first tab: a run while it works, and after."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from trainer.runs.ownership import OwnRuns
from trainer.runs.view import LIVE, RunView
from trainer.ui import charts, run_panel
from trainer.ui.events import HIDDEN, QUIET, afterwards
from trainer.ui.news import News, Of
from trainer.ui.visitors import Visitors
from trainer.ui.words import NO_LOG, START, START_ANOTHER, STATES, amount

CURVES_SECONDS = 2.0  # between two drawings of the curves while a run goes on, until there were `DRAWINGS`
DRAWINGS = 300  # a run that grew by less than one in so many shows it by a pixel or two
LOG_SECONDS = 2.0  # between two looks at the log while it is open
TO_THE_END = "const log = document.querySelector('#log textarea'); log.scrollTop = log.scrollHeight"
PICKED_FROM = 20  # the newest runs; the Runs tab has the others
TABLE = ["step", "epoch", "loss", "perplexity", "accuracy"]


class LiveView:
    """Fixed components that are told what changed; they hold no truth, so a reload or a second tab shows the same."""

    def __init__(self, visitors: Visitors) -> None:
        self.news = News(visitors)
        self.watched = self.news.watched
        self.picker = gr.Dropdown(label="Run", container=False, visible=False, elem_id="run-picker")
        gr.HTML(run_panel.panel(None), elem_id="run-panel", js_on_load=_written("panel"))
        charts.curves(js_on_load='news.on("curves", (charts) => drawCurves(element, charts))')
        gr.HTML("", elem_id="probe", js_on_load=_written("probe"))
        self.resume_button = gr.Button("Resume", visible=False, size="lg", elem_id="resume")
        self.try_button = gr.Button("Try this model", variant="primary", size="lg", visible=False, elem_id="try-model")
        with gr.Accordion("Numbers and settings of this run", open=False, visible=False) as self.details:
            self.table = gr.Dataframe(headers=TABLE, interactive=False, label="Held out", buttons=["copy"])
            self.settings = gr.Code(language="json", label="Settings", interactive=False)
        self._build_log(visitors)

    def connect(self, start: gr.Button, stop: gr.Button) -> None:
        """Tells or sends each part when it changed, and no other; an update of the picker would close its open list."""

        def looked(look: Callable[[OwnRuns, RunView], object]) -> Of:
            return lambda runs, view: view and (view.id, look(runs, view))

        self.news.tell("panel", looked(_version), lambda runs, view: run_panel.panel(view))
        self.news.tell("probe", looked(_probed), lambda runs, view: run_panel.probe(view))
        self.news.tell("curves", looked(_drawn), _curves)
        self.news.send(looked(self.choices), self._pick, self.picker)
        self.news.send(
            looked(lambda runs, view: (view.state, view.can_resume, view.has_model, len(view.evaluations))),
            _rest,
            [self.resume_button, self.try_button, self.details, self.table, self.settings, start, stop],
        )

    def _build_log(self, visitors: Visitors) -> None:
        """The end of the log, read only while it is open."""
        with gr.Accordion("Log", open=False, elem_id="log") as folded:
            text = gr.Textbox(label="The end of the log", lines=4, max_lines=16, interactive=False,
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
        view = runs.shown(watched)
        return runs.log(view.id) if view else ""

    def choices(self, runs: OwnRuns, shown: RunView | None) -> list[tuple[str, str]]:
        """The newest runs and the one that is shown, with their states, for the picker."""
        views = runs.views()
        offered = views[:PICKED_FROM] + [view for view in views[PICKED_FROM:] if shown and view.id == shown.id]
        return [(f"{view.name} · {STATES[view.state]}", view.id) for view in offered]

    def offered(self, runs: OwnRuns, watched: str | None) -> Any:
        """The picker's list as it stands now, whatever is chosen in it."""
        return gr.update(choices=self.choices(runs, runs.shown(watched)))

    def _pick(self, runs: OwnRuns, view: RunView | None) -> Any:
        choices = self.choices(runs, view)
        return gr.update(choices=choices, value=view and view.id, visible=len(choices) > 1)


def _version(runs: OwnRuns, view: RunView) -> object:
    return view.version


def _probed(runs: OwnRuns, view: RunView) -> object:
    return len(view.probes), view.probes[-1:]


def _drawn(runs: OwnRuns, view: RunView) -> object:
    """What the curves show; of a run that goes on, its newest points now and then."""
    seconds = view.points[-1]["elapsed_seconds"] or 0.0 if view.points else None
    newest = len(view.points) if view.is_over or seconds is None else drawings(seconds)
    return newest, len(view.evaluations), view.steps, view.is_over


def drawings(seconds: float) -> int:
    """How often the curves of a run of that length were drawn: at first every `CURVES_SECONDS`, then as it grows."""
    first = DRAWINGS * CURVES_SECONDS
    return 1 + int(seconds / CURVES_SECONDS if seconds < first else DRAWINGS * (1 + math.log(seconds / first)))


def _curves(runs: OwnRuns, view: RunView | None) -> list[charts.Chart]:
    return [charts.loss_chart(view), charts.perplexity_chart(view)] if view else []


def _rest(runs: OwnRuns, view: RunView | None) -> list[Any]:
    if view is None:
        return [HIDDEN, HIDDEN, HIDDEN, gr.skip(), gr.skip(), gr.update(value=START, variant="primary"), HIDDEN]
    live = view.state in LIVE or view.state == "queued"
    return [
        gr.update(visible=view.can_resume),
        gr.update(visible=view.has_model and view.is_over),
        gr.update(visible=bool(view.evaluations)),
        [[e["step"], f"{e['epoch']:.2f}", amount(e["loss"], 4), amount(e["perplexity"]), f"{e['accuracy']:.1%}"]
         for e in view.evaluations],
        _settings(view, runs),
        gr.update(value=START_ANOTHER, variant="secondary") if live else gr.update(value=START, variant="primary"),
        gr.update(visible=live, interactive=view.state != "stopping"),
    ]  # fmt: skip


def _settings(view: RunView, runs: OwnRuns) -> str:
    """The settings that are on, without the machine's own paths."""
    values = asdict(view.config) if view.config else {}
    for name in {"model", "dataset"} & values.keys():
        values[name] = runs.title(values[name])
    return json.dumps({k: v for k, v in values.items() if v is not None}, indent=2, ensure_ascii=False)


def _written(name: str) -> str:
    """JavaScript that writes the HTML of that name when it is told."""
    return f'news.on("{name}", (html) => props.value = html)'
