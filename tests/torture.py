"""Kills a run at random moments, lets it go on, and compares what it becomes: `python -m tests.torture --rounds 20`.

A third of the kills aims inside a save, a third at an evaluation, a third anywhere. Every resumed run must end with the
weights of the run that nobody killed, bit for bit, and tell each step once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader

PROJECT = Path(__file__).resolve().parents[1]
STEPS, EVAL_STEPS = 16, 4
SETTINGS = {
    "max_documents": 120,
    "test_size": 0.1,
    "block_size": 32,
    "per_device_train_batch_size": 4,
    "max_steps": STEPS,
    "eval_steps": EVAL_STEPS,
    "save_steps": 3,
    "logging_steps": 1,
    "precision": "float32",
}
PATIENCE_SECONDS = 300  # for one run, on a busy machine


@dataclass(frozen=True)
class Outcome:
    """All of a run that must not depend on whether it was killed."""

    weights: str  # sha256 of the last checkpoint's weights
    best: str  # sha256 of the best model's weights
    curve: tuple[tuple[object, ...], ...]  # step, loss, learning rate, gradient norm
    held_out: tuple[tuple[object, ...], ...]  # step, loss, accuracy, best


@dataclass(frozen=True)
class Round:
    """One kill and what came of it."""

    moment: str  # what the process was doing
    step: int  # the last one it had told
    resumed_from: int | None
    outcome: Outcome


def begin(folder: Path, limits: Mapping[int, int] = MappingProxyType({}), **changes: object) -> subprocess.Popen[bytes]:
    """A run of its own process, in the folder; `limits` are those of the system's `setrlimit`."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (SETTINGS | changes).items()]
    return _trainer("fit", "--output", str(folder), *flags, log=folder.with_suffix(".log"), limits=limits)


def finish(folder: Path) -> None:
    """Resumes the run and waits for its end."""
    if _trainer("resume", str(folder), log=folder.with_suffix(".log")).wait(PATIENCE_SECONDS):
        raise AssertionError(f"The resumed run failed:\n{folder.with_suffix('.log').read_text()[-3000:]}")


def outcome(folder: Path) -> Outcome:
    view = RunReader(RunFolder(folder)).read()
    if view.state != "completed":
        raise AssertionError(f"The run is {view.state}: {view.failure}")
    newest = max((folder / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    return Outcome(
        weights=_sha256(newest / "model.safetensors"),
        best=_sha256(folder / "model/model.safetensors"),
        curve=tuple((p["step"], p["loss"], p["learning_rate"], p["grad_norm"]) for p in view.points),
        held_out=tuple((e["step"], e["loss"], e["accuracy"], e["best"]) for e in view.evaluations),
    )


def undisturbed(place: Path) -> Outcome:
    """The run that nobody kills. Raises: AssertionError when it does not tell every step once."""
    folder = place / "undisturbed"
    begin(folder).wait(PATIENCE_SECONDS)
    whole = outcome(folder)
    assert [point[0] for point in whole.curve] == list(range(1, STEPS + 1))
    assert [point[0] for point in whole.held_out] == list(range(0, STEPS + 1, EVAL_STEPS))
    return whole


def kill_and_resume(folder: Path, aim: str, chance: random.Random) -> Round:
    """Kills a new run in a save, in an evaluation, or anywhere; then resumes it to its end."""
    process = begin(folder)
    step = chance.randrange(1, STEPS - EVAL_STEPS)
    _wait(process, lambda: _last_step(folder) >= step)
    if aim == "save":
        _wait(process, lambda: any(folder.glob("checkpoints/.*.tmp")))
    elif aim == "evaluation":
        _wait(process, lambda: _last_step(folder) % EVAL_STEPS == 0)
    time.sleep(chance.uniform(0.0, 0.2))
    process.kill()
    if process.wait() == 0:
        raise AssertionError("The run ended before it could be killed.")
    moment, killed_at = _moment(folder), _last_step(folder)
    finish(folder)
    starts = [record for record in _records(folder) if record["kind"] == "run_started"]
    return Round(moment, killed_at, starts[-1]["resumed_from_step"], outcome(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="Of the moments; the machine adds its own.")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    moments: Counter[str] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        expected = undisturbed(Path(place))
        for number in range(options.rounds):
            aim = ("save", "evaluation", "anywhere")[number % 3]
            killed = kill_and_resume(Path(place) / f"round-{number}", aim, chance)
            same = killed.outcome == expected
            failed += not same
            moments[killed.moment] += 1
            told = "bit-identical" if same else "DIFFERENT"
            went = f"killed {killed.moment} at step {killed.step}, resumed from {killed.resumed_from}"
            print(f"{number + 1:>3}  {went}: {told}", flush=True)
    told = ", ".join(f"{count} {moment}" for moment, count in moments.most_common())
    print(f"{options.rounds - failed} of {options.rounds} bit-identical to the run that was not killed ({told}).")
    return 1 if failed else 0


def _trainer(*arguments: str, log: Path, limits: Mapping[int, int] = MappingProxyType({})) -> subprocess.Popen[bytes]:
    def limit() -> None:
        for which, size in limits.items():
            resource.setrlimit(which, (size, size))

    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        command = [sys.executable, "-m", "trainer", *arguments]
        return subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=file, stderr=file, preexec_fn=limit if limits else None
        )


def _wait(process: subprocess.Popen[bytes], true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not true() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.005)


def _records(folder: Path) -> list[dict]:
    path = folder / "events.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:  # the half line of a killed process
            continue
    return records


def _last_step(folder: Path) -> int:
    last = RunFolder(folder).last_record() or {}
    return int(last.get("step") or 0)


def _moment(folder: Path) -> str:
    """What a killed process was doing, by what it left behind."""
    if any(folder.glob("checkpoints/.*.tmp")):
        return "inside a save"
    if (folder / ".model.tmp").exists():
        return "inside the saving of the best model"
    last = _records(folder)[-1]
    due = last["kind"] in ("step_logged", "probed") and last["step"] % EVAL_STEPS == 0
    return "in an evaluation" if due else "in training"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
