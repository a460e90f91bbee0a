"""Which files of a run are published: those a reader of the model needs, and no others."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

# A list of what may go, not of what may not: nobody has to foresee a log, a checkpoint or a file with a secret.
ALLOWED = re.compile(
    r"config\.json|generation_config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.(json|txt)|merges\.txt|spiece\.model|sentencepiece\.bpe\.model|tokenizer\.model"
)


def model_files(model: Path) -> list[Path]:
    """The files of a model folder that are published, in the order of their names; no links, which lead elsewhere."""
    files = (path for path in model.iterdir() if ALLOWED.fullmatch(path.name))
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


class WatchedFile(io.BufferedReader):
    """A file that tells how far it has been read.

    It stays open from its checksum to its upload, so a better model that takes its place meanwhile is not mixed in.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.path = path
        self.size = path.stat().st_size
        self.sent = 0
        self.on_read: Callable[[], None] | None = None  # set when the upload begins

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.on_read is not None:
            self.sent = self.tell()
            self.on_read()
        return data
