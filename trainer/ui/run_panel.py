"""A run in HTML: its state, its progress, its two big numbers and its probe sentence. All text is escaped here."""

from __future__ import annotations

from html import escape
from typing import Any

from trainer.config import split_at_masks
from trainer.runs.history import RunView
from trainer.ui.charts import readable
from trainer.ui.words import BUDGET_SPENT, NO_RUN, STATES, amount, change, duration, with_labels

PROBED_WORDS = 4


def panel(view: RunView | None) -> str:
    """State, progress and numbers of a run, or how to begin when there is none."""
    if view is None:
        return f'<div class="empty"><span>{NO_RUN}</span></div>'
    return f'<div class="run">{_head(view)}{_failure(view)}{_progress(view)}{_numbers(view)}{_notes(view)}</div>'


def probe(view: RunView | None) -> str:
    """The probe sentence with its likeliest words before training and now."""
    if view is None or not view.probes:
        return ""
    first, now = view.probes[0], view.probes[-1]
    columns = _words("Before", first["candidates"]) + _words("Now", now["candidates"])
    return f'<div class="probe"><p>{with_blank(now["text"])}</p><div class="columns">{columns}</div></div>'


def with_blank(text: str) -> str:
    """A text as HTML, its masks shown as gaps."""
    return '<span class="blank">mask</span>'.join(map(escape, split_at_masks(text)))


def _head(view: RunView) -> str:
    device = escape(view.device_name or "")
    if view.device == "cpu":
        device = f"{device} · processor, no GPU found" if device else "processor, no GPU found"
    state = STATES[view.state]
    return (
        f'<div class="head"><strong>{escape(view.name)}</strong>'
        f'<span class="state {view.state}">{state}</span><span class="device">{device}</span></div>'
    )


def _failure(view: RunView) -> str:
    if not view.failure:
        return ""
    what, _, log = view.failure[0].partition("\n")
    details = f"<details><summary>Details</summary><pre>{escape(log)}</pre></details>" if log else ""
    what, fix = (escape(with_labels(sentence)) for sentence in (what, view.failure[1]))
    return f'<div class="failure" role="alert"><b>{what}</b> {fix}{details}</div>'


def _progress(view: RunView) -> str:
    if view.state == "queued":
        place = {None: "", 1: ": next"}.get(view.queue_position, f": number {view.queue_position}")
        waiting = f"Waiting in the queue{place}." if view.slice_number is None else f"{_slice(view)} is next."
        return f'<div class="facts">{waiting}</div>'
    share = min(1.0, view.step / view.steps) if view.steps else 0.0
    facts = []
    if view.phase:
        facts.append(f"{escape(view.phase)}")
        facts += [_slice(view)] if view.slice_number else []
    if view.steps:
        facts += [f"step {view.step:,} of {view.steps:,}", f"epoch {view.epoch:.1f}"]
    facts.append(duration(view.elapsed_seconds))
    if view.remaining_seconds is not None:
        facts.append(f"{duration(view.remaining_seconds)} left")
    if view.tokens_per_second:
        facts.append(f"{view.tokens_per_second:,.0f} tokens/s")
    return f'{bar(share)}<div class="facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</div>'


def bar(share: float) -> str:
    """How far something is, 0..1."""
    return (
        f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><div style="width:{share:.1%}"></div></div>'
    )


def _slice(view: RunView) -> str:
    """`Slice 2 of about 5`."""
    return f"Slice {view.slice_number}" + (f" of about {view.slices:,}" if view.slices else "")


def _numbers(view: RunView) -> str:
    loss, perplexity = view.loss_now, view.perplexity_now
    changed = "" if view.perplexity_change is None else f", {change(view.perplexity_change)}"
    return (
        '<div class="numbers">'
        + figure("Loss", amount(loss, 3), f"{amount(view.loss_before, 3)} before")
        + figure("Perplexity", amount(perplexity, 1), f"{amount(view.perplexity_before, 1)} before{changed}")
        + "</div>"
    )


def figure(label: str, value: str, remark: str) -> str:
    """A number in large type."""
    label, value, remark = map(escape, (label, value, remark))
    return f'<div><span class="label">{label}</span><span class="value">{value}</span><span>{remark}</span></div>'


def _notes(view: RunView) -> str:
    notes = list(view.warnings)
    if view.state == "completed" and view.can_resume:
        notes.append(BUDGET_SPENT)
    return "".join(f'<div class="warning">{escape(with_labels(text))}</div>' for text in notes)


def _words(title: str, candidates: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<li><span class="word">{escape(readable(c["token_str"]))}</span>'
        f'<span class="share" style="--share:{c["score"] or 0:.3f}">{c["score"] or 0:.1%}</span></li>'
        for c in candidates[:PROBED_WORDS]
    )
    return f"<div><h4>{title}</h4><ol>{rows}</ol></div>"
