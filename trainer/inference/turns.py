"""Who is next: a lock that is fair. Standard library only."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

from trainer.errors import PredictionError


class Turns:
    """A lock whose waiters are let in in the order they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # the first has its turn

    @contextlib.contextmanager
    def take(self, timeout_seconds: float, turn: threading.Event | None = None) -> Iterator[None]:
        """Waits for the turn. Raises: PredictionError after `timeout_seconds`.

        Who sets `turn` lets its owner through before, who then must leave at once.
        """
        mine = turn or threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._queue[0].set()
        try:
            if not mine.wait(timeout_seconds):
                raise PredictionError("Others are being answered, and it takes long.", "Try again in a moment.")
            yield
        finally:
            with self._lock:
                self._queue.remove(mine)
                if self._queue:
                    self._queue[0].set()
