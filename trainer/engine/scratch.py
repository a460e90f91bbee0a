"""A tokenizer and a model from nothing, in a shape of the user's choice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import tokenizers
import transformers

from trainer.engine.model import MaskedLanguageModel

SHAPES = {"mini": (256, 4, 4, 8192)}  # hidden size, layers, heads, vocabulary
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MAX_TOKENS = 512


def shape_of(text: str) -> tuple[int, int, int, int]:
    """Hidden size, layers, heads and vocabulary of `mini` or `256x4x4x8192`."""
    width, layers, heads, vocabulary = SHAPES.get(text) or map(int, text.split("x"))
    return width, layers, heads, vocabulary


def train_tokenizer(batches: Iterable[list[str]], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with RoBERTa's special tokens; `<mask>` takes the space before it into itself."""
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(batches, vocab_size=vocabulary, special_tokens=SPECIAL_TOKENS, show_progress=False)
    model = json.loads(bpe.to_str())["model"]
    return transformers.RobertaTokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        mask_token=tokenizers.AddedToken("<mask>", lstrip=True, normalized=False, special=True),
        model_max_length=MAX_TOKENS,
    )


def new_model(tokenizer: Any, shape: tuple[int, int, int, int], *, precision: str) -> MaskedLanguageModel:
    """A ModernBERT (pre-norm, rotary positions) without dropout: it learns faster than RoBERTa's block.

    Source: Warner et al. 2024, arXiv:2412.13663.
    """
    width, layers, heads, _ = shape
    config = transformers.ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 3 // 2,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    return MaskedLanguageModel(transformers.ModernBertForMaskedLM(config), tokenizer, precision=precision)
