"""The machines that can be rented, with their prices, and what a run on one costs at most."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from huggingface_hub import HfApi

from trainer.hub.refusals import CLIENT_ERRORS
from trainer.jobs import refusals
from trainer.jobs.order import USUAL_SECONDS, most_seconds

UNIT_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
KEPT_SECONDS = 600.0  # after which the list is asked for again
NO_TOKEN = "start the page with HF_TOKEN set"
NOT_ASKED = "visitors would have to sign in with the right to run jobs, for which this page does not ask"


@dataclass(frozen=True, slots=True)
class Hardware:
    """A kind of machine."""

    name: str  # as jobs are told it: "t4-small"
    label: str
    dollars_an_hour: float

    def work_seconds(self, max_seconds: float | None) -> float:
        """What a run of that time budget may work."""
        return max_seconds or USUAL_SECONDS

    def most_dollars(self, max_seconds: float | None) -> float:
        """What a run of that time budget costs at most, set-up and all."""
        return self.dollars_an_hour * most_seconds(max_seconds) / 3600


class Rental:
    """The list of hardware, asked of the Hub in a thread of its own: no page waits for it.

    With `why_not` nothing can be rented, for that reason.
    """

    def __init__(self, token: str = "", *, why_not: str = "", endpoint: str | None = None) -> None:
        self._token = token
        self._api = HfApi(endpoint=endpoint, token=token or False)
        self._known: tuple[Hardware, ...] = ()
        self._asks = not why_not
        self._why_not = why_not
        self._asked_at = -KEPT_SECONDS
        self._lock = threading.Lock()
        self._answered = threading.Event()
        if why_not:
            self._answered.set()

    def hardware(self, patience_seconds: float = 0.0) -> tuple[Hardware, ...]:
        """What can be rented, cheapest first; empty where nothing can, or nothing is known yet."""
        with self._lock:
            due = self._asks and time.monotonic() - self._asked_at > (KEPT_SECONDS if self._known else 10.0)
            if due:
                self._asked_at = time.monotonic()
                threading.Thread(target=self._ask, daemon=True, name="rental").start()
        self._answered.wait(patience_seconds)
        return self._known

    def why_not(self) -> str:
        """Why nothing can be rented, in words; empty where something can."""
        return self._why_not

    def _ask(self) -> None:
        try:
            found = [
                Hardware(item.name, item.pretty_name, item.unit_cost_usd * 3600 / UNIT_SECONDS[item.unit_label])
                for item in self._api.list_jobs_hardware()
                if item.unit_label in UNIT_SECONDS
            ]
            self._known = tuple(sorted(found, key=lambda hardware: hardware.dollars_an_hour))
            self._why_not = "" if found else "the Hub offers none"
        except CLIENT_ERRORS as error:
            refusal, _ = refusals.in_words(error, self._token or "hf_")
            self._why_not = refusal.what.rstrip(".")
        finally:
            self._answered.set()
