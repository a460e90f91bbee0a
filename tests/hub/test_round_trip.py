"""There and back, as a user does it: `python -m trainer publish`, then the model by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "hf_write_of_alice"
SENTENCE = "The Milky Way is a <mask> galaxy."


@pytest.fixture
def start(hub: Any, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `python -m trainer` with a home of its own and the local Hub in the place of the real one."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "hf-home"),
        "PYTHONPATH": str(PROJECT),
    }

    def run(*arguments: str, token: str = TOKEN) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "trainer", *arguments],
            env=environment | ({"HF_TOKEN": token} if token else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def command_lines() -> bytes:
    """Of all processes there are."""
    lines = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines += path.read_bytes()
        except OSError:  # ended since
            continue
    return lines


def test_a_published_model_answers_as_the_one_at_home_and_the_token_is_nowhere(
    hub: Any, start: Any, trained_run: Any, tmp_path: Path
) -> None:
    folder = trained_run()
    hub.fail("commit", delay_seconds=1.0)
    process, seen = start("publish", str(folder), "--repo", "otter", "--licence", "mit", "--json"), b""
    while process.poll() is None:
        seen += command_lines()
        time.sleep(0.1)
    code, out, err = ended(process)
    assert code == 0 and err == "", err
    record = json.loads(out)
    assert record["repo"] == "alice/otter" and record["url"] == f"{hub.url}/alice/otter" and record["private"]
    assert b"publish" in seen and TOKEN.encode() not in seen
    assert TOKEN not in out + err
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path

    answers = [
        ended(start("predict", SENTENCE, "--model", model, "--json"))
        for model in (str(folder / "model"), "alice/otter")
    ]
    assert answers[0][0] == answers[1][0] == 0, answers[1][2]
    assert json.loads(answers[0][1]) == json.loads(answers[1][1])


def test_a_refusal_is_one_line_and_exit_code_2(start: Any, trained_run: Any) -> None:
    code, out, err = ended(start("publish", str(trained_run()), "--repo", "otter", "--json", token="hf_read_of_alice"))
    assert (code, out) == (2, "") and err.startswith("error: This token may only read.") and err.count("\n") == 1
