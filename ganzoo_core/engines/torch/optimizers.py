"""Make the optimizers, set their learning rates, and check the memory layout that fused ones need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ganzoo_core.errors import UsageError
from ganzoo_core.settings import OptimizerSettings


def make_optimizer(params: list[torch.Tensor], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Return a new optimizer of the type that the settings name, with empty state.

    Raises:
        UsageError: if there are no parameters.
    """
    if not params:
        raise UsageError("a network has no learnable parameters, so there is nothing to train")
    if settings.name == "adam":
        return torch.optim.Adam(params, lr=settings.lr, betas=settings.betas, eps=settings.adam_eps, fused=True)
    if settings.name == "adamw":
        return torch.optim.AdamW(
            params,
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    if settings.name == "rmsprop":
        return torch.optim.RMSprop(params, lr=settings.lr, alpha=settings.rmsprop_decay, momentum=settings.momentum)
    return torch.optim.SGD(params, lr=settings.lr, momentum=settings.momentum)


def set_learning_rates(optimizer: torch.optim.Optimizer, values: Mapping[str, float], name: str, base: float) -> None:
    """Set the learning rate to the schedule's value `name`, or `base` without one, and Adam's beta2 if given."""
    for group in optimizer.param_groups:
        group["lr"] = values.get(name, base)
        if "beta2" in values and "betas" in group:
            group["betas"] = (group["betas"][0], values["beta2"])


def check_strides(params: list[torch.Tensor], state: Mapping[Any, Mapping[str, Any]]) -> None:
    """Assert that gradients and moments have their parameter's strides, which PyTorch's fused optimizers ignore."""
    for param in params:
        for name, tensor in state.get(param, {}).items():
            if not isinstance(tensor, torch.Tensor) or tensor.shape != param.shape or tensor.dim() == 0:
                continue
            axes = zip(param.shape, param.stride(), tensor.stride(), strict=True)
            assert all(size == 1 or a == b for size, a, b in axes), f"{name} is not laid out as its parameter"
