"""A preview in HTML. All text is escaped here."""

from __future__ import annotations

from html import escape

from trainer.errors import TrainerError
from trainer.previews import CHANGED, HIDDEN, KEPT, Preview, ShownToken
from trainer.ui.run_panel import figure
from trainer.ui.words import LOOKING, UNKNOWN, about_duration, percent, with_labels

LEGEND = {HIDDEN: "hidden", CHANGED: "changed to another", KEPT: "left, but guessed"}
SHADES = 4  # neighbouring tokens are told apart by them


def waiting() -> str:
    """What stands there while the text is looked at."""
    return f'<div class="preview looking" role="status"><span class="spinner"></span>{LOOKING}</div>'


def refused(error: TrainerError) -> str:
    """Why there is no preview."""
    return f'<div class="failure" role="alert">{escape(with_labels(str(error)))}</div>'


def shown(preview: Preview) -> str:
    """Figures, warnings, the first documents and a block."""
    warnings = "".join(f'<div class="warning">{escape(with_labels(message))}</div>' for message in preview.warnings)
    return (
        f'<div class="preview">{_figures(preview)}{warnings}<p class="facts">{_facts(preview)}</p>'
        f"{_documents(preview)}{_block(preview)}</div>"
    )


def _figures(preview: Preview) -> str:
    plan, estimate = preview.plan, preview.estimate
    about = "" if preview.share == 1.0 else "\u2248\u202f"
    blocks = plan.train_blocks + plan.held_out_blocks
    held = f"{plan.held_out_blocks / max(1, blocks):.0%} held out"
    cells = [
        ("Documents", f"{about}{plan.documents:,}", f"{about}{plan.words:,} words"),
        ("Tokens", f"{about}{plan.tokens:,}", f"{plan.tokens / max(1, plan.words):.1f} a word"),
        ("Blocks", f"{about}{blocks:,}", held),
        ("Steps", f"{about}{plan.steps:,}", f"{about}{plan.steps_per_epoch:,} an epoch"),
        ("Time", about_duration(estimate.seconds) if estimate else UNKNOWN, "on this device"),
        ("Memory", _gigabytes(estimate.memory_bytes) if estimate else UNKNOWN,
         f"of {_gigabytes(estimate.memory_there)}" if estimate else ""),
    ]  # fmt: skip
    return f'<div class="figures">{"".join(figure(*cell) for cell in cells)}</div>'


def _facts(preview: Preview) -> str:
    plan = preview.plan
    scripts = [name if share > 0.99 else f"{name} {share:.0%}" for name, share in preview.scripts.items()]
    facts = [f"Column <code>{escape(plan.text_column)}</code>"]
    facts += [escape(", ".join(scripts[:3]))] if scripts else []
    facts.append(f"{percent(preview.unknown_share)} unknown tokens")
    facts.append(f"{percent(preview.duplicate_share)} duplicates")
    if plan.skipped_documents:
        facts.append(f"{plan.skipped_documents:,} rows without text skipped")
    if preview.share != 1.0:
        part = f"the first {percent(preview.share)}" if preview.share else "the beginning"
        facts.append(f"figures from {part} of the text")
    return " · ".join(facts)


def _documents(preview: Preview) -> str:
    rows = "".join(f'<li dir="auto">{escape(text)}</li>' for text in preview.first_documents)
    return f"<h4>The first documents</h4><ol>{rows}</ol>"


def _block(preview: Preview) -> str:
    tokens = "".join(_token(token, number) for number, token in enumerate(preview.block))
    legend = "".join(f'<span><span class="tok {fate}">a</span> {text}</span>' for fate, text in LEGEND.items())
    shown, size = sum(token.tokens for token in preview.block), preview.plan.block_size
    is_cut = shown < size and not preview.plan.line_by_line
    part = f"The first {shown:,} of {size:,} tokens of a block" if is_cut else f"A block of {shown:,} tokens"
    title = f"<h4>{part}, as the model sees it</h4>"
    return f'{title}<p class="block" dir="auto">{tokens}</p><p class="legend">{legend}</p>'


def _token(token: ShownToken, number: int) -> str:
    text = escape(token.text.replace("\n", "\u21b5")) or "\u2205"
    kind = token.fate or ("special" if token.special else f"shade-{number % SHADES}")
    parts = f" ({token.tokens} tokens)" if token.tokens > 1 else ""
    if token.fate == HIDDEN:
        hint = f"The model sees {token.seen}{parts}"
    elif token.fate == CHANGED:
        hint, text = f"The model sees {token.seen!r} instead{parts}", f"{text}<i>{escape(token.seen.strip())}</i>"
    else:
        hint = (LEGEND[KEPT] if token.fate else "") + parts
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<span class="tok {kind}"{title}>{text}</span>'


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
