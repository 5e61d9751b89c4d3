"""Resolve a request to a Mix: find the parts, merge their settings, check that they fit together."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ganzoo_core.discovery.catalog import Catalog
from ganzoo_core.discovery.manifest import SINGULAR, Part
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.mix.checks import check_mix, check_values
from ganzoo_core.mix.finding import (
    OBJECT,
    check_objects,
    find_dataset,
    find_loss_or_schedule,
    find_models,
    find_preset,
)
from ganzoo_core.mix.layers import SettingsLayer, collect_model_settings, collect_setting_definitions, merge_layers
from ganzoo_core.mix.mix import SLOTS, Mix, find_presets_by_count
from ganzoo_core.mix.request import Request, UserPicks
from ganzoo_core.settings import CORE_SETTINGS, Setting, Settings, SettingValue, find_matches


def resolve(catalog: Catalog, request: Request) -> Mix:
    """Find the parts, merge their settings, and check that they fit together.

    Raises:
        UsageError: if they do not fit, with what to pick or to set instead.
        PluginError: for a part whose plugin has a problem.
    """
    picks = UserPicks(request)
    check_objects(picks)
    parts, objects = find_models(catalog, picks)
    generator, discriminator = parts["generator"], parts["discriminator"]

    data, argument = find_dataset(catalog, picks, objects)
    parts["data"] = data
    preset = find_preset(request.preset, generator, data)
    own = {**generator.defaults, **generator.presets.get(preset, {})}
    chosen_by_user = []
    for slot in ("loss", "schedule"):
        parts[slot], is_own = find_loss_or_schedule(catalog, picks, slot, own, objects)
        if not is_own:
            chosen_by_user.append(parts[slot])
    modifiers = _find_parts(catalog, "modifiers", picks.list_modifiers(own))
    trackers = _find_parts(catalog, "trackers", picks.list_trackers())

    layers = [SettingsLayer({key: setting.default for key, setting in CORE_SETTINGS.items()}, "core")]
    layers += [
        SettingsLayer(part.defaults, part.name)
        for part in (parts["data"], parts["loss"], parts["schedule"], *modifiers, *trackers)
    ]
    layers += collect_model_settings(generator, discriminator, preset)
    layers += [SettingsLayer(part.defaults, part.name) for part in chosen_by_user]
    kinds = collect_setting_definitions(layers, (*parts.values(), *modifiers, *trackers))
    user_layers = picks.make_layers()
    late = _find_late(catalog, request, generator, kinds, user_layers) if request.preset is None and not preset else ()
    layers += [replace(layer, values=_without(layer.values, late)) for layer in user_layers]
    settings = merge_layers(layers, kinds, separate=generator != discriminator)
    settings = _record_picks(catalog, settings, parts, modifiers, trackers, argument, picks)
    mix = Mix(parts, modifiers, settings, argument, preset, objects, trackers=trackers, request=request, late=late)
    check_values(mix)
    return check_mix(mix)


def _find_late(
    catalog: Catalog, request: Request, generator: Part, kinds: Mapping[str, Setting], said: Sequence[SettingsLayer]
) -> tuple[str, ...]:
    """Keys that the user set and that only a preset chosen by the number of images defines.

    Raises:
        UsageError: for an invalid value of such a setting.
    """
    unknown = tuple(key for layer in said for key in layer.values if not find_matches(key, kinds))
    if not unknown:
        return ()
    bare = replace(request, config=_without(request.config, unknown), assigned=_without(request.assigned, unknown))
    for name in find_presets_by_count(generator):
        try:
            settings = resolve(catalog, replace(bare, preset=name)).settings
        except UsageError:  # it does not fit the user's picks, so it will not be chosen
            continue
        if all(find_matches(key, settings) for key in unknown):
            resolve(catalog, replace(request, preset=name))
            return unknown
    return ()


def _without(values: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def pick_preset(catalog: Catalog, mix: Mix, count: int) -> tuple[Mix, str]:
    """Choose a preset by the number of images, if the user named none and the data has none of its own.

    Args:
        catalog: what is installed.
        mix: without a preset.
        count: images before any are held out; for data with its own splits, those of the training split.

    Returns:
        The mix with that preset, or unchanged; and a note for the user, or "".

    Raises:
        UsageError: if the user set something that only a preset for fewer images defines, or that does not fit.
    """
    name = next((name for name, most in mix.presets_by_max_images.items() if count <= most), None)
    if name is None and mix.late:
        known = ", ".join(f"{name} for up to {most:,}" for name, most in mix.presets_by_max_images.items())
        raise UsageError(
            f"there is no setting {mix.late[0]!r} in this mix: a preset that suits fewer images has it ({known}), and "
            f"there are {count:,}; say --preset {next(iter(mix.presets_by_max_images))}, or leave it out"
        )
    if name is None or mix.request is None:
        return mix, ""
    most = pluralise(mix.presets_by_max_images[name], "image")
    why = f"for up to {most}, and there {'is' if count == 1 else 'are'} {count:,}"
    try:
        resolved = resolve(catalog, replace(mix.request, preset=name))
    except UsageError as error:
        if mix.late:  # only this preset defines what the user set
            raise
        return mix, f"the preset {name}, {why}, is left out: it does not go with what was picked ({error})"
    return resolved, f"the preset {name} is taken: it is {why}; --preset none leaves it out"


def fit_batch_size(mix: Mix, count: int, *, held_out: int, world_size: int) -> tuple[Mix, str]:
    """Reduce a preset's batch size to the size of the data; never change one set by the user or the model.

    Args:
        mix: with its preset.
        count: training images.
        held_out: images that the test part took from them.
        world_size: processes that share a batch evenly, each in the parts of `train.accumulate`.

    Returns:
        The mix with a batch of at most `count`, or unchanged; and a note for the user, or "".

    Raises:
        UsageError: if there are fewer images than a batch size that may not be changed.
    """
    batch = mix.settings["train.batch_size"]
    if count >= batch:
        return mix, ""
    parts = world_size * mix.settings["train.accumulate"]
    origin, most = mix.settings.find_origin("train.batch_size"), count - count % parts
    there = f"there {'is' if count == 1 else 'are'} {pluralise(count, 'image')}"
    if origin != f"{mix.parts['generator'].name} preset {mix.preset}" or not most:
        are, them = ("is", "it") if held_out == 1 else ("are", "them")
        held = f" ({held_out:,} more {are} held out; --set data.holdout=0 trains on {them})" if held_out else ""
        raise UsageError(f"{there}{held} and a batch takes {batch}; say --batch-size {most or count} or less")
    smaller = mix.settings.replace("train.batch_size", most, f"{origin}: {batch}, of {pluralise(count, 'image')}")
    return replace(mix, settings=smaller), f"a batch takes {most} instead of the preset's {batch}, since {there}"


def _find_parts(catalog: Catalog, kind: str, names: Sequence[str]) -> tuple[Part, ...]:
    """Look up the picked modifiers or trackers.

    Raises:
        UsageError: if one is picked twice.
    """
    parts = tuple(catalog.find(kind, name) for name in names)
    for name in sorted({part.name for part in parts if [other.name for other in parts].count(part.name) > 1}):
        raise UsageError(f"the {SINGULAR[kind]} {name} is picked twice; once is enough")
    return parts


def _record_picks(
    catalog: Catalog,
    settings: Settings,
    parts: Mapping[str, Part],
    modifiers: Sequence[Part],
    trackers: Sequence[Part],
    argument: str,
    picks: UserPicks,
) -> Settings:
    entries = dict(settings.entries)
    same = parts["generator"] == parts["discriminator"]
    for slot, part in parts.items():
        origin = picks.by_slot.get(slot, picks.by_slot.get("model", ("", "")) if slot in SLOTS else ("", ""))[1]
        if slot in ("loss", "schedule", "data") and slot not in picks.by_slot:
            origin = entries[f"use.{slot}"].origin if entries[f"use.{slot}"].value else "the default"
        name = catalog.find_short_name(part) if part.distribution != OBJECT else OBJECT
        entries[f"use.{slot}"] = SettingValue(
            name + (f":{argument}" if slot == "data" and argument else ""),
            origin,
            slot in (*picks.by_slot, "generator", "discriminator"),
            entries[f"use.{slot}"].value,
        )
    entries["use.model"] = SettingValue(
        entries["use.generator"].value if same else "", entries["use.generator"].origin, True
    )
    for slot, several in (("with", modifiers), ("track", trackers)):
        own = entries[f"use.{slot}"]
        origin = picks.by_slot.get(slot, ("", own.origin))[1]
        names = [catalog.find_short_name(part) for part in several]
        entries[f"use.{slot}"] = SettingValue(names, origin, slot in picks.by_slot, own.value)
    return Settings(entries)
