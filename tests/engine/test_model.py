"""A model is loaded checked, projected on its masked positions alone, and saved as a plain transformers folder."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
import transformers

from trainer.engine.model import load_model
from trainer.engine.projection import MULTIPLE, Projection
from trainer.errors import PredictionError

KNOWN = ("roberta", "distilbert", "bert", "modernbert")
UNKNOWN = ("electra", "albert")


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


@pytest.mark.parametrize("kind", KNOWN)
def test_the_last_feed_forward_network_runs_where_it_is_asked_alone_and_the_model_stays_whole(kind, tiny_model, batch):
    ids, positions = batch
    model = load_model(str(tiny_model(kind))).eval()
    network = [module for module in model.model.base_model.modules() if isinstance(module, torch.nn.Linear)][-1]
    rows = []
    network.register_forward_hook(lambda _, inputs, output: rows.append(output.shape[:-1].numel()))
    with torch.inference_mode():
        model.logits(ids, positions)
        whole = model.model(input_ids=ids).logits.flatten(0, 1)
    assert rows == [len(positions), ids.numel()]
    torch.testing.assert_close(whole, theirs(tiny_model(kind), ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KNOWN)
def test_scores_padded_to_suit_a_gpu_change_neither_loss_nor_gradients(kind, tiny_model, batch, monkeypatch):
    ids, positions = batch
    model = load_model(str(tiny_model(kind)), precision="bf16").eval()
    padded, results = Projection.padded, []
    for wanted in (False, True):
        monkeypatch.setattr(Projection, "padded", lambda self, pads, wanted=wanted: padded(self, wanted))
        model.zero_grad()
        nats = model(ids, positions, ids.flatten()[positions])
        nats.backward()
        results.append([nats.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert model.model.get_output_embeddings().out_features % MULTIPLE and len(results[0]) == len(results[1]) > 5
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(other, plain, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("kind", KNOWN)
def test_weights_cast_at_once_give_the_same_numbers_to_the_last_bit_and_take_few_operations(kind, tiny_model, batch):
    ids, positions = batch
    model = load_model(str(tiny_model(kind)), precision="bf16").eval()
    own, results, casts = list(model.model.state_dict(keep_vars=True).values()), [], []
    for model.casts_at_once in (False, True):
        model.zero_grad()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as done:
            nats = model(ids, positions, ids.flatten()[positions])
            nats.backward()
        results.append([nats.detach(), *(None if p.grad is None else p.grad.clone() for p in model.parameters())])
        casts.append(sum(event.count for event in done.key_averages() if event.key == "aten::_to_copy"))
    for plain, other in zip(*results, strict=True):
        assert plain is other is None or torch.equal(plain, other)
    matrices = sum(isinstance(module, torch.nn.Linear) for module in model.modules())
    assert casts[0] - casts[1] >= 2 * matrices
    assert all(a is b for a, b in zip(own, model.model.state_dict(keep_vars=True).values(), strict=True))


def test_a_layer_that_is_not_used_has_no_gradient_where_weights_are_cast_at_once(tiny_model, batch):
    ids, positions = batch
    model = load_model(str(tiny_model("roberta")), precision="bf16")
    model.model.idle = torch.nn.Linear(4, 4)
    model.casts_at_once = True
    model(ids, positions, ids.flatten()[positions]).backward()
    assert model.model.idle.weight.grad is None and model.model.lm_head.dense.weight.grad.any()


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


@pytest.mark.parametrize("kind", [*KNOWN, *UNKNOWN])
def test_padding_changes_no_loss(kind, tiny_model, batch):
    ids, _ = batch
    model = load_model(str(tiny_model(kind))).eval()
    alone = [
        model(row[:long][None], torch.tensor([2]), torch.tensor([7])) for row, long in zip(ids, (9, 24), strict=True)
    ]
    ids[0, 9:] = model.tokenizer.pad_token_id
    attention_mask = torch.arange(24) < torch.tensor([[9], [24]])
    together = model(ids, torch.tensor([2, 26]), torch.tensor([7, 7]), attention_mask.long())
    assert together.item() == pytest.approx(sum(alone).item(), rel=1e-5)


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


@pytest.mark.parametrize("architecture", ["roberta", "bert", "modernbert", "distilbert"])
def test_a_halved_model_answers_almost_as_before_and_scores_the_vocabulary_in_float32(tiny_model, architecture):
    model = load_model(str(tiny_model(architecture))).eval()
    ids = model.encode("The Sun is a <mask> star.")
    whole = model.probabilities(ids).log()
    model.halve()
    halved = model.probabilities(ids).log()
    assert {p.dtype for p in model.model.base_model.parameters()} == {torch.bfloat16, torch.float32}
    assert halved.dtype == torch.float32 and 0 < (halved - whole).abs().max() < 0.05
