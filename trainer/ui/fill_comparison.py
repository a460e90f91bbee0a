"""Two models side by side: before and after fine-tuning, or any two."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.errors import PredictionError, RunError
from trainer.inference.worker import FillService
from trainer.predictions import Comparison
from trainer.presets import MODELS, title_of
from trainer.runs.names import RUN_ID
from trainer.runs.ownership import OwnRuns
from trainer.ui import fill_bars, fill_html, form
from trainer.ui.events import ASKED, FILLING, HIDDEN, forgotten_with, spoken
from trainer.ui.visitors import Visitors
from trainer.ui.words import NO_COMPARISON, OTHER_TOKENS, amount, reading_note

RANKED = 100  # words asked of each model, so that the place of a word in the other's answer is known
COLUMNS = ["mask", "word", "rank before", "before", "rank after", "after", "change"]


def build_comparison(
    button: gr.Button,
    text: gr.Textbox,
    models: list[gr.Dropdown],
    shown: gr.HTML,
    visitors: Visitors,
    fills: FillService,
) -> gr.Column:
    """Lays out the comparison and connects it to its button."""
    with gr.Column(visible=False) as column:
        bars = gr.HTML(fill_html.empty(NO_COMPARISON), elem_id="compared", js_on_load=None)
        with gr.Accordion("The same as a table", open=False, visible=False) as folded:
            table = gr.Dataframe(headers=COLUMNS, interactive=False, wrap=True, buttons=["copy"], label="Both models")
        with gr.Accordion("Options", open=False):
            count = gr.Slider(1, 20, value=5, step=1, label="Words shown of each model")

    def compare(runs: OwnRuns, asked: str, before: str, after: str | None, many: float) -> list[Any]:
        if not after:
            raise PredictionError("There is no second model yet.", "Fine-tune one, or type a Hugging Face Hub id.")
        folders = [form.public_model(name, runs) for name in (before, after)]
        compared = fills.compare(asked, *folders, RANKED)
        return _compared(asked, compared, [model_name(name, runs) for name in (before, after)], int(many))

    button.click(
        spoken(visitors.own(compare)),
        [visitors.key, text, *models, count],
        [shown, bars, folded, table],
        show_progress_on=bars,
        **ASKED,
        **FILLING,
    )
    for model in models:
        forgotten_with(model, {shown: None, bars: fill_html.empty(NO_COMPARISON), folded: HIDDEN})
    return column


def suggested_models(runs: OwnRuns, name: str) -> tuple[str, str | None]:
    """What to compare: a run's model with the one it started from, any other with the newest run's."""
    if isinstance(name, str) and RUN_ID.fullmatch(name):
        try:
            config = runs.view(name).config
        except RunError:
            config = None
        origin = title_of(config.model) if config else "bundled"
        is_known = config and (config.model == origin or RUN_ID.fullmatch(origin))  # else a folder named in a shell
        return origin if is_known else "bundled", name
    return name, next((run for run, _ in runs.models()), None)


def model_name(name: str, runs: OwnRuns) -> str:
    """What a model is called in the legend."""
    names = {preset.id: preset.label for preset in MODELS} | dict(runs.models())
    return names.get(name, name)


def _compared(text: str, compared: Comparison, names: list[str], count: int) -> list[Any]:
    """Sentence, charts and table."""
    masks = [
        fill_bars.compared(first, second, count, same_tokens=compared.same_tokens)
        for first, second in zip(*compared.filled, strict=True)
    ]
    charts = [
        fill_html.chart(
            "Likeliest words" if len(masks) == 1 else f"Mask {number + 1}",
            fill_bars.compared_bars(words, number), number=number, legend=names,
        )
        for number, words in enumerate(masks)
    ]  # fmt: skip
    sums = fill_html.figures(
        *(
            ("Pseudo-perplexity", amount(scored.pseudo_perplexity, 1), name)
            for name, scored in zip(names, compared.scored, strict=True)
        )
    )
    second = compared.filled[1]
    notes = "" if compared.same_tokens else fill_html.note(OTHER_TOKENS)
    notes += fill_html.note(reading_note(second[0].tokens_read, second[0].tokens))
    return [
        fill_html.sentence_value(text, second, [mask.candidates[0].token_str for mask in second]),
        f'<div class="charts">{"".join(charts)}</div>{sums}{notes}',
        gr.update(visible=True),
        fill_bars.compared_rows(masks),
    ]
