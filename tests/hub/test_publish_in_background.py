"""Publishing while the page is used and the run goes on: progress, and every better model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import HubError
from trainer.hub import publish
from trainer.hub.publish import Publisher
from trainer.hub.record import read_record

TOKEN = "hf_write_of_alice"


def wait(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_the_page_is_told_how_far_it_is_and_nobody_publishes_twice_at_once(
    hub: Any, publisher: Publisher, run: Path, request_for: Any
) -> None:
    hub.fail("commit", delay_seconds=1.0)
    publisher.begin(request_for(), TOKEN)
    with pytest.raises(HubError, match="published already"):
        publisher.publish(request_for(), TOKEN)
    wait(lambda: (publisher.progress(run) or (0, ""))[0] > 0.5)
    record = read_record(run)
    assert record and "broken off" in record.what  # what would be true if this process died now
    wait(lambda: publisher.progress(run) is None)
    record = read_record(run)
    assert record and record.is_published


def test_every_better_model_is_published_until_the_run_is_over(
    hub: Any, publisher: Publisher, run: Path, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "FOLLOW_SECONDS", 0.02)
    over = threading.Event()
    publisher.begin(request_for(), TOKEN, over.is_set)
    wait(lambda: "better" in (publisher.progress(run) or (0, ""))[1])
    config = json.loads((run / "model/config.json").read_text(encoding="utf-8")) | {"newer": True}
    (run / "model/config.json").write_text(json.dumps(config), encoding="utf-8")
    wait(lambda: b"newer" in hub.repos["alice/otter"].files["config.json"])
    over.set()
    wait(lambda: publisher.progress(run) is None)
    assert len(hub.repos["alice/otter"].commits) == 3


def test_a_model_that_could_not_be_published_is_told_while_a_better_one_is_waited_for(
    hub: Any, publisher: Publisher, run: Path, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "FOLLOW_SECONDS", 0.02)
    over = threading.Event()
    publisher.begin(request_for(), "hf_read_of_alice", over.is_set)
    try:
        wait(lambda: publisher.progress(run) == (0.0, "This token may only read. Waiting for a better model"), 5.0)
    finally:
        over.set()
        wait(lambda: publisher.progress(run) is None)


def test_the_shell_pushes_every_evaluation_until_the_run_is_over(
    hub: Any, publisher: Publisher, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from trainer.__main__ import main
    from trainer.events import Finished
    from trainer.runs.folder import RunFolder

    monkeypatch.setattr(publish, "FOLLOW_SECONDS", 0.02)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder, begun = RunFolder(run), threading.Event()
    lines = folder.events.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.events.write_text("".join(lines[:-1]), encoding="utf-8")

    def train() -> None:
        with folder.hold():
            begun.set()
            wait(lambda: hub.requests.count("commit") == 1)
            config = json.loads((run / "model/config.json").read_text(encoding="utf-8")) | {"newer": True}
            (run / "model/config.json").write_text(json.dumps(config), encoding="utf-8")
            wait(lambda: hub.requests.count("commit") == 2)
            folder.append(Finished(reason="completed", step=8, elapsed_seconds=12.5, model="model"))

    thread = threading.Thread(target=train)
    thread.start()
    begun.wait()
    command = ["publish", str(run), "--repo", "otter", "--push-every-evaluation", "--json"]
    assert main(command) == 0
    thread.join()
    record = json.loads(capsys.readouterr().out)
    assert record["repo"] == "alice/otter" and record["commit"] == hub.repos["alice/otter"].commits[-1][0]
    assert b"newer" in hub.repos["alice/otter"].files["config.json"]
    assert main([*command[:1], str(run.parent / "nowhere"), *command[2:]]) == 2
