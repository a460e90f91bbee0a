"""The second tab: a sentence, a model, and what can be asked about them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.inference.worker import FillService
from trainer.presets import ASSETS, EXAMPLES
from trainer.runs.ownership import OwnRuns
from trainer.ui import fill_html, form
from trainer.ui.events import QUIET
from trainer.ui.fill_answers import build_answers
from trainer.ui.fill_comparison import build_comparison, suggested_models
from trainer.ui.fill_sentences import build_sentences
from trainer.ui.fill_surprisal import build_surprisal
from trainer.ui.visitors import Visitors
from trainer.ui.words import COMPARE, FILL, MANY, MODES, SURPRISAL

ASKING = ["Fill the mask", "Compare", "Measure", "Fill all"]  # what the buttons of the modes say
ASK = "() => document.querySelector('.fill-mask button.ask')?.click()"
# A model that is tried answers at once: as soon as the tab shows the button, which another mode may have hidden.
ASK_IT = """() => {
  const from = Date.now(), waiting = setInterval(() => {
    const button = document.querySelector("#fill");
    if (button || Date.now() - from > 3000) clearInterval(waiting);
    button?.click();
  }, 100);
}"""


def build_fill_mask_tab(visitors: Visitors, fills: FillService) -> list[gr.components.Component]:
    """Lays out the tab and connects it; returns what `tried` sets: the choice of modes, and the model."""
    with gr.Column(elem_classes="fill-mask"):
        mode = gr.Radio(MODES, value=FILL, show_label=False, container=False, elem_id="fill-mode", elem_classes="pills")
        with gr.Column(elem_classes="asked") as sentence:
            text = gr.Textbox(
                EXAMPLES[0], label="Sentence", lines=1, max_lines=6, elem_id="sentence",
                info="Write <mask> where a word is to be guessed, or click a word below to hide it.",
            )  # fmt: skip
            gr.HTML(fill_html.tools(), elem_id="tools", js_on_load=None)
        file = gr.File(label="File", file_types=[".txt", ".csv"], height=150, visible=False, elem_id="sentences")
        with gr.Row(elem_classes="ask"):
            model = _model_field("Model", "fill-model")
            before = _model_field("Before", "fill-before", visible=False)
            after = _model_field("After", "fill-after", visible=False)
            buttons = [_button(name, label) for name, label in zip(MODES, ASKING, strict=True)]
        shown = gr.HTML(
            None, html_template='<p class="filled" dir="auto" role="group" aria-label="The sentence"></p>',
            js_on_load=(ASSETS / "fill.js").read_text(encoding="utf-8"), elem_id="answer",
        )  # fmt: skip
        parts = [
            build_answers(buttons[0], text, model, shown, visitors, fills),
            build_comparison(buttons[1], text, [before, after], shown, visitors, fills),
            build_surprisal(buttons[2], text, model, visitors, fills),
            build_sentences(buttons[3], file, model, visitors, fills),
        ]

    def choose(runs: OwnRuns, chosen: str, name: str) -> list[Any]:
        visible = [gr.update(visible=chosen == each) for each in MODES]
        in_large = gr.update(visible=True if chosen in (FILL, COMPARE) else "hidden")
        instead = [gr.update(visible=chosen != MANY), gr.update(visible=chosen == MANY)]
        return [*instead, in_large, *visible, *visible, *_models(runs, chosen, name)]

    text.submit(None, None, None, js=ASK)
    mode.change(
        visitors.own(choose),
        [visitors.key, mode, model],
        [sentence, file, shown, *buttons, *parts, model, before, after],
        **QUIET,
    )
    offer_models(visitors, model, before, after)
    return [mode, model]


def offer_models(visitors: Visitors, *fields: gr.Dropdown) -> None:
    """Lists the models there are by now when a field is about to be opened."""
    for field in fields:
        field.focus(
            visitors.own(lambda runs: gr.update(choices=form.model_choices(runs))), visitors.key, field, **QUIET
        )


def tried(runs: OwnRuns, model: str) -> list[Any]:
    """The tab with this model in it, ready to fill a sentence."""
    return [FILL, gr.update(choices=form.model_choices(runs), value=model)]


def _model_field(label: str, name: str, *, visible: bool = True) -> gr.Dropdown:
    return gr.Dropdown(
        form.model_choices(), value="bundled", label=label, allow_custom_value=True, scale=3, min_width=220,
        visible=visible, elem_id=name,
    )  # fmt: skip


def _button(mode: str, label: str) -> gr.Button:
    name = {FILL: "fill", COMPARE: "compare", SURPRISAL: "measure", MANY: "fill-file"}[mode]
    return gr.Button(
        label, variant="primary", size="lg", scale=1, min_width=170, visible=mode == FILL, elem_id=name,
        elem_classes="ask",
    )  # fmt: skip


def _models(runs: OwnRuns, chosen: str, name: str) -> list[Any]:
    """Updates of the three model fields: two to compare, else one."""
    if chosen != COMPARE:
        return [gr.update(visible=True), *[gr.update(visible=False)] * 2]
    first, second = suggested_models(runs, name)
    choices = form.model_choices(runs)
    pair = [gr.update(visible=True, choices=choices, value=value) for value in (first, second)]
    return [gr.update(visible=False), *pair]
