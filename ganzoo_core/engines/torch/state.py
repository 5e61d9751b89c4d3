"""The training state in a PyTorch checkpoint: everything the next step depends on except its position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ganzoo_core.engines.torch.protocol import TrainedNetworks

# State that each optimizer keeps per parameter, with the parameter's shape; the step count is separate.
_OPTIMIZER_TENSORS = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg", "momentum_buffer"),
    "sgd": ("momentum_buffer",),
}


def read_trainer_state(trainer: TrainedNetworks) -> dict[str, np.ndarray]:
    """Name -> array: `G/…`, `D/…`, `EMA/…`, `optimizer of G/000.exp_avg`, `loss/…`; the same in all ranks.

    Moments that do not exist yet are omitted.
    """
    state = {}
    for label, network in _list_networks(trainer):
        state.update({f"{label}/{name}": _to_array(tensor) for name, tensor in network.state_dict().items()})
    for label, optimizer, params, _ in _list_optimizers(trainer):
        for index, param in enumerate(params):
            moments = optimizer.state.get(param, {})
            state.update(
                {
                    f"{label}/{index:03d}.{name}": _to_array(moments[name])
                    for name in moments
                    if moments[name] is not None
                }
            )
    return state | {f"loss/{name}": _read_memory(trainer, name) for name in trainer.memory}


def list_buffer_names(trainer: TrainedNetworks) -> set[str]:
    """The names in `read_trainer_state` of buffers, which may differ between ranks.

    Batch norm's running statistics are those of a rank's own part of the batches; a checkpoint holds rank 0's.
    """
    return {f"{label}/{name}" for label, network in _list_networks(trainer) for name, _ in network.named_buffers()}


def describe_trainer_state(trainer: TrainedNetworks) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
    """Name -> dtype and shape of the tensors for `restore_trainer_state`, and the names that may be missing: moments
    before a step."""
    expected = {}
    for label, network in _list_networks(trainer):
        expected.update({f"{label}/{name}": _describe_tensor(tensor) for name, tensor in network.state_dict().items()})
    for name, tensor in trainer.memory.items():
        dtype, shape = _describe_tensor(tensor)
        ranks = 1 if trainer.group is None else trainer.group.rank.world_size
        expected[f"loss/{name}"] = dtype, (ranks, *shape) if _is_of_rank(trainer, name) else shape
    moments = {}
    for label, _, params, optimizer_name in _list_optimizers(trainer):
        for index, param in enumerate(params):
            for name in _OPTIMIZER_TENSORS[optimizer_name]:
                moments[f"{label}/{index:03d}.{name}"] = _describe_tensor(param)
            moments[f"{label}/{index:03d}.step"] = ("float32", ())
    return expected | moments, set(moments)


def restore_trainer_state(trainer: TrainedNetworks, tensors: Mapping[str, np.ndarray]) -> None:
    """Load a checkpoint, whose names and shapes match `describe_trainer_state`."""
    with torch.no_grad():
        for label, network in _list_networks(trainer):
            for name, tensor in network.state_dict().items():
                tensor.copy_(torch.from_numpy(tensors[f"{label}/{name}"]))
        for name, tensor in trainer.memory.items():
            array = tensors[f"loss/{name}"]
            if _is_of_rank(trainer, name):
                array = array[0 if trainer.group is None else trainer.group.rank.number]
            tensor.copy_(torch.from_numpy(np.asarray(array)))
        for label, optimizer, params, optimizer_name in _list_optimizers(trainer):
            for index, param in enumerate(params):
                optimizer.state.pop(param, None)
                for name in ("step", *_OPTIMIZER_TENSORS[optimizer_name]):
                    saved = tensors.get(f"{label}/{index:03d}.{name}")
                    if saved is None:
                        continue
                    # A moment must have its parameter's strides, which fused optimizers do not check.
                    like = torch.empty((), device=_find_step_device(optimizer_name, param)) if name == "step" else param
                    optimizer.state[param][name] = torch.empty_like(like).copy_(torch.from_numpy(saved))


def _is_of_rank(trainer: TrainedNetworks, name: str) -> bool:
    return trainer.declared_memory[name].across == "rank"


def _read_memory(trainer: TrainedNetworks, name: str) -> np.ndarray:
    """What the loss keeps under a name; with a first axis of the ranks, if each has its own."""
    array = _to_array(trainer.memory[name])
    if not _is_of_rank(trainer, name):
        return array
    return array[None] if trainer.group is None else trainer.group.gather_array(array)


def _list_networks(trainer: TrainedNetworks) -> Iterator[tuple[str, torch.nn.Module]]:
    yield "G", trainer.G
    yield "D", trainer.D
    if trainer.ema is not None:
        yield "EMA", trainer.ema


def _list_optimizers(trainer: TrainedNetworks) -> Iterator[tuple[str, Any, list[Any], str]]:
    """The label, the optimizer, its parameters, and its name in the settings."""
    yield "optimizer of G", trainer.g_optimizer, trainer.g_params, trainer.plan.optimizer_g.name
    yield "optimizer of D", trainer.d_optimizer, trainer.d_params, trainer.plan.optimizer_d.name


def _find_step_device(optimizer_name: str, param: torch.Tensor) -> torch.device:
    """The device of an optimizer's step count: the parameter's for fused optimizers, else the CPU."""
    return param.device if optimizer_name in ("adam", "adamw") else torch.device("cpu")


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()


def _describe_tensor(tensor: torch.Tensor) -> tuple[str, tuple[int, ...]]:
    return str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
