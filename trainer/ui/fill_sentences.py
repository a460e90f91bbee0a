"""A file of sentences in, a table of answers out, to be downloaded."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.errors import PredictionError
from trainer.inference.worker import FillService
from trainer.predictions import SentenceRow, write_csv, write_jsonl
from trainer.runs.ownership import OwnRuns
from trainer.ui import fill_html, form
from trainer.ui.charts import readable
from trainer.ui.events import ASKED, LONG, spoken
from trainer.ui.visitors import Visitors
from trainer.ui.words import NO_FILE_YET, UNKNOWN, percent

COLUMNS = ["sentence", "mask", "rank", "word", "probability"]
WIDTHS = ["45%", "60px", "60px", "180px", "110px"]
SHOWN = 200  # rows on the page; the files have all
MOST_ROWS = 200_000


def build_sentences(
    button: gr.Button, file: gr.File, model: gr.Dropdown, visitors: Visitors, fills: FillService
) -> gr.Column:
    """Lays out table and downloads, and connects them to their button."""
    with gr.Column(visible=False) as column:
        count = gr.Slider(1, 20, value=5, step=1, label="Words for each mask")
        state = gr.HTML(fill_html.empty(NO_FILE_YET), elem_id="file-progress", js_on_load=None)
        with gr.Row(visible=False) as downloads:
            csv = gr.DownloadButton("Download as CSV", size="md", elem_id="download-csv")
            jsonl = gr.DownloadButton("Download as JSONL", size="md", elem_id="download-jsonl")
        table = gr.Dataframe(
            headers=COLUMNS,
            column_widths=WIDTHS,
            interactive=False,
            wrap=True,
            visible=False,
            label="Answers",
            elem_id="file-answers",
        )  # fmt: skip

    def answer(runs: OwnRuns, path: str | None, name: str, many: float) -> Iterator[list[Any]]:
        rows: list[SentenceRow] = []
        full = False
        for done, total in answered(fills, path, form.public_model(name, runs), many, rows):
            shown = gr.skip() if full else gr.update(value=_cells(rows[:SHOWN]), visible=True)
            full = len(rows) >= SHOWN
            yield [fill_html.progress(done, total), gr.update(visible=False), gr.skip(), gr.skip(), shown]
        folder = Path(csv.GRADIO_CACHE) / secrets.token_hex(16)  # served from there, and removed by `delete_cache`
        folder.mkdir(parents=True)
        write_csv(rows, folder / "answers.csv")
        write_jsonl(rows, folder / "answers.jsonl")
        paths = [str(folder / "answers.csv"), str(folder / "answers.jsonl")]
        yield [gr.skip(), gr.update(visible=True), *paths, gr.skip()]

    asking, inputs = spoken(visitors.own(answer)), [visitors.key, file, model, count]
    button.click(asking, inputs, [state, downloads, csv, jsonl, table],
                 show_progress_on=state, **ASKED, **LONG)  # fmt: skip
    return column


def answered(
    fills: FillService, path: str | None, model: str, count: float, rows: list[SentenceRow]
) -> Iterator[tuple[int, int]]:
    """Adds the answers for a file's sentences to `rows` as they come; how many are done, of how many."""
    if not path:
        raise PredictionError("No file was chosen.", "Upload a .txt or .csv file.")
    for part in fills.fill_file(path, model, count):
        rows += part.rows
        if len(rows) > MOST_ROWS:
            raise PredictionError(f"The file asks for more than {MOST_ROWS:,} answers.", "Ask for fewer words a mask.")
        yield part.done, part.total


def _cells(rows: list[SentenceRow]) -> list[list[Any]]:
    return [
        [row.sentence, row.mask, row.rank, readable(row.word), percent(row.score or 0.0)]
        if not row.error
        else [row.sentence, UNKNOWN, UNKNOWN, row.error, UNKNOWN]
        for row in rows
    ]
