"""The child process that predicts, and the service in front of it. The page's process itself never imports torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from trainer.environment import without_secrets
from trainer.errors import PredictionError, TrainerError
from trainer.inference.sentences import fill_file
from trainer.predictions import Comparison, FilePart, FilledMask, JointFilling, ScoredSentence, ScoredTarget

MEMORY_BYTES = 8 << 30  # of address space; the largest preset takes half of it


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Who predicts, and on what."""

    pid: int
    device: str
    device_name: str


class Turns:
    """A lock whose waiters are let in in the order they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # the first has its turn

    @contextlib.contextmanager
    def take(self, timeout_seconds: float) -> Iterator[None]:
        """Waits for the turn. Raises: PredictionError after `timeout_seconds`."""
        mine = threading.Event()
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


class FillService:
    """The methods of `MaskFiller`, answered by one spawned worker, which is replaced when it dies or takes too long.

    Raises: TrainerError, from all of them; a request that ends the worker gets a sentence, too.
    """

    def __init__(self, *, timeout_seconds: float = 120.0, memory_bytes: int | None = None) -> None:
        self._timeout = timeout_seconds
        self._memory_bytes = memory_bytes  # of the worker's address space; None: what suits the machine
        self._turns = Turns()  # one request at a time, so that one which ends the worker takes no other along
        self._lock = threading.Lock()  # for the two below
        self._pool: ProcessPoolExecutor | None = None
        self._facts: Future[WorkerFacts] | None = None

    def start(self) -> None:
        """Starts the worker, which loads the bundled model; returns at once."""
        self._running()

    def facts(self) -> WorkerFacts | None:
        """Process and device of the worker; None while it is starting."""
        facts = self._facts
        if facts is None or not facts.done() or facts.cancelled() or facts.exception() is not None:
            return None
        return facts.result()

    def fill(
        self, text: str, model: str = "bundled", top_k: float = 5, targets: Sequence[str] | None = None
    ) -> list[FilledMask]:
        """As `MaskFiller.fill`."""
        return self._answer("fill", text, model, top_k, targets)

    def fill_many(
        self, texts: Sequence[str], model: str = "bundled", top_k: float = 5
    ) -> list[list[FilledMask] | TrainerError]:
        """As `MaskFiller.fill_many`."""
        return self._answer("fill_many", texts, model, top_k)

    def fill_jointly(
        self,
        text: str,
        model: str = "bundled",
        count: float = 5,
        order: str = "confidence",
        pieces: float = 1,
        repeats: bool = True,
    ) -> list[JointFilling]:
        """As `MaskFiller.fill_jointly`."""
        return self._answer("fill_jointly", text, model, count, order, pieces, repeats)

    def rank(self, text: str, targets: Sequence[str], model: str = "bundled") -> list[tuple[ScoredTarget, ...]]:
        """As `MaskFiller.rank`."""
        return self._answer("rank", text, targets, model)

    def score(self, text: str, model: str = "bundled") -> ScoredSentence:
        """As `MaskFiller.score`."""
        return self._answer("score", text, model)

    def compare(self, text: str, model: str, other: str, top_k: float = 5) -> Comparison:
        """As `MaskFiller.compare`."""
        return self._answer("compare", text, model, other, top_k)

    def read_sentences(self, path: str) -> list[str]:
        """As `MaskFiller.read_sentences`."""
        return self._answer("read_sentences", path)

    def fill_file(self, path: str, model: str = "bundled", top_k: float = 5) -> Iterator[FilePart]:
        """As `MaskFiller.fill_file`; every part waits for a turn of its own, so that others get theirs in between."""
        return fill_file(self, path, model, top_k)

    def close(self) -> None:
        """Ends the worker."""
        self._discard(self._pool)

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    1,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_prepare_worker,
                    initargs=(self._memory_bytes,),
                )
                self._facts = self._pool.submit(_warm_up)
            return self._pool

    def _answer(self, method: str, *request: Any) -> Any:
        """What `method` of the worker's `MaskFiller` returns."""
        with self._turns.take(self._timeout):
            pool = self._running()
            try:
                return pool.submit(_answer, method, *request).result(self._timeout)
            except BrokenProcessPool as error:
                self._discard(pool)
                raise PredictionError(
                    "The process that predicts ended while it worked on this.",
                    "Try once more; if it happens again, the model or the text is too much for this machine.",
                ) from error
            except WaitedTooLong as error:
                self._discard(pool)
                raise PredictionError(
                    f"There was no answer within {self._timeout:g} seconds.",
                    "Try again if the model is still being fetched; else a shorter text or a smaller model.",
                ) from error

    def _discard(self, pool: ProcessPoolExecutor | None) -> None:
        """Ends `pool`, unless that was done already, and lets the next request start anew."""
        with self._lock:
            if pool is None or pool is not self._pool:
                return
            self._pool = self._facts = None
        for process in list((pool._processes or {}).values()):  # kill_workers() comes with Python 3.14
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)


_filler: Any = None  # in the worker only: a MaskFiller


def _prepare_worker(memory_bytes: int | None) -> None:
    """Ends with the page's process, however that ends; leaves signals to it; has no secrets and bounded memory."""
    kept = without_secrets(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(0)), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(memory_bytes)


def _limit_memory(memory_bytes: int | None) -> None:
    """The address space of a processor's child; not with a GPU, whose driver maps far more than it uses."""
    try:
        import resource
    except ImportError:  # Windows has no limits of this kind
        return
    import torch

    if not torch.cuda.is_available():
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes or min(physical, MEMORY_BYTES),) * 2)


def _warm_up() -> WorkerFacts:
    from trainer.engine import hardware

    with contextlib.suppress(TrainerError):  # whoever asks that model will be told
        _answer("fill", "A <mask>.", "bundled", 1)
    chosen = hardware.choose()
    return WorkerFacts(os.getpid(), chosen.device, chosen.name)


def _answer(method: str, *request: Any) -> Any:
    global _filler
    if _filler is None:
        from trainer.inference.fill_mask import MaskFiller

        _filler = MaskFiller()
    try:
        return getattr(_filler, method)(*request)
    except TrainerError:
        raise
    except MemoryError as error:
        raise PredictionError("The model does not fit into this machine's memory.", "Choose a smaller one.") from error
    except BaseException as error:  # the tokenizers' panics derive from BaseException and would stop nothing but us
        raise PredictionError(f"The model failed on this text: {type(error).__name__}: {error}") from None
