"""For tests of the engine: always on the processor, and settings that take a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import TrainConfig


@pytest.fixture(autouse=True)
def on_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact numbers are promised for the processor, so a GPU is not used even where there is one."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def tiny_config(tiny_model: Callable[[str], Path], sample_text: Path) -> Callable[..., TrainConfig]:
    """Settings of a run of six steps on the sample text: `tiny_config(max_steps=3)`."""

    def make(**changes: Any) -> TrainConfig:
        settings = {
            "model": str(tiny_model("roberta")),
            "dataset": str(sample_text),
            "block_size": 32,
            "learning_rate": 1e-3,
            "precision": "float32",
            "max_steps": 6,
            "logging_steps": 1,
            "probe_text": None,
        }
        return TrainConfig(**(settings | changes))

    return make
