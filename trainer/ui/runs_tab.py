"""The third tab: every run, to be opened, compared, renamed, downloaded or deleted."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.errors import RunError
from trainer.runs.label import LABEL_CHARACTERS
from trainer.runs.ownership import OwnRuns
from trainer.runs.view import RunView
from trainer.ui.comparison import FEWEST, MOST, Comparison
from trainer.ui.events import CHOSEN, HIDDEN, QUEUED, QUIET, afterwards, spoken
from trainer.ui.fill_mask_tab import ASK_IT, tried
from trainer.ui.fine_tune_tab import FineTuneTab
from trainer.ui.news import mark_of
from trainer.ui.runs_table import build_runs_table, news
from trainer.ui.visitors import Visitors
from trainer.ui.words import NAME_INFO, RUN_ACTIONS, packed, really_delete

POLL_SECONDS = 2.0  # while the tab is open
SHOWN = gr.update(visible=True)
SAVE_IT = "document.querySelector('#save-zip').click()"
SHOW_RUN = "document.querySelector('#run-panel').scrollIntoView({block: 'nearest'})"
SHOW_COMPARISON = "document.querySelector('#comparison').scrollIntoView()"


class RunsTab:
    """Every run in a table, and what can be done with those that are chosen in it."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self.seen = gr.State(None)  # the version of each run that this browser was sent
        with gr.Row(elem_classes="actions"):
            self.buttons = {name: _button(name, label) for name, label in RUN_ACTIONS.items()}
        with gr.Row(visible=False, elem_classes="drawer") as renaming:
            self.label = gr.Textbox(
                label="Name", info=NAME_INFO, max_length=LABEL_CHARACTERS, scale=4, min_width=240, elem_id="label"
            )
            self.save = gr.Button("Save", variant="primary", size="md", min_width=100, elem_id="save-label")
            cancel = gr.Button("Cancel", size="md", min_width=100)
        with gr.Row(visible=False, elem_classes="drawer") as deleting:
            self.question = gr.HTML(elem_id="question")
            self.really = gr.Button("Delete", variant="stop", size="md", min_width=100, elem_id="really-delete")
            keep = gr.Button("Keep", size="md", min_width=100, elem_id="keep")
        with gr.Row(visible=False, elem_classes="drawer") as packing:
            self.packed = gr.HTML(elem_id="packed")
            self.zip = gr.DownloadButton("Save", variant="primary", size="md", min_width=100, elem_id="save-zip")
        self.drawers = [renaming, deleting, packing]
        self.table = build_runs_table()
        self.comparison = Comparison(visitors)
        self.timer = gr.Timer(POLL_SECONDS, active=False)
        self.mark = gr.Textbox(visible="hidden")  # another text where a run changed, heard while the tab is open
        for button in (cancel, keep):
            button.click(lambda: [HIDDEN] * 3, None, self.drawers, **QUIET)

    def connect(
        self, tab: gr.Tab, others: list[gr.Tab], tabs: gr.Tabs, tune: FineTuneTab, fill_form: list[Any]
    ) -> None:
        """Says what each button does, on this tab and the others."""
        click = {name: button.click for name, button in self.buttons.items()}
        own, chosen = self._visitors.own, [self._visitors.key, self.table]
        refreshed = own(self.refresh), [*chosen, self.seen], [self.table, self.seen, *self.buttons.values()]

        def then_refresh(event: Any) -> None:
            event.success(*refreshed, **QUIET)

        tab.select(*refreshed, **QUIET)
        tab.select(lambda: gr.Timer(active=True), None, self.timer, **QUIET)
        for other in others:
            other.select(lambda: gr.Timer(active=False), None, self.timer, **QUIET)
        self.timer.tick(own(lambda runs: mark_of(_versions(runs))), self._visitors.key, self.mark, **QUIET)
        self.mark.change(*refreshed, **QUIET)
        self.table.input(own(self.choose), chosen, [*self.buttons.values(), *self.drawers], **CHOSEN)

        opened = click["open"](spoken(own(self.open)), chosen, [tabs, tune.live.watched], **QUEUED)
        tune.live.news.ask_after(opened)
        opened.success(None, None, None, js=afterwards(SHOW_RUN), **QUIET)
        tried_now = click["try"](spoken(own(self.try_model)), chosen, [tabs, *fill_form], **QUEUED)
        tried_now.success(None, None, None, js=ASK_IT, **QUIET)
        click["copy"](
            spoken(own(lambda runs, ids: [_go_to("train"), *tune.filled(runs, self._one(runs, ids).id)])),
            chosen, [tabs, *tune.form], **QUEUED,
        )  # fmt: skip
        then_refresh(click["resume"](spoken(own(self.resume)), chosen, None, **QUEUED))
        compared = [*chosen, self.comparison.only]
        shown_below = click["compare"](spoken(own(self.compare)), compared, self.comparison.outputs, **QUEUED)
        shown_below.success(None, None, None, js=afterwards(SHOW_COMPARISON), **QUIET)
        click["rename"](spoken(own(self.ask_name)), chosen, [self.label, *self.drawers], **QUEUED)
        for named in (self.save.click, self.label.submit):
            then_refresh(named(spoken(own(self.rename)), [*chosen, self.label], self.drawers, **QUEUED))
        click["delete"](spoken(own(self.ask_delete)), chosen, [self.question, *self.drawers], **QUEUED)
        then_refresh(self.really.click(spoken(own(self.delete)), chosen, self.drawers, **QUEUED))
        progress = {"show_progress": "full", "show_progress_on": self.packed}
        start = click["download"](
            lambda: [HIDDEN, HIDDEN, SHOWN, "", HIDDEN], None, [*self.drawers, self.packed, self.zip], **QUIET
        )
        zipped = start.then(spoken(own(self.pack)), chosen, [self.packed, self.zip], **QUEUED | progress)
        zipped.success(None, None, None, js=afterwards(SAVE_IT), **QUIET)
        zipped.failure(lambda: HIDDEN, None, self.drawers[2], **QUIET)

    def refresh(self, runs: OwnRuns, chosen: Any, seen: dict[str, Any] | None) -> Any:
        """What opening the tab and changes send; nothing when this browser has it all."""
        versions = _versions(runs)
        if versions == seen:
            return gr.skip()
        return [news(runs, runs.views(), seen or {}), versions, *self._allowed(runs, chosen)]

    def choose(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        """Which buttons apply to the runs that are chosen now; an open drawer was about others."""
        return [*self._allowed(runs, chosen), HIDDEN, HIDDEN, HIDDEN]

    def open(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        return [_go_to("train"), self._one(runs, chosen).id]

    def try_model(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        return [_go_to("fill"), *tried(runs, self._one(runs, chosen).id)]

    def resume(self, runs: OwnRuns, signed_in: gr.OAuthToken | None, chosen: Any) -> None:
        runs.resume(self._one(runs, chosen).id, token=signed_in.token if signed_in else "")

    def compare(self, runs: OwnRuns, chosen: Any, only_differences: bool) -> list[Any]:
        return self.comparison.shown(runs, self._chosen(runs, chosen), only_differences)

    def ask_name(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        return [self._one(runs, chosen).name, SHOWN, HIDDEN, HIDDEN]

    def rename(self, runs: OwnRuns, chosen: Any, label: str) -> list[Any]:
        runs.rename(self._one(runs, chosen).id, label)
        return [HIDDEN] * 3

    def ask_delete(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        names = [escape(view.name) for view in self._chosen(runs, chosen)]
        return [f'<div class="question">{really_delete(names)}</div>', HIDDEN, SHOWN, HIDDEN]

    def delete(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        for view in self._chosen(runs, chosen):
            runs.delete(view.id)
        return [HIDDEN] * 3

    def pack(self, runs: OwnRuns, chosen: Any, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        view = self._one(runs, chosen)
        path = runs.archive(view.id, Path(self.zip.GRADIO_CACHE), lambda share: progress(share, "Packing"))
        return [packed(path.name, path.stat().st_size, view.has_model), gr.update(value=path, visible=True)]

    def _allowed(self, runs: OwnRuns, chosen: Any) -> list[Any]:
        views = self._chosen(runs, chosen)
        one = views[0] if len(views) == 1 else None
        applies = {
            "try": one and one.has_model,
            "copy": one and one.config,
            "resume": one and one.can_resume,
            "compare": FEWEST <= len(views) <= MOST,
            "delete": views and all(view.is_over for view in views),
        }
        return [gr.update(interactive=bool(applies.get(name, one))) for name in self.buttons]

    def _chosen(self, runs: OwnRuns, ids: Any) -> list[RunView]:
        """The runs that are chosen in the table, newest first; it may name what is deleted by now."""
        return [view for view in runs.views() if view.id in (ids or [])]

    def _one(self, runs: OwnRuns, ids: Any) -> RunView:
        views = self._chosen(runs, ids)
        if len(views) != 1:
            raise RunError(f"{len(views)} runs are chosen.", "Choose one in the table.")
        return views[0]


def _versions(runs: OwnRuns) -> dict[str, tuple[object, ...]]:
    return {view.id: view.version for view in runs.views()}


def _button(name: str, label: str) -> gr.Button:
    variant = {"open": "primary", "delete": "stop"}.get(name, "secondary")
    return gr.Button(label, variant=variant, size="md", interactive=False, min_width=110, elem_id=f"{name}-run")


def _go_to(tab: str) -> Any:
    return gr.Tabs(selected=tab)
