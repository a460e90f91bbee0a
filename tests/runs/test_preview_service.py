"""A text is looked at in a process of its own: what kills that one is a sentence here."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.errors import DataError
from trainer.runs.preview import PreviewService

ANSWER = {
    "text_column": "text", "documents": 3, "skipped_documents": 0, "words": 9, "tokens": 12, "train_blocks": 2,
    "held_out_blocks": 1, "held_out_documents": 1, "block_size": 8, "steps": 3, "steps_per_epoch": 1,
    "parameters": 9, "architecture": "Bert", "masked_positions_only": True,
    "line_by_line": False, "compile": False, "cuda_graph": False, "share": 1.0,
    "first_documents": ["One."], "block": [{"text": "One", "fate": "hidden", "seen": "<mask>"}],
    "scripts": {"Latin": 1.0}, "unknown_share": 0.0, "duplicate_share": 0.0, "estimate": None, "warnings": [],
}  # fmt: skip


def service(home, code, **how):
    return PreviewService(home, {}, command=lambda settings: [sys.executable, "-c", code, str(settings)], **how)


def test_an_answer_is_kept_for_the_same_question(tmp_path):
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('x'); print({json.dumps(ANSWER)!r})"
    previews = service(tmp_path, code)
    for seed in (1, 1, 2):
        seen = previews.preview(TrainConfig(seed=seed))
        assert (seen.plan.documents, seen.block[0].fate) == (3, "hidden")
        assert json.loads(seen.to_json())["documents"] == 3
    assert count.read_text() == "xx"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "took too long, or more memory"),
        ("import time; time.sleep(60)", "took too long, or more memory"),
        ("import sys; sys.stderr.write('noise\\nerror: The file is empty.\\n'); sys.exit(2)",
         "^The file is empty"),
    ],
)  # fmt: skip
def test_a_process_that_dies_hangs_or_refuses_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, code, said):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(DataError, match=said):
        service(tmp_path, code, wall_seconds=3.0).preview(TrainConfig())
    assert time.monotonic() - began < 30 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_real_process_tells_what_a_run_will_find(tmp_path: Path, sample_text: Path, tiny_model):
    config = TrainConfig(dataset=str(sample_text), model=str(tiny_model("roberta")), block_size=32, max_steps=2)
    seen = PreviewService(tmp_path, {}).preview(config)
    assert seen.plan.documents == 60 and seen.plan.steps == 2 and seen.estimate and seen.estimate.seconds > 0
    assert any(token.fate for token in seen.block) and seen.scripts["Latin"] == 1.0
