"""ModernBERT answers short texts by a way of its own, and as the library does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.inference.plain import Plain
from trainer.inference.model_cache import ModelCache
from trainer.inference.short_text import ShortText

WINDOW = 8  # tokens to each side


@pytest.fixture
def windowed(model: Callable[[str], str], tmp_path: Path) -> str:
    folder = shutil.copytree(model("modernbert"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"local_attention": 2 * WINDOW}))
    return str(folder)


@pytest.mark.parametrize("lengths", [[length] for length in range(3, WINDOW + 5)] + [[6, 6, 6], [7, 8], [8, 9, 30]])
def test_answers_are_the_librarys_up_to_the_window_and_beyond(windowed: str, lengths: list[int]) -> None:
    plain, reader = Plain(windowed), ModelCache("cpu").get(windowed)
    every = plain.ids("The water of the sea is salt, and the moon that orbits the earth is made of stone, they said.")
    questions = [([*every[: length - 1], every[-1]], [1, length - 2]) for length in lengths]
    for number, rows in reader.answers(questions):
        ids, places = questions[number]
        torch.testing.assert_close(rows, plain.log_probabilities(ids)[places], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "padded", "own"), [(WINDOW, False, True), (WINDOW + 1, False, False), (5, True, False)]
)
def test_only_short_texts_without_padding_take_that_way(windowed: str, tokens: int, padded: bool, own: bool) -> None:
    base = ModelCache("cpu").get(windowed).model.model.base_model
    assert isinstance(base.forward, ShortText)
    layers = []
    base.layers[0].register_forward_hook(lambda *_: layers.append(1))
    ids = torch.full((2, tokens), 7)
    with torch.inference_mode():
        base(input_ids=ids, attention_mask=torch.ones_like(ids) if padded else None)
    assert bool(layers) != own
