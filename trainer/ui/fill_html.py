"""Answers in HTML. All text is escaped here; `assets/fill.js` acts on the attributes that begin with `data-`.

Gradio's `{{ }}` is no way to do that: a `${ }` in the text put there is run as JavaScript (gradio 6.31).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from trainer.predictions import FilledMask, ScoredSentence
from trainer.presets import EXAMPLES
from trainer.ui.charts import readable
from trainer.ui.fill_bars import Bar, writable
from trainer.ui.run_panel import bar, figure, with_blank
from trainer.ui.words import BITS, UNKNOWN, amount, percent, scoring_note

STRONGEST_NATS = 10.0  # of surprisal, about that of a word drawn from a vocabulary at random
NICE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # ends of an axis


def tools() -> str:
    """The button that puts a mask in, and sentences to begin with."""
    examples = "".join(
        f'<button type="button" class="chip" data-example="{escape(text)}">{with_blank(text)}</button>'
        for text in EXAMPLES
    )
    insert = '<button type="button" class="insert" data-insert>+ <code>&lt;mask&gt;</code></button>'
    return f'<div class="tools">{insert}<div class="chips" role="group" aria-label="Examples">{examples}</div></div>'


def empty(sentence: str) -> str:
    """What stands where an answer will be; the sentence is ours and may have markup."""
    return f'<div class="empty"><span>{sentence}</span></div>'


def note(sentence: str) -> str:
    """A remark under an answer; nothing when there is none."""
    return f'<p class="note">{escape(sentence)}</p>' if sentence else ""


def sentence_value(text: str, filled: Sequence[FilledMask], words: Sequence[str]) -> dict[str, Any]:
    """What `fill.js` needs to show the words in the gaps; a browser counts characters in UTF-16."""

    def place(at: int) -> int:
        return len(text[:at].encode("utf-16-le", "surrogatepass")) // 2

    spans = [[place(mask.start), place(mask.end)] for mask in filled]
    written = [(writable(word) or ("",))[0].strip() for word in words]  # empty for what can't be
    return {"text": text, "masks": spans, "words": [readable(word) for word in words], "written": written}


def chart(title: str, bars: Sequence[Bar], *, number: int | None = None, legend: Sequence[str] = ()) -> str:
    """A list of horizontal bars over an axis that starts at zero; each is a button that fills its word in."""
    top = max((share for one in bars for share in one.shares if share is not None), default=1.0)
    end = next((nice for nice in NICE if nice >= top), 1.0)
    keys = "".join(f'<span class="key series-{i}">{escape(name)}</span>' for i, name in enumerate(legend))
    ticks = "".join(f"<span>{end * part * 100:g}\u202f%</span>" for part in (0, 0.5, 1))
    lines = "".join(f"<li>{_line(one, end, legend)}</li>" for one in bars)
    name = ' id="together"' if number is None else f' id="bars-{number + 1}"'
    return (
        f'<section class="bars"{name}><h3>{escape(title)}</h3>{f"<p class=legend>{keys}</p>" if keys else ""}'
        f'<ol>{lines}</ol><div class="axis" aria-hidden="true">{ticks}</div></section>'
    )


def _line(one: Bar, end: float, legend: Sequence[str]) -> str:
    values = [UNKNOWN if share is None else percent(share) for share in one.shares]
    spoken = ", ".join(f"{name} {value}" for name, value in zip(legend, values, strict=True)) if legend else values[0]
    attributes = f'aria-label="{escape(f"{one.label}, {spoken}{_and(one.note)}")}"'
    if one.words is None:
        attributes += " disabled"
    else:
        mask = "" if one.mask is None else f' data-mask="{one.mask}"'
        attributes += f' data-words="{escape(json.dumps(one.words, ensure_ascii=False))}"{mask}'
    drawn = "".join(
        f'<span class="track series-{i}"><span style="width:{min(1.0, (share or 0.0) / end):.2%}"></span></span>'
        for i, share in enumerate(one.shares)
    )
    shown = "".join(f"<span>{value}</span>" for value in values)
    remark = f' <span class="remark">{escape(one.note)}</span>' if one.note else ""
    return (
        f'<button type="button" {attributes}><span class="word"><bdi>{escape(one.label)}</bdi>{remark}</span>'
        f'<span class="tracks">{drawn}</span><span class="values">{shown}</span></button>'
    )


def _and(remark: str) -> str:
    return f", {remark}" if remark else ""


def coloured(text: str, scored: ScoredSentence, unit: str) -> str:
    """The text with each token coloured by its surprisal; a click hides it, so that one sees what was expected."""
    end, parts = 0, []
    for token in scored.tokens:
        start, stop = (len(text[:at].encode("utf-16-le", "surrogatepass")) // 2 for at in (token.start, token.end))
        said = f"{token.text}: {amount(in_unit(token.nats, unit))} {unit}"
        parts += [
            with_blank(text[end : token.start]),
            f'<button type="button" class="token" style="--share:{min(1.0, token.nats / STRONGEST_NATS):.3f}" '
            f'data-hide="{start},{stop}" title="{escape(said)}">{escape(token.text)}</button>',
        ]
        end = token.end
    parts.append(with_blank(text[end:]))
    scale = "".join(f'<span style="--share:{step / 8:.3f}"></span>' for step in range(9))
    most = in_unit(STRONGEST_NATS, unit)
    return (
        f'<p class="coloured" dir="auto">{"".join(parts)}</p>'
        f'<div class="scale" aria-hidden="true"><span>0</span><span class="steps">{scale}</span>'
        f"<span>{most:.0f} {unit} or more</span></div>{_sums(scored, unit)}"
        f"{note(scoring_note(scored.windows, scored.window_tokens))}"
    )


def _sums(scored: ScoredSentence, unit: str) -> str:
    return figures(
        ("Sum", f"{amount(in_unit(scored.nats, unit), 1)} {unit}", f"over {scored.count:,} tokens"),
        ("Mean", f"{amount(in_unit(scored.nats / scored.count, unit))} {unit}", "a token"),
        ("Pseudo-perplexity", amount(scored.pseudo_perplexity, 1), "lower is less surprised"),
    )


def token_rows(scored: ScoredSentence, unit: str) -> list[list[str]]:
    """The table twin: token, surprisal, probability."""
    return [
        [readable(token.text), amount(in_unit(token.nats, unit), 3), f"{math.exp(-token.nats):.3g}"]
        for token in scored.tokens
    ]


def figures(*entries: tuple[str, str, str]) -> str:
    """Numbers in large type: label, value, remark."""
    return f'<div class="run"><div class="numbers">{"".join(figure(*entry) for entry in entries)}</div></div>'


def in_unit(nats: float, unit: str) -> float:
    """A surprisal in nats or bits."""
    return nats / math.log(2) if unit == BITS else nats


def progress(done: int, total: int) -> str:
    """How far a file is."""
    drawn = bar(done / total if total else 1.0)
    return f'<div class="run">{drawn}<div class="facts"><span>{done:,} of {total:,} sentences</span></div></div>'
