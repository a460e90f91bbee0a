"""The shell's commands, each test in an empty folder of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.shell.answers import Answer, Shell
from trainer.__main__ import ENVIRONMENT, main


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty working folder; environment and signal handlers are given back as they were."""
    for name, value in ENVIRONMENT.items():  # as `main` sets it, which would outlive the test
        monkeypatch.setenv(name, value)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """The shell's `main` in this process."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as exit:  # argparse's way to end
            code = int(exit.code or 0)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def settings(tiny_model: Callable[[str], Path], sample_text: Path) -> list[str]:
    """Flags of a run of a second."""
    return [
        "--model", str(tiny_model("roberta")), "--dataset", str(sample_text), "--precision", "float32",
        "--block-size", "32", "--max-steps", "3", "--logging-steps", "1", "--save-steps", "2",
    ]  # fmt: skip
