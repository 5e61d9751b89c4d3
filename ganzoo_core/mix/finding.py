"""Find the parts that the user picked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganzoo_core.discovery.catalog import Catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.discovery.manifest.fields import FIELDS
from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import FRAMEWORKS, find_framework, get_default_framework
from ganzoo_core.messages import format_value
from ganzoo_core.mix.mix import SLOTS
from ganzoo_core.mix.request import UserPicks
from ganzoo_core.storage.paths import make_absolute

OBJECT = "(object)"
"""What a run's config says instead of the name of a part that was passed as a Python object."""
OBJECT_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "models": {
        **{name: name for name in ("conditional", "latent", "has", "conditions", "discriminator_takes", "drawn_alone")},
        "output_range": "output",
    },
    "losses": {name: name for name in ("needs", "has", "takes", "decision", "probability", "clip_discriminator")},
}
"""Kind -> attribute of a Python object -> the field of a manifest that it stands for; see docs/features.md."""


def find_models(catalog: Catalog, picks: UserPicks) -> tuple[dict[str, Part], dict[str, Any]]:
    parts: dict[str, Part] = {}
    objects: dict[str, Any] = {}
    for slot in ("generator", "discriminator"):
        picked = picks.get_pick(slot) if picks.get_pick(slot) is not None else picks.get_pick("model")
        if picked is None:
            picked_network = picks.get_pick("generator") or picks.get_pick("discriminator")
            if picked_network is not None:
                raise UsageError(f"no {slot} is picked; name a model, or --{slot} as well")
            raise UsageError(f"no model is named; {_describe_installed_models(catalog)}")
        if isinstance(picked, str):
            parts[slot] = catalog.find("models", picked)
        else:
            parts[slot], objects[slot] = make_object_card("models", slot, picked), picked
    first, second = parts["generator"], parts["discriminator"]
    if first.frameworks != second.frameworks:
        raise UsageError(
            f"the generator {first.name} is written in {first.frameworks[0]} and the discriminator {second.name} in "
            f"{second.frameworks[0]}; pick both from one framework"
        )
    return parts, objects


def _describe_installed_models(catalog: Catalog) -> str:
    names = [part.name for part in catalog.list_kind("models")]
    return (
        f"installed are {', '.join(names)}"
        if names
        else f"none is installed: {get_default_framework().install_command}"
    )


def find_dataset(catalog: Catalog, picks: UserPicks, objects: dict[str, Any]) -> tuple[Part, str]:
    picked = picks.get_pick("data")
    if picked is None:
        part = catalog.find_default("datasets")
        if part is None:
            raise UsageError("no dataset is named and none is installed as the default; pip install ganzoo-datasets")
        return part, ""
    if not isinstance(picked, str):
        objects["data"] = picked
        return make_object_card("datasets", "data", picked), ""
    name, _, argument = picked.partition(":")
    part = catalog.find("datasets", name)
    return part, read_dataset_argument(part, argument)


def make_data_path_absolute(catalog: Catalog, text: str) -> str:
    """`NAME:ARGUMENT` with a path made absolute, so that it does not depend on the working directory."""
    name, colon, argument = text.partition(":")
    return f"{name}:{read_dataset_argument(catalog.find('datasets', name), argument)}" if colon else text


def read_dataset_argument(part: Part, argument: str) -> str:
    """Check the argument after a dataset's colon; make a path absolute.

    Raises:
        UsageError: if a required argument is missing, or one is given to a dataset that takes none.
    """
    if part.argument in ("required", "path") and not argument:
        what = "a path" if part.argument == "path" else "an argument"
        raise UsageError(f"the dataset {part.name} needs {what}: --data {part.name}:…")
    if part.argument == "path":
        return str(make_absolute(argument))
    if part.argument == "none" and argument:
        raise UsageError(f"the dataset {part.name} takes no argument; found {argument!r} behind the colon")
    return argument


def find_preset(name: str | None, model: Part, data: Part) -> str:
    if name is None:
        return data.name if data.name in model.presets else ""
    if name in ("", "none"):
        return ""
    if name not in model.presets:
        known = ", ".join(sorted(model.presets)) or "none"
        raise UsageError(f"{model.name} has no preset {name!r}; it has {known}")
    return name


def find_loss_or_schedule(
    catalog: Catalog, picks: UserPicks, slot: str, model_settings: Mapping[str, Any], objects: dict[str, Any]
) -> tuple[Part, bool]:
    """The loss or the schedule, and whether it is the model's default."""
    kind, own_name = SLOTS[slot], model_settings.get(f"use.{slot}")
    picked = picks.get_pick(slot)
    if picked is not None and not isinstance(picked, str):
        objects[slot] = picked
        return make_object_card(kind, slot, picked), False
    try:
        own_part = catalog.find(kind, own_name) if own_name and (picked is None or picked == own_name) else None
    except UsageError as error:
        raise UsageError(f"the model's own {slot}: {error}") from None
    if picked is None:
        part = own_part or catalog.find_default(kind)
        if part is None:
            raise UsageError(f"no {slot} is named and none is installed as the default; pip install ganzoo-{kind}")
        return part, True
    part = catalog.find(kind, picked)
    if own_name and part != own_part:
        names = [
            known for known in catalog.list_kind(kind) if own_name in (known.name, known.qualified_name, *known.aliases)
        ]
        return part, part in names
    return part, own_part is not None


def check_objects(picks: UserPicks) -> None:
    """Raise UsageError if a run's config names Python objects, and they are not given again."""
    missing = [slot for slot in SLOTS if picks.get_pick(slot) == OBJECT]
    if not missing:
        return
    again = ", ".join(f'"{slot}": …' for slot in missing)
    train = ", ".join(f"{slot}=…" for slot in missing)
    raise UsageError(
        f"{picks.request.config_name} was written for Python objects ({', '.join(missing)}), which no file holds; "
        f"give the same again, in Python: gz.resume(RUN, picks={{{again}}}), or gz.train({train}) for a new run"
    )


def make_object_card(kind: str, slot: str, obj: Any) -> Part:
    """Make a card for a Python object passed instead of a name; its attributes replace the manifest's fields.

    Raises:
        UsageError: for a network that is of no framework, or an attribute that the manifest would not allow.
    """
    framework = find_framework(type(obj)) if slot in ("generator", "discriminator") else None
    if slot in ("generator", "discriminator") and framework is None:
        classes = " or ".join(f"a {framework.network_class}" for framework in FRAMEWORKS.values())
        raise UsageError(f"{slot} is a {type(obj).__name__}; expected a model's name, {classes}")
    attributes = OBJECT_ATTRIBUTES.get(kind, {}).items()
    fields = {
        field: _read_attribute(kind, slot, attribute, field, getattr(obj, attribute))
        for attribute, field in attributes
        if getattr(obj, attribute, None) is not None
    }
    if kind == "losses":
        fields.setdefault("needs", ("real_in_generator_step",))
    return Part(
        kind=kind,
        name=type(obj).__name__,
        title=f"an object of the type {type(obj).__name__}",
        hooks="",
        distribution=OBJECT,
        version="",
        package="",
        frameworks=() if framework is None else (framework.name,),
        argument="optional",
        **fields,
    )


def _read_attribute(kind: str, slot: str, attribute: str, field: str, value: Any) -> Any:
    """Check an attribute of a Python object as the manifest's field; an object has no settings to decide it by."""
    try:
        checked = FIELDS[kind][field](list(value) if isinstance(value, tuple | set) else value)
        if isinstance(checked, Mapping) and not all(isinstance(claim, bool) for claim in checked.values()):
            raise ValueError("expected true or false for each feature")
        if field == "clip_discriminator" and isinstance(checked, str):
            raise ValueError("expected a number above 0")
    except ValueError as error:
        raise UsageError(f"the {slot}'s attribute {attribute} is {format_value(value)}; {error}") from None
    return checked
