"""Fit data to networks: choose the framing of the images and the shapes the networks are built for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ganzoo_core.api import Spec
from ganzoo_core.data import derive
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.data.framing import Framing, choose_framing
from ganzoo_core.errors import UsageError
from ganzoo_core.mix.mix import Mix, advise_switch


@dataclass(frozen=True)
class DataFit:
    """The shapes the networks are built for, and the framing that gives the images that shape."""

    spec: Spec
    framing: Framing


def make_network_spec(mix: Mix, spec: Spec, slot: str) -> Spec:
    """The spec of one network: with the conditions that it takes, and z as `latent` for a D that takes it."""
    part = mix.parts[slot]
    conditions = {name: spec.conditions[name] for name in part.conditions}
    if slot == "discriminator" and "latent" in part.discriminator_takes:
        conditions["latent"] = (spec.latent_dim,)
    return replace(spec, conditions=conditions)


def make_data_fit(
    mix: Mix,
    *,
    height: int,
    width: int,
    channels: int,
    classes: int,
    background: int | None,
    conditions: Mapping[str, tuple[int, ...]] | None,
) -> DataFit:
    """Choose the networks' shapes and the framing for this data; check that the two fit.

    Args:
        mix: the parts.
        height, width, channels: of the images before framing.
        classes: 0 for images without labels.
        background: see `ImageSource`.
        conditions: name -> shape of one row, of those that the data have beside that of `data.derive`; None if they
            are unknown.

    Raises:
        UsageError: naming the setting or the part to change.
    """
    if mix.conditional and not classes:
        model = mix.parts["generator"]
        claim = model.conditional
        instead = "pick an unconditional model"
        if isinstance(claim, Mapping):
            instead = advise_switch(claim, "model", now=True)
        raise UsageError(
            f"{model.name} is conditional, and {mix.parts['data'].name} has no labels; {instead}, or a folder with one "
            "folder a class"
        )
    sizes = [set(mix.parts[slot].image_sizes) for slot in ("generator", "discriminator")]
    both = sizes[0] & sizes[1] if all(sizes) else sizes[0] | sizes[1]
    if any(sizes) and not both:
        raise UsageError(
            f"{mix.parts['generator'].name} takes images of {sorted(sizes[0])} pixels and "
            f"{mix.parts['discriminator'].name} of {sorted(sizes[1])}; pick two that share a size"
        )
    framing = choose_framing(
        (height, width),
        size=mix.settings["data.size"],
        sizes=sorted(both),
        background=background,
        fit=mix.settings["data.fit"],
    )
    spec = Spec(
        height=framing.target_size[0],
        width=framing.target_size[1],
        channels=mix.settings["data.channels"] or channels,
        classes=classes if mix.conditional else 0,
        latent_dim=mix.latent_dim,
        framework=mix.framework,
    )
    derived = {}
    if mix.derives:
        derived[DERIVED] = derive.describe_shape(mix.settings["data.derive"], (*framing.target_size, spec.channels))
    if conditions is None:
        return DataFit(spec, framing)
    framed = {name: _frame_shape(shape, framing) for name, shape in conditions.items()}
    _check_conditions(mix, conditions)
    shapes = {**framed, **derived}
    return DataFit(replace(spec, conditions={name: shapes[name] for name in mix.conditions}), framing)


def _frame_shape(shape: tuple[int, ...], framing: Framing) -> tuple[int, ...]:
    """The shape of a condition's rows as the networks see them: a picture of the images' size is framed as they are."""
    return (*framing.target_size, shape[2]) if len(shape) == 3 and shape[:2] == framing.original_size else shape


def _advise_on_missing(mix: Mix, condition: str) -> str:
    """What to type so that the data have a condition."""
    data = mix.parts["data"]
    if condition == DERIVED:
        return (
            "say --set data.derive=grey (or edges, downscale:2, mask:0.25) to make one from the images, or pick data "
            "that have it with --data, such as pairs of pictures"
        )
    if f"data.{condition}" in data.defaults:
        return f"{data.name} makes it of what --set data.{condition}=… names"
    return "pick data that have it with --data"


def _check_conditions(mix: Mix, given: Collection[str]) -> None:
    """Check that the data, or `data.derive`, give each condition that a network takes, and give it once.

    Raises:
        UsageError: if not, with how to get it.
    """
    data = mix.parts["data"].name
    if mix.derives and DERIVED in given:
        raise UsageError(
            f"{data} has a condition `{DERIVED}`, and data.derive={mix.settings['data.derive']} "
            f"({mix.settings.find_origin('data.derive')}) would make another; say --set data.derive= to take that of "
            f"{data}"
        )
    for slot in ("generator", "discriminator"):
        for name in mix.parts[slot].conditions:
            if name in given or (name == DERIVED and mix.derives):
                continue
            known = f"has the condition{'s' if len(given) > 1 else ''} {', '.join(given)}" if given else "has none"
            advice = _advise_on_missing(mix, name)
            raise UsageError(f"{mix.parts[slot].name} takes the condition `{name}`, and {data} {known}; {advice}")
