"""Publishes runs: tries again what may pass, says in words what may not, and leaves a record for Retry."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars, get_session, logging, validate_repo_id

from trainer.errors import HubError
from trainer.hub import refusals
from trainer.hub.files import model_files
from trainer.hub.record import PublishRecord, read_record
from trainer.hub.upload import PublishRequest, Tell, Upload

TOKEN = re.compile(r"[!-~]{8,4096}", re.ASCII)  # what a header can carry
FOLLOW_SECONDS = 2.0  # between two looks at a model that is still learning


def ignore(share: float, words: str) -> None:
    """A `tell` for those who don't watch."""


class Publisher:
    """Publishes runs, each once at a time. A token lives as long as the work it was given for, in memory alone."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        pauses_seconds: tuple[float, ...] = (2.0, 10.0),
        timeout_seconds: float = 100.0,
    ) -> None:
        self._api = HfApi(endpoint=endpoint, token=False)
        self._pauses = pauses_seconds  # before the second and the third try
        self._timeout = timeout_seconds
        self._active: dict[Path, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def publish(self, request: PublishRequest, token: str, tell: Tell = ignore) -> PublishRecord:
        """Publish now, or go on with what an earlier try began. Raises: HubError; the model is never touched."""
        self._claim(request, token)
        try:
            return self._publish(request, token, tell)
        finally:
            self._release(request)

    def begin(self, request: PublishRequest, token: str, is_over: Callable[[], bool] | None = None) -> None:
        """Publish in a thread of its own, which needs no browser; how it ended is in the record.

        With `is_over` every better model is published, too, until that says yes. Raises: HubError, before it begins.
        """
        self._claim(request, token)
        arguments = (request, token, is_over or (lambda: True))
        threading.Thread(target=self._work, args=arguments, daemon=True, name="publish").start()

    def follow(self, request: PublishRequest, token: str, is_over: Callable[[], bool]) -> PublishRecord:
        """Publish every better model of a run until it is over. Raises: HubError when the last one did not arrive."""
        self._claim(request, token)
        self._work(request, token, is_over)
        record = read_record(request.folder)
        if record is None or not record.is_published:
            raise HubError(record.what, record.fix) if record else HubError("Nothing was published.", "Try again.")
        return record

    def progress(self, folder: Path) -> tuple[float, str] | None:
        """Share and words of the work that is on for a run folder; None when none is."""
        return self._active.get(folder)

    def _work(self, request: PublishRequest, token: str, is_over: Callable[[], bool]) -> None:
        def tell(share: float, words: str) -> None:
            self._active[request.folder] = (share, words)

        try:
            while True:
                last, stamp = is_over(), _stamp(request.folder)
                if stamp or last:
                    try:
                        self._publish(request, token, tell)
                        tell(1.0, "Published. Waiting for a better model")
                    except HubError as error:  # it is in the record, and the next model may have more luck
                        tell(0.0, f"{error.what} Waiting for a better model")
                if last:
                    break
                while _stamp(request.folder) == stamp and not is_over():
                    time.sleep(FOLLOW_SECONDS)
        finally:
            self._release(request)

    def _publish(self, request: PublishRequest, token: str, tell: Tell) -> PublishRecord:
        """Up to three tries, each of which goes on where the one before ended."""
        disable_progress_bars()
        logging.set_verbosity_error()
        upload = Upload(self._api, request, token, tell)
        for pause in (*self._pauses, None):
            try:
                get_session().timeout = self._timeout  # the client's own waits for ever
                return upload.run()
            except HubError as error:
                refusal, passing = error, error.what == refusals.DAMAGED[0]
            except refusals.CLIENT_ERRORS as error:
                refusal, passing = refusals.in_words(error, upload.record.repo, token)
            if pause is None or not passing:
                break
            tell(0.0, f"{refusal.what} Trying again in {pause:g} s")
            time.sleep(pause)
        upload.note(what=refusal.what, fix=refusal.fix)
        raise refusal  # here and not above: the client's error, which has the token in its request, is let go

    def _claim(self, request: PublishRequest, token: str) -> None:
        if not token:
            raise HubError(*refusals.NOT_SIGNED_IN)
        if not TOKEN.fullmatch(token):  # the client would repeat it in the message about a header that can't be sent
            raise HubError(*refusals.NO_TOKEN)
        if not is_name(request.repo):
            raise refusals.name_invalid(request.repo)
        with self._lock:
            if request.folder in self._active:
                raise HubError("This run is being published already.", "Wait for its end.")
            self._active[request.folder] = (0.0, "Starting")

    def _release(self, request: PublishRequest) -> None:
        with self._lock:
            del self._active[request.folder]


def is_name(repo: str) -> bool:
    """Whether the Hub could call a model so."""
    try:
        validate_repo_id(repo)
    except ValueError:
        return False
    return True


def _stamp(folder: Path) -> int:
    """Changes when the model in a run folder does."""
    with suppress(OSError):
        return max((path.stat().st_mtime_ns for path in model_files(folder / "model")), default=0)
    return 0
