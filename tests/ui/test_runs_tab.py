"""The Runs tab without a browser: what is sent and what is not, what is compared, which settings are copied."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError, RunError
from trainer.events import Evaluated, Finished, RunStarted
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.uploads import keep_text
from trainer.ui import charts, form
from trainer.ui.comparison import Comparison
from trainer.ui.live_view import PICKED_FROM, LiveView
from trainer.ui.runs_tab import RunsTab
from trainer.ui.visitors import Visitors

STARTED = RunStarted(device="cpu", device_name="chip", processes=1, threads=2, precision="float32", versions={})
FINISHED = Finished(reason="completed", step=10, elapsed_seconds=1.0, model="model")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[RunManager]:
    manager = RunManager(tmp_path / "home", os.environ)
    yield manager
    manager.close()


@pytest.fixture
def finished(runs: RunManager) -> Callable[..., str]:
    """Makes a finished run: `finished("quiet-otter", learning_rate=1e-3)` is its id."""

    def make(name: str, masked_tokens: int = 9, **settings: Any) -> str:
        folder = RunFolder(runs.home / f"20260101-{len(list(runs.home.iterdir())):06}-{name}")
        folder.write_config(TrainConfig(**settings))
        folder.append(STARTED)
        for step, loss in ((0, 5.0), (10, 4.0)):
            folder.append(Evaluated(step=step, epoch=step / 10, loss=loss, perplexity=10 * loss, accuracy=0.5,
                                    masked_tokens=masked_tokens, best=True))  # fmt: skip
        folder.append(FINISHED)
        folder.model.mkdir()
        (folder.model / "config.json").write_text("{}")
        return folder.id

    return make


def tab_of(runs: RunManager) -> RunsTab:
    with gr.Blocks():
        return RunsTab(Visitors(runs))


def told(update: Any) -> dict[str, Any]:
    return json.loads(update["news"])


def test_a_tick_with_a_thousand_finished_runs_opens_no_file_but_those_of_the_run_that_is_shown(
    thousand_runs: Path, opened_files: Callable[[Path], list[str]]
) -> None:
    manager = RunManager(thousand_runs, os.environ)
    with gr.Blocks():
        visitors = Visitors(manager)
        live, tab = LiveView(visitors), RunsTab(visitors)
        live.connect(gr.Button(), gr.Button())
    own = visitors.of("")
    seen = live.news.marks(own, own.shown(None))
    listed = tab.refresh(own, [], None)[1]
    assert len(listed) == 1000
    opened = opened_files(thousand_runs)
    time.sleep(1.1)  # what the manager knows is then a second old, and it looks again
    unchanged = live.news.marks(own, own.shown(None)), tab.refresh(own, [], listed)
    manager.close()
    assert unchanged == (seen, gr.skip())
    assert {Path(file).parent.name for file in opened} <= {next(iter(listed))}


def test_the_picker_offers_the_newest_runs_and_the_one_that_is_shown(thousand_runs: Path) -> None:
    manager = RunManager(thousand_runs, os.environ)
    with gr.Blocks():
        visitors = Visitors(manager)
        live = LiveView(visitors)
    ids = [view.id for view in manager.views()]
    offered = live.offered(visitors.of(""), ids[-1])["choices"]
    manager.close()
    assert [run for _, run in offered] == [*ids[:PICKED_FROM], ids[-1]]


def test_only_runs_that_changed_are_sent_again(runs: RunManager, finished: Callable[..., str]) -> None:
    first, second = finished("quiet-otter"), finished("brave-fox")
    tab = tab_of(runs)
    update, seen, *_ = tab.refresh(runs, [], None)
    assert told(update)["ids"] == [second, first] and len(told(update)["rows"]) == 2
    assert tab.refresh(runs, [], seen) == gr.skip()
    runs.rename(first, "Tea")
    update, seen, *_ = tab.refresh(runs, [], seen)
    assert told(update)["ids"] == [second, first]
    assert [(row["name"], row["own"]) for row in told(update)["rows"]] == [("Tea", "quiet-otter")]
    runs.delete(second)
    assert told(tab.refresh(runs, [], seen)[0]) == {"ids": [first], "rows": []}


def test_a_browser_is_told_that_there_are_no_runs(runs: RunManager) -> None:
    assert told(tab_of(runs).refresh(runs, [], None)[0]) == {"ids": [], "rows": []}


def test_a_row_names_text_and_model_without_paths(runs: RunManager, finished: Callable[..., str]) -> None:
    first = finished("quiet-otter")
    finished("brave-fox", model=str(runs.home / first / "model"), dataset=str(keep_text(runs.home, "some text")))
    runs.rename(first, "Tea")
    rows = told(tab_of(runs).refresh(runs, [], None)[0])["rows"]
    assert [(row["text"]["data"], row["text"]["model"]) for row in rows] == [
        ("pasted.txt", "Tea"),
        ("Science Q&A", "Mask Studio mini"),
    ]
    shown = [rows[0]["text"][column] for column in ("before", "after", "change")]
    assert shown == ["50.0", "40.0", "\u221220%"]


def test_buttons_apply_to_what_is_chosen(runs: RunManager, finished: Callable[..., str], eventually: Callable) -> None:
    first, second = finished("quiet-otter"), finished("brave-fox")
    tab = tab_of(runs)

    def allowed(*chosen: str) -> set[str]:
        return {
            n for n, update in zip(tab.buttons, tab.choose(runs, list(chosen)), strict=False) if update["interactive"]
        }

    assert allowed() == allowed("20260101-999999-no-run") == set()
    assert allowed(first) == {"open", "try", "copy", "rename", "download", "delete"}
    assert allowed(first, second) == {"compare", "delete"}
    with RunFolder(runs.home / second).hold():
        RunFolder(runs.home / second).append(STARTED)
        eventually(lambda: "delete" not in allowed(second))
        assert allowed(first, second) == {"compare"}


def test_comparing_marks_what_differs_and_says_when_figures_do_not_compare(
    runs: RunManager, finished: Callable[..., str]
) -> None:
    finished("quiet-otter"), finished("brave-fox", learning_rate=1e-3), finished("keen-seal", seed=7)
    with gr.Blocks():
        comparison = Comparison(Visitors(runs))
    seal, fox, otter = runs.views()

    _, _, legend, curves, figures, settings = comparison.shown(runs, [fox, otter], True)
    assert settings == {
        "headers": ["setting", "brave-fox", "quiet-otter", ""],
        "data": [["Learning rate", "0.001", "2e-05", "\u2260 differs"]],
    }
    assert "warning" not in legend and "brave-fox" in legend
    assert [[curve["name"] for curve in chart["curves"]] for chart in curves] == [["brave-fox", "quiet-otter"]] * 2
    assert figures[0] == ["brave-fox", 0, "0.00", "5.0000", "50.00", "50.0%"]

    _, _, legend, *_, settings = comparison.shown(runs, [seal, otter], False)
    assert "held out (Seed)" in legend and len(settings["data"]) == len(dataclasses.fields(TrainConfig))
    assert [row for row in settings["data"] if row[-1]] == [["Seed", "7", "42", "\u2260 differs"]]


def test_models_with_other_tokens_are_said_not_to_compare(runs: RunManager, finished: Callable[..., str]) -> None:
    finished("quiet-otter"), finished("brave-fox", masked_tokens=11)
    with gr.Blocks():
        assert "different tokens" in Comparison(Visitors(runs)).shown(runs, runs.views(), True)[2]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_or_too_many_runs_are_not_compared(runs: RunManager, finished: Callable[..., str], count: int) -> None:
    for _ in range(count):
        finished("quiet-otter")
    with gr.Blocks(), pytest.raises(RunError, match="Choose 2 to 8"):
        Comparison(Visitors(runs)).shown(runs, runs.views(), True)


def test_runs_of_the_same_name_keep_curves_of_their_own(runs: RunManager, finished: Callable[..., str]) -> None:
    for name in ("quiet-otter", "quiet-otter", "brave-fox", "keen-seal"):
        finished(name)
    for run_id in [view.id for view in runs.views()][:2]:
        runs.rename(run_id, "Tea")
    names = charts.run_names(runs.views())
    assert len(set(names)) == 4 and names[:2] == ["Tea (keen-seal)", "Tea (brave-fox)"]


def test_copied_settings_start_the_same_run_again(runs: RunManager, finished: Callable[..., str]) -> None:
    first = finished("quiet-otter")
    text = keep_text(runs.home, "some text")
    second = finished("brave-fox", model=str(runs.home / first / "model"), dataset=str(text), learning_rate=1e-3)
    values, gone = form.copied(runs.view(second), runs)
    assert (values["model"], values["dataset"], gone) == (first, second, [])
    assert form.public_config(values, runs) == runs.view(second).config


def test_what_is_no_longer_there_is_named_and_not_copied(runs: RunManager, finished: Callable[..., str]) -> None:
    first = finished("quiet-otter")
    text = keep_text(runs.home, "some text")
    second = finished("brave-fox", model=str(runs.home / first / "model"), dataset=str(text))
    text.unlink()
    runs.delete(first)
    values, gone = form.copied(runs.view(second), runs)
    assert (values["model"], values["dataset"], gone) == ("bundled", "bundled", ["model", "dataset"])


def test_a_visitor_reaches_no_file_by_the_run_that_read_it(runs: RunManager, finished: Callable[..., str]) -> None:
    outside = finished("quiet-otter", dataset="/etc/passwd", model="/etc")
    with pytest.raises(RunError, match="no longer here"):
        form.public_config({"dataset": outside}, runs)
    values, gone = form.copied(runs.view(outside), runs)
    assert values["dataset"] == values["model"] == "bundled" and gone == ["model", "dataset"]
    with pytest.raises(ConfigError):
        form.public_config({"dataset": f"../{outside}"}, runs)
