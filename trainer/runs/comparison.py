"""The settings of several runs side by side, and whether their held-out figures may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from trainer.config import TrainConfig

# What decides which tokens are held out, and which of them are masked.
HELD_OUT = (
    "dataset", "dataset_config", "split", "text_column", "validation_split", "test_size", "max_documents", "block_size",
    "line_by_line", "mlm_probability", "whole_word_mask", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSetting:
    """One setting of several runs, in their order; None where it is off, or a run's settings can't be read."""

    name: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


def compared(configs: Sequence[TrainConfig | None]) -> list[ComparedSetting]:
    """Every setting, in the order of the configuration."""
    names = [f.name for f in fields(TrainConfig)]
    return [ComparedSetting(name=n, values=tuple(getattr(config, n, None) for config in configs)) for n in names]


def measured_apart(settings: Sequence[ComparedSetting]) -> list[str]:
    """The names of the settings that make held-out figures differ though the models do not; best none."""
    return [setting.name for setting in settings if setting.differs and setting.name in HELD_OUT]
