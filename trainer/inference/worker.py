"""The child process that predicts, and the service in front of it. The page's process itself never imports torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from trainer.environment import SHORT_WAIT, without_secrets
from trainer.errors import PredictionError, TrainerError
from trainer.inference.sentences import fill_file
from trainer.inference.turns import Turns
from trainer.loading import loading
from trainer.predictions import Comparison, FilePart, FilledMask, JointFilling, ScoredSentence, ScoredTarget

TOGETHER = 16  # short texts that wait for the same are answered at once
SHORT = 1_000  # characters
MEMORY_BYTES = 8 << 30  # of address space; the largest preset takes half of it


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Who predicts, and on what."""

    pid: int
    device: str
    device_name: str


@dataclass(eq=False, slots=True)
class Waiting:
    """A text that waits for its turn to be filled."""

    text: str
    rest: str  # of the question
    turn: threading.Event = field(default_factory=threading.Event)
    answer: list[FilledMask] | TrainerError | None = None
    alone: bool = False  # after its group failed

    def joins(self, other: Waiting) -> bool:
        """Whether it can be answered together with another one."""
        alike = self is not other and self.rest == other.rest
        return alike and self.answer is None and not self.alone and not other.alone


class FillService:
    """The methods of `MaskFiller`, answered by one spawned worker, which is replaced when it dies or takes too long.

    Raises: TrainerError, from all of them; a request that ends the worker gets a sentence, too.
    """

    def __init__(self, *, timeout_seconds: float = 120.0, memory_bytes: int | None = None) -> None:
        self._timeout = timeout_seconds
        self._memory_bytes = memory_bytes  # of the worker's address space; None: what suits the machine
        self._turns = Turns()  # one request at a time, so that one which ends the worker takes no other along
        self._waiting: list[Waiting] = []
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
        """As `MaskFiller.fill`; who waits for the same model is answered together: several times faster for all."""
        if targets or not isinstance(text, str) or len(text) > SHORT:
            return self._answer("fill", text, model, top_k, targets)
        mine = Waiting(text, repr((model, top_k)))
        self._waiting.append(mine)
        try:
            with self._turns.take(self._timeout, mine.turn):
                while mine.answer is None:
                    others = [one for one in self._waiting if one.joins(mine)]
                    self._fill_together([mine, *others[: TOGETHER - 1]], model, top_k)
        finally:
            self._waiting.remove(mine)
        if isinstance(mine.answer, TrainerError):
            raise mine.answer
        return mine.answer

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
            return self._ask(method, *request)

    def _fill_together(self, group: list[Waiting], model: str, top_k: float) -> None:
        """Answers a group, or has each of it ask alone when one of them stops the others from being answered."""
        try:
            answers = self._ask("fill_many", [one.text for one in group], model, top_k)
        except TrainerError as error:
            answers = [error] if len(group) == 1 else [None] * len(group)
        for one, answer in zip(group, answers, strict=True):
            one.answer, one.alone = answer, True
            if answer is not None:
                one.turn.set()  # whoever came in between is not waited for

    def _ask(self, method: str, *request: Any) -> Any:
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
    os.environ.update({"OMP_WAIT_POLICY": "PASSIVE"} | SHORT_WAIT | kept)  # the former for other systems' threads
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(0)), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(memory_bytes)


def _limit_memory(memory_bytes: int | None) -> None:
    """The address space of a processor's child; not with a GPU, whose driver maps far more than it uses."""
    with loading():
        from trainer.engine import hardware

    if hardware.choose().device != "cuda":
        most = memory_bytes or min(hardware.memory_bytes(), MEMORY_BYTES)
        hardware.limit("RLIMIT_AS", most, most)


def _warm_up() -> WorkerFacts:
    from trainer.engine import hardware

    with contextlib.suppress(TrainerError):  # whoever asks that model will be told
        _answer("fill", "A <mask>.", "bundled", 1)
    chosen = hardware.choose()
    return WorkerFacts(os.getpid(), chosen.device, chosen.name)


def _answer(method: str, *request: Any) -> Any:
    global _filler
    if _filler is None:
        with loading():
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
