"""The best model so far. A GPU goes on training while it is written, and need not wait for a disk."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from trainer.engine import sharding
from trainer.engine.checkpoint import replace_folder, set_aside
from trainer.engine.model import MaskedLanguageModel
from trainer.events import Emit, Event

WRITTEN_MEANWHILE = ("cuda", "mps")  # a processor has nothing to gain by it


class BestModel:
    """`folder`, which is plain transformers; `seconds` is what writing it took the last time, 0 before."""

    def __init__(self, model: MaskedLanguageModel, folder: Path, accelerator: Accelerator, emit: Emit) -> None:
        self.folder = folder
        self.seconds = 0.0
        self._model, self._accelerator, self._emit = model, accelerator, emit
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="best-model")
        self._writing: Future[None] | None = None
        self._untold: list[Event] = []

    def replace(self) -> None:
        """Begins to put the model as it is now in the place of the one there; all processes ask for it together.

        Raises what kept the one before, or this one, from the disk.
        """
        self.wait()  # before there is one more copy of the weights
        if self._model.is_sharded or self._accelerator.is_main_process:
            weights = sharding.whole_weights(self._model)
            if self._accelerator.is_main_process:
                self._writing = self._writer.submit(self._write, weights)
        if self._accelerator.device.type not in WRITTEN_MEANWHILE:
            self.wait()

    def emit(self, event: Event) -> None:
        """Tells it, if need be later: who hears that a model is the best finds it on the disk, and all in order."""
        self._untold.append(event)
        self.tell()

    def tell(self) -> None:
        """What was kept back, once that may be told. Raises what kept the model from the disk."""
        if self._writing is None or self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Until all of it is on the disk, and told. Raises what keeps it from there."""
        writing, self._writing = self._writing, None
        untold, self._untold = self._untold, []
        if writing:
            writing.result()
        for event in untold:
            self._emit(event)

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
