"""The settings of a run: one frozen object that form, command line and README are made from."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from trainer.errors import ConfigError

SCHEDULES = ("linear", "cosine", "constant")
OPTIMIZERS = ("adamw", "muon")
MISTYPED = (KeyError, TypeError, ValueError, OverflowError)  # what reading a value as a type may raise
PRECISIONS = ("auto", "float32", "bf16")
LOGGING_STEPS = 5  # where `logging_steps` leaves it open
SWITCH = ("auto", "on", "off")
MASK = r"(?i:<mask>|\[mask\])|_{3,}"  # as people write it
SHAPE = re.compile(r"mini|\d{1,9}x\d{1,9}x\d{1,9}x\d{1,9}", re.ASCII)
# The smallest vocabulary holds all bytes and the special tokens.
SHAPE_LIMITS = {"hidden size": (8, 4096), "layers": (1, 128), "heads": (1, 256), "vocabulary": (261, 200_000)}


def find_masks(text: str, own: str = "") -> list[tuple[int, int]]:
    """Where the masks of a text begin and end: `<mask>`, `[MASK]`, `___` or longer, and a model's `own` spelling."""
    return [found.span() for found in re.finditer(f"{re.escape(own)}|{MASK}" if own else MASK, text)]


def split_at_masks(text: str) -> list[str]:
    """The parts of a text around its masks, however they are spelled: one more than it has masks."""
    return re.split(MASK, text)


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with all that form, `--help` and README need to know about it."""
    facts = {"doc": doc, "unit": unit, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome of a run. `None` means off, or left to the program.

    The names are those of `transformers.TrainingArguments` and the tutorial where one exists.
    """

    model: str = setting("bundled", "Model to start from: `bundled`, a Hub id, or a folder.")
    dataset: str = setting("bundled", "Text to learn: `bundled`, a Hub id, a file or a folder.")
    dataset_config: str | None = setting(None, "Configuration of a Hub data set.")
    split: str = setting("train", "Split of the data set, with a slice if wanted: `train[:5000]`.")
    text_column: str | None = setting(
        None,
        "Column with the text, such as `answers.text`, or several: `title,answers.text`; found by itself when empty.",
    )
    validation_split: str | None = setting(None, "Split to measure on, instead of a held-out share.")
    test_size: float = setting(0.2, "Share of the documents held out.", unit="0..1", low=0.0, high=0.9)
    max_documents: int | None = setting(None, "Use only this many documents.", low=1, high=10**9)
    block_size: int = setting(128, "Length of one training example.", unit="tokens", low=8, high=8192)
    line_by_line: bool = setting(
        False, "One document is one example, cut off at the block size; for short texts. Otherwise blocks are packed."
    )
    mlm_probability: float = setting(0.15, "Share of tokens masked.", unit="0..1", low=0.01, high=0.9)
    whole_word_mask: bool = setting(False, "Mask whole words instead of single tokens.")
    num_train_epochs: float = setting(3.0, "Passes over the text.", low=0.01, high=10_000)
    max_steps: int | None = setting(None, "End after this many steps instead of epochs.", low=1, high=10**9)
    max_seconds: float | None = setting(None, "End cleanly after this time.", unit="s", low=1, high=10**8)
    per_device_train_batch_size: int = setting(8, "Blocks at a time.", low=1, high=4096)
    gradient_accumulation_steps: int = setting(1, "Batches added up for one step.", low=1, high=4096)
    optim: str = setting("adamw", "Optimizer; `muon` learns faster where a model is made anew.", choices=OPTIMIZERS)
    learning_rate: float = setting(2e-5, "Peak learning rate.", low=1e-7, high=1e-2)
    weight_decay: float = setting(0.01, "Decay of the weight matrices.", low=0.0, high=1.0)
    warmup_ratio: float = setting(0.0, "Share of the steps in which the rate rises.", unit="0..1", low=0.0, high=0.9)
    lr_scheduler_type: str = setting("linear", "How the rate falls.", choices=SCHEDULES)
    max_grad_norm: float | None = setting(1.0, "Longest gradient let through.", low=1e-3, high=1e3)
    precision: str = setting("auto", "Arithmetic; weights are float32.", choices=PRECISIONS)
    compile: str = setting(
        "auto",
        "Compile the model with `torch.compile`: by itself on a GPU for 5,000 steps and more. "
        "Unless off, a GPU's small steps are recorded as a CUDA graph; then for 50,000 and more.",
        choices=SWITCH,
    )
    fsdp: bool = setting(
        False, "Share weights and optimizer out among several GPUs (FSDP), for a model too large for each of them."
    )
    eval_steps: int | None = setting(None, "Steps between evaluations; once an epoch when empty.", low=1, high=10**9)
    logging_steps: int | None = setting(
        None, "Steps between points of the curve; 5 when empty, or more where two a second do.", low=1, high=10**6
    )
    save_steps: int | None = setting(
        None, "Steps between checkpoints; as often as 2 % of the time allows when empty.", low=1, high=10**9
    )
    early_stopping_patience: int | None = setting(
        None, "Evaluations without improvement before the end.", low=1, high=10**6
    )
    seed: int = setting(42, "Decides order, masks and held-out documents.", low=0, high=2**31 - 1)
    probe_text: str | None = setting("The Milky Way is a <mask> galaxy.", "Sentence whose answer is shown live.")
    from_scratch: str | None = setting(
        None,
        "Make tokenizer and model anew: `mini`, or hidden size x layers x heads x vocabulary, as `256x4x4x8192`.",
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """A configuration from JSON values. Raises: ConfigError for unknown names and wrong types."""
        known = {f.name: f for f in fields(cls)}
        problems, read = [], {}
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"The settings are: {', '.join(known)}."
                problems.append(f"{name!r} is not a setting. {hint}")
            else:
                try:
                    read[name] = _of_type(known[name], value)
                except MISTYPED:
                    problems.append(f"{name} is {value!r}; it must be {kind_of(known[name])}.")
        if problems:
            raise ConfigError(problems)
        return cls(**read)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False)

    def problems(self) -> Iterator[str]:
        """Each thing that is wrong, as a sentence naming field, value and limit."""
        for f in fields(self):
            value, low, high = getattr(self, f.name), f.metadata["low"], f.metadata["high"]
            choices = f.metadata["choices"]
            if not _is_of_type(f, value):
                yield f"{f.name} is {value!r}; it must be {kind_of(f)}."
                continue
            if value is None or isinstance(value, bool):
                continue
            if choices and value not in choices:
                yield f"{f.name} is {value!r}; it must be one of {', '.join(choices)}."
            if low is not None and not low <= value <= high:  # False for NaN, too
                yield f"{f.name} is {value!r}; it must be between {_number(low)} and {_number(high)}."
            if isinstance(value, str) and not value.strip():
                yield f"{f.name} is empty; give it a value or leave it out."
            if isinstance(value, str) and not is_unicode(value):
                yield f"{f.name} is {value!r}; half a character in it can't be saved or read."
        if self.probe_text and len(split_at_masks(self.probe_text)) == 1:
            yield f"probe_text is {self.probe_text!r}; it needs a <mask> where a word is to be guessed."
        if self.fsdp and self.compile == "on":
            yield "compile is 'on' and fsdp is true; a model that is shared out is not compiled."
        if self.fsdp and self.optim == "muon":
            yield "optim is 'muon' and fsdp is true; Muon needs whole matrices: take 'adamw'."
        if self.from_scratch:
            yield from _shape_problems(self.from_scratch)

    def check(self) -> TrainConfig:
        """Itself. Raises: ConfigError with all problems at once."""
        if problems := list(self.problems()):
            raise ConfigError(problems)
        return self


def is_unicode(text: str) -> bool:
    """Whether `text` can be written down: no file and no tokenizer takes half a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(f: Field[Any]) -> str:
    """The type of a field in words, for messages and the README's table."""
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    base, _, optional = str(f.type).partition(" | ")
    return words[base] + (" or empty" if optional else "")


def _is_of_type(f: Field[Any], value: Any) -> bool:
    try:
        return bool(value == _of_type(f, value))
    except MISTYPED:
        return False


def _of_type(f: Field[Any], value: Any) -> Any:
    """`value` as the field's type, whether it came from JSON, a form or the command line."""
    base, _, optional = str(f.type).partition(" | ")
    if value is None or (value == "" and optional):
        if optional:
            return None
        raise TypeError
    if f.metadata["choices"] == SWITCH and str(value).lower() in ("true", "false"):  # what it was in 0.1's first runs
        return "on" if str(value).lower() == "true" else "off"
    if base == "bool":
        return {"true": True, "false": False}[str(value).lower()]
    if isinstance(value, bool) or not isinstance(value, str if base == "str" else (int, float, str)):
        raise TypeError
    if base == "str":
        return value
    number = float(value)
    if not math.isfinite(number) or (base == "int" and number != int(number)):
        raise ValueError
    return int(value if isinstance(value, int) else number) if base == "int" else number


def _shape_problems(text: str) -> Iterator[str]:
    if not SHAPE.fullmatch(text):
        form = "hidden size x layers x heads x vocabulary, such as 256x4x4x8192"
        yield f"from_scratch is {text!r}; it must be 'mini' or four numbers, {form}."
    elif text != "mini":
        sizes = [int(number) for number in text.split("x")]
        for (part, (low, high)), size in zip(SHAPE_LIMITS.items(), sizes, strict=True):
            if not low <= size <= high:
                yield f"from_scratch is {text!r}; its {part} must be between {_number(low)} and {_number(high)}."
        width, _, heads, _ = sizes
        if heads and width % (2 * heads):
            yield f"from_scratch is {text!r}; its hidden size must be an even multiple of its {heads} heads."


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
