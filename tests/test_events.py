"""What the engine tells: names, JSON without NaN, and readers that leave half a line alone."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from trainer import events
from trainer.events import Event, decode_lines, encode, event_of, in_words

STARTED = events.RunStarted(
    device="cpu",
    device_name="AMD EPYC",
    processes=1,
    threads=2,
    precision="bf16",
    versions={"torch": "2"},
)
PLANNED = events.Planned(
    text_column="answers.text", documents=350, skipped_documents=0, words=46514, tokens=66686, train_blocks=416,
    held_out_blocks=104, held_out_documents=70, block_size=128, steps=1156, steps_per_epoch=52, parameters=4401664,
    architecture="ModernBertForMaskedLM", masked_positions_only=True,
)  # fmt: skip
LOGGED = events.StepLogged(
    step=5, epoch=0.1, loss=4.5, learning_rate=1e-4, grad_norm=1.0, tokens_per_second=8192.0, elapsed_seconds=1.0
)
EVALUATED = events.Evaluated(step=5, epoch=0.1, loss=2.0, perplexity=7.389, accuracy=0.5, masked_tokens=90, best=True)
PROBED = events.Probed(step=5, text="水は<mask>い", candidates=[{"score": 0.5, "token_str": " 冷た"}])
SAVED = events.CheckpointSaved(step=5, path="checkpoints/step-5", seconds=0.1)
FINISHED = events.Finished(reason="time_budget", step=5, elapsed_seconds=1.26, model="model")
FAILED = events.Failed(what="It broke.", fix="Mend it.")

EVERY = {
    "run_started": STARTED,
    "phase_changed": events.PhaseChanged(phase="Training"),
    "planned": PLANNED,
    "step_logged": LOGGED,
    "evaluated": EVALUATED,
    "probed": PROBED,
    "checkpoint_saved": SAVED,
    "warned": events.Warned(message="Mind the gap."),
    "gpu_lent": events.GpuLent(seconds=60.0),
    "paused": events.Paused(step=5, elapsed_seconds=1.26),
    "finished": FINISHED,
    "failed": FAILED,
}


def test_kinds_are_those_of_the_public_interface() -> None:
    assert {event.__name__: event.kind for event in Event.__subclasses__()} == {
        type(event).__name__: kind for kind, event in EVERY.items()
    }


@pytest.mark.parametrize("kind", EVERY)
def test_an_event_that_another_program_wrote_is_read_as_the_same_event(kind: str) -> None:
    record = json.loads(encode(EVERY[kind]))
    assert event_of(record) == EVERY[kind]
    assert event_of(record | {"news": 1}) == EVERY[kind]
    name = dataclasses.fields(EVERY[kind])[0].name
    assert event_of(record | {name: [{}]}) is None
    assert event_of({"kind": record["kind"]}) is None


def test_what_became_null_in_the_json_is_read_and_what_is_no_event_is_not() -> None:
    record = json.loads(encode(dataclasses.replace(LOGGED, loss=math.nan)))
    read = event_of(record)
    assert isinstance(read, events.StepLogged) and read.loss is None
    assert event_of({}) is None and event_of({"kind": "event"}) is None and event_of({"kind": ["warned"]}) is None
    assert event_of(record | {"step": True}) is None and event_of(record | {"step": 1.5}) is None


def test_fields_promised_to_readers_are_there() -> None:
    names = {kind: {f.name for f in dataclasses.fields(event)} for kind, event in EVERY.items()}
    assert names["evaluated"] >= {"step", "epoch", "loss", "perplexity", "accuracy", "masked_tokens"}
    assert names["step_logged"] >= {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens_per_second"}
    assert names["finished"] >= {"reason"} and names["failed"] >= {"what", "fix"}


@pytest.mark.parametrize("kind", EVERY)
def test_event_is_frozen(kind: str) -> None:
    name = dataclasses.fields(EVERY[kind])[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(EVERY[kind], name, None)


@pytest.mark.parametrize("kind", EVERY)
def test_line_has_kind_time_and_every_field_and_is_read_back(kind: str) -> None:
    line = encode(EVERY[kind], now=1.23456)
    assert "\n" not in line
    (record,), used = decode_lines(f"{line}\n".encode())
    assert record == {"kind": kind, "time": 1.235, **dataclasses.asdict(EVERY[kind])}
    assert used == len(line.encode()) + 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_none_becomes_null_however_deep(value: float) -> None:
    logged = dataclasses.replace(LOGGED, loss=value)
    probed = dataclasses.replace(PROBED, candidates=[{"score": value, "token_str": "NaN"}])
    assert json.loads(encode(logged), parse_constant=pytest.fail)["loss"] is None
    assert json.loads(encode(probed), parse_constant=pytest.fail)["candidates"] == [{"score": None, "token_str": "NaN"}]


def test_half_line_waits_for_its_end() -> None:
    whole, half = encode(LOGGED).encode() + b"\n", encode(EVALUATED).encode()
    for cut in range(len(half) + 1):
        records, used = decode_lines(whole + half[:cut])
        assert [record["kind"] for record in records] == ["step_logged"] and used == len(whole)
    records, _ = decode_lines(half + b"\n")
    assert [record["kind"] for record in records] == ["evaluated"]


def test_half_line_may_end_within_a_character() -> None:
    line = encode(PROBED).encode()
    assert decode_lines(line[: line.index("水".encode()) + 1]) == ([], 0)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"   ",
        b'{"kind": "step_lo',
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"5",
        b'"kind"',
        b"{}",
        b'{"kind": 5}',
        b"[" * 100_000,
        b"1" * 10_000,
    ],
    ids=lambda garbage: repr(garbage[:12]),
)
def test_garbage_line_is_ignored_and_its_neighbours_are_read(garbage: bytes) -> None:
    good = encode(LOGGED).encode()
    data = good + b"\n" + garbage + b"\n" + good + b"\n"
    records, used = decode_lines(data)
    assert [record["kind"] for record in records] == ["step_logged", "step_logged"] and used == len(data)


def test_unknown_kinds_and_fields_are_handed_on() -> None:
    records, _ = decode_lines(b'{"kind": "paused", "why": 1}\r\n')
    assert records == [{"kind": "paused", "why": 1}]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("run_started", "On AMD EPYC (cpu, bf16, 2 threads)"),
        ("phase_changed", "Training ..."),
        (
            "planned",
            "350 documents, 46,514 words, 66,686 tokens: 416 blocks of 128 to learn from, 104 held out; 1,156 steps",
        ),
        ("step_logged", "step      5  epoch  0.10  loss 4.5000  8,192 tokens/s"),
        ("evaluated", "held out: loss 2.0000, perplexity 7.39, accuracy 50.0%"),
        ("warned", "warning: Mind the gap."),
        ("finished", "time budget at step 5 after 1.3 s"),
        ("probed", None),
        ("checkpoint_saved", None),
        ("failed", None),  # the shell prints the error itself
    ],
)
def test_terminal_gets_one_line_for_what_it_shows(kind: str, expected: str | None) -> None:
    assert in_words(EVERY[kind]) == expected


def test_perplexity_that_overflowed_is_said_in_words() -> None:
    words: Any = in_words(dataclasses.replace(EVALUATED, perplexity=None))
    assert "perplexity too large" in words
