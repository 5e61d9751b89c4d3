"""Which parts the user's words mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganzoo_core.discovery.catalog import Catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import UsageError
from ganzoo_core.mix.mix import SLOTS
from ganzoo_core.mix.request import Words
from ganzoo_core.storage.paths import absolute_path


def find_models(catalog: Catalog, words: Words) -> tuple[dict[str, Part], dict[str, Any]]:
    parts: dict[str, Part] = {}
    objects: dict[str, Any] = {}
    for slot in ("generator", "discriminator"):
        picked = words.pick(slot) if words.pick(slot) is not None else words.pick("model")
        if picked is None:
            other = words.pick("generator") or words.pick("discriminator")
            if other is not None:
                raise UsageError(f"no {slot} is picked; name a model, or --{slot} as well")
            raise UsageError(f"no model is named; {_offer(catalog)}")
        if isinstance(picked, str):
            parts[slot] = catalog.find("models", picked)
        else:
            parts[slot], objects[slot] = object_card("models", slot, picked), picked
    first, second = parts["generator"], parts["discriminator"]
    if first.frameworks != second.frameworks:
        raise UsageError(
            f"the generator {first.name} is written in {first.frameworks[0]} and the discriminator {second.name} in "
            f"{second.frameworks[0]}; pick both from one framework"
        )
    if first.conditional != second.conditional:
        told, untold = (first, second) if first.conditional else (second, first)
        raise UsageError(f"{told.name} is conditional and {untold.name} is not; pick two of a kind")
    return parts, objects


def _offer(catalog: Catalog) -> str:
    names = [part.name for part in catalog.of_kind("models")]
    return f"installed are {', '.join(names)}" if names else "none is installed: pip install ganzoo-core[torch]"


def find_dataset(catalog: Catalog, words: Words, objects: dict[str, Any]) -> tuple[Part, str]:
    picked = words.pick("data")
    if picked is None:
        part = catalog.default("datasets")
        if part is None:
            raise UsageError("no dataset is named and none is installed as the default; pip install ganzoo-datasets")
        return part, ""
    if not isinstance(picked, str):
        objects["data"] = picked
        return object_card("datasets", "data", picked), ""
    name, _, argument = picked.partition(":")
    part = catalog.find("datasets", name)
    return part, read_argument(part, argument)


def data_words(catalog: Catalog, words: str) -> str:
    """`NAME:ARGUMENT` as it means the same from anywhere."""
    name, colon, argument = words.partition(":")
    return f"{name}:{read_argument(catalog.find('datasets', name), argument)}" if colon else words


def read_argument(part: Part, argument: str) -> str:
    """What stands behind a dataset's colon, as it is kept: a path is made absolute.

    Raises:
        UsageError: if the dataset needs one, or takes none.
    """
    if part.argument in ("required", "path") and not argument:
        what = "a path" if part.argument == "path" else "an argument"
        raise UsageError(f"the dataset {part.name} needs {what}: --data {part.name}:…")
    if part.argument == "path":
        return str(absolute_path(argument))
    if part.argument == "none" and argument:
        raise UsageError(f"the dataset {part.name} takes no argument; found {argument!r} behind the colon")
    return argument


def find_preset(asked: str | None, model: Part, data: Part) -> str:
    if asked is None:
        return data.name if data.name in model.presets else ""
    if asked in ("", "none"):
        return ""
    if asked not in model.presets:
        known = ", ".join(sorted(model.presets)) or "none"
        raise UsageError(f"{model.name} has no preset {asked!r}; it has {known}")
    return asked


def find_side_part(
    catalog: Catalog, words: Words, slot: str, own: Mapping[str, Any], objects: dict[str, Any]
) -> tuple[Part, bool]:
    """The loss or the schedule, and whether it is the model's own choice."""
    kind, own_name = SLOTS[slot], own.get(f"use.{slot}")
    picked = words.pick(slot)
    if picked is not None and not isinstance(picked, str):
        objects[slot] = picked
        return object_card(kind, slot, picked), False
    try:
        own_part = catalog.find(kind, own_name) if own_name and (picked is None or picked == own_name) else None
    except UsageError as error:
        raise UsageError(f"the model's own {slot}: {error}") from None
    if picked is None:
        part = own_part or catalog.default(kind)
        if part is None:
            raise UsageError(f"no {slot} is named and none is installed as the default; pip install ganzoo-{kind}")
        return part, True
    part = catalog.find(kind, picked)
    if own_name and part != own_part:
        names = [known for known in catalog.of_kind(kind) if own_name in (known.name, known.qualified, *known.aliases)]
        return part, part in names
    return part, own_part is not None


def object_card(kind: str, slot: str, given: Any) -> Part:
    """A card for an object that was given in Python instead of a name; its attributes may say what a manifest says."""
    framework: tuple[str, ...] = ()
    for base in type(given).__mro__:
        root = base.__module__.split(".")[0]
        if slot in ("generator", "discriminator") and root in ("torch", "keras", "tensorflow"):
            framework = ("torch",) if root == "torch" else ("tensorflow",)
    if slot in ("generator", "discriminator") and not framework:
        raise UsageError(
            f"{slot} is a {type(given).__name__}; expected a model's name, a torch.nn.Module or a keras.Model"
        )
    return Part(
        kind=kind,
        name=type(given).__name__,
        title=f"an object of the type {type(given).__name__}",
        hooks="",
        distribution="(object)",
        version="",
        package="",
        frameworks=framework,
        conditional=bool(getattr(given, "conditional", False)),
        output=getattr(given, "output_range", "tanh"),
        latent=getattr(given, "latent", "normal"),
        needs=tuple(getattr(given, "needs", ("real_in_generator_step",) if slot == "loss" else ())),
        has=dict(getattr(given, "has", {})),
        decision=getattr(given, "decision", None),
        clip_discriminator=getattr(given, "clip_discriminator", None),
        argument="optional",
    )
