"""The table of `ganzoo info MODEL --layers`: output shape and parameters of each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ganzoo_core.api import Spec
from ganzoo_core.data.framing import shrink_spec
from ganzoo_core.engines.torch.forward import as_keywords, call_network, make_zero_arguments


def make_layer_rows(
    network: torch.nn.Module, spec: Spec, *, device: torch.device, is_generator: bool, values: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Each layer's name, type, output shape (with N the batch) and number of parameters, in order of use.

    Args:
        network: from `Engine.build`.
        spec: the shapes it was built for.
        device: of the network.
        is_generator: whether its input is z, rather than images.
        values: the schedule's values that it takes.
    """
    rows: list[dict[str, Any]] = []
    hooks = []

    def note(name: str, module: torch.nn.Module) -> Callable[..., None]:
        def record(_module: Any, _inputs: Any, output: Any) -> None:
            shape = ["N", *output.shape[1:]] if isinstance(output, torch.Tensor) else []
            count = sum(parameter.numel() for parameter in module.parameters())
            rows.append({"layer": name, "type": type(module).__name__, "output": shape, "parameters": count})

        return record

    for name, module in network.named_modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(note(name, module)))
    shape = (2, spec.latent_dim) if is_generator else (2, spec.channels, spec.height, spec.width)
    arguments = {**make_zero_arguments(shrink_spec(spec, values), 2, device), **as_keywords(values, device)}
    was_training = network.training
    try:
        with torch.no_grad():
            call_network(network.eval(), torch.zeros(shape, device=device), arguments)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return rows
