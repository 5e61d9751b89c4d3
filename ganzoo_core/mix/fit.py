"""Fit data to networks: choose the framing of the images and the shapes the networks are built for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ganzoo_core.api import Spec
from ganzoo_core.data import derive
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.data.framing import Framing, choose_framing
from ganzoo_core.errors import UsageError
from ganzoo_core.mix.mix import Mix


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
        raise UsageError(
            f"{mix.parts['generator'].name} is conditional, and {mix.parts['data'].name} has no labels; "
            "pick an unconditional model, or a folder with one folder a class"
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
    if conditions is None:
        return DataFit(spec, framing)
    return DataFit(replace(spec, conditions=_find_conditions(mix, spec, framing, conditions)), framing)


def _find_conditions(
    mix: Mix, spec: Spec, framing: Framing, given: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the conditions that the networks take, as they see them.

    Raises:
        UsageError: if the data lacks one, with how to get it.
    """
    shapes = {}
    for name, shape in given.items():
        is_framed = len(shape) == 3 and shape[:2] == framing.original_size
        shapes[name] = (*framing.target_size, shape[2]) if is_framed else shape
    if method := mix.settings["data.derive"]:
        shapes[DERIVED] = derive.describe_shape(method, (*framing.target_size, spec.channels))
    for name in mix.conditions:
        if name not in shapes:
            known = f"has the condition{'s' if len(given) > 1 else ''} {', '.join(given)}" if given else "has none"
            advice = (
                "say --set data.derive=grey (or edges, downscale:2, mask:0.25) to make one from the images, or --data "
                "pairs:PATH"
                if name == DERIVED
                else "pick data that have it"
            )
            raise UsageError(
                f"{mix.parts['generator'].name} takes the condition `{name}`, and {mix.parts['data'].name} {known}; "
                f"{advice}"
            )
    return {name: shapes[name] for name in mix.conditions}
