"""What `python -m trainer` answers: its two streams and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]

Shell = Callable[..., "Answer"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=pytest.fail) for line in self.out.splitlines()]


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m trainer` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_process_of_its_own(*arguments: str) -> Answer:
    with start(*arguments) as process:
        out, err = process.communicate(timeout=120)
    return Answer(process.returncode, out, err)


def made(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*")}


def assert_refused(answer: Answer, expected: str) -> None:
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ") and expected in line
