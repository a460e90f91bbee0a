"""What the project brings along: its own questions and answers, and a model small enough for the first minute."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from trainer.presets import ASSETS, BUNDLED_DATASET, BUNDLED_MODEL

MEGABYTE = 10**6
ASSET_FILES = sorted(path for path in ASSETS.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    with (BUNDLED_DATASET / "train.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def words(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The words of every answer."""
    return [text.split() for row in rows for text in row["answers"]["text"]]


def test_there_is_enough_to_learn_from(rows: list[dict[str, Any]], words: list[list[str]]) -> None:
    assert len(rows) >= 300
    assert sum(map(len, words)) >= 25_000


def test_rows_have_the_nested_schema_of_eli5(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert set(row) == {"q_id", "title", "selftext", "category", "subreddit", "answers"}
        assert all(isinstance(row[name], str) for name in row if name != "answers")
        answers = row["answers"]
        assert set(answers) == {"a_id", "text", "score"}
        assert len(answers["a_id"]) == len(answers["text"]) == len(answers["score"]) >= 1
        assert all(text.strip() == text != "" for text in answers["text"])
        assert all(type(score) is int for score in answers["score"])


def test_at_least_a_third_of_the_questions_has_several_answers(rows: list[dict[str, Any]]) -> None:
    assert sum(len(row["answers"]["text"]) > 1 for row in rows) >= len(rows) / 3


def test_titles_and_ids_are_unique(rows: list[dict[str, Any]]) -> None:
    for column in ([row["title"] for row in rows], [row["q_id"] for row in rows]):
        assert len(set(column)) == len(column)
    ids = [a_id for row in rows for a_id in row["answers"]["a_id"]]
    assert len(set(ids)) == len(ids)


def test_hardly_a_phrase_of_eight_words_occurs_twice(words: list[list[str]]) -> None:
    phrases = Counter(tuple(answer[i : i + 8]) for answer in words for i in range(len(answer) - 7))
    repeated = sum(count for count in phrases.values() if count > 1)
    assert repeated < 0.01 * phrases.total()


@pytest.mark.parametrize("path", ASSET_FILES, ids=lambda path: path.relative_to(ASSETS).as_posix())
def test_asset_is_small_enough_for_a_repository_without_lfs(path: Path) -> None:
    assert 0 < path.stat().st_size <= 10 * MEGABYTE


def test_assets_together_are_small_and_hold_nothing_but_data() -> None:
    assert sum(path.stat().st_size for path in ASSET_FILES) <= 24 * MEGABYTE
    assert not [path.name for path in ASSET_FILES if path.suffix in (".py", ".bin", ".pt", ".pkl", ".pickle")]


def test_bundled_model_opens_as_a_plain_transformers_folder() -> None:
    import torch
    import transformers

    model, report = transformers.AutoModelForMaskedLM.from_pretrained(
        BUNDLED_MODEL, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED_MODEL)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert tokenizer.mask_token == "<mask>"
    assert len(tokenizer) <= model.get_input_embeddings().num_embeddings
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_bundled_model_reads_the_blocks_of_the_default_settings() -> None:
    from trainer.config import TrainConfig
    from trainer.engine.model import load_model

    assert load_model("bundled").max_tokens >= TrainConfig().block_size
