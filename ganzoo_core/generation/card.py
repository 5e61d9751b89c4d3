"""A generator's card: make it from a mix, and rebuild the mix from it.

A card is checked against the manifest of the part that it names before that part is imported, so that a bad card gives
a clear error instead of a failure in the plugin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ganzoo_core import building
from ganzoo_core.data import derive
from ganzoo_core.data.classes import Classes
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.mix import DataFit, Mix, make_network_spec
from ganzoo_core.runs import layout
from ganzoo_core.settings import CORE_SETTINGS, Settings, SettingValue, find_kind, is_choice, read_value
from ganzoo_core.storage import decoding
from ganzoo_core.storage.records import FORMAT, Card, Origin
from ganzoo_core.terminal.progress import Reporter


def make_card(
    mix: Mix,
    fit: DataFit,
    *,
    classes: Classes,
    epoch_images: int,
    step_images: int,
    licences: Sequence[str],
) -> dict[str, Any]:
    """A generator's card without `images` and `values`, which change during training.

    Args:
        mix, fit: the mix that is trained, and how the data fit it.
        classes: of the training data.
        epoch_images, step_images: images in an epoch and in a step.
        licences: of the training data, and of that of the initial weights.

    Raises:
        UsageError: if the card would not be readable, such as for a class name that contains a NUL.
    """
    part = mix.parts["generator"]
    wrappers = [] if "generator" in mix.objects else building.list_wrappers(mix, "generator")
    spec = make_network_spec(mix, fit.spec, "generator")
    card = {
        "format": FORMAT,
        "part": _make_origin(part) if "generator" not in mix.objects else None,
        "modifiers": [
            {**_make_origin(wrapper), "options": mix.get_modifier_options()[wrapper.name]} for wrapper in wrappers
        ],
        "options": mix.get_options("generator"),
        "spec": asdict(spec),
        "latent": part.latent,
        "output": part.output,
        "crop": fit.framing.crop,
        "class_names": list(classes.names) if mix.conditional else [],
        "untrained_classes": list(classes.untrained) if mix.conditional else [],
        "epoch_images": epoch_images,
        "step_images": step_images,
        "license": "; ".join(licences),
        "drawn_alone": part.drawn_alone,
        "derive": mix.settings["data.derive"] if DERIVED in spec.conditions else "",
        "background": fit.framing.background if fit.framing.crop is not None else None,
    }
    decoding.decode(json.dumps({**card, "images": 0, "values": {}}).encode(), Card, "the generator's card")
    return card


def _make_origin(part: Part) -> dict[str, str]:
    return {"name": part.name, "distribution": part.distribution, "version": part.version}


def mix_from_card(card: Card, folder: Path) -> Mix:
    """Rebuild a generator's mix: its part, modifiers and options.

    Args:
        card: of a generator built by a part, not given as an object.
        folder: of the generator.

    Raises:
        UsageError: if a part is not installed, or the card does not match its manifest.
    """
    assert card.part is not None
    source = str(folder / layout.CARD)
    part = _find_part("models", card.part, folder)
    _check_card(card, part, source)
    entries = _read_options(part, card.options, "model", "generator", source)
    modifiers = []
    for origin in card.modifiers:
        modifiers.append(_find_part("modifiers", origin, folder))
        prefix = f"with.{origin.name}"
        entries |= _read_options(modifiers[-1], origin.options, prefix, prefix, source)
    return Mix({"generator": part}, tuple(modifiers), Settings(entries), "", "")


def _find_part(kind: str, origin: Origin, folder: Path) -> Part:
    """Find the installed part; warns if its version differs."""
    try:
        part = catalog.scan().find(kind, f"{origin.distribution}/{origin.name}")
    except UsageError:
        raise UsageError(
            f"this generator was made by {origin.name} of {origin.distribution} {origin.version}, which is not "
            f"installed; pip install {origin.distribution}"
        ) from None
    # A plugin must keep its own bundled generators working in every version.
    if part.version != origin.version and not folder.is_relative_to(part.location or folder / "no"):
        Reporter().warn(
            f"this generator was made by {origin.name} of {origin.distribution} {origin.version}, and {part.version} "
            f"is installed: should it draw otherwise, pip install {origin.distribution}=={origin.version}"
        )
    return part


def _check_card(card: Card, part: Part, source: str) -> None:
    spec = card.spec
    if part.frameworks and spec.framework not in part.frameworks:
        written = " and ".join(part.frameworks)
        raise UsageError(f"{source}: spec.framework is {spec.framework}, and {part.label} is written in {written}")
    claim = part.conditional
    if isinstance(claim, Mapping):  # a card without that option is of the default
        key = claim["setting"]
        claim = card.options.get(key.removeprefix("model."), part.defaults.get(key)) == claim["is"]
    if bool(spec.classes) != claim:
        takes = "takes classes" if claim else "takes none"
        raise UsageError(f"{source}: spec.classes is {spec.classes}, and {part.label} {takes}")
    if set(spec.conditions) != set(part.conditions):
        asked, taken = (", ".join(sorted(names)) or "none" for names in (spec.conditions, part.conditions))
        raise UsageError(f"{source}: spec.conditions holds {asked}, and {part.label} takes {taken}")
    if (card.latent == "none") != (part.latent == "none"):
        draws = "draws without z" if part.latent == "none" else "draws from z"
        raise UsageError(f"{source}: latent is {card.latent}, and {part.label} {draws}")
    if card.drawn_alone != part.drawn_alone:
        each = "each image by itself" if part.drawn_alone else "images in batches"
        raise UsageError(f"{source}: drawn_alone is {str(card.drawn_alone).lower()}, and {part.label} draws {each}")
    _check_derive(card, source)
    for name, value in card.values.items():
        if name not in part.takes:
            raise UsageError(f"{source}: values holds {name}, which {part.label} does not take")
        most = max(spec.height, spec.width) if name == "resolution" else None
        if most is not None and not (1 <= value <= most and value.is_integer()):
            raise UsageError(f"{source}: values.resolution is {value:g}; expected 1 to {most}, the size of its images")


def _check_derive(card: Card, source: str) -> None:
    """Raise UsageError unless `derive` gives the condition that the card states, if it gives one."""
    if not card.derive:
        return
    spec, found = card.spec, tuple(card.spec.conditions.get(DERIVED, ()))
    try:
        shape = derive.describe_shape(card.derive, (spec.height, spec.width, spec.channels))
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None
    if found != shape:
        raise UsageError(
            f"{source}: derive is {card.derive}, which makes a condition {DERIVED} of {list(shape)}; spec.conditions "
            f"holds {list(found) if DERIVED in spec.conditions else 'none'}"
        )


def _read_options(
    part: Part, options: Mapping[str, Any], namespace: str, prefix: str, source: str
) -> dict[str, SettingValue]:
    """Read options with the types that the part's manifest declares; undeclared ones are unchanged.

    Args:
        part: the part that takes them.
        options: from the card.
        namespace: prefix of their keys in the manifest; `prefix` is that of the returned keys.
        source: the card's path.
    """
    entries = {}
    for name, value in options.items():
        key = f"{namespace}.{name}"
        default = part.defaults.get(key, CORE_SETTINGS[key].default if key in CORE_SETTINGS else None)
        if default is not None:
            try:
                value = read_value(key, find_kind(key, default), value)
            except UsageError as error:
                raise UsageError(f"{source}, among its options: {error}") from None
        allowed = part.choices.get(key)
        if allowed and not is_choice(value, allowed):
            listed = ", ".join(map(str, allowed))
            raise UsageError(f"{source}: options.{name} is {format_value(value)}; {part.label} takes {listed}")
        entries[f"{prefix}.{name}"] = SettingValue(value, layout.CARD)
    return entries
