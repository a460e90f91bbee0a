"""Mask Studio: fine-tune a masked language model and try it.

The names below are loaded when first used, so that `import trainer` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.engine.loop import fit
    from trainer.inference.fill_mask import MaskFiller

__version__ = "0.1.0"
__all__ = ["MaskFiller", "TrainConfig", "fit"]

_HOMES = {
    "MaskFiller": "trainer.inference.fill_mask",
    "TrainConfig": "trainer.config",
    "fit": "trainer.engine.loop",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")
