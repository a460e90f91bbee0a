"""For tests of the engine: always on the processor, and settings that take a second."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import trainer.engine.loop
from trainer.config import TrainConfig


@pytest.fixture(scope="session", autouse=True)
def libraries_are_no_garbage(tiny_model: Callable[[str], Path]) -> None:
    """Every run ends with a garbage collection, which would go through all of torch and transformers each time."""
    assert trainer.engine.loop and tiny_model("roberta")
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def on_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact numbers are promised for the processor, so a GPU is not used even where there is one."""
    if request.node.get_closest_marker("gpu"):
        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")
    else:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def stop_at() -> Callable[..., Callable[[], bool]]:
    """Makes a `should_stop` for one step: the engine asks once before each, beginning with the one it starts at."""

    def make(step: int, start: int = 0) -> Callable[[], bool]:
        asked = itertools.count(start)
        return lambda: next(asked) == step

    return make


@pytest.fixture
def copied(altered):
    """A copy of a tiny model's folder, its config.json changed: `copied("bert", num_hidden_layers=3)`."""
    return lambda kind="roberta", **changes: altered(kind, config=changes)


@pytest.fixture
def tokenized(altered):
    """A copy of a tiny model's folder, its tokenizer.json changed: `tokenized(normalizer={...})`."""
    return lambda **changes: altered(tokenizer=changes)


@pytest.fixture
def nothing_is_opened(monkeypatch):
    """Fails a test that gets as far as opening weights or tokenizer."""
    for opened in (transformers.AutoModelForMaskedLM, transformers.AutoTokenizer):
        monkeypatch.setattr(opened, "from_pretrained", lambda *a, **k: pytest.fail("the model was opened"))


@pytest.fixture
def nothing_is_built(nothing_is_opened, monkeypatch):
    """Fails a test whose configuration gets as far as the library."""
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *a, **k: pytest.fail("it was opened"))
