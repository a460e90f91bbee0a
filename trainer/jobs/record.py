"""The job of a run: a small file in its folder, there until the end of the job has been told; never with a token."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

from trainer.runs.folder import RunFolder

MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is needed to find a job again. It is written before the job is begun, so that none is ever begun twice."""

    key: str  # the job bears it as a label
    repo: str  # owner/name, private: settings and text go out through it, the model comes back
    hardware: str
    id: str = ""  # empty until the Hub has told it

    @property
    def owner(self) -> str:
        return self.repo.partition("/")[0]

    def write(self, folder: RunFolder) -> None:
        """Save it, whole or not at all. Raises: OSError."""
        draft = folder.job.with_suffix(".tmp")
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())  # the job costs money: a power cut must not make it an unknown one
        os.replace(draft, folder.job)


def read_record(folder: RunFolder) -> JobRecord | None:
    """The job of a run that is on, or may be; None when there is none."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        values = json.loads(folder.job.read_text(encoding="utf-8"))
        return JobRecord(**{f.name: str(values[f.name])[:MOST_CHARACTERS] for f in fields(JobRecord)})
    return None
