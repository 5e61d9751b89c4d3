"""Fit data to networks: choose the framing of the images and the shapes the networks are built for."""

from __future__ import annotations

from dataclasses import dataclass

from ganzoo_core.api import Spec
from ganzoo_core.data.framing import Framing, choose_framing
from ganzoo_core.errors import UsageError
from ganzoo_core.mix.mix import Mix


@dataclass(frozen=True)
class DataFit:
    """The shapes the networks are built for, and the framing that gives the images that shape."""

    spec: Spec
    framing: Framing


def make_data_fit(mix: Mix, *, height: int, width: int, channels: int, classes: int, background: int | None) -> DataFit:
    """Choose the networks' shapes and the framing for this data; check that the two fit.

    Args:
        mix: the parts.
        height, width, channels: of the images before framing.
        classes: 0 for images without labels.
        background: see `ImageSource`.

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
        latent_dim=mix.settings["model.latent_dim"],
        framework=mix.framework,
    )
    return DataFit(spec, framing)
