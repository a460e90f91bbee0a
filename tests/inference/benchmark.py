"""How fast predictions are beside the plain way, alternating: `python -m tests.inference.benchmark [FOLDER]`."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from tests.inference.plain import Plain
from trainer.inference.fill_mask import MaskFiller
from trainer.inference.worker import FillService
from trainer.presets import BUNDLED_MODEL

LONG = (
    "The Milky Way is a large spiral galaxy that contains the Sun, its planets and some hundred billion other stars, "
    "and most of them are smaller and cooler than the Sun, which is why we can see only a few thousand of these with "
    "the naked eye on a dark night."
)
CLIENTS, SECONDS = 50, 10


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else str(BUNDLED_MODEL)
    filler, plain = MaskFiller(), Plain(folder)
    pipeline = transformers.pipeline("fill-mask", model=plain.network, tokenizer=plain.tokenizer, device="cpu")
    lines = Path(__file__).parents[1].joinpath("cloze.jsonl").read_text(encoding="utf-8").splitlines()[:64]
    texts = [json.loads(line)["text"].replace("<mask>", plain.tokenizer.mask_token) for line in lines]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {len(plain.ids(LONG)) - 2} tokens to score")
    _compare("score, one token at a time", lambda: _loop(plain), lambda: filler.score(LONG, folder))
    _compare("fill, 1 sentence", lambda: pipeline(texts[0]), lambda: filler.fill(texts[0], folder))
    _compare("fill, 64 sentences", lambda: pipeline(texts), lambda: filler.fill_many(texts, folder))
    _serve(folder)


def _loop(plain: Plain) -> None:
    ids = plain.ids(LONG)
    for place in range(1, len(ids) - 1):
        masked = [*ids[:place], plain.mask, *ids[place + 1 :]]
        float(plain.log_probabilities(masked)[place, ids[place]])


def _compare(name: str, theirs: Callable[[], object], ours: Callable[[], object], times: int = 7) -> None:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for ask, spent in zip((theirs, ours), seconds, strict=True):
            start = time.perf_counter()
            ask()
            spent.append(time.perf_counter() - start)
    plain, fast = (statistics.median(spent[1:]) for spent in seconds)  # the first warms up
    ratio = statistics.median(a / b for a, b in zip(*seconds, strict=True))
    print(f"{name}: {plain * 1e3:.1f} ms -> {fast * 1e3:.1f} ms, {ratio:.1f}x")


def _serve(folder: str) -> None:
    """Clients that ask again as soon as they are answered."""
    service = FillService()
    service.fill("A <mask>.", folder)
    spent: list[float] = []
    end = time.monotonic() + SECONDS

    def ask() -> None:
        while time.monotonic() < end:
            start = time.perf_counter()
            service.fill("The Milky Way is a <mask> galaxy.", folder)
            spent.append(time.perf_counter() - start)

    memory = _resident(service)
    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    spent.sort()
    median, most = (spent[len(spent) * share // 100] * 1e3 for share in (50, 95))
    grown = f"worker {memory >> 20} -> {_resident(service) >> 20} MB"
    print(
        f"{CLIENTS} clients for {SECONDS} s: {len(spent)} answers, median {median:.0f} ms, 95 % {most:.0f} ms, {grown}"
    )
    service.close()


def _resident(service: FillService) -> int:
    facts = service.facts()
    assert facts is not None
    pages = Path(f"/proc/{facts.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


if __name__ == "__main__":
    main()
