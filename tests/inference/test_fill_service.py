"""The worker behind the page: it answers, and whatever ends or stops it costs one request and no more."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import ModelError, PredictionError
from trainer.inference.fill_mask import MaskFiller
from trainer.inference.turns import Turns
from trainer.inference.worker import FillService, WorkerFacts

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
SENTENCE = "The Milky Way is a <mask> galaxy."
PATIENCE_SECONDS = 60

PAGE = """
import dataclasses, json, sys, time
from trainer.inference.worker import FillService

if __name__ == "__main__":
    service = FillService()
    before = service.facts()
    service.start()
    (mask,) = service.fill("Water <mask>.", top_k=2)
    heavy = [name for name in ("torch", "transformers", "datasets", "gradio") if name in sys.modules]
    facts = dataclasses.asdict(service.facts())
    print(json.dumps({"before": before, "facts": facts, "heavy": heavy, "answers": len(mask.candidates)}), flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def service() -> Iterator[FillService]:
    """One for all tests of this file, so each must leave it able to answer."""
    service = FillService(timeout_seconds=PATIENCE_SECONDS)
    yield service
    service.close()


@pytest.fixture
def worker(service: FillService) -> WorkerFacts:
    """The worker, up and idle."""
    assert service.fill(SENTENCE)
    facts = service.facts()
    assert facts is not None
    return facts


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or is only waiting to be buried by its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def test_answers_are_those_of_the_filler_itself(
    service: FillService, filler: MaskFiller, tiny_model: Callable[[str], Path]
) -> None:
    for request in (
        (SENTENCE,),
        ("A <mask> and a [MASK].", "bundled", 3.0),
        ("A <mask>.", "bundled", 5, ["water", "and"]),
        ("A <mask>.", str(tiny_model("bert")), 2),
    ):
        expected, found = filler.fill(*request), service.fill(*request)
        assert [[c.token for c in m.candidates] for m in found] == [[c.token for c in m.candidates] for m in expected]
        assert [m.candidates[0].sequence for m in found] == [m.candidates[0].sequence for m in expected]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("fill_many", (["A <mask>.", "No gap here."], "bundled", 2)),
        ("fill_jointly", ("A <mask> and a ___.", "bundled", 3, "left_to_right", 2, False)),
        ("rank", ("A <mask>.", ["water", "unforeseeable"])),
        ("score", ("The Sun is a star.",)),
        ("compare", ("A <mask> is hot.", "bundled", "bundled", 2)),
    ],
)
def test_every_question_is_answered_as_by_the_filler_itself(
    method: str, request_: tuple[Any, ...], service: FillService, filler: MaskFiller
) -> None:
    expected, found = getattr(filler, method)(*request_), getattr(service, method)(*request_)
    # The last digits depend on the number of threads.
    assert re.sub(r"-?\d+\.\d+(e-?\d+)?", "", repr(found)) == re.sub(r"-?\d+\.\d+(e-?\d+)?", "", repr(expected))


def test_a_file_is_answered_part_by_part_and_others_get_their_turn_in_between(
    service: FillService, worker: WorkerFacts, tmp_path: Path
) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("The ___ is large.\n" * 200 + "No gap here.\n", encoding="utf-8")
    told = service.fill_file(str(path), top_k=2)
    first = next(told)
    assert (first.done, first.total, len(first.rows)) == (64, 201, 128)
    assert service.fill(SENTENCE)  # while the file waits for whoever reads it
    rest = list(told)
    assert rest[-1].done == 201 and rest[-1].rows[-1].error.startswith("There is no <mask>")
    with pytest.raises(PredictionError, match="can't be read"):
        next(service.fill_file(str(tmp_path / "missing.csv")))
    assert service.facts() == worker


def test_requests_are_answered_in_the_order_they_came() -> None:
    turns, order = Turns(), []

    def wait(number: int) -> None:
        with turns.take(PATIENCE_SECONDS):
            order.append(number)

    with ThreadPoolExecutor(20) as threads, turns.take(1):
        for number in range(20):
            threads.submit(wait, number)
            wait_until(lambda expected=number + 2: len(turns._queue) == expected)
        with pytest.raises(PredictionError, match="Others are being answered"), turns.take(0.01):
            pass
        assert order == [] and len(turns._queue) == 21  # whoever gave up stands in nobody's way
    assert order == list(range(20))


def test_facts_name_process_and_device(worker: WorkerFacts) -> None:
    assert worker.pid != os.getpid() and not has_ended(worker.pid)
    assert worker.device in ("cpu", "cuda", "mps") and worker.device_name


@pytest.mark.parametrize(
    ("text", "top_k"), [(None, 5), (b"A <mask>.", 5), ("A <mask>.", None), ("A <mask>.", math.nan)]
)
def test_what_is_no_request_is_a_sentence(text: Any, top_k: Any, service: FillService) -> None:
    with pytest.raises(PredictionError, match="it must be"):
        service.fill(text, "bundled", top_k)


def test_errors_keep_type_what_and_fix_across_the_processes(service: FillService, worker: WorkerFacts) -> None:
    with pytest.raises(ModelError) as unknown:
        service.fill(SENTENCE, "no such model")
    assert unknown.value.what == "There is no model 'no such model'." and "bundled" in unknown.value.fix
    with pytest.raises(PredictionError) as no_mask:
        service.fill("No gap here.")
    assert no_mask.value.what == "There is no <mask> in the text." and no_mask.value.fix
    assert service.facts() == worker


def test_who_waits_is_answered_together_and_a_text_that_fails_takes_nobody_along(
    service: FillService, filler: MaskFiller, worker: WorkerFacts, altered: Callable
) -> None:
    step = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}
    folder = str(altered(tokenizer={"normalizer": step}))
    texts = ["A <mask>.", "No gap.", "<mask> " + "a" * 40 + "!", "B <mask>.", "C ___."]
    with ThreadPoolExecutor(len(texts)) as threads:
        with service._turns.take(1):
            requests = [threads.submit(service.fill, text, folder, 2) for text in texts]
            wait_until(lambda: len(service._turns._queue) == len(texts) + 1)
        errors = [request.exception() for request in requests]
    assert [error and str(error)[:22] for error in errors] == [
        None, "There is no <mask> in ", "The model failed on th", None, None
    ]  # fmt: skip
    expected = filler.fill("B <mask>.", folder, 2)
    assert [c.token for c in requests[3].result()[0].candidates] == [c.token for c in expected[0].candidates]
    assert service._waiting == [] and service.facts() == worker


def test_whoever_was_answered_with_others_does_not_wait_for_those_before(service: FillService) -> None:
    over = threading.Event()

    def long() -> None:
        with service._turns.take(PATIENCE_SECONDS):
            over.wait(PATIENCE_SECONDS)

    with ThreadPoolExecutor(3) as threads:
        with service._turns.take(1):
            requests = []
            for number, request in enumerate(
                [lambda: service.fill("A <mask>."), long, lambda: service.fill("B <mask>.")]
            ):
                requests.append(threads.submit(request))
                wait_until(lambda expected=number + 2: len(service._turns._queue) == expected)
        assert all(request.result(PATIENCE_SECONDS) for request in (requests[0], requests[2]))
        assert not requests[1].done()
        over.set()


def test_worker_killed_before_a_request_costs_one_sentence(service: FillService, worker: WorkerFacts) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(PredictionError, match="ended"):
        service.fill(SENTENCE)
    assert service.fill(SENTENCE)


def test_worker_killed_in_the_middle_costs_its_own_request_a_sentence_and_others_nothing(
    service: FillService, worker: WorkerFacts
) -> None:
    os.kill(worker.pid, signal.SIGSTOP)  # so that the request is surely still being worked on
    with ThreadPoolExecutor(3) as threads:
        requests: list[Future[Any]] = [threads.submit(service.fill, SENTENCE) for _ in range(3)]
        time.sleep(0.2)
        assert not any(request.done() for request in requests)
        os.kill(worker.pid, signal.SIGKILL)
        errors = [request.exception() for request in requests]
    (error,) = (error for error in errors if error is not None)
    assert isinstance(error, PredictionError) and "ended while it worked on this" in error.what
    assert service.facts() not in (None, worker)


def test_request_that_takes_too_long_gets_a_sentence_and_the_next_a_new_worker(
    service: FillService, worker: WorkerFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(worker.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(service, "_timeout", 0.3)
        with pytest.raises(PredictionError, match=r"no answer within 0\.3 seconds\. Try again"):
            service.fill(SENTENCE)
    wait_until(lambda: has_ended(worker.pid))
    assert service.fill(SENTENCE)


def test_closing_ends_the_worker(service: FillService, worker: WorkerFacts) -> None:
    service.close()
    assert service.facts() is None
    wait_until(lambda: has_ended(worker.pid))
    service.close()  # twice is once


def test_page_never_loads_torch_and_its_worker_ends_with_it_however_that_ends(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(PAGE, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # of a killed process, its semaphores are found lying about
        text=True,
    ) as page:
        assert page.stdout is not None
        told = json.loads(page.stdout.readline())
        page.kill()
    assert told["before"] is None and told["heavy"] == [] and told["answers"] == 2
    assert told["facts"]["pid"] != page.pid
    wait_until(lambda: has_ended(told["facts"]["pid"]))


def test_the_worker_has_none_of_the_pages_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_strangers")
    monkeypatch.setenv("HARMLESS", "seen")
    service = FillService()
    try:
        seen = [service._running().submit(os.getenv, name).result(120) for name in ("HF_TOKEN", "HARMLESS")]
    finally:
        service.close()
    assert seen == [None, "seen"]
