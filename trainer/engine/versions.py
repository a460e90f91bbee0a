"""The versions a run's numbers depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


def differences(then: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each version that is no longer that of the checkpoint."""
    for name, now in versions().items():
        if then.get(name) != now:
            yield f"The checkpoint was made with {name} {then.get(name)}, this is {now}."
