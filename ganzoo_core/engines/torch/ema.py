"""A moving average of a network's weights in PyTorch."""

from __future__ import annotations

import copy

import torch


def make_ema(network: torch.nn.Module) -> torch.nn.Module:
    """A copy of the network in evaluation mode, from whose weights the average starts."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def grow_ema(former: torch.nn.Module, network: torch.nn.Module) -> torch.nn.Module:
    """An average of a network that has grown; new layers start at the network's weights."""
    grown, known = make_ema(network), former.state_dict()
    for name, tensor in grown.state_dict().items():
        if name in known:
            tensor.copy_(known[name])
    return grown


def update_ema(ema: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Set average += (1 - decay) * (weight - average); copy buffers such as batch norm's."""
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - decay)
        for mean, buffer in zip(ema.buffers(), network.buffers(), strict=True):
            mean.copy_(buffer)
