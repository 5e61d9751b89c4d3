"""Which settings have no effect in a mix, and why: nothing reads them, or the schedule's values win over them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ganzoo_core.data.derive import DERIVED
from ganzoo_core.frameworks import get_framework
from ganzoo_core.messages import format_setting
from ganzoo_core.mix.mix import Mix
from ganzoo_core.settings import CORE_SETTINGS
from ganzoo_core.settings.lengths import Interval


@dataclass(frozen=True)
class NoEffect:
    """Why a setting has no effect, and what to type so that it has; `in_part` if one of its numbers still counts."""

    reason: str
    advice: str = ""
    in_part: bool = False


def explain_unread(mix: Mix) -> dict[str, NoEffect]:
    """Settings without effect -> why. The core's own defaults are left out, and so is what a Python object may read."""
    core = dict(_explain_core_settings(mix))
    found = {**dict(_explain_settings_of_parts(mix)), **dict(_explain_replaced(mix, core)), **core}
    for key in dict.fromkeys(setting.fallback for setting in CORE_SETTINGS.values() if setting.fallback):
        users = [user for user, setting in CORE_SETTINGS.items() if setting.fallback == key]
        if all(mix.settings[user] is not None or user in found for user in users):
            reasons = sorted((found[user] for user in users if user in found), key=lambda why: not why.in_part)
            found[key] = reasons[0] if reasons else NoEffect(f"{' and '.join(users)} are set, and win")
    return {key: why for key, why in found.items() if mix.settings.find_origin(key) != "core"}


def list_unread_notes(mix: Mix) -> list[str]:
    """A sentence for each setting that the user chose and that has no effect."""
    return [
        f"{key}={format_setting(mix.settings[key])} ({mix.settings.find_origin(key)}) "
        f"{'counts in part only' if why.in_part else 'changes nothing'}: {why.reason}{why.advice}"
        for key, why in explain_unread(mix).items()
        if mix.settings.entries[key].is_chosen
    ]


def add_schedule_notes(mix: Mix, values: Mapping[str, float]) -> Mix:
    """The mix with notes on the settings that these values of the schedule replace and that its card does not name.

    A schedule from a Python object does not see the settings, so every value of its own wins. One from a plugin may
    compute `lr_g`, `lr_d`, `beta2` and `ema_halflife` from the settings, and then replaces none.
    """
    card = mix.parts["schedule"]
    is_object = "schedule" in mix.objects
    computed = set() if is_object else {setting.scheduled for setting in CORE_SETTINGS.values()}
    undeclared = replace(card, gives={name: True for name in values if name not in computed})
    notes = list_unread_notes(replace(mix, parts={**mix.parts, "schedule": undeclared}))
    return replace(mix, warnings=(*mix.warnings, *(note for note in notes if note not in mix.warnings)))


def _explain_settings_of_parts(mix: Mix) -> Iterator[tuple[str, NoEffect]]:
    """Settings of a loss, schedule or modifier not picked, and of a model where both networks have their own."""
    for key in mix.settings:
        own = [key.replace("model.", f"{slot}.", 1) for slot in ("generator", "discriminator")]
        same_model = mix.parts["generator"] == mix.parts["discriminator"]
        if key.startswith("model.") and same_model and all(each in mix.settings for each in own):
            yield key, NoEffect(f"{' and '.join(own)} are set, and win")
    for slot in ("loss", "schedule"):
        if slot not in mix.objects:
            part = mix.parts[slot]
            for key in mix.settings:
                if key.startswith(f"{slot}.") and key not in part.defaults:
                    yield key, NoEffect(f"the {slot} {part.name} does not read it")
    picked = {key for part in mix.modifiers for key in part.defaults}
    for key in mix.settings:
        if key.startswith("with.") and key not in picked:
            name = key.removeprefix("with.").rpartition(".")[0]
            yield key, NoEffect(f"the modifier {name} is not picked", f"; --with {name} picks it")


def _explain_replaced(mix: Mix, unread: Container[str]) -> Iterator[tuple[str, NoEffect]]:
    """Settings that the schedule's values win over, and settings of the schedule for values that nothing takes."""
    schedule = mix.parts["schedule"]
    owners = {"loss": mix.parts["loss"], **{f"with.{part.name}": part for part in mix.modifiers}}
    takers = [*owners.values(), mix.parts["generator"], mix.parts["discriminator"]]
    for name in mix.list_given_values():
        claim = schedule.gives[name]
        replaced = [f"{prefix}.{name}" for prefix, part in owners.items() if name in part.takes]
        replaced += [key for key, setting in CORE_SETTINGS.items() if setting.scheduled == name and key not in unread]
        for key in replaced:
            way = f"--set {_format_off(claim, mix)}" if isinstance(claim, Mapping) else "another schedule"
            if key in mix.settings:
                in_part = isinstance(_get_effective(mix, key), list)
                reason = f"the schedule {schedule.name} gives {name}, which wins"
                yield key, NoEffect(reason, f"; with {way} the setting wins", in_part)
        is_taken = replaced or "loss" in mix.objects or any(name in part.takes for part in takers)
        if isinstance(claim, Mapping) and not is_taken:
            yield claim["setting"], NoEffect(f"no part of this mix takes {name} from the schedule")


def _explain_core_settings(mix: Mix) -> Iterator[tuple[str, NoEffect]]:
    """Settings of the core that are read with other values of another setting, or that the framework does not read."""
    framework = get_framework(mix.framework)
    if not mix.latent_dim:
        yield "model.latent_dim", NoEffect(f"{mix.parts['generator'].name} draws without z")
    if mix.settings["data.derive"] and not mix.derives:
        models = list(dict.fromkeys(mix.parts[slot].name for slot in ("generator", "discriminator")))
        take = "takes" if len(models) == 1 else "take"
        yield "data.derive", NoEffect(f"{' and '.join(models)} {take} no condition `{DERIVED}`")
    for key, setting in CORE_SETTINGS.items():
        if key in framework.unread_settings:
            yield key, NoEffect(f"{framework.title} does not use it")
        elif setting.only_with:
            other, values = setting.only_with
            now = _get_effective(mix, other)
            if now not in values if values else Interval.parse(now).count == 0:
                other = CORE_SETTINGS[other].fallback if mix.settings[other] is None else other
                wanted = " or ".join(f"--set {other}={value}" for value in values) or f"--set {other}=5epochs"
                yield key, NoEffect(f"{other} is {now}", f"; it counts with {wanted}")


def _get_effective(mix: Mix, key: str) -> Any:
    """The value of a setting, or that of its fallback."""
    value, fallback = mix.settings[key], CORE_SETTINGS[key].fallback if key in CORE_SETTINGS else ""
    return mix.settings[fallback] if value is None and fallback else value


def _format_off(claim: Mapping[str, Any], mix: Mix) -> str:
    """The assignment with which a schedule does not give a value, such as `schedule.gamma_ends=0,0`."""
    key, off = claim["setting"], f"{claim['above']:g}"
    value = mix.settings[key]
    return f"{key}={format_setting([off] * len(value) if isinstance(value, list) else off)}"
