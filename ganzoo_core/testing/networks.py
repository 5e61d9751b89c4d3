"""The networks of a model under test: what they are called with, and a trainer of them, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.data.conditions import make_random_rows
from ganzoo_core.engines.protocol import Trainer
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.randomness import latents, philox
from ganzoo_core.testing.subject import BATCH, Subject


def make_inputs(resolved: Mix, fitted: DataFit) -> tuple[np.ndarray, np.ndarray]:
    """z [N, latent_dim] and images [N,H,W,C] in [-1, 1]."""
    spec, generator = fitted.spec, philox(0, "contract")
    z = latents(generator, BATCH, spec.latent_dim, resolved.parts["generator"].latent)
    shape = (BATCH, spec.height, spec.width, spec.channels)
    return z, generator.uniform(-1, 1, shape).astype(np.float32)


def make_given(resolved: Mix, fitted: DataFit, slot: str) -> dict[str, np.ndarray]:
    """What a network is called with beside its first argument: labels, conditions, and z for a D that takes it."""
    shapes = mix.make_network_spec(resolved, fitted.spec, slot).conditions
    given = make_random_rows(shapes, BATCH, seed=1)
    return {**({"labels": np.arange(BATCH, dtype=np.int64)} if resolved.conditional else {}), **given}


def make_trainer(subject: Subject, *, loss: Any = None, **assigned: Any) -> tuple[Trainer, Mix, DataFit]:
    """Return a trainer for the model's own mix, or for `loss`, on noise images; the mix; and its fit to the data."""
    source = subject.make_source()
    picks = {**subject.choose_picks(), **({"loss": loss} if loss else {})}
    resolved = subject.resolve_mix(picks=picks, data=source, **assigned)
    fitted = building.fit_to_data(resolved, source)
    first = subject.list_stages(resolved, fitted)[0]
    G, D = building.build_networks(subject.engine, resolved, fitted, first)
    prepared = building.prepare_data(resolved, fitted, source)
    plan = building.make_plan(resolved, {})
    trainer = subject.engine.create_trainer(
        G, D, building.build_loss(resolved, fitted), plan, prepared.images, prepared.labels, prepared.conditions
    )
    return trainer, resolved, fitted


def choose_values(resolved: Mix, values: Mapping[str, float]) -> dict[str, float]:
    """The schedule's values that either network takes."""
    return {
        name: value
        for slot in ("generator", "discriminator")
        for name, value in building.network_kwargs(resolved, slot, values).items()
    }


def name_networks(trainer: Trainer) -> dict[str, Any]:
    """The trainer's networks by their slots."""
    return {"generator": trainer.G, "discriminator": trainer.D}
