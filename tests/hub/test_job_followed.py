"""The process that follows a job, inside this one: what it believes of a log, and how it passes on a stop."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError

from trainer.config import TrainConfig
from trainer.errors import HubError
from trainer.events import Event, Finished, PhaseChanged, RunStarted, StepLogged, Warned, encode
from trainer.jobs import remote
from trainer.jobs.parcel import Parcel
from trainer.jobs.record import JobRecord, read_record
from trainer.jobs.remote import FOUND, SENDING, RemoteRun
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader

TOKEN = "hf_write_of_alice"
RECORD = JobRecord(key="a-key", repo="alice/mask-studio-otter", hardware="t4-small", id="0")
BEGUN = RunStarted(device="cuda", device_name="NVIDIA T4", processes=1, threads=1, precision="bf16", versions={})
FINISHED = Finished(reason="completed", step=2, elapsed_seconds=2.0, model=None)


def stepped(step: int) -> StepLogged:
    numbers = {"loss": 1.0, "learning_rate": 1.0, "grad_norm": 1.0, "tokens_per_second": 1.0}
    return StepLogged(step=step, epoch=step / 5, elapsed_seconds=float(step), **numbers)


def lines(*events: Event) -> list[str]:
    """What a job prints that tells one event a second."""
    return [encode(event, 1000.0 + number) for number, event in enumerate(events)]


def refused(status: int) -> HfHubHTTPError:
    answer = SimpleNamespace(status_code=status, headers={}, request=None)
    return HfHubHTTPError("ordered by the test", response=answer)  # type: ignore[arg-type]


class Hub:
    """The client of a Hub with one job; each of its `logs` is what one reading of its log tells."""

    def __init__(self) -> None:
        self.logs: list[list[str]] = []
        self.waits = False  # the log is silent until the job was told to end
        self.asked: list[str] = []
        self.ordered: list[dict[str, Any]] = []
        self.status = 0  # of the answer to an order, which is carried out nevertheless
        self.is_gone = False  # the job, or its repository
        self.cancelled = 0  # the status of the answer to who would end the job; 0 where all is well

    def inspect_job(self, **which: Any) -> Any:
        if self.is_gone:
            raise refused(404)
        return SimpleNamespace(status=SimpleNamespace(stage="RUNNING" if self.logs else "COMPLETED", message=""))

    def fetch_job_logs(self, **which: Any) -> Iterator[str]:
        while self.waits and not self.asked:
            time.sleep(0.01)
        yield from self.logs.pop(0)

    def cancel_job(self, **which: Any) -> None:
        self.asked.append("cancel")
        if self.cancelled:
            raise refused(self.cancelled)

    def create_commit(self, repo: str, operations: list[Any], **said: Any) -> Any:
        self.asked += [change.path_in_repo for change in operations if change.path_in_repo == "stop"]
        return SimpleNamespace(oid="0")

    def run_job(self, **order: Any) -> Any:
        self.ordered.append(order)
        if self.status:
            raise refused(self.status)
        return SimpleNamespace(id="0")

    def list_jobs(self, labels: dict[str, str], **which: Any) -> list[Any]:
        return [SimpleNamespace(id="0") for order in self.ordered if order["labels"] == labels]

    def whoami(self) -> dict[str, Any]:
        return {"name": "alice"}

    def create_repo(self, *named: Any, **how: Any) -> None: ...

    def delete_repo(self, *named: Any, **how: Any) -> None: ...

    def model_info(self, repo: str) -> Any:
        return SimpleNamespace(private=True)

    def file_exists(self, repo: str, path: str) -> bool:
        return False


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(remote, "HfApi", lambda token: hub)
    monkeypatch.setattr(remote, "STAGE_SECONDS", 0.0)
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "20260101-120000-quiet-otter")
    folder.write_config(TrainConfig())
    return folder


@pytest.fixture
def follow(folder: RunFolder) -> Callable[[], None]:
    return lambda: RemoteRun(folder, "t4-small", TOKEN, []).work()


@pytest.mark.parametrize(
    ("newest", "asked"),
    [(FOUND, "stop"), (SENDING, "cancel")],
    ids=["one that works saves itself", "one that waits is cancelled, though one before it worked"],
)
def test_a_stop_before_the_log_was_told_again_suits_the_newest_job(
    newest: str, asked: str, folder: RunFolder, follow: Callable[[], None], hub: Hub
) -> None:
    RECORD.write(folder)
    for event in (PhaseChanged(phase=SENDING), BEGUN, stepped(1), PhaseChanged(phase=newest)):
        folder.append(event)
    folder.request_stop()
    hub.logs, hub.waits = [[]], True
    follow()
    assert hub.asked == [asked]


def test_a_log_that_is_told_again_is_taken_once(folder: RunFolder, follow: Callable[[], None], hub: Hub) -> None:
    RECORD.write(folder)
    story = lines(BEGUN, stepped(1), Warned(message="hot"), stepped(2), FINISHED)
    hub.logs = [story[:3], story]  # the connection broke off
    follow()
    view = RunReader(folder).read()
    assert view.state == "completed" and view.warnings == ("hot",)
    steps = [line for line in folder.events.read_text(encoding="utf-8").splitlines() if "step_logged" in line]
    assert len(steps) == 2


def test_a_character_that_was_cut_in_two_hinders_nobody(
    folder: RunFolder, follow: Callable[[], None], hub: Hub
) -> None:
    RECORD.write(folder)
    folder.events.write_bytes(encode(Warned(message="größer")).encode()[:-5] + b"\n" + lines(BEGUN)[0].encode() + b"\n")
    hub.logs = [lines(BEGUN, FINISHED)]
    follow()
    assert RunReader(folder).read().state == "completed"
    assert folder.events.read_bytes().count(b"run_started") == 1


@pytest.mark.parametrize(("status", "is_kept"), [(402, False), (502, True), (504, True)])
def test_only_a_refusal_says_that_no_job_was_begun(
    status: int, is_kept: bool, folder: RunFolder, follow: Callable[[], None], hub: Hub
) -> None:
    hub.status = status
    with pytest.raises(HubError):
        follow()
    assert folder.has_job() is is_kept
    if is_kept:
        hub.status, hub.logs = 0, [lines(BEGUN, FINISHED)]
        follow()
        assert len(hub.ordered) == 1 and RunReader(folder).read().state == "completed"
        assert read_record(folder) is None


@pytest.mark.parametrize(("cancelled", "is_kept"), [(0, False), (404, False), (503, True)])
def test_what_is_gone_leaves_no_job_and_nothing_that_would_keep_the_run(
    cancelled: int, is_kept: bool, folder: RunFolder, follow: Callable[[], None], hub: Hub
) -> None:
    RECORD.write(folder)
    hub.is_gone, hub.cancelled = True, cancelled
    with pytest.raises(HubError, match="gone from the Hub"):
        follow()
    assert hub.asked == ["cancel"] and RunReader(folder).read().state == "failed"
    assert folder.has_job() is is_kept  # while a job may still cost money


def test_a_record_that_lacks_something_is_as_none(folder: RunFolder, follow: Callable[[], None], hub: Hub) -> None:
    folder.job.write_text('{"key": "a-key", "repo": "alice/otter"}', encoding="utf-8")
    hub.logs = [lines(BEGUN, FINISHED)]
    follow()
    assert len(hub.ordered) == 1 and RunReader(folder).read().state == "completed"


def test_a_full_disk_is_not_taken_for_a_hub_out_of_reach(
    folder: RunFolder, follow: Callable[[], None], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    RECORD.write(folder)
    hub.logs = [lines(BEGUN, replace(FINISHED, model="model"))]
    monkeypatch.setattr(Parcel, "fetch_model", full)
    with pytest.raises(HubError, match="The disk is full here"):
        follow()
    assert folder.has_job()
