"""What is looked at in a stranger's tokenizer, before it is opened and after; and how one is saved."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import tokenizers

from trainer.errors import ModelError

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "spm.model",
                "sentencepiece.bpe.model")  # fmt: skip
TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
                   "bpe.codes")  # fmt: skip
TOKENIZER_BYTES = 32 << 20  # of one file; 100 languages take 17 MB
ADDED_TOKENS = 20_000  # 300,000 take 8 seconds and 750 MB to open
SPECIAL_TOKENS = 16  # put around a text; BERT and RoBERTa put 2
GROWTH = 2_000  # times; counted as below, honest tokenizers reach a few hundred
SAMPLE = "Water boils. Das Wasser kocht. 물이 끓는다. 水が沸く。"
# Where tokens are listed that are not in the vocabulary proper.
LISTING = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
LISTS = ("added_tokens", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")


def check_tokenizer_files(folder: Path, name: str) -> None:
    """Refuses files that would take all memory when they are opened, or when they are used. Raises: ModelError."""
    if not any((folder / file).exists() for file in VOCABULARIES):
        raise ModelError(f"The tokenizer of {name!r} is missing; its folder has no files of one.", "Add them to it.")
    added, growth = 0, 1.0
    for file in filter(Path.exists, map(folder.joinpath, LISTING)):
        try:
            content = json.loads(file.read_bytes())
            if file.name == "added_tokens.json":
                content = {"added_tokens": content}
            added = max([added, *(len(content[key]) for key in LISTS if content.get(key))])
            growth = max(growth, _growth(content.get("normalizer")), _growth(content.get("decoder")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{file.name} of {name!r} is damaged.", "Fetch the model again.") from error
    if added > ADDED_TOKENS:
        what = f"The tokenizer of {name!r} adds {added:,} tokens to its vocabulary; at most {ADDED_TOKENS:,} are read."
        raise ModelError(what, "Choose a model whose words are in the vocabulary itself.")
    if growth > GROWTH:
        what = f"The tokenizer of {name!r} makes texts up to {growth:.0e} times longer, which would fill the memory."
        raise ModelError(what, "Choose another model.")


def check_tokenizer(tokenizer: Any, embeddings: int, name: str, folder: Path) -> None:
    """Refuses an opened tokenizer that can't be used for filling masks with this model. Raises: ModelError."""
    if tokenizer.mask_token_id is None:
        raise ModelError(
            f"The tokenizer of {name!r} has no mask token, so there is nothing to fill.",
            "Choose a masked language model, such as distilbert/distilroberta-base.",
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"The tokenizer of {name!r} is missing; its folder has no files of one.", "Add them to it.")
    if len(tokenizer) > embeddings:
        raise ModelError(
            f"The tokenizer of {name!r} has {len(tokenizer):,} entries, its model only {embeddings:,}.",
            "Choose a model whose tokenizer belongs to it.",
        )
    if (around := tokenizer.num_special_tokens_to_add()) > SPECIAL_TOKENS:
        what = f"The tokenizer of {name!r} puts {around:,} special tokens around a text, more than {SPECIAL_TOKENS}."
        raise ModelError(what, "Choose another model.")
    stored = folder / "tokenizer.json"
    if stored.exists():
        plain = tokenizers.Tokenizer.from_file(str(stored))
        plain.no_padding()
        plain.no_truncation()
        if tokenizer.encode(SAMPLE, add_special_tokens=False) != plain.encode(SAMPLE, add_special_tokens=False).ids:
            raise ModelError(
                f"The tokenizer of {name!r} is mislabelled: its configuration names a class "
                f"({type(tokenizer).__name__}) that splits text differently from its own tokenizer.json.",
                "Correct tokenizer_class in its tokenizer_config.json, or choose another model.",
            )


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """The tokenizer's files, under a class name that transformers 4 and 5 both know."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":  # version 5's own; 4 has never heard of it
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": tokenizer.model_input_names}
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False), "utf-8")


def _growth(part: Any) -> float:
    """How many characters the steps of a normalizer or decoder make of one, at most, when each works on the last's.

    Twelve steps that replace `a` by ten of them make a million million of one, and the process is aborted.
    """
    if isinstance(part, list):
        return math.prod(map(_growth, part))
    if not isinstance(part, dict):
        return 1
    match part.get("type"):
        case "Replace":
            # A regular expression may match nothing, and so between any two characters.
            content, replaced = part["content"], part["pattern"].get("String")
            return max(1, len(content) / len(replaced) if replaced else len(content) + 1)
        case "Prepend":
            return len(part["prepend"]) + 1
        case "Precompiled":
            rules = base64.b64decode(part["precompiled_charsmap"])
            trie_bytes = int.from_bytes(rules[:4], "little")
            return max(map(len, rules[4 + trie_bytes :].decode("utf-8", "replace").split("\0")))
        case "ByteLevel":
            return 4  # a character for each byte of one
    return math.prod(map(_growth, part.values()))
