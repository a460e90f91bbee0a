"""Runs on a GPU that is lent for a minute at a time: ZeroGPU, as a Space has it.

A function under its decorator works in a process that is forked from the page's, sees a GPU there, and is killed when
its time is up. So a run works in slices, each from the checkpoint at which the one before has left it. Each is at the
expense of the visitor in whose request the function is called.

This is the one place where the page's process loads torch: the `spaces` package does so when it is imported, and puts
stand-ins for CUDA there, which it takes away again in the fork. Nothing of ours uses torch before the fork.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trainer.errors import ConfigError
from trainer.events import Failed
from trainer.runs import launch
from trainer.runs.folder import RunFolder
from trainer.runs.manager import RunManager
from trainer.runs.ownership import OwnRuns
from trainer.runs.supervisor import stopped

SLICE_SECONDS = 60.0  # for longer ones a visitor waits longer, and needs more quota at once
LEAST_SHARE = 1 / 3  # of these: in less a process does little but begin
MOST_SECONDS = 600.0
TRIES = 3  # slices in a row that may come to nothing
QUOTA = re.compile(r"\((\d+)s requested vs\. (\d+)s left\)\.(?: Try again in ([\d:, a-z]+))?")

Work = Callable[[str, float], Generator[object, None, None]]  # one slice of the run in a folder, for so many seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ZeroGpu:
    """A backend whose runs begin when a visitor's page asks for it, see `Slicer`."""

    seconds: float = SLICE_SECONDS  # of a slice

    def command(self, folder: RunFolder) -> list[str]:
        return launch.command(folder)

    def in_words(self) -> str:
        return (
            f"Runs work in slices of {self.seconds:g} s on a GPU that is lent to you (ZeroGPU), within your quota, "
            "and only while this page is open: come back, and yours go on."
        )

    def lent(self, slice_of: Work) -> Work:
        """`slice_of` in a process with a GPU. To be called before the page is launched, which then says so to the Hub.

        Raises: what Gradio shows, when no GPU is lent or the process was killed.
        """
        import spaces

        lent: Work = spaces.GPU(duration=lambda folder, seconds: seconds)(slice_of)
        return lent


def is_lent(environment: Mapping[str, str]) -> bool:
    """Whether this is a Space with ZeroGPU."""
    told = environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return told and find_spec("spaces") is not None


def zero_gpu(environment: Mapping[str, str]) -> ZeroGpu:
    """With slices as long as MASK_STUDIO_SLICE_SECONDS says. Raises: ConfigError, too, where no GPU is lent."""
    if not is_lent(environment):
        raise ConfigError(["MASK_STUDIO_BACKEND is 'zero', but this is no Space with ZeroGPU, which lends the GPU."])
    text = environment.get("MASK_STUDIO_SLICE_SECONDS") or str(SLICE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= MOST_SECONDS:
        raise ConfigError([f"MASK_STUDIO_SLICE_SECONDS is {text!r}; it must be a number from 1 to {MOST_SECONDS:g}."])
    return ZeroGpu(seconds)


class Slicer:
    """Lets the runs of `runs` work, slice by slice; any thread may ask."""

    def __init__(self, runs: RunManager, work: Work, seconds: float = SLICE_SECONDS) -> None:
        self._runs = runs
        self._work, self._seconds = work, seconds
        self._lock = threading.Lock()
        self._working: set[str] = set()
        self._vain: dict[str, int] = {}  # slices in a row, of a run, that came to nothing

    def next_of(self, own: OwnRuns) -> str | None:
        """The run of a visitor whose turn it is; None while one of theirs works, or when none waits."""
        on = [view for view in own.mine() if not (view.is_over or self._folder(view.id).is_rented())]
        if any(view.state != "queued" or view.id in self._working for view in on):
            return None
        return min((view.id for view in on), default=None)

    def slice_of(self, own: OwnRuns) -> Iterator[None]:
        """One slice of the run whose turn it is, from the asking visitor's quota; yields now and then.

        To be called where a request is answered, which tells whose quota that is. Closing it ends the slice early, at
        a checkpoint.
        """
        run_id = self.next_of(own)
        if run_id is None:
            return
        with self._alone(run_id) as is_alone:
            if is_alone:
                yield from self._slice(self._folder(run_id))

    def _slice(self, folder: RunFolder) -> Iterator[None]:
        self._runs.leave_queue(folder.id)
        if self._vain.get(folder.id, 0) >= TRIES:  # its end could not be told: the disk was full
            folder.end(in_vain())
            del self._vain[folder.id]
            return None
        seconds, before = self._seconds, folder.newest_checkpoint()
        while True:
            try:
                with closing(self._work(str(folder.path), seconds)) as signs:
                    for _ in signs:
                        yield
            except Exception as error:  # Gradio's: nothing was lent, or the process was killed
                left = _seconds_left(error, seconds)
                if left is None:
                    logger.warning("A slice of %s broke off: %s", folder.id, _words(error))
                    return self._see_to_the_end(folder, before, _words(error))
                if not LEAST_SHARE * self._seconds <= left < seconds:
                    return folder.end(quota_spent(error, left))
                seconds = left
            else:
                return self._see_to_the_end(folder, before)

    def _see_to_the_end(self, folder: RunFolder, before: Path | None, words: str = "") -> None:
        """A run whose slice broke off waits for another, unless that is of no use; `before` it had that checkpoint."""
        in_vain_again = folder.newest_checkpoint() == before
        self._vain[folder.id] = self._vain.get(folder.id, 0) + 1 if in_vain_again else 0
        view = self._runs.view(folder.id)
        if view.state == "interrupted" and folder.stop_requested():
            folder.end(stopped(view))
        elif self._vain[folder.id] >= TRIES:
            folder.end(in_vain(words))  # nothing where the run came to an end of its own
        elif view.state == "interrupted":
            self._runs.resume(folder.id)
            self._runs.leave_queue(folder.id)
        if self._runs.view(folder.id).is_over:
            self._vain.pop(folder.id, None)

    def _folder(self, run_id: str) -> RunFolder:
        return RunFolder(self._runs.home / run_id)

    @contextmanager
    def _alone(self, run_id: str) -> Iterator[bool]:
        """Whether nobody else gives this run a slice; nobody does until the end of the block."""
        with self._lock:
            is_alone = run_id not in self._working
            self._working.add(run_id)
        try:
            yield is_alone
        finally:
            if is_alone:
                with self._lock:
                    self._working.discard(run_id)


def quota_spent(error: Exception, left: float) -> Failed:
    """The last event of a run for which a visitor has too little quota left."""
    match = QUOTA.search(_words(error))
    again = f"in {match[3].strip()}" if match and match[3] else "later"
    what = f"Your ZeroGPU quota is used up: {left:g} s are left, too little for a slice."
    return Failed(what=what, fix=f"Resume the run {again}: it goes on from its last checkpoint.")


def in_vain(words: str = "") -> Failed:
    """The last event of a run that does not get on, with the `words` of who lends the GPU, if there were any."""
    what = f"{TRIES} slices in a row came to no checkpoint{words and ': '}{words.rstrip('.')}."
    return Failed(what=what, fix="Try less text or a smaller model; or resume the run later, if no GPU was free.")


def _seconds_left(error: Exception, asked: float) -> float | None:
    """How much of what was `asked` for a visitor's quota allows, where that was too little; None for another error."""
    if match := QUOTA.search(_words(error)):
        return asked * int(match[2]) // int(match[1])  # seconds on a fast GPU count for more in the quota
    return 0.0 if "quota" in getattr(error, "title", "").lower() and "exceeded" in _words(error) else None


def _words(error: Exception) -> str:
    return str(getattr(error, "message", error))
