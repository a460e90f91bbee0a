"""A local Hub, and a run that looks as one does after training."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from tests.hub.local_hub import LocalHub
from tests.hub.local_jobs import LocalJobs
from tests.hub.rental import Rental
from trainer.config import TrainConfig
from trainer.events import CheckpointSaved, Evaluated, Finished, Planned, Probed, RunStarted, StepLogged, encode
from trainer.hub.publish import Publisher
from trainer.hub.upload import PublishRequest
from trainer.runs import supervisor
from trainer.runs.folder import RunFolder

PROBE = "The Milky Way is a <mask> galaxy."


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hub of its own for the test; the client in this process may reach it."""
    server = LocalHub()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    yield server
    huggingface_hub.close_session()
    server.close()


@pytest.fixture
def publisher(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """Tries three times as always, but without the pauses, its own and the client's."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    return Publisher(hub.url, pauses_seconds=(0.0, 0.0))


@pytest.fixture
def rental(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rental]:
    """Rents machines of the local Hub."""
    hub.jobs = LocalJobs(hub.url, tmp_path / "jobs")
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.05)
    rental = Rental(hub, tmp_path / "home")
    yield rental
    for manager in rental.managers:
        manager.close()
    hub.jobs.close()
    for path in rental.home.iterdir():
        if pid := RunFolder(path).pid():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def trained_run(tiny_model: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder: `trained_run(dataset="notes.txt")`. It has what must not be published, too."""

    def make(kind: str = "roberta", **settings: Any) -> Path:
        folder = tmp_path / "runs" / "20260101-120000-quiet-otter"
        (folder / "checkpoints/step-8").mkdir(parents=True)
        shutil.copytree(tiny_model(kind), folder / "model")
        (folder / "model" / "training_args.bin").write_bytes(b"a secret")
        (folder / "model" / "notes.txt").write_text("private", encoding="utf-8")
        (folder / "log.txt").write_text("a line\n", encoding="utf-8")
        config = TrainConfig(**({"probe_text": PROBE, "seed": 7} | settings))
        (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
        lines = [encode(event, 1000.0 + number) for number, event in enumerate(events())]
        (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return make


@pytest.fixture
def run(trained_run: Callable[..., Path]) -> Path:
    return trained_run()


@pytest.fixture
def request_for(run: Path) -> Callable[..., PublishRequest]:
    return lambda **changes: PublishRequest(**({"folder": run, "repo": "alice/otter"} | changes))


def events() -> list[Any]:
    """A run of eight steps whose best model is that of step 4."""
    measured = {"masked_tokens": 1234, "accuracy": 0.25}
    told: list[Any] = [
        RunStarted(
            device="cpu", device_name="AMD EPYC", processes=1, threads=2, precision="float32",
            versions={"torch": "2.13.0", "transformers": "5.23.0"},
        ),
        Planned(
            text_column="text", documents=60, skipped_documents=0, words=2345, tokens=3456, train_blocks=80,
            held_out_blocks=20, held_out_documents=12, block_size=32, steps=8, steps_per_epoch=4,
            parameters=123_456, architecture="RobertaForMaskedLM", masked_positions_only=True,
        ),
    ]  # fmt: skip
    for step, loss, perplexity, best in ((0, 6.4, 601.85, True), (4, 5.0, 148.41, True), (8, 5.5, 244.69, False)):
        if step:
            told += [
                StepLogged(
                    step=number, epoch=number / 4, loss=6.4 - number / 8, learning_rate=1e-3, grad_norm=1.0,
                    tokens_per_second=900.0, elapsed_seconds=number,
                )
                for number in range(step - 3, step + 1)
            ]  # fmt: skip
        told.append(Evaluated(step=step, epoch=step / 4, loss=loss, perplexity=perplexity, best=best, **measured))
        words = {0: " vast", 4: " spiral", 8: " small"}
        candidates = [{"score": 0.5, "token_str": words[step]}, {"score": 0.25, "token_str": " the"}]
        told.append(Probed(step=step, text=PROBE, candidates=candidates))
    told.append(CheckpointSaved(step=8, path="checkpoints/step-8", seconds=0.1))
    told.append(Finished(reason="completed", step=8, elapsed_seconds=12.5, model="model"))
    return told
