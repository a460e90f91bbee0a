"""Documents -> tokens -> blocks of equal length, in one file on disk that is mapped, never loaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.engine.documents import Documents
from trainer.engine.duplicates import group_documents
from trainer.engine.failures import blamed_on_model
from trainer.engine.masking import DOCUMENTS, shuffled


@dataclass(frozen=True, slots=True)
class Blocks:
    """Packed examples of `block_size` tokens; one shorter block when there is too little text for a whole one."""

    ids: np.ndarray  # (blocks, tokens)
    word_starts: np.ndarray | None  # (blocks, tokens), bool; only for whole-word masking
    words: int
    tokens: int  # before the last remainder was dropped
    digest: str  # of these tokens: whether a later process has cut the same text

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """The ids (blocks, tokens) of some blocks as int64, and where words begin in them."""
        rows = indices.numpy()
        starts = None if self.word_starts is None else torch.from_numpy(self.word_starts[rows])
        return torch.from_numpy(self.ids[rows].astype(np.int64)), starts


def make_blocks(
    batches: Iterable[list[str]], tokenizer: Any, block_size: int, path: Path, *, whole_words: bool = False
) -> Blocks:
    """Tokenizes every document with its special tokens, concatenates and cuts; only the last remainder is dropped.

    Memory holds one batch of documents. Source: the tutorial's `group_texts`, without its loss at each batch's end.
    """
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    words = tokens = 0
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: another rank may have the old file mapped.
    ids_path, starts_path = path.with_suffix(f".{os.getpid()}.tmp"), path.with_suffix(f".{os.getpid()}.words")
    with ids_path.open("wb") as ids_file, starts_path.open("wb") as starts_file:
        for texts in batches:
            with blamed_on_model("The model failed on the text"):
                encodings = _encode(tokenizer, texts, whole_words)
            flat = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype)
            ids_file.write(flat.tobytes())
            digest.update(flat.tobytes())
            words += sum(len(text.split()) for text in texts)
            tokens += len(flat)
            if whole_words:
                starts_file.write(np.concatenate([_word_starts(encoding.word_ids) for encoding in encodings]).tobytes())
    block_size = min(block_size, max(tokens, 1))
    blocks = tokens // block_size
    for unfinished, file, item_size in ((ids_path, path, dtype.itemsize), (starts_path, path.with_suffix(".words"), 1)):
        os.truncate(unfinished, min(unfinished.stat().st_size, blocks * block_size * item_size))
        os.replace(unfinished, file)
    return Blocks(
        ids=_mapped(path, dtype, (blocks, block_size)),
        word_starts=_mapped(path.with_suffix(".words"), np.dtype(bool), (blocks, block_size)) if whole_words else None,
        words=words,
        tokens=tokens,
        digest=digest.hexdigest(),
    )


def split_documents(documents: Documents, *, test_size: float, seed: int) -> tuple[list[int], list[int]]:
    """The documents to learn from and those held out, in their order: a given validation split, or chosen by seed.

    At least one is on each side; near-duplicates are on the same, unless there is nothing else.
    """
    count = len(documents)
    if documents.validation:
        return list(range(count - documents.validation)), list(range(count - documents.validation, count))
    most = min(count - 1, max(1, round(count * test_size))) if test_size else 0
    mixed = shuffled(count, seed=seed, epoch=0, stream=DOCUMENTS).tolist()
    held = _whole_groups(documents, mixed, most) if most else []
    held = held or mixed[:most]
    return sorted(set(mixed) - set(held)), sorted(held)


def _whole_groups(documents: Documents, mixed: list[int], most: int) -> list[int]:
    """The first documents of `mixed` with all their near-duplicates, up to `most`; larger groups are passed over."""
    groups, _ = group_documents(documents.batches(list(range(len(documents)))))
    members: dict[int, list[int]] = {}
    for document, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(document)
    held: list[int] = []
    for document in mixed:
        if len(held) == most:
            break
        together = members.pop(groups[document], [])
        if len(held) + len(together) <= most:
            held += together
    return held


def _encode(tokenizer: Any, texts: list[str], whole_words: bool) -> list[Any]:
    """The encodings of whole texts. Where words begin costs the tokenizer time of its own, so it is asked if wanted."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()  # tokenizer.json may ask for either
    backend.no_truncation()
    return (backend.encode_batch if whole_words else backend.encode_batch_fast)(texts)


def _word_starts(word_ids: list[int | None]) -> np.ndarray:
    """True where a token begins a word; special tokens, which belong to none, stand alone."""
    pairs = zip(word_ids, [None, *word_ids[:-1]], strict=True)
    return np.array([now is None or now != before for now, before in pairs], dtype=bool)


def _mapped(path: Path, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    return np.memmap(path, dtype, "r", shape=shape) if shape[0] else np.empty(shape, dtype)
