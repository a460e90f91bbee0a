"""The second tab: a sentence with masks in, the likeliest words out."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from trainer.config import split_at_masks
from trainer.inference.worker import FillService
from trainer.predictions import FilledMask
from trainer.runs.manager import RunManager
from trainer.ui import charts, form
from trainer.ui.events import QUIET, spoken
from trainer.ui.words import EXAMPLES, NO_ANSWER

CHARTS = 6  # further masks stand in the table alone
COLUMNS = ["mask", "rank", "word", "probability", "sentence"]


def build_fill_mask_tab(runs: RunManager, fills: FillService) -> gr.Dropdown:
    """Lays out the tab and connects it; returns its model field, which "Try this model" sets."""
    with gr.Column(elem_classes="fill-mask"):
        text = gr.Textbox(
            EXAMPLES[0], label="Sentence", lines=2, max_lines=6, elem_id="sentence",
            info="Write <mask> where a word is to be guessed; several are allowed.",
        )  # fmt: skip
        examples = gr.Examples([[example] for example in EXAMPLES], text, label="Examples")
        with gr.Row(elem_classes="ask"):
            model = gr.Dropdown(
                form.model_choices(runs), value="bundled", label="Model", allow_custom_value=True, scale=3,
                min_width=240, elem_id="fill-model",
            )  # fmt: skip
            top_k = gr.Slider(1, 20, value=5, step=1, label="Words shown", scale=2, min_width=200)
            fill = gr.Button("Fill the mask", variant="primary", size="lg", scale=1, elem_id="fill")
        sentence = gr.HTML(f'<div class="empty"><span>{NO_ANSWER}</span></div>', elem_id="answer")
        with gr.Row(elem_classes="plots"):
            bars = [_bar_chart(number) for number in range(1, CHARTS + 1)]
        with gr.Accordion("The same as a table", open=False, visible=False) as folded:
            table = gr.Dataframe(headers=COLUMNS, interactive=False, wrap=True, buttons=["copy"], label="Answers")

    def answer(sentence_text: str, name: str, count: float) -> list[Any]:
        filled = fills.fill(sentence_text, form.public_model(name, runs), count)
        return [_completed(sentence_text, filled), *_bars(filled), gr.update(visible=True), charts.answer_rows(filled)]

    outputs = [sentence, *bars, folded, table]
    queued = {"api_visibility": "private", "concurrency_limit": 4, "concurrency_id": "fill"}
    for trigger in (fill.click, text.submit, examples.load_input_event.success):
        trigger(spoken(answer), [text, model, top_k], outputs, show_progress_on=sentence, **queued)
    model.focus(lambda: gr.update(choices=form.model_choices(runs)), None, model, **QUIET)
    return model


def _bar_chart(number: int) -> gr.BarPlot:
    return gr.BarPlot(
        x="word", y="probability", visible=False, height=300, x_title=" ", y_title="probability", y_axis_format=".2~%",
        buttons=["fullscreen", "export"], min_width=300, elem_id=f"bars-{number}",
    )  # fmt: skip


def _bars(filled: list[FilledMask]) -> list[Any]:
    """An update for each chart: one a mask, the rest hidden."""
    updates = [gr.update(visible=False) for _ in range(CHARTS)]
    for number, mask in enumerate(filled[:CHARTS]):
        frame = charts.answer_frame(mask)
        title = "Likeliest words" if len(filled) == 1 else f"Likeliest words for mask {number + 1}"
        top = max(frame["probability"]) * 1.08  # the axis starts at zero, else bars lie
        updates[number] = gr.update(
            value=frame,
            visible=True,
            title=title,
            sort=list(frame["word"]),
            y_lim=[0, min(1.0, top)],
            x_label_angle=0 if len(frame) <= 5 else -40,
        )
    return updates


def _completed(text: str, filled: list[FilledMask]) -> str:
    """The text in large type with the likeliest word in each gap."""
    parts = split_at_masks(text)
    words = [charts.readable(mask.candidates[0].token_str) for mask in filled]
    shown = [f"<mark>{escape(word)}</mark>" for word in words]
    pieces = [piece for pair in zip(map(escape, parts), [*shown, ""], strict=False) for piece in pair]
    more = f"<p>The first {CHARTS} masks have a chart; the table has them all.</p>" if len(filled) > CHARTS else ""
    return f'<div class="filled">{"".join(pieces)}</div>{more}'
