"""Follows the job of a run, from the order of its machine to the return of its model.

The process that does so may end at any moment: the next one finds the job again.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars, get_session, logging

from trainer.config import is_unicode
from trainer.errors import HubError, TrainerError
from trainer.events import SAVING, Event, Failed, Finished, PhaseChanged, RunStarted, decode_lines, encode, event_of
from trainer.hub.publish import TOKEN
from trainer.hub.refusals import CLIENT_ERRORS
from trainer.jobs import refusals
from trainer.jobs.order import find_job, order_job
from trainer.jobs.parcel import Parcel
from trainer.jobs.record import JobRecord, read_record
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader
from trainer.runs.supervisor import stopped

OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
POLL_SECONDS = 0.3
STAGE_SECONDS = 3.0  # between two looks at a job that waits for its machine
RETRY_SECONDS = 10.0
PATIENCE_SECONDS = 3600.0  # without the Hub
HTTP_SECONDS = 100.0
LAST_WORDS = 20  # lines of a log

SENDING = "Sending text and settings"
FOUND = "Working on a rented machine"
STAGES = {"SCHEDULING": "Waiting for a machine", "RUNNING": "Setting up the machine"}
FETCHING = "Fetching the model"


class Left(Exception):
    """This process was told to end, and the job goes on."""


class RemoteRun:
    """The run of a folder whose lock this process holds; `signals` are those that it has got."""

    def __init__(self, folder: RunFolder, hardware: str, token: str, signals: list[int]) -> None:
        self._folder, self._hardware, self._token, self._signals = folder, hardware, token, signals
        self._api = HfApi(token=token)
        told = folder.events.read_bytes() if folder.events.exists() else b""
        self._seen = set(told.split(b"\n"))  # bytes: a full disk may have cut a character in two
        self._last: Event | None = None  # what the job said last, held back until its model is here
        self._begun = folder.has_job() and _has_begun(told)
        self._log: deque[str] = deque(maxlen=LAST_WORDS)
        self._phase = ""

    def work(self) -> None:
        """Begins the job, or finds it again, and follows it to its end. Raises: TrainerError, once it was told."""
        refusal: TrainerError
        try:
            self._end(self._work())
        except Left:
            return
        except CLIENT_ERRORS as error:
            refusal, _ = refusals.in_words(error, self._token)
            if isinstance(error, HfHubHTTPError) and error.response.status_code == 404:
                self._forget()
        except TrainerError as error:
            refusal = error
        else:
            return
        self._folder.append(Failed(what=refusal.what, fix=refusal.fix))
        raise refusal  # here and not above: the client's error, which has the token in its request, is let go

    def _work(self) -> Event:
        if not TOKEN.fullmatch(self._token):
            raise HubError(*refusals.NO_TOKEN)
        disable_progress_bars()
        logging.set_verbosity_error()
        get_session().timeout = HTTP_SECONDS
        self._tell_phase(FOUND if self._folder.has_job() else SENDING)
        record = find_job(self._api, self._folder, self._token)
        if record is None and not self._is_given_up():
            record = order_job(self._api, self._folder, self._hardware, self._token, self._is_given_up)
        if record is None:
            return (
                self._stopped()
                if self._folder.stop_requested()
                else Failed(what=refusals.LEFT[0], fix=refusals.LEFT[1])
            )
        return self._followed(record)

    def _followed(self, record: JobRecord) -> Event:
        """The job's last event, with its model, when it came to one; else what became of it."""
        told: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, args=(record, told), daemon=True, name="job-log").start()
        stop_at = 0.0  # when to pass on that it is to stop
        while True:
            if self._signals:
                if not self._folder.stop_requested():
                    raise Left
                self._cancel(record)
                return self._stopped()
            if self._folder.stop_requested() and time.monotonic() >= stop_at:
                stop_at = time.monotonic() + RETRY_SECONDS if not self._stop(record) else math.inf
            with suppress(queue.Empty):
                match told.get(timeout=POLL_SECONDS):
                    case ("line", line):
                        self._take(line)
                    case ("stage", stage, message) if stage in OVER:
                        return self._ending(record, stage, message)
                    case ("stage", stage, _):
                        if not self._begun:
                            self._tell_phase(STAGES.get(stage, stage))
                    case ("error", error):
                        raise error

    def _read(self, record: JobRecord, told: queue.Queue[Any]) -> None:
        """Puts lines and stages of the job into the queue until it is over; waits where the Hub is out of reach."""
        reached = time.monotonic()
        which = {"job_id": record.id, "namespace": record.owner}
        while True:
            try:
                status = self._api.inspect_job(**which).status
                stage = str(getattr(status.stage, "value", status.stage))
                if stage != "SCHEDULING":
                    if stage not in OVER:
                        told.put(("stage", stage, ""))
                    for line in self._api.fetch_job_logs(**which, follow=True):
                        told.put(("line", line))
                        reached = time.monotonic()
                    status = self._api.inspect_job(**which).status
                    stage = str(getattr(status.stage, "value", status.stage))
                told.put(("stage", stage, status.message or ""))
                if stage in OVER:
                    return
                reached, pause = time.monotonic(), STAGE_SECONDS
            except CLIENT_ERRORS as error:
                _, passing = refusals.in_words(error, self._token)
                if not passing or time.monotonic() - reached > PATIENCE_SECONDS:
                    return told.put(("error", error))
                pause = RETRY_SECONDS
            time.sleep(pause)

    def _take(self, line: str) -> None:
        """One line of the job's log: an event, or words for our own log. All of it is another program's text."""
        line = line.replace(self._token, "***").encode(errors="replace").decode()
        records, _ = decode_lines(line.encode() + b"\n")
        event = event_of(records[0]) if records else None
        moment = records[0].get("time") if records else None
        if event is None or not isinstance(moment, (int, float)) or not is_unicode(encode(event)):
            print(line, flush=True)
            self._log.append(line)
            return
        self._begun |= isinstance(event, RunStarted)
        if isinstance(event, (Finished, Failed)):
            self._last = event
        elif (told := encode(event, moment).encode()) not in self._seen:  # each time, a log is told from its first line
            self._seen.add(told)
            self._folder.append(event, moment)

    def _stop(self, record: JobRecord) -> bool:
        """Lets the run save itself and come back; one that has not begun is not worth the wait. Whether it knows."""
        self._tell_phase(SAVING)  # so that this process is given the time
        try:
            if self._begun:
                Parcel(self._api, record.repo).request_stop()
            else:
                self._cancel(record)
        except CLIENT_ERRORS as error:
            if not refusals.in_words(error, self._token)[1]:
                raise
            return False
        return True

    def _cancel(self, record: JobRecord) -> None:
        self._api.cancel_job(job_id=record.id, namespace=record.owner)

    def _forget(self) -> None:
        """Job or repository are gone, so that the run can be begun again; should it be the latter, the job goes too."""
        try:
            if (record := read_record(self._folder)) and record.id:
                self._cancel(record)
        except CLIENT_ERRORS as error:
            if refusals.in_words(error, self._token)[1]:
                return  # it may cost money yet: who resumes the run tries once more
        self._folder.job.unlink(missing_ok=True)

    def _ending(self, record: JobRecord, stage: str, message: str) -> Event:
        if stage == "COMPLETED" and isinstance(self._last, Finished):
            if self._last.model:
                self._fetch_model(record)
            return self._last
        if isinstance(self._last, Failed):
            with suppress(HubError, *CLIENT_ERRORS):  # it may have come to none, and why it failed is worth more
                self._fetch_model(record)
            return self._last
        if self._folder.stop_requested():
            return self._stopped()
        why = f": {message.replace(self._token, '***')[:300]}" if message else ""
        log = "".join(f"\n{line}" for line in self._log)
        what = f"The job ended as {stage}{why}, without a last word."
        return Failed(what=what + (f"\nThe end of its log:{log}" if log else ""), fix=refusals.NO_LAST_WORD)

    def _fetch_model(self, record: JobRecord) -> None:
        if not self._folder.stop_requested():  # else it still saves, and is given the time for that
            self._tell_phase(FETCHING)
        Parcel(self._api, record.repo).fetch_model(self._folder)

    def _end(self, event: Event) -> None:
        """Tells the last event; then nothing is left to be found again, or on the Hub."""
        record = read_record(self._folder)
        self._folder.append(event)
        self._folder.job.unlink(missing_ok=True)
        if record and isinstance(event, Finished) and event.reason == "completed":
            try:
                Parcel(self._api, record.repo).remove()
            except CLIENT_ERRORS:
                print(f"The repository {record.repo} could not be removed.", flush=True)

    def _stopped(self) -> Event:
        return stopped(RunReader(self._folder).read())

    def _is_given_up(self) -> bool:
        return bool(self._signals) or self._folder.stop_requested()

    def _tell_phase(self, phase: str) -> None:
        if phase != self._phase:
            self._phase = phase
            self._folder.append(PhaseChanged(phase=phase))


def _has_begun(told: bytes) -> bool:
    """Whether the newest job of these events has said that it works; one before it may have, too."""
    begun = False
    for record in decode_lines(told)[0]:
        begun = record["kind"] == RunStarted.kind or (begun and record.get("phase") != SENDING)
    return begun
