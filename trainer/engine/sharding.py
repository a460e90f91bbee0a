"""Weights, gradients and optimizer shared out among the processes of a run (FSDP), for models too large for one GPU.

A layer is made whole while it computes; else each process holds its share of every tensor. So all processes must run
through the model equally often, and together make whole what one of them saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.engine.model import MaskedLanguageModel


def shard(model: MaskedLanguageModel, accelerator: Accelerator) -> None:
    """Shares a model out, layer by layer, in its place; every process must hold the same one before."""
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    for layer in max(lists, key=_weights, default=()):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "logits")  # evaluations and probes call it, without `forward`
    model.is_sharded = True


def whole(tensor: Any) -> Any:
    """A tensor as one process would hold it; other values as they are. All processes must ask for it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_weights(model: MaskedLanguageModel) -> dict[str, Tensor]:
    """A copy of a model's weights by their names, on the CPU; what bears two names is one tensor."""
    found = [(names, whole(tensor.detach()).to("cpu", copy=True)) for names, tensor in _shares(model)]
    return {name: tensor for names, tensor in found for name in names}


def by_first_name(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor once, as safetensors wants it, and by the name that safetensors would choose."""
    chosen = {id(weights[name]): name for name in sorted(weights, reverse=True)}
    return {name: weights[name] for name in chosen.values()}


def put_weights(model: MaskedLanguageModel, weights: dict[str, Tensor]) -> None:
    """The opposite. Raises: KeyError for a weight that is not there."""
    with torch.no_grad():
        for names, tensor in _shares(model):
            name = next((name for name in names if name in weights), names[0])
            tensor.copy_(_shared_out(weights[name], tensor))


def whole_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What an optimizer remembers, as that of one process would; what is sharded comes to the CPU."""
    return _mapped(optimizer.state_dict(), lambda value, parameter: whole(value).cpu() if _is_sharded(value) else value)


def put_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The opposite, for an optimizer whose weights may be shared out."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def shared_out(value: Any, number: int) -> Any:
        like = parameters[number]
        return _shared_out(value, like) if isinstance(value, Tensor) and value.shape == like.shape else value

    optimizer.load_state_dict(_mapped(state, shared_out))


def clip_gradients(parameters: Iterable[nn.Parameter], longest: float) -> Tensor:
    """Shortens the gradients of a sharded model; the length that they had, all together."""
    parameters = list(parameters)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    length = whole(nn.utils.get_total_norm(gradients))
    nn.utils.clip_grads_with_norm_(parameters, longest, length)
    return length


def _weights(modules: nn.ModuleList) -> int:
    return sum(parameter.numel() for parameter in modules.parameters())


def _shares(model: MaskedLanguageModel) -> list[tuple[list[str], Tensor]]:
    """What this process has of each weight and of each buffer that is saved, with its names."""
    if model.is_sharded:
        model.reshard()  # what was gathered for a pass stays until the next one asks for it
    names: dict[Tensor, list[str]] = {}
    for name, tensor in model.model.state_dict(keep_vars=True).items():
        names.setdefault(tensor, []).append(name)
    return [(bearing, tensor) for tensor, bearing in names.items()]


def _is_sharded(value: Any) -> bool:
    return isinstance(value, DTensor)


def _shared_out(tensor: Tensor, like: Tensor) -> Tensor:
    return distribute_tensor(tensor, like.device_mesh, like.placements) if isinstance(like, DTensor) else tensor


def _mapped(state: dict[str, Any], change: Callable[[Any, int], Any]) -> dict[str, Any]:
    """An optimizer's state dict with every value changed, given with its parameter's number."""
    changed = {
        number: {name: change(value, int(number)) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return state | {"state": changed}
