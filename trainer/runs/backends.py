"""Where a run works: in one process here, in one for each GPU here, or on a machine rented for it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trainer.errors import ConfigError
from trainer.runs import launch
from trainer.runs.folder import RENTED, RunFolder
from trainer.runs.zero_gpu import ZeroGpu, is_lent, zero_gpu

SMI = ("nvidia-smi", "--list-gpus")
SMI_SECONDS = 20.0  # a driver may take to wake up
NAMES = ("auto", "process", "devices", "zero", "job")  # what MASK_STUDIO_BACKEND takes
PROCESS, DEVICES, ZERO, JOB = "process", "devices", "zero", RENTED  # keys; that of a job goes on with its hardware
HARDWARE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
USUAL_HARDWARE = "t4-small"  # the cheapest GPU


class Backend(Protocol):
    """A way to run."""

    def command(self, folder: RunFolder) -> list[str]:
        """The command line that begins a run, and resumes one that has checkpoints."""

    def in_words(self) -> str:
        """What a visitor should know; empty where all is as usual, or the form says it."""


@dataclass(frozen=True, slots=True)
class LocalProcess:
    """One process, on one GPU or on the processor."""

    def command(self, folder: RunFolder) -> list[str]:
        return launch.command(folder)

    def in_words(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class LocalDevices:
    """A process for each of `count` GPUs, through `accelerate launch`."""

    count: int

    def command(self, folder: RunFolder) -> list[str]:
        python, *run = launch.command(folder)
        # All that it would otherwise take from a user's own settings of accelerate, or guess, is said.
        launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
        launcher += ["--num_processes", str(self.count), "--main_process_port", "0"]
        launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]
        return [python, *launcher, *run, "--processes", str(self.count)]

    def in_words(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class HubJob:
    """A machine of Hugging Face Jobs, rented for this run and followed by a small process here."""

    hardware: str  # as the Hub names it: "t4-small"

    def command(self, folder: RunFolder) -> list[str]:
        remote = [sys.executable, "-m", "trainer", "remote", str(folder.path)]
        return [*remote, "--hardware", self.hardware]

    def in_words(self) -> str:
        return ""


class Backends:
    """The ways to run there are here, by key; a run's folder remembers which was chosen for it."""

    def __init__(self, environment: Mapping[str, str], token: str = "", *, rents: bool = False) -> None:
        """With a `token` machines can be rented; it is told to the processes that do. Raises: ConfigError.

        `rents`: visitors can, with tokens of their own.
        """
        self.usual = backend_of(environment)
        if isinstance(self.usual, HubJob) and not token:
            why = "there is no HF_TOKEN to rent a machine with, or others can reach the page, for whom it is not."
            raise ConfigError([f"MASK_STUDIO_BACKEND is 'job', but {why}"])
        self.gpus = 0 if isinstance(self.usual, ZeroGpu) else visible_gpus(environment)
        self.token, self.rents = token, rents or bool(token)

    @property
    def usual_key(self) -> str:
        """The key of what is taken where nothing was chosen."""
        if isinstance(self.usual, HubJob):
            return JOB + self.usual.hardware
        if isinstance(self.usual, ZeroGpu):
            return ZERO
        return DEVICES if isinstance(self.usual, LocalDevices) else PROCESS

    def check(self, key: str) -> str:
        """The key; empty where it is what any run here gets. Raises: ConfigError for what is not to be had here."""
        key = str(key)  # a browser may send anything
        rented = key.startswith(JOB) and HARDWARE.fullmatch(key.removeprefix(JOB))
        if isinstance(self.usual, ZeroGpu):
            return ""  # the page's process lends it to its runs itself
        if key == self.usual_key and not key.startswith(JOB):
            return ""
        if key == PROCESS or (key == DEVICES and self.gpus > 1) or (rented and self.rents):
            return key
        raise ConfigError([f"Runs can't work on {key!r} here; reload the page, and choose another place."])

    def of(self, folder: RunFolder) -> Backend:
        """That of a run. A job stays one where none can be had any more: its process will say so."""
        here = DEVICES if isinstance(self.usual, HubJob) else self.usual_key  # whoever rents has the run say so
        key = folder.read_backend() or here
        if key.startswith(JOB):
            return HubJob(key.removeprefix(JOB))
        if isinstance(self.usual, ZeroGpu):
            return self.usual
        return LocalDevices(self.gpus) if key == DEVICES and self.gpus > 1 else LocalProcess()

    def command(self, folder: RunFolder) -> list[str]:
        return self.of(folder).command(folder)

    def secret(self, folder: RunFolder) -> str:
        """What the process of a run may know besides."""
        return self.token if isinstance(self.of(folder), HubJob) else ""


def visible_gpus(environment: Mapping[str, str]) -> int:
    """How many GPUs a run would see; asked of the driver's own tool, as the page never imports torch."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None and not chosen.strip():
        return 0
    try:
        told = subprocess.run(SMI, capture_output=True, text=True, timeout=SMI_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # no driver, so no GPU
        return 0
    here = sum(line.startswith("GPU ") for line in told.splitlines())
    if chosen is None:
        return here
    named = [name.strip() for name in chosen.split(",")]
    named = named[: named.index("-1")] if "-1" in named else named  # CUDA reads no further than that
    return min(here, len(named))


def backend_of(environment: Mapping[str, str]) -> Backend:
    """The one that MASK_STUDIO_BACKEND names; by itself, a lent GPU, or all of several. Raises: ConfigError."""
    name = environment.get("MASK_STUDIO_BACKEND") or "auto"
    if name not in NAMES:
        raise ConfigError([f"MASK_STUDIO_BACKEND is {name!r}; it must be one of {', '.join(NAMES)}."])
    if name == "job":
        hardware = environment.get("MASK_STUDIO_JOB_HARDWARE") or USUAL_HARDWARE
        if not HARDWARE.fullmatch(hardware):
            raise ConfigError([f"MASK_STUDIO_JOB_HARDWARE is {hardware!r}; it must be a name such as t4-small."])
        return HubJob(hardware)
    if name == "process":
        return LocalProcess()
    if name == "zero" or (name == "auto" and is_lent(environment)):
        return zero_gpu(environment)
    count = visible_gpus(environment)
    if count > 1:
        return LocalDevices(count)
    if name == "devices":
        found = "one GPU is" if count else "no GPU is"
        raise ConfigError([f"MASK_STUDIO_BACKEND is 'devices', but {found} visible here; it takes two or more."])
    return LocalProcess()
