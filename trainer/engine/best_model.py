"""The best model so far, written while training goes on: a GPU need not wait for a disk."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from trainer.engine import sharding
from trainer.engine.checkpoint import replace_folder, set_aside
from trainer.engine.model import MaskedLanguageModel


class BestModel:
    """`folder`, which is plain transformers; `seconds` is what writing it took the last time, 0 before."""

    def __init__(self, model: MaskedLanguageModel, folder: Path, accelerator: Accelerator) -> None:
        self.folder = folder
        self.seconds = 0.0
        self._model, self._accelerator = model, accelerator
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="best-model")
        self._writing: Future[None] | None = None

    def replace(self) -> None:
        """Begins to put the model as it is now in the place of the one there; all processes ask for it together.

        Raises what kept the one before from being written.
        """
        if self._model.is_sharded or self._accelerator.is_main_process:
            weights = sharding.whole_weights(self._model)
            if self._accelerator.is_main_process:
                self.wait()
                self._writing = self._writer.submit(self._write, weights)

    def wait(self) -> None:
        """Until all of it is on the disk. Raises what keeps it from there."""
        if self._writing:
            writing, self._writing = self._writing, None
            writing.result()

    def set_aside(self, checkpoint: Path) -> None:
        """Keeps it with a checkpoint: a resumed run must know nothing of one that is chosen out of turn."""
        if self._accelerator.is_main_process:
            self.wait()
            set_aside(self.folder, checkpoint)

    def close(self) -> None:
        """Waits, for good."""
        with self._writer:
            self.wait()

    def _write(self, weights: dict[str, Tensor]) -> None:
        began = time.monotonic()
        replace_folder(self.folder, lambda folder: self._model.save(folder, weights))
        self.seconds = time.monotonic() - began
