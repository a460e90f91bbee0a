"""How well a vocabulary fits a text."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.engine.blocks import Blocks

LOOKED_AT = 5_000_000  # tokens


def unknown_share(blocks: Blocks, tokenizer: Any) -> float:
    """Which share of the tokens, special ones aside, the tokenizer has no entry for."""
    if tokenizer.unk_token_id is None or not len(blocks):
        return 0.0
    ids = blocks.ids[:LOOKED_AT]
    unknown = int((ids == tokenizer.unk_token_id).sum())
    special = [i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id]
    return unknown / max(1, ids.size - int(np.isin(ids, special).sum()))


def word_share(blocks: Blocks, tokenizer: Any) -> float:
    """Which share of the tokens, special ones aside, begin a word; 1 where nobody asked for words."""
    ids = blocks.ids[:LOOKED_AT]
    real = ~np.isin(ids, tokenizer.all_special_ids)
    return 1.0 if blocks.word_starts is None or not real.any() else float(blocks.word_starts[: ids.size][real].mean())
