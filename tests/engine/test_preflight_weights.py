"""Weights that are refused unopened: in other formats, damaged, missing in part, or too large."""

from __future__ import annotations

import json
import shutil
import struct

import pytest
import safetensors.torch
import torch
import transformers

from tests.engine.refusals import refusal
from trainer.engine.model import MaskedLanguageModel, check_model, load_model

INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "stray.safetensors", "model.fp16.safetensors"])
def test_weights_in_other_files_than_the_librarys_are_refused_unopened(name, copied, tmp_path, nothing_is_built):
    folder = copied()
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(f"cos\nsystem\n(S'touch {tmp_path / 'owned'}'\ntR.".encode())
    assert "has no weights in safetensors format" in refusal(folder)
    assert not (tmp_path / "owned").exists()


def test_pickled_weights_beside_sound_ones_are_left_alone(copied):
    folder = copied()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing"}')
    assert isinstance(load_model(str(folder)), MaskedLanguageModel)


def relocated(data, offsets):
    """The same file, the tensors of its header said to lie elsewhere."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for tensor in list(header.values())[1:3]:
        tensor["data_offsets"] = offsets(*tensor["data_offsets"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


DAMAGES = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(8),
    "cut in its header": lambda data: data[:100],
    "cut in its weights": lambda data: data[:-1000],
    "longer than its tensors": lambda data: data + bytes(100),
    "header of 2**40 bytes": lambda data: (1 << 40).to_bytes(8, "little") + data[8:],
    "header of 2**63 bytes": lambda data: (1 << 63).to_bytes(8, "little") + data[8:],
    "header of twice the file": lambda data: (len(data) * 2).to_bytes(8, "little") + data[8:],
    "header of 30 MB": lambda data: struct.pack("<Q", 30_000_000) + b"{" + b" " * 30_000_000,
    "header is a list": lambda data: (3).to_bytes(8, "little") + b"[1]",
    "header is a number": lambda data: (1).to_bytes(8, "little") + b"5",
    "header is nested": lambda data: (50_000).to_bytes(8, "little") + b"[" * 50_000,
    "tensor is a number": lambda data: (7).to_bytes(8, "little") + b'{"a":1}',
    "tensors overlap": lambda data: relocated(data, lambda begin, end: [0, end - begin]),
    "tensors leave a gap": lambda data: relocated(data, lambda begin, end: [begin + 4, end + 4]),
    "tensor of another size": lambda data: relocated(data, lambda begin, end: [begin, end - 4]),
    "tensor ends before it begins": lambda data: relocated(data, lambda begin, end: [end, begin]),
    "offsets are words": lambda data: relocated(data, lambda begin, end: ["a", "b"]),
    "pickle": lambda data: b"cos\nsystem\n(S'false'\ntR." + data,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_refused(damage, copied, nothing_is_built):
    weights = copied() / "model.safetensors"
    weights.write_bytes(DAMAGES[damage](weights.read_bytes()))
    message = refusal(weights.parent)
    assert "model.safetensors of 'roberta' is damaged" in message or "is not a safetensors file" in message


@pytest.fixture
def sharded(copied):
    """A copy of a tiny model with its weights in several files."""
    folder = copied()
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("model-0000?-of-0000?.safetensors"))) > 1
    return folder


def test_weights_in_several_files_pass(sharded):
    assert isinstance(load_model(str(sharded)), MaskedLanguageModel)


@pytest.mark.parametrize(
    "target",
    ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "pytorch_model.bin", 5, "model.safetensors"],
)
def test_an_index_that_points_elsewhere_is_refused(target, sharded, tiny_model, nothing_is_built):
    shutil.copy(tiny_model("roberta") / "model.safetensors", sharded.parent / "model.safetensors")
    (sharded / "sub").mkdir()
    shutil.copy(tiny_model("roberta") / "model.safetensors", sharded / "sub/model.safetensors")
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"][next(iter(index["weight_map"]))] = target
    (sharded / INDEX).write_text(json.dumps(index))
    assert f"names {str(target)!r}, which is not one of its weight files" in refusal(sharded)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 5}', '{"weight_map": {"a": []}}', "[" * 100_000])
def test_a_damaged_index_is_refused(content, sharded, nothing_is_built):
    (sharded / INDEX).write_text(content)
    assert f"{INDEX} of 'roberta' is damaged" in refusal(sharded)


def test_a_missing_part_of_the_weights_is_refused(sharded):
    next(iter(sharded.glob("model-00002*"))).unlink()
    assert "names 'model-00002" in refusal(sharded)


def test_weights_without_the_projection_head_are_refused(copied):
    folder = copied()
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    headless = {name: tensor for name, tensor in weights.items() if not name.startswith("lm_head")}
    assert len(headless) < len(weights)
    safetensors.torch.save_file(headless, folder / "model.safetensors", {"format": "pt"})
    message = refusal(folder)
    assert "lack" in message and "lm_head" in message and "trained to fill masks" in message


@pytest.mark.parametrize(
    ("shapes", "dtype", "words"),
    [
        ({"a": (700_000_000,)}, "I8", "has 700 million weights; at most 600 are accepted here"),
        ({"a": (800_000_000,)}, "F32", "take 3,200.0 MB; at most 3,000.0 MB are accepted here"),
    ],
)
def test_weights_too_large_for_a_processor_are_refused(shapes, dtype, words, copied, nothing_is_built, write_weights):
    folder = copied()
    write_weights(folder / "model.safetensors", shapes, dtype)
    assert words in refusal(folder)


LARGE = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
ROBERTA = {"vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1}
REAL = {
    "distilbert/distilroberta-base": {"model_type": "roberta", "num_hidden_layers": 6} | ROBERTA,
    "FacebookAI/roberta-large": {"model_type": "roberta"} | LARGE | ROBERTA,
    "FacebookAI/xlm-roberta-base": {"model_type": "xlm-roberta"} | ROBERTA | {"vocab_size": 250_002},
    "FacebookAI/xlm-roberta-large": {"model_type": "xlm-roberta"} | LARGE | ROBERTA | {"vocab_size": 250_002},
    "answerdotai/ModernBERT-base": {"model_type": "modernbert"},
    "answerdotai/ModernBERT-large": {"model_type": "modernbert"}
    | LARGE
    | {"num_hidden_layers": 28, "intermediate_size": 2624},
    "google-bert/bert-large-uncased": {"model_type": "bert"} | LARGE,
    "albert/albert-xxlarge-v2": {"model_type": "albert"},
    "google/bigbird-roberta-base": {"model_type": "big_bird"},
}


@pytest.mark.parametrize("name", REAL)
def test_the_models_people_use_pass_on_a_processor(name, copied, write_weights):
    """Their configurations, with weights of their real sizes: files of nothing but zeros."""
    folder = copied()
    (folder / "config.json").write_text(json.dumps(REAL[name]))
    with torch.device("meta"):
        model = transformers.AutoModelForMaskedLM.from_config(transformers.AutoConfig.from_pretrained(folder))
    write_weights(folder / "model.safetensors", {key: tuple(p.shape) for key, p in model.named_parameters()})
    assert check_model(str(folder)) == folder
