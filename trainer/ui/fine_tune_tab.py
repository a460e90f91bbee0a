"""The first tab: choose text, model and settings on the left, watch the run on the right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.config import TrainConfig
from trainer.errors import ConfigError, DataError
from trainer.limits import Limits
from trainer.runs.ownership import OwnRuns
from trainer.runs.preview import PreviewService
from trainer.runs.uploads import keep_files, keep_text
from trainer.ui import form
from trainer.ui.code_panel import build_code_panel
from trainer.ui.events import CHOSEN, QUEUED, QUIET, spoken
from trainer.ui.live_view import LiveView
from trainer.ui.place_field import PlaceField
from trainer.ui.preview_panel import preview_panel
from trainer.ui.visitors import MAKE_KEY, Visitors
from trainer.ui.words import MY_FILE, NO_LONGER_OFFERED, PASTE, READY_MADE, SOURCES, START, label_of

FILE_TYPES = [".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".zip"]


@dataclass(frozen=True, slots=True)
class FineTuneTab:
    """What other tabs have to do with: the run shown, and the form."""

    live: LiveView
    source: gr.Radio
    dataset: gr.Dropdown
    model: gr.Dropdown
    settings: dict[str, gr.components.Component]

    @property
    def form(self) -> list[Any]:
        """The components that `filled` returns values for."""
        return [self.source, self.dataset, self.model, *self.settings.values()]

    def filled(self, runs: OwnRuns, run_id: str) -> list[Any]:
        """The form with the settings of a run; a notice says what of them is no longer on offer. Raises: RunError."""
        view = runs.view(run_id)
        values, gone = form.copied(view, runs)
        for name in gone:
            gr.Info(NO_LONGER_OFFERED.format(label_of(name).lower()))
        datasets = form.dataset_choices()
        if values["dataset"] == run_id and view.config:
            datasets.append((f"{runs.title(view.config.dataset)}, from {view.name}", run_id))
        chosen = [gr.update(choices=datasets, value=values["dataset"]),
                  gr.update(choices=form.model_choices(runs), value=values["model"])]  # fmt: skip
        return [READY_MADE, *chosen, *(values[name] for name in self.settings)]


def build_fine_tune_tab(
    page: gr.Blocks,
    visitors: Visitors,
    previews: PreviewService,
    limits: Limits,
    below: Callable[[LiveView], None],
    place_field: Callable[[], PlaceField],
) -> FineTuneTab:
    """Lays out the tab and connects it; `below` adds to the run that is shown, `place_field` asks where it works."""
    with gr.Row(elem_classes="fine-tune"):
        with gr.Column(scale=5, min_width=320, elem_classes="form"):
            source = gr.Radio(SOURCES, value=READY_MADE, label="1 · Text")
            with gr.Column(elem_classes="source") as ready_made:
                dataset = gr.Dropdown(
                    form.dataset_choices(), value="bundled", label="Data set", allow_custom_value=True,
                    info=form.about_dataset("bundled"), elem_id="dataset",
                )  # fmt: skip
            file = gr.File(
                label="Files", file_types=FILE_TYPES, file_count="multiple", visible=False, height=150, elem_id="file"
            )
            pasted = gr.Textbox(
                label="Text", lines=8, max_lines=14, visible=False, elem_id="pasted",
                info="A blank line ends a document; without blank lines, every line is one.",
            )  # fmt: skip
            model = gr.Dropdown(
                form.model_choices(), value="bundled", label="2 · Model", allow_custom_value=True,
                info=form.about_model("bundled"), elem_id="model",
            )  # fmt: skip
            gr.Markdown("3 · Settings", elem_classes="group-title")
            with gr.Row(elem_classes="beginner"):
                settings = form.setting_widgets(form.BEGINNER)
            with gr.Accordion("More settings", open=False):
                settings |= form.setting_widgets(form.more_settings())
            place = place_field()
            looked_at = preview_panel()
            stop = gr.Button("Stop", variant="stop", size="lg", visible=False, elem_id="stop")
            start = gr.Button(START, variant="primary", size="lg", elem_id="start")
            looked_at.answer.render()
            build_code_panel(source, dataset, file, model, settings)
        with gr.Column(scale=7, min_width=320, elem_classes="live"):
            live = LiveView(visitors)
            below(live)

    suited = [settings[name] for name in form.SUITED]
    # `input` comes of a visitor's hand alone: settings copied from a run stay as they are.
    source.input(
        lambda origin, name: form.suited_split(name if origin == READY_MADE else None),
        [source, dataset], settings["split"], **CHOSEN,
    )  # fmt: skip
    source.change(_show_source, source, [ready_made, file, pasted], **QUIET)
    dataset.change(lambda name: gr.update(info=form.about_dataset(name)), dataset, dataset, **QUIET)
    dataset.input(form.suited_split, dataset, settings["split"], **CHOSEN)
    model.change(lambda name: gr.update(info=form.about_model(name)), model, model, **QUIET)
    for field in (model, settings["from_scratch"]):
        field.input(
            visitors.own(form.beginner_values), [visitors.key, model, settings["from_scratch"]], suited, **CHOSEN
        )

    def asked(runs: OwnRuns, origin: str, name: str, paths: list[str] | None, text: str, *values: Any) -> TrainConfig:
        brought = _brought(runs, origin, paths, text)
        chosen = dict(zip(["model", *settings], values, strict=True)) | ({} if brought else {"dataset": name})
        try:
            config = limits.applied_to(form.public_config(chosen, runs))
        except ConfigError as error:
            raise form.in_words_of_the_form(error) from None
        return replace(config, dataset=str(brought)) if brought else config

    def begin(runs: OwnRuns, signed_in: gr.OAuthToken | None, where: str, *values: Any) -> str:
        token = signed_in.token if signed_in else ""
        return runs.start(asked(runs, *values), backend=place.checked(where, token), token=token)

    def end(runs: OwnRuns, watched: str | None) -> None:
        if view := runs.shown(watched):
            runs.stop(view.id)

    def go_on(runs: OwnRuns, signed_in: gr.OAuthToken | None, watched: str | None) -> str | None:
        if view := runs.shown(watched):
            runs.resume(view.id, token=signed_in.token if signed_in else "")
        return view.id if view else None

    live.connect(start, stop)
    key, ask_after = visitors.key, live.news.ask_after
    live.picker.focus(visitors.own(live.offered), [key, live.picker], live.picker, **QUIET)
    ask_after(live.picker.input(lambda run: run, live.picker, live.watched, **CHOSEN))
    inputs = [key, source, dataset, file, pasted, model, *settings.values()]
    described = [field.change for field in (source, dataset, pasted, model, *settings.values())]
    looked_at.connect(previews, visitors, asked, inputs, [file.upload], [file.clear, file.delete, *described])
    place.connect(page, settings["max_seconds"])
    ask_after(start.click(spoken(visitors.own(begin)), [key, place.key, *inputs[1:]], live.watched, **QUEUED))
    watched = [key, live.watched]
    ask_after(live.resume_button.click(spoken(visitors.own(go_on)), watched, live.watched, **QUEUED))
    ask_after(stop.click(spoken(visitors.own(end)), watched, None, **QUEUED))
    # A page that is loaded anew has seen nothing: it is sent all.
    ask_after(page.load(None, key, key, js=MAKE_KEY, **QUIET))
    return FineTuneTab(live, source, dataset, model, settings)


def _show_source(source: str) -> list[Any]:
    return [gr.update(visible=source == name) for name in (READY_MADE, MY_FILE, PASTE)]


def _brought(runs: OwnRuns, source: str, paths: list[str] | None, text: str) -> Path | None:
    """The visitor's own text as a file of ours; None when a ready-made data set is wanted."""
    if source == MY_FILE:
        if not paths:
            raise DataError("No file was chosen.", "Drop one into the field, or choose another source.")
        return keep_files(runs.home, [Path(path) for path in paths])
    return keep_text(runs.home, text) if source == PASTE else None
