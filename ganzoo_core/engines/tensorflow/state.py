"""What a checkpoint holds of a trainer in TensorFlow: all that the next step depends on, beside its position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ganzoo_core.engines.tensorflow.networks import named_weights
from ganzoo_core.engines.tensorflow.protocol import TrainedNetworks


def state_of(trainer: TrainedNetworks) -> dict[str, np.ndarray]:
    """Name -> array: `G/…`, `D/…`, `EMA/…`, `optimizer of G/000`, `loss/…`."""
    return {name: np.asarray(variable.numpy()) for name, variable in _variables(trainer).items()}


def expected_of(trainer: TrainedNetworks) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
    """Name -> dtype and shape of what `restore` takes, and which of them may be missing: none."""
    variables = _variables(trainer).items()
    return {name: (tf.as_dtype(each.dtype).name, tuple(each.shape)) for name, each in variables}, set()


def restore(trainer: TrainedNetworks, tensors: Mapping[str, np.ndarray]) -> None:
    """Put a checkpoint back; the names and shapes were compared with `expected_of`."""
    for name, variable in _variables(trainer).items():
        variable.assign(tensors[name])


def _variables(trainer: TrainedNetworks) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for label, network in (("G", trainer.G), ("D", trainer.D)):
        found.update({f"{label}/{name}": weight for name, weight in named_weights(network).items()})
    if trainer.average is not None:
        for name, weight in named_weights(trainer.G).items():
            found[f"EMA/{name}"] = trainer.average.average_of(weight)
    phases = trainer.phases
    for label, optimizer in (("optimizer of G", phases.g_optimizer), ("optimizer of D", phases.d_optimizer)):
        # Keras' own names change with every rebuild.
        found.update({f"{label}/{place:03d}": variable for place, variable in enumerate(optimizer.variables)})
    return found | {f"loss/{name}": variable for name, variable in trainer.memory.items()}
