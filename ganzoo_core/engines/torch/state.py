"""What a checkpoint holds of a trainer in PyTorch: all that the next step depends on, beside its position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ganzoo_core.engines.torch.protocol import TrainedNetworks

# What each optimizer keeps for a parameter. All but the count of steps have the parameter's shape.
_OPTIMIZER_TENSORS = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg", "momentum_buffer"),
    "sgd": ("momentum_buffer",),
}


def read_trainer_state(trainer: TrainedNetworks) -> dict[str, np.ndarray]:
    """Name -> array: `G/…`, `D/…`, `EMA/…`, `optimizer of G/000.exp_avg`, `loss/…`.

    Moments that are not there yet are left out.
    """
    found = {}
    for label, network in _list_networks(trainer):
        found.update({f"{label}/{name}": _to_array(tensor) for name, tensor in network.state_dict().items()})
    for label, optimizer, params in _list_optimizers(trainer):
        for place, param in enumerate(params):
            kept = optimizer.state.get(param, {})
            found.update(
                {f"{label}/{place:03d}.{name}": _to_array(kept[name]) for name in kept if kept[name] is not None}
            )
    return found | {f"loss/{name}": _to_array(tensor) for name, tensor in trainer.memory.items()}


def list_buffer_names(trainer: TrainedNetworks) -> set[str]:
    """The names in `read_trainer_state` of what may differ in processes that train together.

    Batch norm's means are of a process's own part of the batches; a checkpoint holds those of rank 0.
    """
    return {f"{label}/{name}" for label, network in _list_networks(trainer) for name, _ in network.named_buffers()}


def describe_trainer_state(trainer: TrainedNetworks) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
    """Name -> dtype and shape of what `restore_trainer_state` takes, and which of them may be missing: moments
    before a step."""
    expected = {}
    for label, network in _list_networks(trainer):
        expected.update({f"{label}/{name}": _describe_tensor(tensor) for name, tensor in network.state_dict().items()})
    expected.update({f"loss/{name}": _describe_tensor(tensor) for name, tensor in trainer.memory.items()})
    moments = {}
    for label, _, params in _list_optimizers(trainer):
        for place, param in enumerate(params):
            for name in _OPTIMIZER_TENSORS[trainer.plan.optimizer]:
                moments[f"{label}/{place:03d}.{name}"] = _describe_tensor(param)
            moments[f"{label}/{place:03d}.step"] = ("float32", ())
    return expected | moments, set(moments)


def restore_trainer_state(trainer: TrainedNetworks, tensors: Mapping[str, np.ndarray]) -> None:
    """Put a checkpoint back; the names and shapes were compared with `describe_trainer_state`."""
    with torch.no_grad():
        for label, network in _list_networks(trainer):
            for name, tensor in network.state_dict().items():
                tensor.copy_(torch.from_numpy(tensors[f"{label}/{name}"]))
        for name, tensor in trainer.memory.items():
            tensor.copy_(torch.from_numpy(tensors[f"loss/{name}"]))
        for label, optimizer, params in _list_optimizers(trainer):
            for place, param in enumerate(params):
                optimizer.state.pop(param, None)
                for name in ("step", *_OPTIMIZER_TENSORS[trainer.plan.optimizer]):
                    saved = tensors.get(f"{label}/{place:03d}.{name}")
                    if saved is None:
                        continue
                    # A moment must lie in memory as its parameter does: the fused optimizers do not look.
                    like = torch.empty((), device=_find_step_device(trainer, param)) if name == "step" else param
                    optimizer.state[param][name] = torch.empty_like(like).copy_(torch.from_numpy(saved))


def _list_networks(trainer: TrainedNetworks) -> Iterator[tuple[str, torch.nn.Module]]:
    yield "G", trainer.G
    yield "D", trainer.D
    if trainer.ema is not None:
        yield "EMA", trainer.ema


def _list_optimizers(trainer: TrainedNetworks) -> Iterator[tuple[str, Any, list[Any]]]:
    yield "optimizer of G", trainer.g_optimizer, trainer.g_params
    yield "optimizer of D", trainer.d_optimizer, trainer.d_params


def _find_step_device(trainer: TrainedNetworks, param: torch.Tensor) -> torch.device:
    """Where an optimizer counts its steps: the fused one beside the parameter, the others on the CPU."""
    return param.device if trainer.plan.optimizer == "adam" else torch.device("cpu")


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()


def _describe_tensor(tensor: torch.Tensor) -> tuple[str, tuple[int, ...]]:
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
