"""The jobs of the local Hub: each command is really run, in a child process with a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OVER = ("COMPLETED", "CANCELED", "ERROR")
# All is installed here: it takes the place of the one that installs what it is told to.
UV = """#!/bin/sh
while [ "$1" != python ]; do shift; done
exec "$@"
"""


@dataclass
class Job:
    id: str
    owner: str
    spec: dict[str, Any]
    folder: Path
    stage: str = "SCHEDULING"
    message: str = ""
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)
    ended: bool = False  # nothing more is written to its log


class LocalJobs:
    """Rented machines of which there is no end. `program` takes the place of the command; `busy`: none is free."""

    hardware = (
        {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "accelerator": None,
         "unitCostMicroUSD": 167, "unitCostUSD": 0.000167, "unitLabel": "minute"},
        {"name": "t4-small", "prettyName": "Nvidia T4 - small", "cpu": "4 vCPU", "ram": "15 GB",
         "accelerator": {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"},
         "unitCostMicroUSD": 6667, "unitCostUSD": 0.006667, "unitLabel": "minute"},
    )  # fmt: skip

    def __init__(self, url: str, place: Path) -> None:
        self._url, self._place = url, place
        self.jobs: list[Job] = []
        self.program: list[str] | None = None
        self.busy = False

    def begin(self, owner: str, spec: dict[str, Any]) -> dict[str, Any]:
        folder = self._place / f"job-{len(self.jobs)}"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "uv").write_text(UV)
        (folder / "bin" / "uv").chmod(0o755)
        job = Job(f"{len(self.jobs):024x}", owner, spec, folder)
        self.jobs.append(job)
        threading.Thread(target=self._work, args=(job,), daemon=True).start()
        return self.info(job.id)

    def _work(self, job: Job) -> None:
        while self.busy and job.stage == "SCHEDULING":
            time.sleep(0.05)
        if job.stage == "SCHEDULING":
            job.process = subprocess.Popen(
                self.program or job.spec["command"],
                cwd=job.folder,
                env=self._environment(job),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
            job.stage = "RUNNING"
            limit = threading.Timer(job.spec["timeoutSeconds"], self._end, (job, "ERROR", "Job timeout"))
            limit.daemon = True
            limit.start()
            assert job.process.stdout
            for line in job.process.stdout:
                job.lines.append(line.rstrip("\n"))
            code = job.process.wait()
            limit.cancel()
            if job.stage == "RUNNING":
                job.stage, job.message = ("ERROR", f"Job failed with exit code: {code}") if code else ("COMPLETED", "")
        job.ended = True

    def _environment(self, job: Job) -> dict[str, str]:
        """What a fresh container has, not what this process has; and the Hub it belongs to."""
        here = {
            "PATH": os.pathsep.join([str(job.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(job.folder),
            "TMPDIR": str(job.folder),
            "HF_ENDPOINT": self._url,
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
        }
        return here | job.spec["environment"] | job.spec.get("secrets", {})

    def _end(self, job: Job, stage: str, message: str = "") -> None:
        if job.stage not in OVER:
            job.stage, job.message = stage, message
            if job.process:
                with suppress(ProcessLookupError):
                    os.killpg(job.process.pid, signal.SIGKILL)

    def cancel(self, job_id: str) -> None:
        self._end(self.job(job_id), "CANCELED")

    def job(self, job_id: str) -> Job:
        return next(job for job in self.jobs if job.id == job_id)

    def info(self, job_id: str) -> dict[str, Any]:
        job = self.job(job_id)
        told = {name: job.spec.get(name) for name in ("dockerImage", "spaceId", "command", "environment", "labels")}
        owner = {"id": "0", "name": job.owner, "type": "user"}
        status = {"stage": job.stage, "message": job.message or None}
        return {"id": job.id, "owner": owner, "status": status, "flavor": job.spec["flavor"], **told}

    def all(self, labels: dict[str, str]) -> list[dict[str, Any]]:
        """The newest first."""
        found = [job for job in self.jobs if labels.items() <= job.spec.get("labels", {}).items()]
        return [self.info(job.id) for job in reversed(found)]

    def log(self, job_id: str) -> Iterator[dict[str, str]]:
        """Every line from the first, and those to come until the job is over."""
        job, told = self.job(job_id), 0
        moment = datetime.now(UTC).isoformat()
        yield {"data": f"===== Job started at {moment} =====", "timestamp": moment}
        while True:
            ended = job.ended
            while told < len(job.lines):
                yield {"data": job.lines[told], "timestamp": datetime.now(UTC).isoformat()}
                told += 1
            if ended:
                return
            time.sleep(0.05)

    def close(self) -> None:
        self.busy = False
        for job in self.jobs:
            self._end(job, "CANCELED")
