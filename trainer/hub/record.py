"""What became of publishing a run: a small file in its folder, written by the publisher alone, never with a token."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = "publish.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRecord:
    """How the newest try ended: well, or with `what` went wrong and the `fix`; then Retry goes on from here."""

    repo: str  # owner/name
    private: bool
    licence: str | None
    created: bool = False  # by us, so that a retry may write to it
    commit: str | None = None  # the newest that arrived whole
    url: str | None = None
    what: str = ""
    fix: str = ""

    @property
    def is_published(self) -> bool:
        return self.commit is not None and not self.what

    def write(self, folder: Path) -> None:
        """Save it, whole or not at all; a full disk must not stop an upload."""
        draft = folder / f".{FILE}.tmp"
        with suppress(OSError):
            draft.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False), encoding="utf-8")
            os.replace(draft, folder / FILE)


def read_record(folder: Path) -> PublishRecord | None:
    """What is known of publishing the run in `folder`; None when that was never tried, or the file is damaged."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return PublishRecord(**{f.name: values[f.name] for f in fields(PublishRecord) if f.name in values})
    return None
