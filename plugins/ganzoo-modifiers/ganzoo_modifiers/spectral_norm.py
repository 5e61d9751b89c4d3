"""SNGAN: Miyato et al. 2018 (arXiv:1802.05957). The hooks; each framework's implementation is in its own module.

Of the discriminator, as in that paper, or of both networks, as in SAGAN (Zhang et al. 2018, arXiv:1805.08318).
"""

from __future__ import annotations

import importlib
from collections.abc import Generator
from typing import Any

import ganzoo_core as gz

ADVICE = {
    "discriminator": "leave out --with spectral-norm",
    "generator": "leave the generator out of with.spectral-norm.networks",
}


def refuse_zeros(layer: str, slot: str) -> gz.UsageError:
    """The error for a layer whose weights begin at 0, as the last ones of some residual blocks do."""
    return gz.UsageError(
        f"the weights of {layer} in this {slot} begin at 0, and spectral-norm divides by their largest singular value: "
        f"{ADVICE[slot]}"
    )


@gz.hookimpl(wrapper=True)
def build_generator(spec: gz.Spec, modifiers: dict[str, gz.Options]) -> Generator[None, Any, Any]:
    """The generator, with each weight divided by its largest singular value if `networks` has it; else as it is.

    Raises:
        UsageError: as `build_discriminator` does.
    """
    network = yield
    return _normalise_if_chosen(network, "generator", spec.framework, modifiers["spectral-norm"])


@gz.hookimpl(wrapper=True)
def build_discriminator(spec: gz.Spec, modifiers: dict[str, gz.Options]) -> Generator[None, Any, Any]:
    """The discriminator, with each weight divided by its largest singular value if `networks` has it; else as it is.

    Raises:
        UsageError: for fewer than one iteration, for no network at all, and for a network that is already spectrally
            normalised, has no layer to normalise, or has one whose weights are all 0.
    """
    network = yield
    return _normalise_if_chosen(network, "discriminator", spec.framework, modifiers["spectral-norm"])


def _normalise_if_chosen(network: Any, slot: str, framework: str, settings: gz.Options) -> Any:
    # A generator that was saved before the setting was there has none.
    iterations, networks = settings["iterations"], settings.get("networks", ["discriminator"])
    if iterations < 1:
        raise gz.UsageError(f"with.spectral-norm.iterations is {iterations}; expected a whole number of at least 1")
    if not networks:
        raise gz.UsageError(
            "with.spectral-norm.networks is empty; expected discriminator, generator or both, or leave out "
            "--with spectral-norm"
        )
    if slot not in networks:
        return network
    module = importlib.import_module(f"ganzoo_modifiers.spectral_norm_{framework}")
    return module.normalise(network, slot=slot, iterations=iterations)
