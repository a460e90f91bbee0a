"""Many clients at once: `python -m tests.load --clients 50 --seconds 60`; exit code 1 when a bound is missed.

Each client asks `/fill_mask` of the bundled model, waits for the answer, pauses, and asks again. Bounds: no error, half
of the answers within 250 ms, 95 of 100 within 1 s, and the page's memory grows by less than a twentieth.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tests.ui.conftest import App

MEDIAN_SECONDS, NEARLY_ALL_SECONDS, GROWTH = 0.25, 1.0, 0.05
WARM_UP_SECONDS = 10.0
SENTENCES = (
    "The Milky Way is a <mask> galaxy.",
    "The Earth orbits the <mask>.",
    "Dinosaurs lived millions of <mask> ago.",
    "The United <mask> of <mask> has fifty states.",
)


class Client(threading.Thread):
    """One visitor: asks, reads the answer, and thinks for `pause_seconds` on average."""

    def __init__(self, url: str, endpoint: int, until: float, pause_seconds: float, number: int) -> None:
        super().__init__(daemon=True)
        self._endpoint, self._session = endpoint, f"load-{number}"
        self._address, self._until, self._pause = urlsplit(url).netloc, until, pause_seconds
        self._random = random.Random(number)
        self.answered: list[tuple[float, float]] = []  # when, and after how many seconds
        self.errors: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        while time.monotonic() < self._until:
            time.sleep(self._random.uniform(0, 2 * self._pause))
            began = time.monotonic()
            try:
                self._ask(connection)
                self.answered.append((began, time.monotonic() - began))
            except Exception as error:  # whatever it is, it counts
                self.errors.append(f"{type(error).__name__}: {error}")
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        """What `gradio_client` does: joins the queue in a session of its own, and listens until the answer comes."""
        data = [self._random.choice(SENTENCES), "bundled", 5, ""]
        question = json.dumps({"data": data, "fn_index": self._endpoint, "session_hash": self._session})
        connection.request("POST", "/gradio_api/queue/join", question, {"Content-Type": "application/json"})
        event = json.loads(connection.getresponse().read())["event_id"]
        connection.request("GET", f"/gradio_api/queue/data?session_hash={self._session}")
        stream = connection.getresponse()
        while line := stream.readline():
            message = json.loads(line[6:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed" and message["event_id"] == event:
                stream.read()
                if not message["success"] or not message["output"]["data"][0][0][0]["score"] > 0:
                    raise ValueError(message)
                return
        raise ValueError("the stream ended without an answer")


def memory_bytes(pid: int) -> int:
    """What a process and its children hold in memory, shared pages counted once for each."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(memory_bytes(int(child)) for child in children)


def cpu_seconds(pid: int) -> float:
    """The processor time of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") + sum(cpu_seconds(int(child)) for child in children)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds a client thinks between two questions")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = App(Path(folder) / "home")
        try:
            return measure(app, asked.clients, asked.seconds, asked.pause)
        finally:
            app.close()


def measure(app: App, count: int, seconds: float, pause: float) -> int:
    with urllib.request.urlopen(f"{app.url}config") as config:
        named = json.load(config)["dependencies"]
    endpoint = next(dependency["id"] for dependency in named if dependency["api_name"] == "fill_mask")
    app.client().predict(SENTENCES[0], api_name="/fill_mask")  # the model is loaded
    began = time.monotonic()
    end = began + WARM_UP_SECONDS + seconds
    clients = [Client(app.url, endpoint, end, pause, number) for number in range(count)]
    for client in clients:
        client.start()
    time.sleep(WARM_UP_SECONDS)
    before, used = memory_bytes(app.process.pid), cpu_seconds(app.process.pid)
    for client in clients:
        client.join()
    after, used = memory_bytes(app.process.pid), cpu_seconds(app.process.pid) - used
    errors = [error for client in clients for error in client.errors]
    waits = sorted(wait for c in clients for when, wait in c.answered if when > began + WARM_UP_SECONDS)
    if not waits:
        print("No answers.", errors[:3])
        return 1
    median, nearly_all = waits[len(waits) // 2], waits[len(waits) * 95 // 100]
    print(
        f"{count} clients, {seconds:g} s, pause {pause:g} s: {len(waits)} answers ({len(waits) / seconds:.0f}/s), "
        f"{len(errors)} errors {errors[:3] or ''}\n"
        f"median {median * 1000:.0f} ms, 95 % {nearly_all * 1000:.0f} ms, longest {waits[-1] * 1000:.0f} ms, "
        f"{used / len(waits) * 1000:.1f} ms of processor time an answer\n"
        f"memory {before >> 20} MB to {after >> 20} MB, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    kept = median < MEDIAN_SECONDS and nearly_all < NEARLY_ALL_SECONDS and after < before * (1 + GROWTH)
    return 0 if kept and not errors else 1


if __name__ == "__main__":
    sys.exit(main())
