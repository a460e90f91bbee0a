"""Where the processes of a run are started: one for the whole machine, or one for each of its GPUs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trainer.errors import ConfigError
from trainer.runs import launch
from trainer.runs.folder import RunFolder
from trainer.runs.zero_gpu import is_lent, zero_gpu

SMI = ("nvidia-smi", "--list-gpus")
SMI_SECONDS = 20.0  # a driver may take to wake up
NAMES = ("auto", "process", "devices", "zero")  # what MASK_STUDIO_BACKEND takes


class Backend(Protocol):
    """A way to run."""

    def command(self, folder: RunFolder) -> list[str]:
        """The command line that begins a run, and resumes one that has checkpoints."""

    def in_words(self) -> str:
        """What a visitor should know; empty where all is as usual."""


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
        return f"Runs use all {self.count} GPUs of this machine."


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
