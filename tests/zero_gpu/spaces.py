"""A stand-in for the package that lends GPUs on Spaces.

As there, a generator works in a process that is forked from the page's, in a thread of it, and is killed when its time
is up; what it lasted is taken from the quota of who asks, told apart by a header of the request in which it is called.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr
import torch  # noqa: F401  the real one puts its stand-ins for CUDA there
from gradio.context import LocalContext

HEADER = "x-ip-token"
fork = multiprocessing.get_context("fork")


class Lender:
    """What the other side keeps; tests may change it."""

    def __init__(self) -> None:
        self.quota = float(os.environ.get("LENT_QUOTA_SECONDS", "1e9"))  # of each visitor
        self.used: dict[str | None, float] = {}
        self.lent: list[tuple[str | None, float]] = []  # to whom, for how long
        self.kill_after: dict[int, int] = {}  # in slice n, kill the process after so many signs of it
        self.refusals: list[Exception] = []  # to be raised first

    def lend(self, seconds: float) -> str | None:
        """Whose quota it is. Raises: gr.Error in the words of the real one."""
        request = LocalContext.request.get(None)
        visitor = request.headers.get(HEADER) if request else None
        if self.refusals:
            raise self.refusals.pop(0)
        left = int(self.quota - self.used.get(visitor, 0.0))
        if seconds > left:
            message = (
                f"You have exceeded your free ZeroGPU quota ({round(seconds)}s requested vs. {left}s left). "
                "Try again in 3:22:10. "
            )
            raise gr.Error(message, title="ZeroGPU quota exceeded", print_exception=False)
        self.lent.append((visitor, seconds))
        if path := os.environ.get("LENT_LOG"):
            with open(path, "a") as log:
                log.write(f"{visitor} {seconds:g}\n")
        return visitor


lender = Lender()


def GPU(*, duration: Callable[..., float]) -> Callable[..., Any]:
    """The decorator, for generators with a callable duration."""

    def decorated(task: Callable[..., Iterator[object]]) -> Callable[..., Iterator[object]]:
        def lent(*values: Any) -> Iterator[object]:
            seconds = duration(*values)
            visitor = lender.lend(seconds)
            began = time.monotonic()
            try:
                yield from _in_fork(task, values, seconds, lender.kill_after.get(len(lender.lent)))
            finally:
                lender.used[visitor] = lender.used.get(visitor, 0.0) + time.monotonic() - began

        return lent

    return decorated


def _in_fork(
    task: Callable[..., Iterator[object]], values: Any, seconds: float, last_sign: int | None
) -> Iterator[object]:
    reader, writer = fork.Pipe(duplex=False)
    closed = fork.Event()
    process = fork.Process(target=_iterate, args=(task, values, writer, closed, last_sign), daemon=True)
    process.start()
    writer.close()
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    try:
        while True:
            try:
                kind, value = reader.recv()
            except EOFError:
                raise gr.Error("GPU task aborted", title="ZeroGPU worker error", print_exception=False) from None
            if kind == "end":
                return
            if kind == "error":
                raise gr.Error(value, title="ZeroGPU worker error", print_exception=False)
            yield value
    except GeneratorExit:
        closed.set()
        raise
    finally:
        process.join()
        limit.cancel()


def _iterate(
    task: Callable[..., Iterator[object]], values: Any, writer: Any, closed: Any, last_sign: int | None
) -> None:
    def iterate() -> None:
        generator = task(*values)
        try:
            for number, value in enumerate(generator, 1):
                if number == last_sign:
                    os.kill(os.getpid(), signal.SIGKILL)
                if closed.is_set():
                    generator.close()
                    break
                writer.send(("sign", value))
        except Exception as error:
            writer.send(("error", f"{type(error).__name__}: {error}"))
            return
        writer.send(("end", None))

    with ThreadPoolExecutor(1) as executor:
        executor.submit(iterate).result()
