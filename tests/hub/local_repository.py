"""The files and commits of a model on the local Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

REGULAR_BYTES = 10 << 20  # larger files, and those that end like weights, go to the large file storage
LARGE = (".safetensors", ".bin", ".pt", ".png")


@dataclass
class Repository:
    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)  # sha, every file

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def commit(self, files: dict[str, bytes], removed: Sequence[str] = ()) -> str:
        everything = {**(self.files if self.commits else {}), **files}
        everything = {path: content for path, content in everything.items() if path not in removed}
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(everything)}".encode()).hexdigest()
        self.commits.append((sha, everything))
        return sha

    def at(self, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        if revision in (None, "main"):
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


def is_large(path: str, size: int) -> bool:
    return path.endswith(LARGE) or size > REGULAR_BYTES


def name_of(path: str, content: bytes) -> str:
    """The checksum by which the Hub tells contents apart."""
    if is_large(path, len(content)):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entries(files: dict[str, bytes]) -> Iterator[dict[str, Any]]:
    for path, content in files.items():
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": name_of(path, content)}
        if is_large(path, len(content)):
            entry["lfs"] = {"sha256": entry["oid"], "oid": entry["oid"], "size": len(content), "pointerSize": 134}
        yield entry
