"""What is measured with: a model of DistilRoBERTa's shape, and text; from `../shared` where that is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.presets import BUNDLED_DATASET, BUNDLED_MODEL

SHARED = Path(__file__).resolve().parents[3] / "shared"
CORPUS = SHARED / "corpus" / "wikipedia_science.parquet"
TOKENIZER = SHARED / "tokenizers" / "roberta"
BUNDLED_TEXT = BUNDLED_DATASET / "train.jsonl"


def distilroberta(folder: Path) -> Path:
    """A model folder with the sizes of distilroberta-base and random weights: speed does not ask what it knows."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaForMaskedLM, set_seed

    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER if TOKENIZER.exists() else BUNDLED_MODEL)
    config = RobertaConfig(
        vocab_size=50265,
        num_hidden_layers=6,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    RobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def texts() -> list[str]:
    """Documents of some length."""
    from datasets import load_dataset

    from trainer.engine.columns import texts_at

    if CORPUS.exists():
        return load_dataset("parquet", data_files=str(CORPUS), split="train")["text"][:]
    rows = load_dataset("json", data_files=str(BUNDLED_TEXT), split="train")
    return [" ".join(texts_at(row, "answers.text")) for row in rows]


def text_file(path: Path, megabytes: float) -> Path:
    """A file with one document a line, the corpus again and again until it has that size."""
    lines = [text.replace("\n", " ") + "\n" for text in texts()]
    with path.open("w", encoding="utf-8") as file:
        for line in _again(lines):
            if file.tell() >= megabytes * 1e6:
                return path
            file.write(line)
    raise AssertionError("unreachable: the lines never end")


def _again(lines: list[str]) -> Iterator[str]:
    while True:
        yield from lines
