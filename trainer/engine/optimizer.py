"""The optimizers of a run."""

from __future__ import annotations

import torch
from torch import nn

from trainer.config import TrainConfig
from trainer.engine.model import MaskedLanguageModel
from trainer.engine.muon import Muon


def optimizers(model: MaskedLanguageModel, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for the matrices of the layers, and AdamW for the rest. The rate is set at every step.

    Biases and normalizations don't decay, as in `Trainer`. Muon's steps are as long as AdamW's, so that both take
    the same rate. Source: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    output = model.model.get_output_embeddings()
    tables += [] if output is None else [output.weight]
    by_muon = {p for p in parameters if p.ndim == 2} - set(tables) if config.optim == "muon" else set()
    rest = [p for p in parameters if p not in by_muon]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=0.0, fused=True)
    if not by_muon:
        return [adamw]
    matrices = [p for p in parameters if p in by_muon]
    dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
    return [adamw, Muon(matrices, weight_decay=config.weight_decay, dtype=dtype)]
