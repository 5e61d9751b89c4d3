"""Check that the parts fit together, from cards and settings alone: nothing is imported."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ganzoo_core.data import derive
from ganzoo_core.discovery.manifest import BOUNDS, Part
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_setting, pluralise
from ganzoo_core.mix.effects import list_unread_notes
from ganzoo_core.mix.mix import Mix, advise_switch, find_deciding_key, is_claim_true, list_network_slots
from ganzoo_core.settings import CORE_SETTINGS, Setting, is_choice


def check_values(mix: Mix) -> None:
    """Raise UsageError for a value that is not among its setting's choices, or outside the bounds on a part's card.

    So for a `data.derive` that names no method.
    """
    choices = {key: setting.choices for key, setting in CORE_SETTINGS.items() if setting.choices}
    for key, allowed in {**choices, **_collect_limits(mix, "choices")}.items():
        if (value := mix.settings.get(key)) is not None and not is_choice(value, allowed):
            wrong = next(item for item in value if item not in allowed) if isinstance(value, list) else value
            nearest = difflib.get_close_matches(str(wrong), [str(item) for item in allowed], n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            verb, several = ("holds", "some of ") if isinstance(value, list) else ("is", "")
            raise UsageError(f"{key} {verb} {wrong!r}; expected {several}{' or '.join(map(str, allowed))}{hint}")
    bounds = {field: _collect_limits(mix, field) for field in BOUNDS}
    for key, value in mix.settings.items():
        own: dict[str, Any] = {field: limits[key] for field, limits in bounds.items() if key in limits}
        if value is not None and (problem := Setting(None, "", **own).describe_problem(value)):
            raise UsageError(f"{key} is {format_setting(value)}; {problem}")
    if method := mix.settings["data.derive"]:
        derive.parse_method(method)


def _collect_limits(mix: Mix, field: str) -> dict[str, Any]:
    """What the cards of this mix say in a field, `choices` or one of `BOUNDS`: a setting's full name -> its limit."""
    limits: dict[str, Any] = {}
    separate = mix.parts["generator"] != mix.parts["discriminator"]
    for slot, part in mix.parts.items():
        for key, limit in getattr(part, field).items():
            if not (separate and slot == "discriminator" and key.startswith("model.")):
                limits[key] = limit
            if slot in ("generator", "discriminator"):
                limits[key.replace("model.", f"{slot}.", 1)] = limit
    for part in (*mix.modifiers, *mix.trackers):
        limits.update(getattr(part, field))
    return limits


def check_mix(mix: Mix) -> Mix:
    """Check from cards and settings alone that the parts fit; return the mix with warnings and resolved conflicts.

    Raises:
        UsageError: if they do not fit.
    """
    _check_same_kind(mix)
    picked = (*mix.parts.values(), *mix.modifiers, *mix.trackers)  # often one model in two slots
    warnings = list(dict.fromkeys(f"{part.label}: {warning}" for part in picked for warning in part.warnings))
    for part in (mix.parts["loss"], mix.parts["schedule"], mix.parts["data"], *mix.modifiers):
        if part.frameworks and mix.framework not in part.frameworks:
            raise UsageError(
                f"{part.name} is for {' and '.join(part.frameworks)}, but {mix.parts['generator'].name} is written in "
                f"{mix.framework}; pick another"
            )
    if mix.settings["train.updates"] == "simultaneous" and mix.settings["train.critic_steps"] > 1:
        raise UsageError(
            f"train.updates=simultaneous takes one step of D for one of G, but train.critic_steps is "
            f"{mix.settings['train.critic_steps']}; say --set updates=alternating or --set critic_steps=1"
        )
    check_parts(mix.settings)
    warnings += [*_warn_of_dropped_modifiers(mix), *_warn_of_unseen_conditions(mix)]
    for part in (mix.parts["loss"], *mix.modifiers):
        for need in part.needs:
            mix = _meet_need(mix, part, need, warnings)
        for feature in part.doubles:
            if mix.has_feature(feature, without=part):
                owners = mix.find_parts_adding(feature, without=part)
                owner = owners[0].name if owners else "the model"
                warnings.append(
                    f"{part.name} adds what {owner} already has ({_describe_feature(feature)}), "
                    f"so it counts twice; leave {part.name} out, or set the other to 0"
                )
    return replace(mix, warnings=(*warnings, *list_unread_notes(mix)))


def check_parts(settings: Mapping[str, Any]) -> None:
    """Raise UsageError for a batch that `train.accumulate` does not divide."""
    batch, parts = settings["train.batch_size"], settings["train.accumulate"]
    if batch % parts:
        fitting = next(count for count in range(min(parts, batch), 0, -1) if batch % count == 0)
        raise UsageError(
            f"train.accumulate is {parts}, and a batch of {pluralise(batch, 'image')} cannot be divided into as many "
            f"equal parts; say --set accumulate={fitting} or --batch-size {-(-batch // parts) * parts}"
        )


def _check_same_kind(mix: Mix) -> None:
    """Raise UsageError if one network takes labels and the other does not."""
    claims = {slot: mix.parts[slot].conditional for slot in ("generator", "discriminator")}
    takes = {slot: is_claim_true(claim, mix, slot) for slot, claim in claims.items()}
    if takes["generator"] == takes["discriminator"]:
        return
    first, second = sorted(takes, key=lambda slot: not takes[slot])
    ways = [advise_switch(claim, slot, now=takes[slot]) for slot, claim in claims.items() if isinstance(claim, Mapping)]
    names = {slot: mix.parts[slot].name for slot in takes}
    if names[first] == names[second]:
        names = {slot: f"the {slot} {name}" for slot, name in names.items()}
    advice = " or ".join([*ways, "pick two of a kind"])
    raise UsageError(f"{names[first]} is conditional and {names[second]} is not; {advice}")


def _warn_of_dropped_modifiers(mix: Mix) -> list[str]:
    """Warn of default modifiers of the model or its preset that the user's own choice of modifiers leaves out."""
    model, picked = mix.parts["generator"], [part.name for part in mix.modifiers]
    preset = model.presets.get(mix.preset, {})
    owner = f"the preset {mix.preset}" if "use.with" in preset else model.name
    left = [name for name in {**model.defaults, **preset}.get("use.with", []) if name not in picked]
    if not left:
        return []
    words, several = f"--with {','.join([*left, *picked])}", len(left) > 1
    reason = f"{owner} comes with {' and '.join(left)}, which {'are' if several else 'is'} left out"
    return [f"{reason}; {words} keeps {'them' if several else 'it'}"]


def _warn_of_unseen_conditions(mix: Mix) -> list[str]:
    """Warn of conditions that the discriminator alone takes: a generator cannot draw what belongs to the unknown."""
    generator, discriminator = mix.parts["generator"], mix.parts["discriminator"]
    return [
        f"the discriminator {discriminator.name} takes the condition `{name}`, and the generator {generator.name} "
        f"draws without it, so it cannot draw what belongs to it; pick a generator that takes `{name}`, or a "
        "discriminator that does not"
        for name in discriminator.conditions
        if name not in generator.conditions
    ]


def _meet_need(mix: Mix, part: Part, need: str, warnings: list[str]) -> Mix:
    """Check one need of a part; if a default of the model violates it, choose another value.

    Raises:
        UsageError: if no value meets the need, or the user set the one that violates it.
    """
    required = not need.startswith("no_")
    feature = need.removeprefix("no_")
    if mix.has_feature(feature) is required:
        return mix
    slots = list_network_slots(feature)
    network = slots[0] if len(slots) == 1 else "model"
    words = f"{part.name} needs a {network} with{'' if required else 'out'} {_describe_feature(feature)}"
    key = ""
    for slot in slots:
        model = mix.parts[slot]
        claim = model.has.get(feature)
        if not isinstance(claim, Mapping) or is_claim_true(claim, mix, slot) is required:
            continue
        key = find_deciding_key(claim["setting"], mix, slot)
        overlay = key.replace("model.", f"{slot}.", 1)
        for choice in model.choices.get(claim["setting"], ()):
            trial = replace(mix, settings=mix.settings.replace(overlay, choice, f"the mix, since {words}"))
            if is_claim_true(claim, trial, slot) is not required:
                continue
            if mix.settings.entries[key].by_user:
                raise UsageError(
                    f"{words}, but {key} is {mix.settings[key]} ({mix.settings.find_origin(key)}); "
                    f"say --set {overlay}={choice}"
                )
            warnings.append(f"{words}: {overlay}={choice} instead of {mix.settings[key]}")
            mix = trial
            break
        if mix.has_feature(feature) is required:
            return mix
    if key:
        raise UsageError(f"{words}, but {key} is {mix.settings[key]}; set another value")
    names = list(dict.fromkeys(mix.parts[slot].name for slot in slots))
    have = f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'}"
    raise UsageError(f"{words}, and {have} {'none' if required else 'it'}; pick another loss or model")


def _describe_feature(feature: str) -> str:
    return feature.removesuffix("_in_discriminator").removesuffix("_in_generator").replace("_", " ")
