"""The page's start: how long until it answers, beside an empty Gradio app."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.comparison import OURS, Comparison, in_turns

PROJECT = Path(__file__).resolve().parents[2]
EMPTY = "empty Gradio app"
EMPTY_APP = "import gradio\nwith gradio.Blocks() as page:\n    pass\npage.launch()\n"
PATIENCE = 120.0  # seconds


def comparisons(device: str, repetitions: int, only: str) -> Iterator[Comparison]:
    """From the start of the process to the first answer over HTTP."""
    name = "start of the page"
    if only in name:
        ways = {
            EMPTY: lambda: _seconds_to_answer([sys.executable, "-c", EMPTY_APP]),
            OURS: lambda: _seconds_to_answer([sys.executable, str(PROJECT / "app.py")]),
        }
        # At most 1.3 times the empty app's time.
        yield Comparison(name, "s", in_turns(ways, repetitions), larger_is_better=False, targets={EMPTY: 1 / 1.3})


def _seconds_to_answer(command: list[str]) -> float:
    with tempfile.TemporaryDirectory() as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = os.environ | {
            "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", "MASK_STUDIO_HOME": home,
        }  # fmt: skip
        began = time.perf_counter()
        app = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while time.perf_counter() - began < PATIENCE:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE):
                        return time.perf_counter() - began
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.02)
        finally:
            app.terminate()
            app.wait()
    raise RuntimeError(f"{command[-1][:40]!r} did not answer within {PATIENCE:g} s.")
