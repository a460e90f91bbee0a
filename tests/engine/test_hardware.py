"""What computes, and in which arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.engine import hardware

PROJECT = Path(__file__).resolve().parents[2]


def test_limits_stay_within_those_there_are():
    program = """
import os, resource, trainer.engine.hardware as hardware
if os.geteuid() == 0:
    os.setuid(65534)  # root may raise a limit, others fail
resource.setrlimit(resource.RLIMIT_CPU, (50, 100))
hardware.limit_time(300)
assert resource.getrlimit(resource.RLIMIT_CPU) == (100, 100)
hardware.limit_time(20)
assert resource.getrlimit(resource.RLIMIT_CPU) == (20, 25)
before = resource.getrlimit(resource.RLIMIT_DATA)[1]
hardware.limit_memory()
assert resource.getrlimit(resource.RLIMIT_DATA) == (hardware.memory_bytes(), before)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)


def test_without_a_gpu_the_processor_is_chosen_and_named():
    chosen = hardware.choose("float32")
    assert (chosen.device, chosen.precision) == ("cpu", "float32")
    assert chosen.name and chosen.threads == torch.get_num_threads()


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "float32")],
)
def test_bf16_is_used_only_where_the_processor_has_instructions_for_it(capabilities, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert hardware.choose().precision == precision
    assert hardware.choose("bf16").precision == "bf16"


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "float32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_is_chosen_and_old_ones_stay_with_float32(capability, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA T4")
    chosen = hardware.choose()
    assert (chosen.device, chosen.name, chosen.precision) == ("cuda", "NVIDIA T4", precision)


@pytest.mark.parametrize(
    ("waits_shortly", "shared"),
    [(True, {0: 1, 10**8: 1, 10**9: 2, 10**12: 3}), (False, {0: 1, 10**7: 1, 10**8: 2, 10**12: 3})],
)
def test_little_work_is_done_by_one_thread_and_much_by_all_there_were(waits_shortly, shared, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if waits_shortly:
        monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for products, threads in shared.items():
            with hardware.threads_for(products):
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
