"""What a stranger's config.json may say, and the sentence that refuses it before anything of the model is built."""

from __future__ import annotations

import json
import math
import sys
import threading

import pytest
import torch

from tests.engine.refusals import edit, refusal
from trainer.engine.model import MaskedLanguageModel, check_model, load_model
from trainer.errors import ModelError


@pytest.mark.parametrize(
    ("kind", "field"),
    [("roberta", "num_hidden_layers"), ("distilbert", "n_layers"), ("modernbert", "num_hidden_layers")],
)
@pytest.mark.parametrize("layers", [1, 3, 100])
def test_more_or_fewer_layers_than_are_stored_are_refused(kind, field, layers, copied, nothing_is_built):
    assert f"says {layers} layers; its weights hold 2" in refusal(copied(kind, **{field: layers}))


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("num_hidden_layers", 3_000_000),
        ("num_hidden_layers", 200),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 1e300),
        ("num_hidden_layers", math.nan),
        ("encoder_layers", 3_000_000),
        ("num_hidden_groups", 10_000),
        ("hidden_size", 10**9),
        ("intermediate_size", 10**9),
        ("num_attention_heads", 10**6),
        ("vocab_size", 10**12),
        ("vocab_size", 2 * 10**9),
        ("max_position_embeddings", 2 * 10**9),
        ("num_labels", 10**8),
    ],
)
def test_impossible_sizes_are_refused_before_anything_is_built(field, size, copied, nothing_is_built):
    assert f"says {field} = {size!r}; at most" in refusal(copied(**{field: size}))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("modernvbert", {"text_config": {"model_type": "modernbert", "num_hidden_layers": 3_000_000}}),
        ("funnel", {"block_sizes": [4, 3_000_000]}),
        ("longformer", {"attention_window": [512, 10**9]}),
        ("reformer", {"attn_layers": ["lsh"] * 5_000}),
        ("modernbert", {"deep": [[[{"n_layers": 3_000_000}]]]}),
    ],
)
def test_impossible_sizes_are_found_in_lists_and_nested_configurations(kind, changes, copied, nothing_is_built):
    assert "; at most" in refusal(copied(model_type=kind, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 60_000, "num_attention_heads": 2},
        {"vocab_size": 1_900_000},
        {"max_position_embeddings": 900_000},
        {"intermediate_size": 60_000},
        {"model_type": "albert", "num_hidden_groups": 8, "hidden_size": 4096},
        {
            "model_type": "ultrabert",
            "hidden_size": None,
            "vocab_size": None,
            "intermediate_size": None,
        },  # 7e9 by default
    ],
    ids=str,
)
def test_a_model_larger_than_its_stored_weights_is_refused(changes, copied, nothing_is_opened):
    folder = copied(**changes)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: size for key, size in config.items() if size is not None}))
    assert "weights; its files hold 46," in refusal(folder)


def test_a_table_of_positions_that_takes_minutes_to_compute_is_not_computed(copied):
    message = refusal(copied("distilbert", sinusoidal_pos_embds=True, max_position_embeddings=1_000_000))
    assert "describes a model of" in message


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"model_type": 5}', '{"model_type": []}', "[" * 100_000, "\udcff", "9" * 10_000]
)
def test_a_config_that_is_no_models_is_refused(content, copied):
    folder = copied()
    (folder / "config.json").write_text(content, errors="surrogateescape")
    assert "can't be read" in refusal(folder) or "can't fill masks" in refusal(folder)


@pytest.mark.parametrize("depth", [500, 990, 10_000])
def test_a_deeply_nested_config_is_refused_or_ignored(depth, copied):
    folder = copied()
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text('{"x": ' + "[" * depth + "]" * depth + "," + text.lstrip("{ \n"))
    try:
        load_model(str(folder))
    except ModelError as error:
        assert "can't be" in str(error)


def test_a_config_of_more_than_a_megabyte_is_refused(copied, nothing_is_built):
    assert "config.json of 'roberta' has 2.0 MB; at most 1.0 MB are read" in refusal(copied(long="x" * 2_000_000))


@pytest.mark.parametrize("kind", ["gpt2", "evil", "../evil", "x" * 10_000])
def test_a_model_that_cannot_fill_masks_is_refused(kind, copied, nothing_is_built):
    said = refusal(copied(model_type=kind, auto_map={"AutoConfig": "evil.Config"}))
    assert "model, which can't fill masks" in said and len(said) < 200


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "nope"},
        {"hidden_act": 5},
        {"hidden_dropout_prob": "x"},
        {"num_attention_heads": 3},
        {"num_attention_heads": 0},
        {"num_hidden_layers": "2"},
        {"num_hidden_layers": None},
        {"intermediate_size": 64.5},
        {"pad_token_id": 10**6},
        {"vocab_size": 100},
        {"dtype": "nope"},
        {"auto_map": 5},
        {"architectures": 5, "hidden_size": {}},
    ],
    ids=str,
)
def test_settings_the_library_chokes_on_are_refused_in_a_sentence(changes, copied):
    assert "can't be opened: " in refusal(copied(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"transformers_weights": "../other/model.safetensors"},
        {"fusion_config": {"a": "b"}},
    ],
    ids=str,
)
def test_requests_for_other_code_or_files_are_refused(changes, copied, nothing_is_built):
    assert f"has a {next(iter(changes))}, which is not supported here" in refusal(copied(**changes))


@pytest.mark.parametrize("field", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
def test_a_config_cannot_choose_the_attention_kernels(field, copied):
    model = load_model(str(copied(**{field: "kernels-community/flash-attn"}))).eval()
    assert model.model.config._attn_implementation == "sdpa"
    assert model.logits(torch.full((1, 8), 9), torch.tensor([3])).isfinite().all()


@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_code_named_in_a_config_is_neither_run_nor_asked_about(thread, copied, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("somebody was asked"))
    folder = copied(auto_map={"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Slow", "evil.Fast"]})
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    loaded = []
    load = threading.Thread(target=lambda: loaded.append(load_model(str(folder))))
    load.start() if thread else load.run()
    if thread:
        load.join()
    assert isinstance(loaded[0], MaskedLanguageModel)
    assert not (tmp_path / "owned").exists()


def test_what_is_no_model_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "is not a model folder: config.json can't be read" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["", " ", "no such model", "../nowhere", "a/b/c", "a--b", "/no/where", "http://x/y"])
def test_what_is_neither_a_folder_nor_an_id_is_refused(name):
    with pytest.raises(ModelError, match="There is no model"):
        load_model(name)


def test_the_check_imports_nothing_but_the_library(copied):
    before = set(sys.modules)
    check_model(str(copied()))
    assert not [name for name in set(sys.modules) - before if "transformers_modules" in name or name == "evil"]
