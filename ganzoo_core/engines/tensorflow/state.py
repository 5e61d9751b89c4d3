"""The training state in a TensorFlow checkpoint: everything the next step depends on except its position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ganzoo_core.engines.tensorflow.networks import name_weights
from ganzoo_core.engines.tensorflow.protocol import TrainedNetworks


def read_trainer_state(trainer: TrainedNetworks) -> dict[str, np.ndarray]:
    """Name -> array: `G/…`, `D/…`, `EMA/…`, `optimizer of G/000`, `loss/…`.

    What each process keeps for itself has a first axis of processes.
    """
    own, group = _list_own_memory(trainer), trainer.group
    arrays = {name: np.asarray(variable.numpy()) for name, variable in _collect_variables(trainer).items()}
    gather = (lambda array: array[None]) if group is None else group.gather_array
    return {name: gather(array) if name in own else array for name, array in arrays.items()}


def list_buffer_names(trainer: TrainedNetworks) -> set[str]:
    """The names in `read_trainer_state` of weights that no gradient changes, which may differ between ranks.

    Batch norm's moving statistics are those of a rank's own part of the batches; a checkpoint holds rank 0's.
    """
    networks = [("G", trainer.G), ("D", trainer.D), *([] if trainer.ema is None else [("EMA", trainer.G)])]
    return {
        f"{label}/{name}"
        for label, network in networks
        for name, weight in name_weights(network).items()
        if not weight.trainable
    }


def describe_trainer_state(trainer: TrainedNetworks) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
    """Name -> dtype and shape of the tensors for `restore_trainer_state`, and the names that may be missing: none."""
    variables, own = _collect_variables(trainer).items(), _list_own_memory(trainer)
    ranks = 1 if trainer.group is None else trainer.group.rank.world_size
    described = {name: (tf.as_dtype(each.dtype).name, tuple(each.shape)) for name, each in variables}
    return {
        name: (dtype, (ranks, *shape) if name in own else shape) for name, (dtype, shape) in described.items()
    }, set()


def restore_trainer_state(trainer: TrainedNetworks, tensors: Mapping[str, np.ndarray]) -> None:
    """Load a checkpoint, whose names and shapes match `describe_trainer_state`."""
    own, rank = _list_own_memory(trainer), 0 if trainer.group is None else trainer.group.rank.number
    for name, variable in _collect_variables(trainer).items():
        variable.assign(tensors[name][rank] if name in own else tensors[name])


def _list_own_memory(trainer: TrainedNetworks) -> set[str]:
    """Names of what each process of a run keeps for itself."""
    return {f"loss/{name}" for name, each in trainer.declared_memory.items() if each.across == "rank"}


def _collect_variables(trainer: TrainedNetworks) -> dict[str, Any]:
    named_variables: dict[str, Any] = {}
    for label, network in (("G", trainer.G), ("D", trainer.D)):
        named_variables.update({f"{label}/{name}": weight for name, weight in name_weights(network).items()})
    if trainer.ema is not None:
        for name, weight in name_weights(trainer.G).items():
            named_variables[f"EMA/{name}"] = trainer.ema.get_average(weight)
    phases = trainer.phases
    for label, optimizer in (("optimizer of G", phases.g_optimizer), ("optimizer of D", phases.d_optimizer)):
        # Keras' own names change with every rebuild.
        named_variables.update({f"{label}/{index:03d}": variable for index, variable in enumerate(optimizer.variables)})
    return named_variables | {f"loss/{name}": variable for name, variable in trainer.memory.items()}
