"""Loss and perplexity come from sums, under masks that are always the same."""

from __future__ import annotations

import math

import pytest
import torch
from accelerate import Accelerator

from trainer.engine.blocks import make_blocks
from trainer.engine.documents import load_documents
from trainer.engine.evaluation import MaskedLanguageModeling, evaluate_model
from trainer.engine.masking import HELD_OUT_EPOCH
from trainer.engine.model import load_model
from trainer.engine.preparation import masking_for


@pytest.fixture
def model(tiny_model):
    """A tiny model with dropout, in training mode, its head less indifferent than at random."""
    model = load_model(str(tiny_model("roberta"))).train()
    with torch.no_grad():
        model.model.lm_head.bias.copy_(torch.randn(600, generator=torch.Generator().manual_seed(0)))
    return model


@pytest.fixture(params=[False, True], ids=["packed", "line by line"])
def evaluated(request, model, tiny_config, tmp_path):
    """Evaluates the model on the sample text: `evaluated(batch_size=4)`."""
    config = tiny_config()
    documents = load_documents(config)
    everything = list(range(len(documents)))
    texts, path = documents.batches(everything), tmp_path / "blocks.ids"
    blocks = make_blocks(texts, model.tokenizer, config.block_size, path, line_by_line=request.param)

    def run(batch_size=8):
        masking = masking_for(config, model)
        return evaluate_model(model, blocks, masking, batch_size=batch_size, accelerator=Accelerator(cpu=True))

    run.blocks, run.masking = blocks, masking_for(config, model)
    return run


def test_numbers_equal_an_independent_computation_token_by_token(model, evaluated):
    result = evaluated()
    nats, correct = [], 0
    model.model.eval()
    for number in range(len(evaluated.blocks)):
        block = torch.tensor([number])
        batch = evaluated.masking(evaluated.blocks.take(block)[0], block, epoch=HELD_OUT_EPOCH)
        with torch.inference_mode():
            scores = model.model(input_ids=batch.input_ids).logits[0].double().log_softmax(-1)
        for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
            nats.append(-scores[position, target].item())
            correct += int(scores[position].argmax() == target)
    assert result["masked_tokens"] == len(nats) > 250
    assert result["loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-6)
    assert result["perplexity"] == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-5)
    assert result["accuracy"] == correct / len(nats)


def test_every_evaluation_gives_the_same_number(evaluated):
    torch.manual_seed(1)
    first = evaluated()
    torch.manual_seed(2)
    assert evaluated() == first


def test_batch_size_does_not_matter(evaluated):
    first = evaluated(1)
    for size in (7, 64, 10_000):
        other = evaluated(size)
        assert other["masked_tokens"] == first["masked_tokens"] and other["accuracy"] == first["accuracy"]
        assert other["loss"] == pytest.approx(first["loss"], rel=1e-6)


def test_the_model_is_left_in_the_mode_it_was_in(model, evaluated):
    evaluated()
    assert model.training and model.model.training
    model.eval()
    evaluated()
    assert not model.training


def test_metric_adds_up_batches_and_divides_once():
    result = MaskedLanguageModeling(keep_in_memory=True).compute(nats=[10.0, 1.0], masked_tokens=[9, 2], correct=[1, 1])
    assert result == {"loss": 1.0, "perplexity": math.e, "accuracy": 2 / 11, "masked_tokens": 11}


def test_metric_works_batch_by_batch_without_network():
    metric = MaskedLanguageModeling(keep_in_memory=True)
    for nats, masked_tokens in ((10.0, 9), (1.0, 2)):
        metric.add(nats=nats, masked_tokens=masked_tokens, correct=1)
    assert metric.compute()["perplexity"] == math.e


def test_a_perplexity_that_overflows_is_none():
    result = MaskedLanguageModeling(keep_in_memory=True).compute(nats=[8000.0], masked_tokens=[10], correct=[0])
    assert result["loss"] == 800.0 and result["perplexity"] is None


def test_nothing_masked_is_no_number():
    result = MaskedLanguageModeling(keep_in_memory=True).compute(nats=[0.0], masked_tokens=[0], correct=[0])
    assert math.isnan(result["loss"]) and math.isnan(result["accuracy"])
    assert result["perplexity"] is None and result["masked_tokens"] == 0
