"""Which optimizer takes which weights, and Muon's arithmetic."""

import pytest
import torch

from trainer.config import TrainConfig
from trainer.engine.model import load_model
from trainer.engine.muon import Muon, orthogonalized
from trainer.engine.optimizer import optimizers


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(str(tiny_model("roberta")))


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest(model):
    adamw, muon = optimizers(model, TrainConfig(optim="muon", weight_decay=0.5))
    assert isinstance(adamw, torch.optim.AdamW) and isinstance(muon, Muon)
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


@pytest.mark.parametrize("dtype, apart", [(torch.bfloat16, 2e-3), (torch.float32, 2e-2)])
def test_muon_goes_where_torchs_own_goes(dtype, apart):
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(shape, generator=generator) for shape in ((24, 16), (16, 24), (16, 16), (24, 16))]
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    mine = Muon(ours, weight_decay=0.1, dtype=dtype)
    torchs = torch.optim.Muon(theirs, lr=0.0, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for optimizer in (mine, torchs):
            optimizer.param_groups[0]["lr"] = 0.02 / (step + 1)
            optimizer.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        assert (one - other).norm() < apart * (one - before).norm()  # bf16 has eight bits


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_what_is_orthogonalized_keeps_its_directions_and_loses_its_lengths(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    within = u.mT @ orthogonalized(matrices) @ v.mT
    lengths = within.diagonal(dim1=1, dim2=2)
    assert lengths.min() > 0.3 and lengths.max() < 1.3
    assert torch.allclose(within, torch.diag_embed(lengths), atol=1e-4)


def test_muon_leaves_alone_what_has_no_gradient():
    matrix = torch.nn.Parameter(torch.ones(2, 2))
    Muon([matrix], weight_decay=0.1, dtype=torch.float32).step()
    assert torch.equal(matrix, torch.ones(2, 2))
