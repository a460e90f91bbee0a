"""On the rented machine: the run in a process of its own, its events and its log as lines, its model sent back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils import get_session

from trainer.events import Finished
from trainer.hub.refusals import CLIENT_ERRORS
from trainer.jobs.parcel import Parcel
from trainer.runs import launch
from trainer.runs.backends import backend_of
from trainer.runs.folder import RunFolder

POLL_SECONDS = 0.5
STOP_SECONDS = 5.0  # between two looks for the word to stop
PAUSES_SECONDS = (5.0, 20.0, 60.0, 180.0)  # before the model is sent once more: all of the work is in it
HTTP_SECONDS = 100.0


def work(folder: RunFolder, repo: str, environment: Mapping[str, str], tell: Callable[[str], None]) -> bool:
    """Sees a run to its end, and says whether that was a good one. Raises: what the Hub's client does."""
    get_session().timeout = HTTP_SECONDS
    parcel = Parcel(HfApi(token=environment.get("HF_TOKEN")), repo)
    mine = launch.environment(environment)
    with open(folder.log, "ab") as log:
        process = subprocess.Popen(
            backend_of(mine).command(folder),
            cwd=folder.path,
            env=mine,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    # Both in one stream, from one hand: a line of the one never begins in the middle of a line of the other.
    lines = [_Tail(folder.log), _Tail(folder.events)]
    looked_at = time.monotonic()
    while (returncode := process.poll()) is None:
        _tell_new(lines, tell)
        if time.monotonic() - looked_at > STOP_SECONDS and not folder.stop_requested():
            looked_at = time.monotonic()
            _look_for_stop(parcel, folder)
        time.sleep(POLL_SECONDS)
    folder.end(launch.failure(returncode, folder.log_tail()))  # nothing where it said its own last word
    _tell_new(lines, tell)
    ending = folder.last_record() or {}
    # What a run came to that failed late has been paid for, and it may go on from there.
    _patiently(lambda: parcel.return_run(folder, may_go_on=ending.get("reason") != "completed"))
    return ending.get("kind") == Finished.kind


class _Tail:
    """The whole lines that a growing file has got since it was last read."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def __iter__(self) -> Iterator[str]:
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        yield from data[:end].decode("utf-8", errors="replace").split("\n")[:-1]


def _tell_new(tails: list[_Tail], tell: Callable[[str], None]) -> None:
    for tail in tails:
        for line in tail:
            tell(line)


def _look_for_stop(parcel: Parcel, folder: RunFolder) -> None:
    try:
        if parcel.stop_requested():
            folder.request_stop()
    except CLIENT_ERRORS:
        return  # the next look may have more luck


def _patiently(send: Callable[[], None]) -> None:
    for pause in PAUSES_SECONDS:
        try:
            return send()
        except CLIENT_ERRORS:
            time.sleep(pause)
    send()
