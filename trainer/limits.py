"""What one visitor may ask for: without limits at a desk, with safe ones on a public Space."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.config import TrainConfig
from trainer.errors import ConfigError, ModelError

VANISHING = "Runs vanish when this Space restarts: publish or download what you want to keep."
AROUND_SECONDS = 900.0  # beyond its time, to install, to read the text, to save and to send the model back
LARGEST_MEGABYTES = 1000  # more the gate reads of no file
MANY = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None means no limit; so do LARGEST_MEGABYTES and MANY."""

    max_seconds: float | None = None  # of a run
    max_parameters: int | None = None  # of a model
    max_upload_megabytes: int = LARGEST_MEGABYTES  # of a file
    max_queued: int = MANY  # runs that wait
    max_runs: int | None = None  # of one visitor, that wait or work

    def applied_to(self, config: TrainConfig) -> TrainConfig:
        """The settings with an end to their time. Raises: ConfigError when they ask for more than is allowed."""
        if self.max_seconds is None:
            return config
        if config.max_seconds is not None and config.max_seconds > self.max_seconds:
            raise ConfigError([f"max_seconds is {config.max_seconds:g}; here it must be at most {self.max_seconds:g}."])
        return replace(config, max_seconds=config.max_seconds or self.max_seconds)

    def check_size(self, parameters: int) -> None:
        """Raises: ModelError for a model that is too large."""
        if self.max_parameters is not None and parameters > self.max_parameters:
            allowed = f"{self.max_parameters / 1e6:g} million weights"
            what = f"The model has {parameters / 1e6:,.1f} million weights; here it may have {allowed}."
            raise ModelError(what, "Choose a smaller one, or run Mask Studio on a machine of your own.")

    def in_words(self) -> str:
        """What a visitor should know, as one sentence; empty when nothing is limited."""
        said = []
        if self.max_seconds is not None:
            said.append(f"a run may last {self.max_seconds / 60:g} minutes")
        if self.max_parameters is not None:
            said.append(f"a model to train may have {self.max_parameters / 1e6:g} million weights")
        if self.max_upload_megabytes < LARGEST_MEGABYTES:
            said.append(f"a file may have {self.max_upload_megabytes} MB")
        if self.max_queued < MANY:
            said.append(f"{self.max_queued} runs may wait")
        if self.max_runs is not None:
            said.append(f"you may have {self.max_runs} at a time")
        return f"Here {', '.join(said)}." if said else ""


SPACE = Limits(max_seconds=3600.0, max_parameters=300_000_000, max_upload_megabytes=20, max_queued=10, max_runs=3)


def limits_of(environment: Mapping[str, str]) -> Limits:
    """Those of a Space, or none, with what MASK_STUDIO_MAX_... says over them (0 for no limit).

    Raises: ConfigError for what is no number.
    """
    usual = SPACE if "SPACE_ID" in environment else Limits()

    def number(name: str, default: float | None) -> float | None:
        text = environment.get(f"MASK_STUDIO_MAX_{name}")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError([f"MASK_STUDIO_MAX_{name} is {text!r}; it must be a number, 0 for no limit."])
        return value if value > 0 else None

    seconds, millions = usual.max_seconds, usual.max_parameters and usual.max_parameters / 1e6
    millions = number("MILLION_WEIGHTS", millions)
    runs = number("RUNS_PER_VISITOR", usual.max_runs)
    return Limits(
        max_seconds=number("SECONDS", seconds),
        max_parameters=int(millions * 1e6) if millions else None,
        max_upload_megabytes=math.ceil(number("UPLOAD_MB", usual.max_upload_megabytes) or LARGEST_MEGABYTES),
        max_queued=math.ceil(number("QUEUED", usual.max_queued) or MANY),
        max_runs=math.ceil(runs) if runs else None,
    )


def place_for_runs(environment: Mapping[str, str], default: Path) -> tuple[Path, bool]:
    """Where runs live, and whether they outlast a restart: MASK_STUDIO_HOME where that can be written to."""
    named = environment.get("MASK_STUDIO_HOME")
    on_space = "SPACE_ID" in environment
    if not named:
        return default, not on_space
    home = Path(named)
    if on_space and not _is_writable(home):
        return default, False
    return home, True


def _is_writable(folder: Path) -> bool:
    """Whether the folder, or the one it would be made in, takes files."""
    existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
