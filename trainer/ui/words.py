"""The sentences of the page, in one place."""

from __future__ import annotations

import math
import re
from dataclasses import fields

from trainer.config import TrainConfig

TITLE = "Mask Studio"
TAGLINE = "Teach a language model your text, then ask it to fill in the blanks."

START, START_ANOTHER = "Start", "Start another"
TRAIN_TAB = "Fine-tune"
FILL_TAB = "Fill the mask"
RUNS_TAB = "Runs"

READY_MADE, MY_FILE, PASTE = "Ready-made", "My file", "Paste text"
SOURCES = [READY_MADE, MY_FILE, PASTE]

PREVIEW = "Preview"
LOOKING = "Reading the text and trying a few steps \u2026"

NO_RUN = "Press <b>Start</b>, and loss and perplexity will be drawn here while the model learns."
BUDGET_SPENT = "The time budget is spent before the last step. Resume the run to give it as much time again."
NO_RUNS = "No runs yet. Press <b>Start</b> on the first tab: every run will be listed here, to be compared and kept."
RUN_ACTIONS = {
    "open": "Open",
    "try": "Try this model",
    "copy": "Copy settings",
    "resume": "Resume",
    "compare": "Compare",
    "rename": "Rename",
    "download": "Download",
    "delete": "Delete",
}
NAME_INFO = "Leave it empty for the name the run began with."
NO_LONGER_OFFERED = "The {} of that run is no longer on offer: the bundled one was put in its place."
NO_LOG = "Nothing was written to the log."
APART = "Their held-out figures don't compare: different text or masks were held out ({})."
DIFFERS = "\u2260 differs"
CUT_DIFFERENTLY = "Their held-out figures don't compare: the models cut the text into different tokens."
NO_ANSWER = "Press <b>Fill the mask</b>, or click a word of the sentence to hide it: what the model expects comes here."
NO_COMPARISON = "Press <b>Compare</b>: the words that both models expect will be drawn side by side."
NO_SURPRISAL = "Press <b>Measure</b>: the sentence will be coloured by how much each word surprises the model."
NO_FILE_YET = (
    "Upload a <b>.txt</b> file with one sentence a line, or a <b>.csv</b> with a column of sentences with masks."
)
UNKNOWN = "\u2013"

ABOUT_SHARES = (
    "Bars show each word's share of what the given words have together; raw is its probability among all words."
)
ABOUT_PIECES = "Ordered by the mean probability of a token; bars show that of all tokens together."
OTHER_TOKENS = (
    "The two models cut the text into different tokens, so their pseudo-perplexities don't compare; "
    "words are matched by their letters."
)

# Where a run works
HERE, ONE_GPU, ALL_GPUS = "This machine", "One GPU of this machine", "All {} GPUs of this machine"
RENTED = "{} \u00b7 {} an hour"
RENTED_UNKNOWN = "{}, rented"
RENTED_COST = (
    "Rented from Hugging Face Jobs, at most {}: {} of work, and 15 min to install, save and send. "
    "Your text goes there through a private repository of yours."
)
LENT = "A GPU that is lent"
ONLY_HERE = "Runs work here, on one device. Rented GPUs: {}."

# What can be asked on the second tab
FILL, COMPARE, SURPRISAL, MANY = "Fill", "Compare", "Surprisal", "Many sentences"
MODES = [FILL, COMPARE, SURPRISAL, MANY]
ORDERS = [("by confidence", "confidence"), ("left to right", "left_to_right")]
NATS, BITS = "nats", "bits"

STATES = {
    "queued": "waiting",
    "running": "running",
    "stopping": "stopping",
    "completed": "completed",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}

# Labels of the settings where the field's name alone would not do for somebody who does not program.
LABELS = {
    "num_train_epochs": "Epochs",
    "learning_rate": "Learning rate",
    "per_device_train_batch_size": "Batch size",
    "block_size": "Block size",
    "line_by_line": "One document, one example",
    "mlm_probability": "Masked share",
    "test_size": "Held-out share",
    "optim": "Optimizer",
    "lr_scheduler_type": "Schedule",
    "warmup_ratio": "Warm-up share",
    "max_grad_norm": "Gradient limit",
    "gradient_accumulation_steps": "Gradient accumulation",
    "from_scratch": "Train from nothing",
    "probe_text": "Probe sentence",
    "dataset_config": "Configuration",
    "text_column": "Text column",
    "max_seconds": "Time budget",
    "fsdp": "Share the model out",
    "eval_steps": "Evaluate every",
    "logging_steps": "Log every",
    "save_steps": "Save every",
    "early_stopping_patience": "Patience",
}


def label_of(field_name: str) -> str:
    """What a setting is called on the page."""
    return LABELS.get(field_name) or field_name.replace("_", " ").capitalize()


# One word alone may be just that: only names that nobody takes for a word are replaced.
_NAMES = re.compile(rf"\b({'|'.join(f.name for f in fields(TrainConfig) if '_' in f.name or f.name in LABELS)})\b")


def with_labels(text: str) -> str:
    """A sentence of the engine, with the settings in it called as their fields are."""
    return _NAMES.sub(lambda found: label_of(found[0]), text)


def duration(seconds: float | None) -> str:
    """`0:21`, `1:02:05`; a dash when unknown."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def about_duration(seconds: float) -> str:
    """A time that is known roughly: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def dollars(value: float) -> str:
    """A price in cents, never rounded down by more than a tenth of one."""
    return f"${math.ceil(round(value * 100, 1)) / 100:,.2f}"


def amount(value: float | None, digits: int = 2) -> str:
    """A figure to be read at a glance; a dash when there is none."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}" if abs(value) < 10_000 else f"{value:,.0f}"


def change(share: float | None) -> str:
    """A change in whole percent, with its sign; a dash when unknown."""
    if share is None:
        return UNKNOWN
    return f"{share:+.0%}".replace("-", "\u2212") if round(share, 2) else "0%"


def really_delete(names: list[str]) -> str:
    """The question before runs are deleted, in HTML; the names come escaped."""
    shown, more = names[:5], len(names) - 5
    listed = ", ".join(f"<b>{name}</b>" for name in shown) + (f" and {more:,} more" if more > 0 else "")
    return f"Delete {listed}, with {'its' if len(names) == 1 else 'their'} model and log? This can't be undone."


def packed(name: str, size_bytes: int, has_model: bool) -> str:
    """What a zip file holds, in HTML; its name is our own."""
    model = "model, " if has_model else "no model yet; "
    return f"<b>{name}</b>, {size_bytes / 1e6:,.1f} MB: {model}settings, events and log."


def percent(share: float) -> str:
    """A probability with two figures or more; very small ones as a bound."""
    value = share * 100
    if 0 < value < 0.001:
        return "<\u202f0.001\u202f%"
    return f"{value:.1f}\u202f%" if value >= 0.95 else f"{value:.2g}\u202f%"


def reading_note(read: int, tokens: int) -> str:
    """Says that a text was too long to be read whole; nothing when it was not."""
    if read >= tokens:
        return ""
    return f"The text has {tokens:,} tokens, so it was read in windows of {read:,} tokens around each mask."


def scoring_note(windows: int, window_tokens: int) -> str:
    """The same for surprisal."""
    if windows == 1:
        return ""
    return f"The text is long, so each token was guessed from a window of {window_tokens:,} tokens around it."
