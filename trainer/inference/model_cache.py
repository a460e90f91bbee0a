"""The models used last, as many as fit into a given memory."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from trainer.engine.model import find_model, load_model
from trainer.errors import ModelError
from trainer.inference.packing import pack
from trainer.inference.reader import Reader
from trainer.inference.short_text import hasten

MEMORY_BYTES = 2 << 30  # of weights
LARGE = 20_000_000  # weights: smaller models lie in a processor's caches and gain nothing by bf16


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and the files it came from."""

    reader: Reader
    folder: Path
    changed: int  # time stamp of the weights, in nanoseconds
    bytes: int


class ModelCache:
    """Loads models by name; those unused for longest go when the memory is full."""

    def __init__(self, device: str, memory_bytes: int = MEMORY_BYTES, *, precision: str = "float32") -> None:
        self._device = device
        self._halves = device == "cpu" and precision == "bf16"
        self._memory_bytes = memory_bytes
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    def get(self, name: str) -> Reader:
        """The model, from memory when its weights have not changed on disk since. Raises: ModelError."""
        if not isinstance(name, str):
            raise ModelError(f"The model is {name!r:.60}; it must be a name.", "Give 'bundled', or a Hub id.")
        kept = self._loaded.get(name)
        if kept is None or kept.changed != _changed(kept.folder):
            self._loaded.pop(name, None)
            folder = find_model(name)
            self._make_room(sum(file.stat().st_size for file in folder.glob("*.safetensors")))
            changed = _changed(folder)
            model = load_model(name).to(self._device).eval()
            if self._halves and sum(weights.numel() for weights in model.parameters()) >= LARGE:
                model.halve()
            size = sum(weights.nbytes for weights in [*model.parameters(), *model.buffers()])
            self._make_room(size)
            hasten(model)
            size += pack(model, self._memory_bytes - self._held - size)
            self._loaded[name] = Loaded(Reader(model), folder, changed, size)
        self._loaded.move_to_end(name)
        return self._loaded[name].reader

    @property
    def _held(self) -> int:
        return sum(loaded.bytes for loaded in self._loaded.values())

    def _make_room(self, size: int) -> None:
        while self._loaded and size + self._held > self._memory_bytes:
            self._loaded.popitem(last=False)


def _changed(folder: Path) -> int:
    """When the weights were last written; 0 where there are none, or no folder any more."""
    try:
        with os.scandir(folder) as files:
            return max((file.stat().st_mtime_ns for file in files if file.name.endswith(".safetensors")), default=0)
    except FileNotFoundError:
        return 0
