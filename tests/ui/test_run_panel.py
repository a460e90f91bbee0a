"""A run in HTML and as updates: states in words, numbers before and now, nothing unescaped, nothing twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from trainer.config import TrainConfig
from trainer.events import Evaluated, Event, Failed, PhaseChanged, Probed, RunStarted, StepLogged, Warned
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader
from trainer.runs.manager import RunManager
from trainer.runs.ownership import OwnRuns, Visitor
from trainer.ui import run_panel
from trainer.ui.live_view import LiveView
from trainer.ui.visitors import Visitors

HURTFUL = "<script>alert(1)</script>"
STARTED = RunStarted(
    device="cpu", device_name="A <fast> chip", processes=1, threads=2, precision="float32", versions={}
)


def evaluated(step: int, perplexity: float, best: bool = True) -> Evaluated:
    return Evaluated(
        step=step, epoch=step / 10, loss=2.0, perplexity=perplexity, accuracy=0.5, masked_tokens=9, best=best
    )


def logged(step: int) -> StepLogged:
    return StepLogged(
        step=step, epoch=0.1, loss=3.0, learning_rate=1e-3, grad_norm=1.0, tokens_per_second=1e4, elapsed_seconds=1.0
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "home" / "20260101-000000-quiet-otter")
    made.write_config(TrainConfig())
    return made


def panel_of(folder: RunFolder, *events: Event) -> str:
    for event in events:
        folder.append(event)
    return run_panel.panel(RunReader(folder).read(alive=True))


def test_before_the_first_run_the_page_says_how_to_begin() -> None:
    assert "Start" in run_panel.panel(None) and run_panel.probe(None) == ""


def test_failures_and_warnings_call_settings_as_the_form_does(folder: RunFolder) -> None:
    warned = Warned(message="block_size is 1024; the model reads 512.")
    html = panel_of(folder, STARTED, warned, Failed(what="Full.", fix="Lower per_device_train_batch_size to 4."))
    assert "Lower Batch size to 4." in html and "Block size is 1024" in html and "_size" not in html


def test_numbers_before_and_now_stand_side_by_side(folder: RunFolder) -> None:
    html = panel_of(folder, STARTED, evaluated(0, 200.0), logged(5), evaluated(10, 100.0))
    assert "100.0" in html and "200.0 before, \u221250%" in html
    assert "running" in html and "no GPU found" in html


def test_text_of_strangers_is_escaped_everywhere(folder: RunFolder) -> None:
    events = (STARTED, PhaseChanged(phase=HURTFUL), Warned(message=HURTFUL), evaluated(0, 2.0))
    probed = Probed(step=0, text=f"{HURTFUL} <mask>", candidates=[{"score": 0.5, "token_str": HURTFUL}])
    failed = Failed(what=f"{HURTFUL}\n{HURTFUL}", fix=HURTFUL)
    html = panel_of(folder, *events, probed, failed) + run_panel.probe(RunReader(folder).read())
    assert "<script" not in html and "&lt;script&gt;" in html and "A &lt;fast&gt; chip" in html


def test_a_failed_run_says_what_and_what_to_do(folder: RunFolder) -> None:
    html = panel_of(folder, STARTED, Failed(what="The disk is full.\nlast line of the log", fix="Make room."))
    assert "failed" in html and "The disk is full." in html and "Make room." in html and "<details>" in html


@pytest.fixture
def runs(folder: RunFolder) -> Iterator[RunManager]:
    manager = RunManager(folder.path.parent, os.environ, command=lambda run: ["sleep", "60"])
    yield manager
    manager.close()


def test_a_run_whose_folder_was_removed_leaves_the_page_alive(runs: RunManager) -> None:
    own = OwnRuns(runs, Visitor(sees_all=True))
    assert own.shown("20200101-000000-gone-run") is not None  # the newest instead


def test_only_what_changed_of_a_run_is_sent(folder: RunFolder, runs: RunManager) -> None:
    with gr.Blocks():
        visitors = Visitors(runs)
        live = LiveView(visitors)
        live.connect(gr.Button(), gr.Button())
    parts = ("panel", "probe", "curves", "picker", "rest")

    def marks() -> list[str]:
        own = visitors.of("")
        return live.news.marks(own, own.shown(None))

    def changed(event: Any) -> set[str]:
        before = marks()
        folder.append(event)
        runs.views()
        return {part for part, was, now in zip(parts, before, marks(), strict=True) if was != now}

    changed(STARTED)
    assert marks() == marks()
    assert changed(evaluated(0, 200.0)) == {"panel", "curves", "rest"}
    assert changed(logged(5)) == {"panel", "curves"}
    assert changed(logged(6)) == {"panel"}  # the curves follow in the next seconds of the run
    assert changed(Failed(what="over")) == {"panel", "curves", "picker", "rest"}
