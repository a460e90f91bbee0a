"""What the engine tells while it works: frozen facts in past tense, one JSON object a line.

Readers ignore kinds and fields they don't know, and leave a half-written last line for later.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact about a run; `kind` is its name in the JSON."""

    kind: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """The choices the engine made, before any work."""

    device: str  # "cpu", "cuda" or "mps"
    device_name: str  # "NVIDIA T4", or the processor's name
    processes: int
    threads: int
    precision: str  # arithmetic: "float32" or "bf16"
    versions: dict[str, str]
    resumed_from_step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChanged(Event):
    """What is being done now, in words for the page."""

    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Event):
    """What was understood of text and model, and the work that follows from it."""

    text_column: str
    documents: int
    skipped_documents: int  # None or empty
    words: int
    tokens: int
    train_blocks: int
    held_out_blocks: int
    held_out_documents: int
    block_size: int
    steps: int
    steps_per_epoch: int
    parameters: int
    architecture: str
    masked_positions_only: bool
    compile: bool = False
    cuda_graph: bool = False  # steps are recorded once and played from then on
    line_by_line: bool = False  # a document is a block; the longest has `block_size` tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLogged(Event):
    """The training curve: means since the point before, over masked tokens."""

    step: int  # optimizer updates done
    epoch: float
    loss: float  # nats per masked token
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    elapsed_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Event):
    """The held-out part under its fixed masks; step 0 is the model before training."""

    step: int
    epoch: float
    loss: float  # nats per masked token
    perplexity: float | None  # exp(loss); None when it overflows
    accuracy: float
    masked_tokens: int
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed(Event):
    """The top words for the first mask of `probe_text`, most likely first."""

    step: int
    text: str
    candidates: list[dict[str, Any]]  # {"score", "token_str"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    step: int
    path: str  # relative to the run folder
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLent(Event):
    """A slice of the run begins, which ends with `Paused` or the run."""

    seconds: float  # after which whoever lends the GPU ends the process


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """The run was left at a checkpoint, from which the next slice goes on."""

    step: int
    elapsed_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The last event of a run that ended in order."""

    reason: str  # "completed", "stopped" or "time_budget"
    step: int
    elapsed_seconds: float
    model: str | None  # relative to the run folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The last event of a run that did not."""

    what: str
    fix: str = ""


Emit = Callable[[Event], None]

EVENTS: tuple[type[Event], ...] = (
    RunStarted, PhaseChanged, Planned, StepLogged, Evaluated, Probed, CheckpointSaved, Warned, GpuLent, Paused,
    Finished, Failed,
)  # fmt: skip
KINDS = {event.kind: event for event in EVENTS}
LAST_KINDS = (Finished.kind, Failed.kind)
TRAINING, COMPILING = "Training", "Compiling, then training"  # the phase in which steps are done
SAVING = "Saving"  # the phase of a run that ends early, in which it must not be cut off
STARTED_AT = time.time() - time.monotonic()  # read once: a clock that is set while a run goes on bends no duration


def encode(event: Event, now: float | None = None) -> str:
    """One JSON line without its end: `kind`, `time` (seconds since 1970), then the fields; NaN becomes null."""
    moment = STARTED_AT + time.monotonic() if now is None else now
    record = {"kind": event.kind, "time": round(moment, 3), **asdict(event)}
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)


def decode_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The records of all whole lines in `data`, and how many bytes they used: the rest is still being written."""
    end = data.rfind(b"\n") + 1
    records = []
    for line in data[:end].split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # an empty line, or one cut off by a full disk
            continue
        if isinstance(record, dict) and isinstance(record.get("kind"), str):
            records.append(record)
    return records, end


def event_of(record: dict[str, Any]) -> Event | None:
    """The event that another program wrote down; None for a kind that there is not, or fields of other types."""
    known = KINDS.get(str(record.get("kind")))
    if known is None:
        return None
    types = {f.name: str(f.type) for f in fields(known)}
    values = {name: value for name, value in record.items() if name in types}
    try:
        return known(**values) if all(_is_of(types[name], value) for name, value in values.items()) else None
    except TypeError:  # a field is missing
        return None


def in_words(event: Event) -> str | None:
    """One line for a terminal, or None for what only a page shows."""
    match event:
        case RunStarted():
            return f"On {event.device_name} ({event.device}, {event.precision}, {event.threads} threads)"
        case PhaseChanged():
            return f"{event.phase} ..."
        case Planned():
            text = f"{event.documents:,} documents, {event.words:,} words, {event.tokens:,} tokens"
            size = f"up to {event.block_size}" if event.line_by_line else event.block_size
            blocks = f"{event.train_blocks:,} blocks of {size} to learn from"
            return f"{text}: {blocks}, {event.held_out_blocks:,} held out; {event.steps:,} steps"
        case StepLogged():
            speed = f"{event.tokens_per_second:,.0f} tokens/s"
            return f"step {event.step:>6}  epoch {event.epoch:5.2f}  loss {event.loss:.4f}  {speed}"
        case Evaluated():
            perplexity = "too large" if event.perplexity is None else f"{event.perplexity:,.2f}"
            return f"held out: loss {event.loss:.4f}, perplexity {perplexity}, accuracy {event.accuracy:.1%}"
        case Warned():
            return f"warning: {event.message}"
        case Paused():
            return f"paused at step {event.step}"
        case Finished():
            return f"{event.reason.replace('_', ' ')} at step {event.step} after {event.elapsed_seconds:.1f} s"
    return None


def _is_of(annotation: str, value: Any) -> bool:
    base, _, optional = annotation.partition(" | ")
    if value is None:
        return bool(optional) or base == "float"  # what NaN becomes
    if base == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if base in ("int", "str", "bool"):
        return type(value).__name__ == base
    if base == "dict[str, str]":
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return isinstance(value, list) and all(_is_candidate(item) for item in value)


def _is_candidate(item: Any) -> bool:
    return isinstance(item, dict) and _is_of("float", item.get("score")) and _is_of("str", item.get("token_str"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
