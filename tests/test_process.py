"""The process of a run, and when it ends itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer import process
from trainer.config import TrainConfig
from trainer.engine import loop
from trainer.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signal handlers are given back as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("in_time", [True, False])
def test_a_run_that_reads_or_measures_long_after_its_time_fails_in_words(
    in_time: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, config = RunFolder(tmp_path / "run"), TrainConfig(max_seconds=1.0)
    folder.write_config(config)
    left, codes = threading.Event(), list[int]()

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    def fit(*given: Any, **named: Any) -> None:
        left.wait(0.0 if in_time else 20.0)  # no step, and so no look at the clock

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(process, "AROUND_SECONDS", -0.9)
    process.train(folder, config, lambda event, line: None, None)
    if in_time:
        assert not left.wait(0.3) and folder.last_record() is None
    else:
        record = folder.last_record() or {}
        assert (codes, record["kind"]) == ([process.BROKEN], "failed")
        assert "after its time" in record["what"] and "allow more time" in record["fix"]
