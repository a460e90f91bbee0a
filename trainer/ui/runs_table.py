"""The table of all runs: which can be searched, sorted, and chosen from; large, so only what changed is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from trainer.presets import ASSETS, DATASETS, MODELS
from trainer.runs.names import name_of
from trainer.runs.ownership import OwnRuns
from trainer.runs.view import RunView
from trainer.ui.words import NO_RUNS, STATES, UNKNOWN, amount, change, duration

# Label of each column, its class, and whether its largest values come first when it is sorted by.
COLUMNS = {
    "name": ("Name", "", False),
    "state": ("State", "", False),
    "data": ("Text", "", False),
    "model": ("Model", "", False),
    "before": ("Perplexity before", "figure", False),
    "after": ("Perplexity after", "figure", False),
    "change": ("Change", "figure", False),
    "duration": ("Duration", "figure", True),
    "started": ("Started", "", True),
}
Seen = Mapping[str, tuple[object, ...]]  # version of each run that a browser was sent
# "Science Q&A (bundled)" without what stands in parentheses
DATASET_LABELS = {preset.id: preset.label.partition(" (")[0] for preset in DATASETS}
MODEL_LABELS = {preset.id: preset.label.partition(" (")[0] for preset in MODELS}


def build_runs_table() -> gr.HTML:
    """The empty table; its value is the list of the ids that are chosen, told by its `input` event."""
    heads = "".join(
        f'<th scope="col" class="of-{name} {kind}" data-column="{name}"{" data-falls" * falls}>'
        f'<button type="button">{label}</button></th>'
        for name, (label, kind, falls) in COLUMNS.items()
    )
    template = (
        f'<div class="empty"><span>{NO_RUNS}</span></div>'
        '<div class="search"><input type="search" placeholder="Find a run" aria-label="Find a run">'
        '<span class="count" role="status"></span></div>'
        '<div class="scroll" tabindex="0"><table><thead><tr>'
        f'<th scope="col" class="of-tick"><input type="checkbox" aria-label="Choose all"></th>{heads}</tr></thead>'
        "<tbody></tbody></table></div>"
    )
    script = (ASSETS / "runs_table.js").read_text(encoding="utf-8")
    return gr.HTML(
        [], html_template=template, js_on_load=script, apply_default_css=False, elem_id="runs-table", news=""
    )


def news(runs: OwnRuns, views: list[RunView], seen: Seen) -> dict[str, Any]:
    """The update for a browser that has `seen` some of the runs."""
    rows = [_row(runs, view) for view in views if seen.get(view.id) != view.version]
    return gr.update(news=json.dumps({"ids": [view.id for view in views], "rows": rows}))


def _row(runs: OwnRuns, view: RunView) -> dict[str, Any]:
    data = model = UNKNOWN
    if view.config:
        data = DATASET_LABELS.get(view.config.dataset) or runs.title(view.config.dataset)
        model = MODEL_LABELS.get(view.config.model) or runs.title(view.config.model)
        if view.config.from_scratch:
            model = f"from nothing ({view.config.from_scratch})"
    after = view.perplexity_now if view.now is not view.before else None
    key = {
        "name": view.name,
        "state": STATES[view.state],
        "data": data,
        "model": model,
        "before": view.perplexity_before,
        "after": after,
        "change": view.perplexity_change,
        "duration": view.elapsed_seconds,
        "started": view.id,
    }
    text = key | {
        "before": amount(view.perplexity_before, 1),
        "after": amount(after, 1),
        "change": change(view.perplexity_change),
        "duration": duration(view.elapsed_seconds if view.started_at else None),
        "started": UNKNOWN,
    }
    return {"id": view.id, "name": view.name, "own": name_of(view.id), "state": view.state, "started": view.started_at,
            "key": key, "text": text}  # fmt: skip
