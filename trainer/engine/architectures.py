"""Where models end: the parts that make of one token what they do whatever the others are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Architecture:
    """The last parts of a kind of model."""

    feed_forward: Callable[[Any], tuple[Any, str]]  # of the base model's last layer: whose method it is, and its name
    head: Callable[[Any, Tensor], Tensor]  # of a model: hidden states to scores of the vocabulary


def _of_bert(base: Any) -> tuple[Any, str]:
    return base.encoder.layer[-1], "feed_forward_chunk"


ARCHITECTURES = {
    "bert": Architecture(_of_bert, lambda model, hidden: model.cls(hidden)),
    "distilbert": Architecture(
        lambda base: (base.transformer.layer[-1].ffn, "forward"),
        lambda model, hidden: model.vocab_projector(
            model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
        ),
    ),
    "modernbert": Architecture(
        lambda base: (base.layers[-1].mlp, "forward"), lambda model, hidden: model.decoder(model.head(hidden))
    ),
    "roberta": Architecture(_of_bert, lambda model, hidden: model.lm_head(hidden)),
    "xlm-roberta": Architecture(_of_bert, lambda model, hidden: model.lm_head(hidden)),
}
