"""Which optimizer takes which weights."""

import pytest
import torch

from trainer.config import TrainConfig
from trainer.engine.model import load_model
from trainer.engine.optimizer import optimizers


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(str(tiny_model("roberta")))


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest(model):
    adamw, muon = optimizers(model, TrainConfig(optim="muon", weight_decay=0.5))
    assert isinstance(adamw, torch.optim.AdamW) and isinstance(muon, torch.optim.Muon)
    names = {parameter: name for name, parameter in model.named_parameters()}
    by_muon = {names[p] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[p] for group in adamw.param_groups for p in group["params"]}
    assert not by_muon & by_adamw and by_muon | by_adamw == set(names.values())
    assert all("encoder.layer" in name or name == "model.lm_head.dense.weight" for name in by_muon)
    assert all(
        "embeddings" in name or "LayerNorm" in name or name.endswith("bias") or "layer_norm" in name
        for name in by_adamw
    )


def test_all_weights_are_adamws_by_default(model):
    (only,) = optimizers(model, TrainConfig())
    assert sum(len(group["params"]) for group in only.param_groups) == len(list(model.parameters()))
