"""A model is loaded checked, projected on its masked positions alone, and saved as a plain transformers folder."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import tokenizers
import torch
import transformers

from trainer.engine.model import MaskedLanguageModel, load_model
from trainer.errors import ModelError, PredictionError

KNOWN = ("roberta", "distilbert", "bert", "modernbert")
UNKNOWN = ("electra", "albert")


@pytest.fixture
def copied(tiny_model, tmp_path):
    """A copy of a tiny model's folder, its config.json changed: `copied("bert", num_hidden_layers=3)`."""

    def copy(kind="roberta", **changes):
        folder = tmp_path / kind
        shutil.copytree(tiny_model(kind), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    return copy


@pytest.fixture
def batch():
    """Two texts without specials, and five positions in them."""
    ids = torch.randint(5, 500, (2, 24), generator=torch.Generator().manual_seed(1))
    return ids, torch.tensor([0, 5, 23, 24, 40])


def theirs(folder, ids):
    """What plain transformers computes for every position."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.flatten(0, 1)


@pytest.mark.parametrize("kind", [*KNOWN, *UNKNOWN])
def test_logits_at_masked_positions_are_those_of_the_whole_model(kind, tiny_model, batch):
    ids, positions = batch
    model = load_model(str(tiny_model(kind))).eval()
    assert (model.head is not None) == (kind in KNOWN)
    expected = theirs(tiny_model(kind), ids)[positions]
    assert expected.std(dim=0).mean() > 1e-3  # positions differ, so a mix-up would show
    with torch.inference_mode():
        torch.testing.assert_close(model.logits(ids, positions), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["roberta", "electra"])
def test_loss_is_the_sum_over_masked_positions_of_the_full_models_loss(kind, tiny_model, batch):
    ids, positions = batch
    targets = torch.tensor([7, 8, 9, 10, 11])
    labels = torch.full((ids.numel(),), -100)
    labels[positions] = targets
    plain = transformers.AutoModelForMaskedLM.from_pretrained(tiny_model(kind)).eval()
    mean = plain(input_ids=ids, labels=labels.view_as(ids)).loss
    ours = load_model(str(tiny_model(kind))).eval()(ids, positions, targets)
    assert ours.item() == pytest.approx(5 * mean.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["roberta", "electra"])
def test_gradients_are_those_of_the_whole_model(kind, tiny_model, batch):
    ids, positions = batch
    targets = torch.tensor([7, 8, 9, 10, 11])
    ours, plain = load_model(str(tiny_model(kind))).eval(), load_model(str(tiny_model(kind))).eval()
    ours(ids, positions, targets).backward()
    logits = plain.model(input_ids=ids).logits.flatten(0, 1)[positions]
    torch.nn.functional.cross_entropy(logits, targets, reduction="sum").backward()
    for (name, mine), (_, other) in zip(ours.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["roberta", "modernbert"])
def test_no_masked_positions_give_no_loss_but_gradients(kind, tiny_model, batch):
    model = load_model(str(tiny_model(kind)))
    nothing = torch.tensor([], dtype=torch.int64)
    nats = model(batch[0], nothing, nothing)
    nats.backward()
    assert nats.item() == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("kind", [*KNOWN, *UNKNOWN])
def test_a_saved_model_opens_in_plain_transformers_with_the_same_logits(kind, tiny_model, batch, tmp_path):
    ids, positions = batch
    model = load_model(str(tiny_model(kind))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.05)
        ours = model.logits(ids, positions)
    model.save(tmp_path / "saved")
    torch.testing.assert_close(theirs(tmp_path / "saved", ids)[positions], ours, atol=1e-6, rtol=1e-6)
    reloaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    text = f"The Milky Way is a {reloaded.mask_token} galaxy."
    assert reloaded(text)["input_ids"] == model.tokenizer(text)["input_ids"]
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert config["pad_token_id"] == model.tokenizer.pad_token_id


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_become_float32(dtype, tiny_model, tmp_path):
    half = transformers.AutoModelForMaskedLM.from_pretrained(tiny_model("roberta"), dtype=dtype)
    half.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model("roberta")).save_pretrained(tmp_path)
    assert {t.dtype for t in safetensors.torch.load_file(tmp_path / "model.safetensors").values()} == {dtype}
    model = load_model(str(tmp_path))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_weights_in_several_files_are_read(tiny_model, tmp_path):
    plain = transformers.AutoModelForMaskedLM.from_pretrained(tiny_model("roberta"))
    plain.save_pretrained(tmp_path, max_shard_size="60KB")
    transformers.AutoTokenizer.from_pretrained(tiny_model("roberta")).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    model = load_model(str(tmp_path))
    for ours, expected in zip(model.model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_bf16_keeps_float32_weights_and_float32_loss(tiny_model, batch):
    ids, positions = batch
    model = load_model(str(tiny_model("roberta")), precision="bf16").eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.logits(ids, positions).dtype == torch.bfloat16
    exact = load_model(str(tiny_model("roberta"))).eval()
    loss, expected = (m(ids, positions, torch.tensor([7, 8, 9, 10, 11])) for m in (model, exact))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)


@pytest.mark.parametrize("kind", [*KNOWN, *UNKNOWN])
def test_the_longest_text_it_says_to_read_it_does_read(kind, tiny_model):
    model = load_model(str(tiny_model(kind))).eval()
    assert model.max_tokens == 256
    ids = torch.full((1, model.max_tokens), 9)
    assert model.logits(ids, torch.tensor([255])).isfinite().all()


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_both_spellings_of_the_mask_are_understood(kind, tiny_model):
    model = load_model(str(tiny_model(kind)))
    assert model.encode("The <mask> is a star.") == model.encode("The [MASK] is a star.")
    assert model.encode("<mask> and [MASK]").count(model.tokenizer.mask_token_id) == 2


def test_texts_that_cannot_be_filled_are_refused_in_a_sentence(tiny_model):
    model = load_model(str(tiny_model("roberta")))
    with pytest.raises(PredictionError, match="no <mask>"):
        model.encode("Nothing is missing here.")
    with pytest.raises(PredictionError, match=r"at most 256\. Shorten it"):
        model.encode("<mask>" + " word" * 300)


def test_probabilities_sum_to_one_at_each_mask_and_leave_the_mode_as_it_was(tiny_model):
    model = load_model(str(tiny_model("roberta"))).train()
    ids = model.encode("The <mask> goes round the <mask>.")
    probabilities = model.probabilities(ids)
    assert probabilities.shape == (2, 600)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
    assert torch.equal(probabilities, model.probabilities(ids))  # no dropout in it
    assert model.training and model.model.training


# What is refused, and in which words.


def refusal(folder):
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    return str(caught.value)


def test_a_tokenizer_without_a_mask_is_refused(copied, answers):
    folder = copied()
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(answers, vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "has no mask token, so there is nothing to fill" in refusal(folder)


def test_a_folder_without_a_tokenizer_is_refused(copied):
    folder = copied()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "tokenizer" in refusal(folder) and "missing" in refusal(folder)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("roberta", "num_hidden_layers"), ("distilbert", "n_layers"), ("modernbert", "num_hidden_layers")],
)
def test_more_layers_than_are_stored_are_refused(kind, field, copied):
    assert "says 12 layers; its weights hold 2" in refusal(copied(kind, **{field: 12}))


def test_fewer_layers_than_are_stored_are_refused(copied):
    assert "says 1 layers; its weights hold 2" in refusal(copied(num_hidden_layers=1))


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("num_hidden_layers", 3_000_000),
        ("vocab_size", 10**12),
        ("hidden_size", 10**9),
        ("num_attention_heads", 0),
        ("num_hidden_layers", "2"),
        ("num_hidden_layers", None),
        ("intermediate_size", 64.5),
        ("num_labels", 10**8),
        ("encoder_layers", 3_000_000),
    ],
)
def test_impossible_sizes_are_refused_before_anything_is_built(field, size, copied, monkeypatch):
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *a, **k: pytest.fail("the model was opened"))
    message = refusal(copied(**{field: size}))
    assert f"says {field} = {size!r}; at most" in message


def test_a_tokenizer_larger_than_the_embedding_is_refused(copied):
    folder = copied()
    larger = transformers.AutoTokenizer.from_pretrained(folder)
    larger.add_tokens(["anentirelynewword"])
    larger.save_pretrained(folder)
    assert "has 601 entries, its model only 600" in refusal(folder)


def test_what_is_no_model_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "is not a model folder: config.json can't be read" in refusal(tmp_path)
    assert "There is no model" in refusal(tmp_path / "missing")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"model_type": 5}', '{"model_type": []}', "[" * 100_000])
def test_a_config_that_is_no_models_is_refused(content, copied):
    folder = copied()
    (folder / "config.json").write_text(content)
    assert "can't be read" in refusal(folder) or "can't fill masks" in refusal(folder)


def test_weights_that_are_only_pickled_are_refused_unopened(copied):
    folder = copied()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    assert "has no weights in safetensors format" in refusal(folder)


def test_pickled_weights_are_not_opened_beside_a_stray_safetensors_file_either(copied):
    folder = copied()
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "stray.safetensors")
    assert "can't be opened" in refusal(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: bytes(8),
        lambda data: data[:100],
        lambda data: data[:-1000],
        lambda data: (1 << 60).to_bytes(8, "little") + data[8:],
        lambda data: (len(data) * 2).to_bytes(8, "little") + data[8:],
        lambda data: (3).to_bytes(8, "little") + b"[1]",
        lambda data: (1).to_bytes(8, "little") + b"5",
        lambda data: (7).to_bytes(8, "little") + b'{"a":1}',
    ],
    ids=lambda damage: repr(damage(b"12345678" * 200))[:20],
)
def test_damaged_weights_are_refused(damage, copied):
    weights = copied() / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    message = refusal(weights.parent)
    assert any(words in message for words in ("is damaged", "is not a safetensors file", "can't be opened"))


def test_a_causal_model_is_refused(copied):
    assert "is a 'gpt2' model, which can't fill masks" in refusal(copied(model_type="gpt2"))


def test_weights_without_the_projection_head_are_refused(copied):
    folder = copied()
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    headless = {name: tensor for name, tensor in weights.items() if not name.startswith("lm_head")}
    assert len(headless) < len(weights)
    safetensors.torch.save_file(headless, folder / "model.safetensors", {"format": "pt"})
    message = refusal(folder)
    assert "lack" in message and "lm_head" in message and "trained to fill masks" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "nope"},
        {"hidden_act": 5},
        {"hidden_dropout_prob": "x"},
        {"num_attention_heads": 3},
        {"pad_token_id": 10**6},
        {"vocab_size": 100},
        {"dtype": "nope"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    ],
    ids=str,
)
def test_settings_the_library_chokes_on_are_refused_in_a_sentence(changes, copied):
    assert "can't be opened: " in refusal(copied(**changes))


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
    from trainer.engine.model import check_tokenizer

    folder = shared / "tokenizers" / name
    check_tokenizer(transformers.AutoTokenizer.from_pretrained(folder), 60_000, name, folder)


@pytest.mark.parametrize("field", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
def test_a_config_cannot_choose_the_attention_kernels(field, copied, batch):
    model = load_model(str(copied(**{field: "kernels-community/flash-attn"}))).eval()
    assert model.model.config._attn_implementation in ("sdpa", "eager")
    assert model.logits(*batch).isfinite().all()


def test_code_named_in_a_config_is_not_run(copied, tmp_path):
    folder = copied(auto_map={"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"})
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    assert isinstance(load_model(str(folder)), MaskedLanguageModel)
    assert not (tmp_path / "owned").exists()


def test_an_unknown_hub_id_without_network_is_a_sentence():
    with pytest.raises(ModelError, match=r"'nobody/nothing' is neither a folder here nor could it be fetched"):
        load_model("nobody/nothing")
