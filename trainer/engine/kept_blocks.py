"""Blocks that a run keeps in its folder, found again when it goes on or when another learns the same text.

They lie in run folders only, shared between them by hard links: whoever deletes a run deletes what it knew of the text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from shutil import copytree
from typing import Any

from huggingface_hub import HfApi

from trainer.config import TrainConfig
from trainer.engine.blocks import Blocks, digest_of, open_blocks
from trainer.engine.checkpoint import link, replace_folder, write_json
from trainer.engine.places import local_path
from trainer.presets import BUNDLED_DATASET, is_hub_id

BLOCKS = "blocks"  # the folder's name in that of a run
MANIFEST = "blocks.json"
FORMAT = 1
PARTS = ("train", "held_out")
FACTS = ("padding_id", "words", "tokens", "truncated", "digest")  # of blocks, that their files don't hold
REVISION_SECONDS = 5.0  # within which the Hub tells of a data set
DECIDING = ("dataset_config", "split", "text_column", "validation_split", "test_size", "max_documents", "block_size",
            "line_by_line", "whole_word_mask", "seed")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cut:
    """A text, cut: what is left of it once its documents are blocks."""

    train: Blocks
    held_out: Blocks
    text_column: str
    documents: int
    skipped_documents: int
    held_out_documents: int


def key_of(config: TrainConfig, tokenizer: Any) -> str | None:
    """What names the blocks of this text, of these settings and of this tokenizer; None for a text without a digest."""
    try:
        source = _digest_of_source(config.dataset)
    except Exception:  # gone, or a Hub that doesn't answer: whoever reads the text says it in words
        return None
    settings = [getattr(config, name) for name in DECIDING]
    libraries = [version(name) for name in ("tokenizers", "datasets")]
    vocabulary = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    facts = [FORMAT, source, settings, libraries, vocabulary, len(tokenizer), tokenizer.pad_token_id]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def keep(cut: Cut, key: str | None, run: Path) -> None:
    """Says what the blocks are that lie in the run's folder; to be called when they are whole."""
    record = {"key": key} | {name: getattr(cut, name) for name in Cut.__slots__}
    for part in PARTS:
        record[part] = {name: getattr(record[part], name) for name in FACTS}
    unfinished = run / BLOCKS / f".{MANIFEST}.{os.getpid()}"
    write_json(unfinished, record)
    os.replace(unfinished, run / BLOCKS / MANIFEST)


def kept(key: str | None, run: Path, begun: list[str] | None = None) -> Cut | None:
    """The blocks of that key: the run's own, or those of a run beside it, which it then has, too.

    Of its own, those whose digests are `begun` are right as well: whatever the text is now, it began with them.
    """
    for folder in _folders(run):
        record = _read(folder / MANIFEST)
        try:
            own = folder.parent == run and [record[part]["digest"] for part in PARTS] == begun
            if not own and (key is None or record["key"] != key):
                continue
            if any(digest_of(folder / f"{part}.ids") != record[part]["digest"] for part in PARTS):
                continue
            if folder.parent != run:
                replace_folder(run / BLOCKS, partial(copytree, folder, copy_function=link, dirs_exist_ok=True))
            parts = {part: open_blocks(run / BLOCKS / f"{part}.ids", **record[part]) for part in PARTS}
            return Cut(**{name: record[name] for name in Cut.__slots__} | parts)
        except (OSError, ValueError, KeyError, TypeError):  # damaged, or deleted at this moment
            continue
    return None


def _folders(run: Path) -> Iterator[Path]:
    yield run / BLOCKS
    yield from (manifest.parent for manifest in run.parent.glob(f"*/{BLOCKS}/{MANIFEST}"))


def _read(manifest: Path) -> dict[str, Any]:
    try:
        record = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _digest_of_source(dataset: str) -> str:
    """Of all bytes of a text, or the Hub's own name for a revision of a data set."""
    path = BUNDLED_DATASET if dataset == "bundled" else local_path(dataset)
    if path is None:
        if not is_hub_id(dataset):
            raise FileNotFoundError(dataset)
        return f"{dataset} {HfApi().dataset_info(dataset, timeout=REVISION_SECONDS).sha}"
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                facts = str(file.relative_to(path.parent)), hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(json.dumps(facts).encode())
    return digest.hexdigest()
