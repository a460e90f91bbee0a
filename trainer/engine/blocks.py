"""Documents -> tokens -> blocks: packed, or one for each document; in a file on disk that is mapped, never loaded."""

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
    """Training examples, one after the other: all of `block_size` tokens, or each as long as its document."""

    ids: np.ndarray  # (tokens,)
    word_starts: np.ndarray | None  # (tokens,), bool; only for whole-word masking
    bounds: np.ndarray  # (blocks + 1,): block b is ids[bounds[b] : bounds[b + 1]]
    padding_id: int
    words: int
    tokens: int  # before the last remainder was dropped
    truncated: int  # documents of which only the beginning is here
    digest: str  # of these tokens: whether a later process has cut the same text

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def longest(self) -> int:
        """Tokens of the longest block."""
        return int(np.diff(self.bounds).max(initial=0))

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Some blocks as int64, padded to the longest of them; where words begin; and the attention mask.

        Shapes: (blocks, tokens) each; the last (1: token, 0: padding) is None where nothing is padded.
        """
        rows = indices.numpy()
        starts, lengths = self.bounds[rows, None], self.bounds[rows + 1, None] - self.bounds[rows, None]
        columns = np.arange(lengths.max())
        real = columns < lengths
        places = starts + np.minimum(columns, lengths - 1)
        ids = torch.from_numpy(np.where(real, self.ids[places], self.padding_id).astype(np.int64))
        word_starts = None if self.word_starts is None else torch.from_numpy(self.word_starts[places])
        return ids, word_starts, None if real.all() else torch.from_numpy(real.astype(np.int64))


def make_blocks(
    batches: Iterable[list[str]],
    tokenizer: Any,
    block_size: int,
    path: Path,
    *,
    whole_words: bool = False,
    line_by_line: bool = False,
) -> Blocks:
    """Tokenizes every document with its special tokens, concatenates and cuts; only the last remainder is dropped.

    With `line_by_line` each document is a block, truncated at `block_size`; otherwise one shorter block is made of a
    text too short for a whole one. Memory holds one batch of documents, and where blocks begin. Source: the tutorial's
    `group_texts`, without its loss at each batch's end; `run_mlm.py`'s option.
    """
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    words = tokens = truncated = 0
    lengths = [np.empty(0, np.int64)]  # of the documents
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: another rank, or another run, may have the old files mapped.
    unfinished = path.with_name(f"{path.stem}-{os.getpid()}.tmp")
    with unfinished.open("wb") as ids_file, unfinished.with_suffix(".words").open("wb") as starts_file:
        for texts in batches:
            with blamed_on_model("The model failed on the text"):
                encodings = _encode(tokenizer, texts, whole_words, block_size if line_by_line else None)
            flat = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype)
            ids_file.write(flat.tobytes())
            words += sum(len(text.split()) for text in texts)
            tokens += len(flat)
            if line_by_line:
                lengths.append(np.array([len(encoding.ids) for encoding in encodings]))
                truncated += sum(bool(encoding.overflowing) for encoding in encodings)
            if whole_words:
                starts_file.write(np.concatenate([_word_starts(encoding.word_ids) for encoding in encodings]).tobytes())
    if line_by_line:
        every = np.concatenate(lengths)
        bounds = np.concatenate([[0], every[every > 0]]).cumsum()  # some tokenizers leave nothing of a text
    else:
        bounds = np.arange(0, tokens + 1, min(block_size, max(tokens, 1)))
    bounds.astype(np.int64).tofile(unfinished.with_suffix(".bounds"))
    for file, item_size in ((unfinished, dtype.itemsize), (unfinished.with_suffix(".words"), 1)):
        os.truncate(file, min(file.stat().st_size, int(bounds[-1]) * item_size))
    for file in _files(unfinished):
        os.replace(file, path.with_suffix(file.suffix) if file != unfinished else path)
    return open_blocks(
        path, padding_id=tokenizer.pad_token_id or 0, words=words, tokens=tokens, truncated=truncated,
        digest=digest_of(path),
    )  # fmt: skip


def open_blocks(path: Path, **facts: Any) -> Blocks:
    """The blocks that `make_blocks` wrote there; `facts` are the fields of `Blocks` that no file holds."""
    ids, word_starts, bounds = _files(path)
    places = np.fromfile(bounds, np.int64)
    count = int(places[-1])
    dtype = np.dtype(np.uint16 if ids.stat().st_size == 2 * count else np.uint32)
    starts = _mapped(word_starts, np.dtype(bool), count) if word_starts.stat().st_size else None
    return Blocks(ids=_mapped(ids, dtype, count), word_starts=starts, bounds=places, **facts)


def digest_of(path: Path) -> str:
    """SHA-256 of blocks as they lie on the disk."""
    digest = hashlib.sha256()
    for part in _files(path):
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _files(path: Path) -> tuple[Path, Path, Path]:
    """Of the tokens, of where words begin (empty if nobody asked), and of where blocks begin."""
    return path, path.with_suffix(".words"), path.with_suffix(".bounds")


def split_documents(documents: Documents, *, test_size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The documents to learn from and those held out, in their order: a given validation split, or chosen by seed.

    At least one is on each side; near-duplicates are on the same, unless there is nothing else.
    """
    count = len(documents)
    is_held = np.zeros(count, bool)
    most = min(count - 1, max(1, round(count * test_size))) if test_size else 0
    if documents.validation:
        is_held[count - documents.validation :] = True
    elif most:
        mixed = shuffled(count, seed=seed, epoch=0, stream=DOCUMENTS).numpy()
        is_held = _whole_groups(documents, mixed, most)
        if not is_held.any():
            is_held[mixed[:most]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _whole_groups(documents: Documents, mixed: np.ndarray, most: int) -> np.ndarray:
    """Marks the first of `mixed` with all their near-duplicates, `most` in all; larger groups are passed over."""
    groups, _ = group_documents(documents.batches(range(len(documents))))
    sizes = np.bincount(groups)
    is_chosen = np.zeros(len(groups), bool)  # by group
    _, first = np.unique(groups[mixed], return_index=True)
    left = most
    for group in groups[mixed[np.sort(first)]]:
        if sizes[group] <= left:
            is_chosen[group] = True
            left -= sizes[group]
        if not left:
            break
    return is_chosen[groups]


def _encode(tokenizer: Any, texts: list[str], whole_words: bool, most: int | None) -> list[Any]:
    """The encodings of texts, at `most` so long. Where words begin costs time of its own, so it is asked if wanted."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()  # tokenizer.json may ask for either
    backend.no_truncation()
    if most:
        backend.enable_truncation(most)
    encodings = (backend.encode_batch if whole_words else backend.encode_batch_fast)(texts)
    backend.no_truncation()  # which would be saved with the model
    return encodings


def _word_starts(word_ids: list[int | None]) -> np.ndarray:
    """True where a token begins a word; special tokens, which belong to none, stand alone."""
    pairs = zip(word_ids, [None, *word_ids[:-1]], strict=True)
    return np.array([now is None or now != before for now, before in pairs], dtype=bool)


def _mapped(path: Path, dtype: np.dtype, length: int) -> np.ndarray:
    return np.memmap(path, dtype, "r", shape=(length,)) if length else np.empty(0, dtype)
