"""What a stranger's model may try, and the sentence that refuses it before anything of it is built or run."""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
import struct
import sys
import threading

import pytest
import safetensors.torch
import tokenizers
import torch
import transformers

from trainer.engine.loop import fit, never
from trainer.engine.model import MaskedLanguageModel, check_model, load_model
from trainer.engine.tokenizer import check_tokenizer
from trainer.errors import ModelError
from trainer.events import Failed

INDEX = "model.safetensors.index.json"


@pytest.fixture
def copied(altered):
    """A copy of a tiny model's folder, its config.json changed: `copied("bert", num_hidden_layers=3)`."""
    return lambda kind="roberta", **changes: altered(kind, config=changes)


@pytest.fixture
def tokenized(altered):
    """A copy of a tiny model's folder, its tokenizer.json changed: `tokenized(normalizer={...})`."""
    return lambda **changes: altered(tokenizer=changes)


def edit(file, **changes):
    content = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps(content | changes), "utf-8")


def refusal(folder):
    """The words in which a model is refused."""
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    assert caught.value.fix and "\n" not in str(caught.value) and str(folder) not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def nothing_is_opened(monkeypatch):
    """Fails a test that gets as far as opening weights or tokenizer."""
    for opened in (transformers.AutoModelForMaskedLM, transformers.AutoTokenizer):
        monkeypatch.setattr(opened, "from_pretrained", lambda *a, **k: pytest.fail("the model was opened"))


@pytest.fixture
def nothing_is_built(nothing_is_opened, monkeypatch):
    """Fails a test whose configuration gets as far as the library."""
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *a, **k: pytest.fail("it was opened"))


# config.json


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


# Weights


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


# Tokenizer


def test_a_tokenizer_without_a_mask_is_refused(copied, answers):
    folder = copied()
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(answers, vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "has no mask token, so there is nothing to fill" in refusal(folder)


@pytest.mark.parametrize("gone", [("tokenizer.json", "tokenizer_config.json"), ("tokenizer.json",)])
def test_a_folder_without_a_vocabulary_is_refused(gone, copied, nothing_is_opened):
    folder = copied()
    for name in gone:
        (folder / name).unlink()
    assert "tokenizer" in refusal(folder) and "missing" in refusal(folder)


def test_a_vocabulary_of_nothing_but_special_tokens_is_refused(tokenized):
    folder = tokenized()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    specials = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    edit(folder / "tokenizer.json", model=tokenizer["model"] | {"vocab": specials, "merges": []})
    assert "is missing; its folder has no files of one" in refusal(folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(copied):
    folder = copied()
    larger = transformers.AutoTokenizer.from_pretrained(folder)
    larger.add_tokens(["anentirelynewword"])
    larger.save_pretrained(folder)
    assert "has 601 entries, its model only 600" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "merges.txt"])
def test_a_tokenizer_file_of_more_than_32_mib_is_refused(file, copied, nothing_is_opened):
    folder = copied()
    (folder / file).touch()
    os.truncate(folder / file, 40_000_000)
    assert f"{file} of 'roberta' has 40.0 MB; at most 33.6 MB are read" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
@pytest.mark.parametrize("content", ["", "{", "5", "[" * 100_000, '{"a": "\udcff"}'])
def test_a_damaged_tokenizer_file_is_refused(file, content, copied):
    folder = copied()
    (folder / file).write_text(content, errors="surrogateescape")
    assert f"{file} of 'roberta' is damaged" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
def test_300_000_added_tokens_are_refused(file, copied, nothing_is_opened):
    folder = copied()
    if file == "tokenizer.json":
        added = json.loads((folder / file).read_text())["added_tokens"]
        edit(folder / file, added_tokens=[added[0] | {"id": n, "content": f"w{n}"} for n in range(100_000)])
    elif file == "tokenizer_config.json":
        edit(folder / file, added_tokens_decoder={str(n): {"content": f"w{n}"} for n in range(300_000)})
    else:
        edit(folder / file, **{f"w{n}": n for n in range(300_000)})
    assert "00,000 tokens to its vocabulary; at most 20,000 are read" in refusal(folder)


@pytest.mark.parametrize("step", [{}, {"pattern": 5, "content": "a"}, {"pattern": {"String": "a"}, "content": 5}])
def test_a_damaged_normalizer_is_refused(step, tokenized):
    assert "tokenizer.json of 'roberta' is damaged" in refusal(tokenized(normalizer={"type": "Replace"} | step))


TENFOLD = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}


def charsmap(character, content):
    """Normalization rules as SentencePiece stores them (a Darts double array), with one rule."""
    label = ord(character)
    units = [0] * 512
    units[0] = 256 << 10  # the root's children lie at 256 ^ label
    units[256 ^ label] = label | 1 << 8 | 1 << 10  # this one has a leaf, one further
    units[256 ^ label ^ 1] = 1 << 31  # the leaf: its replacement begins at 0
    return base64.b64encode(struct.pack("<I512I", 2048, *units) + content.encode() + b"\0").decode()


@pytest.mark.parametrize("place", ["normalizer", "decoder"])
@pytest.mark.parametrize(
    "steps",
    [
        [TENFOLD] * 12,
        [{"type": "Sequence", "normalizers": [TENFOLD] * 2, "decoders": [TENFOLD] * 2}] * 6,
        [TENFOLD | {"pattern": {"Regex": "a*"}}] * 4,
        [TENFOLD | {"content": "a" * 1_000_000}],
        [{"type": "Prepend", "prepend": "a" * 1_000_000}],
        [{"type": "ByteLevel"}] * 40,
        [{"type": "Precompiled", "precompiled_charsmap": charsmap("a", "a" * 10)}] * 12,
        [{"type": "Precompiled", "precompiled_charsmap": charsmap("a", "a" * 1_000_000)}],
    ],
    ids=[
        "12 replacements",
        "nested",
        "expressions",
        "one long",
        "prefix",
        "bytes of bytes",
        "12 rules",
        "one long rule",
    ],
)
def test_steps_that_blow_a_text_up_are_refused(steps, place, tokenized, nothing_is_opened):
    chain = {"type": "Sequence", f"{place}s": steps}
    assert "times longer, which would fill the memory" in refusal(tokenized(**{place: chain}))


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "Replace", "pattern": {"String": "``"}, "content": '"'}, {"type": "NFKD"}, {"type": "StripAccents"},
         {"type": "Lowercase"}, {"type": "Precompiled", "precompiled_charsmap": charsmap("\x01", "an honest eighteen")},
         {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}],
        [{"type": "NFC"}],
        [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
          "lowercase": True}],
    ],
    ids=["ALBERT", "ModernBERT", "BERT"],
)  # fmt: skip
def test_the_normalizers_of_real_models_pass(steps, tokenized):
    folder = tokenized(normalizer={"type": "Sequence", "normalizers": steps})
    assert load_model(str(folder)).encode("The <mask> orbits the Sun.")


def test_a_tokenizer_that_puts_thousands_of_tokens_around_a_text_is_refused(tokenized):
    begin, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    special = {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}
    crowd = {"type": "TemplateProcessing", "single": [begin] * 5000 + [text], "pair": [text], "special_tokens": special}
    assert "puts 5,000 special tokens around a text" in refusal(tokenized(post_processor=crowd))


def test_a_text_on_which_the_tokenizer_panics_is_a_sentence(tokenized):
    evil = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}
    model = load_model(str(tokenized(normalizer=evil)))
    with pytest.raises(ModelError, match="The model failed on this text: PanicException"):
        model.encode("<mask> " + "a" * 40 + "!")
    assert model.encode("<mask> of the Earth")


def test_a_run_whose_tokenizer_panics_ends_in_a_sentence(tokenized, tiny_config, tmp_path, collected):
    evil = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}
    text = tmp_path / "text.txt"
    text.write_text("Water is wet.\n" * 20 + "a" * 40 + "!\n")
    with pytest.raises(ModelError):
        config = tiny_config(model=str(tokenized(normalizer=evil)), dataset=str(text))
        fit(config, collected.append, never, tmp_path / "run")
    assert isinstance(collected[-1], Failed) and collected[-1].fix
    assert "The model failed on the text: PanicException" in collected[-1].what


def test_a_tokenizer_that_panics_when_it_is_opened_is_a_sentence(tokenized):
    evil = {"type": "Replace", "pattern": {"Regex": r"([\w\s.]+)+$"}, "content": "b"}
    said = refusal(tokenized(normalizer=evil))
    assert "can't be opened: PanicException" in said


def test_a_mislabelled_tokenizer_is_refused(shared, copied):
    folder = copied(vocab_size=32_000)
    config = transformers.RobertaConfig(
        vocab_size=32_000, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.RobertaForMaskedLM(config).save_pretrained(folder)
    for source, refused in (("klue-roberta-mislabelled", True), ("klue-roberta", False)):
        for file in (shared / "tokenizers" / source).glob("tokenizer*"):
            shutil.copyfile(file, folder / file.name)
        if refused:
            assert "is mislabelled" in refusal(folder)
        else:
            assert load_model(str(folder)).tokenizer.mask_token == "[MASK]"


@pytest.mark.parametrize("name", ["roberta", "bert-base-uncased", "klue-roberta"])
def test_real_tokenizers_pass_the_check(name, shared):
    folder = shared / "tokenizers" / name
    check_tokenizer(transformers.AutoTokenizer.from_pretrained(folder), 60_000, name, folder)


# Names


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
