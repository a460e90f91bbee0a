"""Models stay in memory as long as there is room, and no longer than their files stay as they were."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from trainer.errors import ModelError
from trainer.inference import packing
from trainer.inference.fill_mask import MaskFiller
from trainer.inference.model_cache import ModelCache
from trainer.inference.packing import PackedProduct


def test_model_stays_loaded_until_its_weights_change(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("roberta"), tmp_path / "model")
    filler = MaskFiller()
    before, loaded = filler.fill("A <mask>.", str(folder)), filler.models.get(str(folder))
    assert filler.models.get(str(folder)) is loaded
    network = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    with torch.no_grad():
        network.lm_head.bias[7] = 50.0
    network.save_pretrained(folder)
    os.utime(folder / "model.safetensors", ns=(1, 1))  # a clock too coarse to see the change would fail the test
    assert filler.fill("A <mask>.", str(folder)) != before
    assert filler.fill("A <mask>.", str(folder), top_k=1)[0].candidates[0].token == 7


def test_a_model_whose_folder_is_gone_is_not_answered_from_memory(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model("bert"), tmp_path / "model")
    cache = ModelCache("cpu")
    cache.get(str(folder))
    shutil.rmtree(folder)
    with pytest.raises(ModelError):
        cache.get(str(folder))


def test_the_models_unused_for_longest_go_when_the_memory_is_full(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folders = [str(shutil.copytree(tiny_model("bert"), tmp_path / str(i))) for i in range(3)]
    weights = transformers.AutoModelForMaskedLM.from_pretrained(folders[0])
    size = sum(weight.nbytes for weight in [*weights.parameters(), *weights.buffers()])
    cache = ModelCache("cpu", memory_bytes=int(2.5 * size))
    first, second = (cache.get(folder) for folder in folders[:2])
    assert cache.get(folders[0]) is first  # used last, so the second goes
    third = cache.get(folders[2])
    assert cache.get(folders[0]) is first and cache.get(folders[2]) is third
    assert cache.get(folders[1]) is not second


def test_a_model_larger_than_the_memory_is_still_answered(tiny_model: Callable[[str], Path]) -> None:
    cache = ModelCache("cpu", memory_bytes=1)
    assert cache.get(str(tiny_model("bert"))) is cache.get(str(tiny_model("bert")))


def test_a_model_is_kept_in_two_orders_only_where_there_is_room(
    tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LARGE", 1)
    name = str(tiny_model("bert"))
    answers = []
    for memory in (1, 1 << 30):
        filler = MaskFiller(memory)
        modules = filler.models.get(name).model.modules()
        linear = [module for module in modules if isinstance(module, torch.nn.Linear)]
        assert linear and all(isinstance(layer.forward, PackedProduct) == (memory > 1) for layer in linear)
        answers.append([filler.fill(text, name)[0].candidates for text in ("A <mask>.", "The water " * 40 + "<mask>")])
    for kept_once, kept_twice in zip(*answers, strict=True):
        assert [one.token for one in kept_twice] == [one.token for one in kept_once]
        assert [one.score for one in kept_twice] == pytest.approx([one.score for one in kept_once], abs=1e-6)


@pytest.mark.parametrize("name", [None, 5, ["bundled"], ""])
def test_a_name_that_is_none_is_a_sentence(name: Any) -> None:
    with pytest.raises(ModelError) as caught:
        ModelCache("cpu").get(name)
    assert repr(name) in caught.value.what and "bundled" in caught.value.fix
