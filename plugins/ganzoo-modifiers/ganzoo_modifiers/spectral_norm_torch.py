"""Spectral normalisation of a PyTorch network, in place."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

import ganzoo_core as gz
from ganzoo_modifiers.spectral_norm import ADVICE, refuse_zeros

LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Embedding,
)


def normalise(network: nn.Module, *, slot: str, iterations: int) -> nn.Module:
    """Spectrally normalise every convolution, linear layer and embedding; return the same network.

    Each access to a weight in training mode makes `iterations` steps of the power iteration; in eval mode none. The
    vectors u and v are buffers, so they are saved with the network.

    Args:
        network: a native generator or discriminator.
        slot: which of the two, for messages.
        iterations: at least 1.

    Raises:
        UsageError: if the network has spectral norm already, no layer to normalise, or one whose weights are all 0.
    """
    for name, module in network.named_modules():
        if _is_normalised(module):
            where = name.split(".parametrizations")[0]
            raise gz.UsageError(
                f"this {slot} has spectral normalisation already (in {where or 'itself'}), and a second one "
                f"would normalise what is normalised: {ADVICE[slot]}, or switch the model's own off"
            )
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LAYERS)}
    if not layers:
        raise gz.UsageError(
            f"spectral-norm found no convolution, linear layer or embedding in this {slot}: {ADVICE[slot]}"
        )
    for name, layer in layers.items():
        if not layer.weight.is_meta and not layer.weight.any():
            raise refuse_zeros(name or "the only layer", slot)
    for layer in layers.values():
        parametrizations.spectral_norm(layer, n_power_iterations=iterations)
    return network


def _is_normalised(module: nn.Module) -> bool:
    """Whether the module has PyTorch's older spectral norm hook, or "SpectralNorm" in its class name."""
    if "SpectralNorm" in type(module).__name__:
        return True
    parameters = {name for name, _ in module.named_parameters(recurse=False)}
    buffers = {name for name, _ in module.named_buffers(recurse=False)}
    return any(name.endswith("_orig") and name.removesuffix("_orig") + "_u" in buffers for name in parameters)
