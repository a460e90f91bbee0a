"""The versions a run's numbers depend on."""

from __future__ import annotations

import accelerate
import torch
import transformers

import trainer


def versions() -> dict[str, str]:
    """As the first event tells them and every checkpoint keeps them."""
    return {
        "mask_studio": trainer.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
    }
