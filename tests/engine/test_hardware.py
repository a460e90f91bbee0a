"""What computes, and in which arithmetic."""

from __future__ import annotations

import pytest
import torch

from trainer.engine import hardware


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
