"""An app in a process of its own, until it answers and while it does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
OUR_APP = (sys.executable, str(PROJECT / "app.py"))
PATIENCE = 120.0  # seconds


@dataclass(frozen=True)
class Served:
    """An app that answers."""

    url: str
    start_seconds: float  # from the start of the process to the first answer over HTTP
    process: subprocess.Popen[bytes]


@contextmanager
def served(command: Sequence[str], home: Path) -> Iterator[Served]:
    """Starts the app with its runs in `home`; ends it in the end. Raises: RuntimeError when it doesn't answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", "MASK_STUDIO_HOME": str(home),
    }  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    began = time.perf_counter()
    app = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < PATIENCE:
            try:
                urllib.request.urlopen(url, timeout=PATIENCE).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        else:
            raise RuntimeError(f"{command[-1][:40]!r} did not answer within {PATIENCE:g} s.")
        yield Served(url, time.perf_counter() - began, app)
    finally:
        app.terminate()
        app.wait()
