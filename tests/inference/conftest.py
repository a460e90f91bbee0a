"""Models whose answers differ enough to be told apart, and a vocabulary small enough to try everything."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.inference.plain import TOY
from trainer.inference.fill_mask import MaskFiller


@pytest.fixture(scope="session")
def model(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Random models whose opinions are strong, so that no two scores are nearly equal."""
    made: dict[str, str] = {}

    def make(kind: str) -> str:
        if kind not in made:
            folder = tmp_path_factory.mktemp("strong") / kind
            shutil.copytree(tiny_model(kind), folder)
            strengthen(transformers.AutoModelForMaskedLM.from_pretrained(folder)).save_pretrained(folder)
            made[kind] = str(folder)
        return made[kind]

    return make


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of fourteen words."""
    folder = tmp_path_factory.mktemp("toy")
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(TOY)}, model_max_length=32)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(TOY), max_position_embeddings=32, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        strengthen(transformers.BertForMaskedLM(config)).save_pretrained(folder)
    return str(folder)


def strengthen(network: Any) -> Any:
    with torch.no_grad():
        network.get_input_embeddings().weight.mul_(25)
    return network


@pytest.fixture(scope="module")
def filler() -> MaskFiller:
    return MaskFiller()
