"""A run whose model is out to harm ends its own process, and fails in words."""

from __future__ import annotations

import sys

import pytest

from trainer.config import TrainConfig

pytestmark = pytest.mark.slow

# As the page starts it, but with little memory, so that the bomb goes off early.
WITH_LITTLE_MEMORY = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_DATA, (5 << 29,) * 2)
runpy.run_module("trainer", run_name="__main__")
"""
PATIENCE_SECONDS = 120


def test_a_tokenizer_that_aborts_the_process_fails_its_run_in_words(stage, altered, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Water is wet and stones are dry.\n" * 20 + "a" * 45_000 + "\n")
    thousandfold = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1_900}
    model = altered(tokenizer={"normalizer": thousandfold})
    manager = stage.manager(command=lambda folder: [sys.executable, "-c", WITH_LITTLE_MEMORY, "run", str(folder.path)])
    run_id = manager.start(
        TrainConfig(model=str(model), dataset=str(text), max_steps=1, block_size=16, probe_text=None)
    )
    stage.until(lambda: manager.view(run_id).is_over, PATIENCE_SECONDS)
    view = manager.view(run_id)
    assert view.state == "failed" and "The training process was ended by SIGABRT" in view.failure[0]
    assert view.failure[1] and stage.last_kinds(run_id) == ["failed"]
