"""SNGAN: Miyato et al. 2018 (arXiv:1802.05957). The hook; each framework's implementation is in its own module."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from typing import Any

import ganzoo_core as gz


@gz.hookimpl(wrapper=True)
def build_discriminator(spec: gz.Spec, modifiers: dict[str, gz.Options]) -> Generator[None, Any, Any]:
    """The discriminator, with each weight divided by its largest singular value.

    Raises:
        UsageError: for fewer than one iteration, and for a D that is already spectrally normalised or has no layer to
            normalise.
    """
    network = yield
    iterations = modifiers["spectral-norm"]["iterations"]
    if iterations < 1:
        raise gz.UsageError(f"with.spectral-norm.iterations is {iterations}; expected a whole number of at least 1")
    module = importlib.import_module(f"ganzoo_modifiers.spectral_norm_{spec.framework}")
    return module.normalise(network, iterations=iterations)
