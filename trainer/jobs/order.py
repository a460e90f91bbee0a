"""A machine of Hugging Face Jobs ordered for a run: image, command, time limit; and an order that is found again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from trainer.config import TrainConfig
from trainer.errors import HubError
from trainer.hub.refusals import READS_ONLY
from trainer.jobs.parcel import Parcel
from trainer.jobs.record import JobRecord, read_record
from trainer.limits import AROUND_SECONDS
from trainer.runs.folder import RunFolder
from trainer.runs.launch import PROJECT
from trainer.runs.names import name_of

LABEL = "mask-studio"
UV_IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
USUAL_SECONDS = 3600.0  # of a run without a time budget of its own
NOT_NEEDED = ("gradio",)  # there is no page

# One line, for that is what comes through whole.
BOOT = (
    "import sys, tempfile, huggingface_hub; "
    "place = huggingface_hub.snapshot_download(sys.argv[1], revision=sys.argv[2], local_dir=tempfile.mkdtemp()); "
    "sys.path.insert(0, place); "
    "from trainer.__main__ import main; "
    "sys.exit(main(['job', place + '/run', '--repo', sys.argv[1]]))"
)
ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONUNBUFFERED": "1"}


def limited(config: TrainConfig) -> TrainConfig:
    """The settings with an end to their time, so that a run saves itself before its machine is taken away."""
    return replace(config, max_seconds=config.max_seconds or USUAL_SECONDS)


def most_seconds(max_seconds: float | None) -> float:
    """After which the machine is taken away, for a run of that time budget."""
    return (max_seconds or USUAL_SECONDS) + AROUND_SECONDS


def image_and_command(environment: Mapping[str, str], repo: str, commit: str) -> tuple[str, list[str]]:
    """On a Space its own image, in which everything is installed; else one in which `uv` installs what is needed."""
    run = ["python", "-c", BOOT, repo, commit]
    if space := environment.get("SPACE_ID"):
        return f"hf.co/spaces/{space}", run
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").split()
    needed = [line for line in lines if not line.startswith(NOT_NEEDED)]
    return UV_IMAGE, ["uv", "run", *(part for line in needed for part in ("--with", line)), *run]


def find_job(api: HfApi, folder: RunFolder, token: str) -> JobRecord | None:
    """The job that a run has already; None when it has none. Raises: what the Hub's client does."""
    record = read_record(folder)
    if record is None or record.id:
        return record
    # The process that ordered it was gone before it learned the id.
    jobs = api.list_jobs(labels={LABEL: record.key}, namespace=record.owner, token=token)
    job = next(iter(jobs), None)
    return _noted(folder, replace(record, id=job.id)) if job else None


def order_job(
    api: HfApi, folder: RunFolder, hardware: str, token: str, given_up: Callable[[], bool]
) -> JobRecord | None:
    """Sends what a job needs, and begins it, unless that was `given_up` meanwhile.

    Raises: HubError, DataError, what the Hub's client does.
    """
    config = limited(folder.read_config())
    account = api.whoami()
    if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise HubError(*READS_ONLY)
    owner = str(account["name"])
    record = JobRecord(key=secrets.token_hex(12), repo=f"{owner}/{LABEL}-{folder.id}", hardware=hardware)
    commit = Parcel(api, record.repo).send(config)
    image, command = image_and_command(os.environ, record.repo, commit)
    if given_up():
        return None
    record.write(folder)
    try:
        job = api.run_job(
            image=image,
            command=command,
            env=ENVIRONMENT,
            secrets={"HF_TOKEN": token},
            flavor=hardware,
            timeout=int(most_seconds(config.max_seconds)),
            name=f"{LABEL}-{name_of(folder.id)}",
            labels={LABEL: record.key},
            namespace=owner,
        )
    except HfHubHTTPError as error:
        if error.response.status_code < 500:  # refused; after any other error it may have begun
            folder.job.unlink()
        raise
    return _noted(folder, replace(record, id=job.id))


def _noted(folder: RunFolder, record: JobRecord) -> JobRecord:
    record.write(folder)
    print(f"Job {record.id} on {record.hardware}, through {record.repo}.", flush=True)
    return record
