"""The device a run uses, and the arithmetic that is fast on it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

# For less a further thread is not worth waiting for in every layer: some 10 ms where it soon sleeps until it is woken
# (see `trainer.environment`), some 1 ms where it spins.
PRODUCTS_OF_A_SLEEPER, PRODUCTS_OF_A_SPINNER = 1 << 29, 1 << 26


@dataclass(frozen=True, slots=True)
class Hardware:
    """What computes, and how."""

    device: str  # "cuda", "mps" or "cpu"
    name: str
    threads: int
    precision: str  # "float32" or "bf16"


def choose(precision: str = "auto") -> Hardware:
    """The GPU when there is one, else the processor; bf16 only where the hardware has instructions for it."""
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16" if _has_fast_bf16(device) else "float32"
    return Hardware(device, _name(device), torch.get_num_threads(), precision)


def exact_dtype(device: torch.device) -> torch.dtype:
    """What long sums are added up in; Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def gains_by_compiling() -> bool:
    """Whether `torch.compile` may pay: on a GPU, with all that its Triton needs. A processor hardly gains."""
    compiler = any(map(shutil.which, ("cc", "gcc", "clang")))
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    return torch.cuda.is_available() and importlib.util.find_spec("triton") is not None and compiler and headers


def records_steps() -> bool:
    """Whether a step can be recorded and played again, as a CUDA graph."""
    return torch.cuda.is_available() and torch.version.hip is None


@contextmanager
def threads_for(products: int) -> Iterator[None]:
    """Within, the processor works with no more threads than so many products of two numbers are worth."""
    sleeps = "GOMP_SPINCOUNT" in os.environ
    most = torch.get_num_threads()
    torch.set_num_threads(min(most, 1 + products // (PRODUCTS_OF_A_SLEEPER if sleeps else PRODUCTS_OF_A_SPINNER)))
    try:
        yield
    finally:
        torch.set_num_threads(most)


def limit_memory() -> None:
    """Lets what the machine's memory can't hold fail in words, before the system kills the process for it.

    Not with a GPU, whose driver maps far more than it uses.
    """
    if choose().device == "cpu":
        limit("RLIMIT_DATA", memory_bytes())


def limit_time(cpu_seconds: int) -> None:
    """Ends this process by a signal when it has computed for so long."""
    limit("RLIMIT_CPU", cpu_seconds, cpu_seconds + 5)


def limit(kind: str, soft: int, hard: int | None = None) -> None:
    """Bounds a resource of this process, within the bounds it has; `hard` stays as it is if None."""
    try:
        import resource
    except ImportError:  # Windows has no limits of this kind
        return
    number = getattr(resource, kind)
    _, there = resource.getrlimit(number)
    most = sys.maxsize if there == resource.RLIM_INFINITY else there
    resource.setrlimit(number, (min(soft, most), there if hard is None else min(hard, most)))


def memory_bytes(device: str = "cpu") -> int:
    """The memory of a GPU; or the machine's, or what a container is given of it."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[1]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return physical


def _has_fast_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if device == "mps":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    if device == "mps":
        return "Apple GPU"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
