"""The ids of runs, and the part of them that people say."""

from __future__ import annotations

import calendar
import random
import re
import time
from collections.abc import Iterable
from contextlib import suppress

RUN_ID = re.compile(r"([0-9]{8}-[0-9]{6})-([a-z]+-[a-z]+)")
STAMP = "%Y%m%d-%H%M%S"

ADJECTIVES = (
    "able agile amber bold brave bright calm clever cosy curious eager fair fleet gentle glad golden "
    "happy jolly keen kind lively lucky merry mild noble patient proud quiet silver sunny swift wise"
).split()
ANIMALS = (
    "badger beaver bee bison crane deer dolphin eagle falcon finch fox gecko hare heron hedgehog ibis "
    "koala lark lynx marten mole moose otter owl panda puffin raven robin seal swan turtle wren"
).split()


def new_run_id(existing: Iterable[str], now: float | None = None) -> str:
    """A fresh id whose time no other run has, so that the order of the ids is that of the starts."""
    pairs = [(match[1], match[2]) for run_id in existing if (match := RUN_ID.fullmatch(run_id))]
    stamps, names = {stamp for stamp, _ in pairs}, {name for _, name in pairs}
    moment = time.time() if now is None else now
    with suppress(ValueError):  # the clock may have been set back since the newest
        moment = max(moment, calendar.timegm(time.strptime(max(stamps), STAMP)) + 1)
    while (stamp := time.strftime(STAMP, time.gmtime(moment))) in stamps:
        moment += 1
    every = [f"{adjective}-{animal}" for adjective in ADJECTIVES for animal in ANIMALS]
    return f"{stamp}-{random.choice([name for name in every if name not in names] or every)}"


def name_of(run_id: str) -> str:
    """The part of an id that people say: `quiet-otter`."""
    match = RUN_ID.fullmatch(run_id)
    return match[2] if match else run_id
