"""The likeliest words for each mask, for all masks together, or among words that are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.inference.worker import FillService
from trainer.predictions import FilledMask, JointFilling, ScoredTarget
from trainer.runs.ownership import OwnRuns
from trainer.ui import fill_bars, fill_html, form
from trainer.ui.events import ASKED, FILLING, HIDDEN, forgotten_with, spoken
from trainer.ui.visitors import Visitors
from trainer.ui.words import ABOUT_PIECES, ABOUT_SHARES, NO_ANSWER, ORDERS, reading_note

# Of the table, each with its width
COLUMNS = {"mask": "60px", "rank": "60px", "word": "160px", "probability": "120px", "sentence": "50%"}
TARGET_COLUMNS = {
    "mask": "60px", "word": "160px", "pieces": "160px", "probability": "120px", "share": "90px", "sentence": "40%",
}  # fmt: skip


def build_answers(
    button: gr.Button, text: gr.Textbox, model: gr.Dropdown, shown: gr.HTML, visitors: Visitors, fills: FillService
) -> gr.Column:
    """Lays out the answers and connects them to their button."""
    with gr.Column() as column:
        bars = gr.HTML(fill_html.empty(NO_ANSWER), elem_id="bars", js_on_load=None)
        with gr.Accordion("The same as a table", open=False, visible=False) as folded:
            table = gr.Dataframe(interactive=False, wrap=True, buttons=["copy"], label="Answers", **_headed(COLUMNS))
        with gr.Accordion("Options", open=False, elem_id="fill-options"):
            with gr.Row():
                count = gr.Slider(1, 20, value=5, step=1, label="Words shown", min_width=200)
                targets = gr.Textbox(
                    label="Only these words", placeholder="spiral, giant, elliptical", elem_id="targets", min_width=200,
                    info="Separated by commas; a word may be long.",
                )  # fmt: skip
            with gr.Row():
                pieces = gr.Slider(
                    1, 5, value=1, step=1, label="Tokens in a gap", min_width=200,
                    info="More than one finds words that the model writes in pieces, and phrases.",
                )  # fmt: skip
                order = gr.Radio(
                    ORDERS, value="confidence", label="Masks are filled together", min_width=200,
                    info="Starting with the one the model is surest of, or with the first.",
                )  # fmt: skip

    def answer(
        runs: OwnRuns, asked: str, name: str, many: float, only: str | None, order_of_masks: str, most_pieces: float
    ) -> Iterator[list[Any]]:
        folder = form.public_model(name, runs)
        if words := [word for word in map(str.strip, (only or "").split(",")) if word]:
            ranked, filled = fills.rank(asked, words, folder), fills.fill(asked, folder, 1)
            yield _given(asked, filled, ranked)
            return
        filled = fills.fill(asked, folder, many)
        yield _answered(asked, filled)
        if len(filled) > 1 or most_pieces > 1:
            try:
                joint = fills.fill_jointly(asked, folder, many, order_of_masks, most_pieces)
            except TrainerError as error:  # what is known of each mask stays
                yield _answered(asked, filled, remark=str(error))
            else:
                yield _answered(asked, filled, joint)

    asking, inputs = spoken(visitors.own(answer)), [visitors.key, text, model, count, targets, order, pieces]
    button.click(asking, inputs, [shown, bars, folded, table], show_progress_on=bars, **ASKED, **FILLING)
    forgotten_with(model, {shown: None, bars: fill_html.empty(NO_ANSWER), folded: HIDDEN})
    return column


def _answered(
    text: str, filled: Sequence[FilledMask], joint: Sequence[JointFilling] = (), remark: str = ""
) -> list[Any]:
    """Sentence, charts and table."""
    likeliest = joint[0].words if joint else [mask.candidates[0].token_str for mask in filled]
    title = "All together" if len(filled) > 1 else "Words of one token or more"
    charts = [fill_html.chart(title, fill_bars.joint_bars(joint))] if joint else []
    if len({filling.pieces for filling in joint}) > 1:
        remark = ABOUT_PIECES
    charts += [
        fill_html.chart(_title(number, len(filled)), fill_bars.mask_bars(mask, number), number=number)
        for number, mask in enumerate(filled)
    ]
    return _outputs(text, filled, likeliest, charts, remark, COLUMNS, fill_bars.answer_rows(filled))


def _given(text: str, filled: Sequence[FilledMask], ranked: Sequence[tuple[ScoredTarget, ...]]) -> list[Any]:
    """The same for words that were given."""
    likeliest = [max(targets, key=lambda target: target.log_probability).word for targets in ranked]
    charts = [
        fill_html.chart(_title(number, len(ranked)), fill_bars.target_bars(targets, number), number=number)
        for number, targets in enumerate(ranked)
    ]
    return _outputs(text, filled, likeliest, charts, ABOUT_SHARES, TARGET_COLUMNS, fill_bars.target_rows(ranked))


def _outputs(
    text: str,
    filled: Sequence[FilledMask],
    words: Sequence[str],
    charts: Sequence[str],
    remark: str,
    columns: dict[str, str],
    rows: list[list[Any]],
) -> list[Any]:
    notes = fill_html.note(reading_note(filled[0].tokens_read, filled[0].tokens)) + fill_html.note(remark)
    return [
        fill_html.sentence_value(text, filled, words),
        f'<div class="charts">{"".join(charts)}</div>{notes}',
        gr.update(visible=True),
        gr.update(value=rows, **_headed(columns)),
    ]


def _headed(columns: dict[str, str]) -> dict[str, list[str]]:
    return {"headers": list(columns), "column_widths": list(columns.values())}


def _title(number: int, masks: int) -> str:
    return "Likeliest words" if masks == 1 else f"Mask {number + 1} alone"
