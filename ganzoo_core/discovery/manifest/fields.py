"""Validate each field of a part's table in a manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ganzoo_core import settings
from ganzoo_core.discovery.manifest.cards import BOUNDS, DATA_FEATURES, Suits
from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.image_source import RESERVED_CONDITIONS, is_condition_name

MACHINES = ("laptop",)
DISCRIMINATOR_TAKES = ("latent",)
NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
NAME_RULE = "lower case letters, digits, dots, hyphens and underscores"
MAX_TEXT = 1000  # characters of one line
MAX_ITEMS = 500  # of a list, or of a table of settings
MAX_SIDE = 65_536  # pixels
MAX_SPEEDUP = 100  # times as fast in another precision
IMAGE_FIELDS = ("height", "width", "channels", "classes")
SUITS_FIELDS = ("max_images", "machine")
_MODULE_PATTERN = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_KEY_PATTERN = re.compile(r"(?=.{3,200}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")

Check = Callable[[Any], Any]
"""A field's value -> the value on the card; raises ValueError with what was expected."""


def _make_choice_check(*words: str) -> Check:
    def check(value: Any) -> Any:
        if value not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return value

    return check


def _read_text(value: Any) -> str:
    # One printable line: it is shown in tables, and a terminal would execute control characters.
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_TEXT:
        raise ValueError(f"expected one line of text, of at most {MAX_TEXT:,} characters")
    return value.strip()


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of names")
    if len(value) > MAX_ITEMS or any(len(item) > MAX_TEXT for item in value):
        raise ValueError(f"expected at most {MAX_ITEMS} names")
    return tuple(value)


def _read_names(value: Any) -> tuple[str, ...]:
    names = _read_texts(value)
    if not all(NAME_PATTERN.fullmatch(name) for name in names):
        raise ValueError(f"expected names of {NAME_RULE}")
    return names


def _read_part_name(value: Any) -> str:
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise ValueError(f"expected a name of {NAME_RULE}")
    return value


def _read_identifiers(value: Any) -> tuple[str, ...]:
    names = _read_texts(value)
    if not all(name.isidentifier() for name in names):
        raise ValueError("expected a list of identifiers, such as second_order")
    return names


def _read_conditions(value: Any) -> tuple[str, ...]:
    names = _read_identifiers(value)
    for name in names:
        if name in RESERVED_CONDITIONS:
            raise ValueError(f"{name} means something else to a network; expected another name")
        if not is_condition_name(name):
            raise ValueError(
                f"{name} cannot be the keyword of a condition; expected a Python identifier of ASCII letters"
            )
    return tuple(dict.fromkeys(names))


def _read_discriminator_takes(value: Any) -> tuple[str, ...]:
    names = _read_texts(value)
    if not set(names) <= set(DISCRIMINATOR_TAKES):
        raise ValueError(f"expected a list of {' and '.join(DISCRIMINATOR_TAKES)}")
    return names


def _read_data_features(value: Any) -> tuple[str, ...]:
    names = _read_texts(value)
    if not set(names) <= set(DATA_FEATURES):
        raise ValueError(f"expected a list of {' and '.join(DATA_FEATURES)}, which data may have")
    return names


def _read_count(value: Any) -> int:
    if type(value) is not int or not 0 < value <= settings.MAX_INTEGER:
        raise ValueError("expected a number of images above 0")
    return value


def _read_sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ITEMS or not all(map(_is_side, value)):
        raise ValueError("expected a list of pixels, such as [32, 64]")
    return tuple(sorted(set(value)))


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_SIDE


def _read_module(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not _MODULE_PATTERN.fullmatch(value):
        raise ValueError("expected a module, such as my_gan.hooks")
    return value


def _read_frameworks(value: Any) -> tuple[str, ...]:
    names = _read_texts([value] if isinstance(value, str) else value)
    for name in names:
        _make_choice_check(*FRAMEWORKS)(name)
    return tuple(dict.fromkeys(names))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= settings.MAX_INTEGER and math.isfinite(value)


def _read_decision(value: Any) -> Any:
    if value != "pair" and not _is_number(value):
        raise ValueError("expected a number or 'pair'")
    return value


def _read_clip(value: Any) -> Any:
    by_setting = isinstance(value, str) and value.startswith("loss.")
    if not by_setting and not (_is_number(value) and value > 0):
        raise ValueError("expected a number above 0, or the name of one of the loss's settings")
    return value


def _read_image(value: Any) -> Mapping[str, int]:
    if not isinstance(value, dict) or set(value) != set(IMAGE_FIELDS):
        raise ValueError("expected { height, width, channels, classes }")
    whole = all(type(number) is int and 0 <= number <= MAX_SIDE for number in value.values())
    if not whole or value["channels"] not in (1, 3) or not value["height"] or not value["width"]:
        raise ValueError("expected whole numbers of pixels, and 1 or 3 channels")
    return value


def read_table(value: Any) -> Mapping[str, Any]:
    """Flatten a table of settings; raises ValueError for an invalid key."""
    if not isinstance(value, dict):
        raise ValueError("expected a table of settings")
    flat = settings.flatten(value)
    if len(flat) > MAX_ITEMS:
        raise ValueError(f"expected at most {MAX_ITEMS} settings")
    for key in flat:
        if not _KEY_PATTERN.fullmatch(key):
            raise ValueError(f"{key!r} is no setting's name; expected such as model.width")
    return flat


def _read_help(value: Any) -> Mapping[str, str]:
    return {key: _read_text(line) for key, line in read_table(value).items()}


def _read_features(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected features, such as has.attention = true")
    for feature, claim in value.items():
        _read_identifiers([feature])
        if not isinstance(claim, bool) and not _is_by_setting(claim):
            raise ValueError(f"{feature}: expected true, false, {{ setting, is }} or {{ setting, above }}")
    return value


def _is_by_setting(claim: Any) -> bool:
    return (
        isinstance(claim, dict)
        and set(claim) in ({"setting", "is"}, {"setting", "above"})
        and isinstance(claim["setting"], str)
        and ("is" not in claim or isinstance(claim["is"], bool | int | float | str))
        and ("above" not in claim or _is_number(claim["above"]))
    )


def _read_added_features(value: Any) -> Mapping[str, Any]:
    """What a loss or a modifier adds: each also by several settings at once, as a list of conditions."""
    if isinstance(value, dict):
        _read_features({name: claim for name, claim in value.items() if not isinstance(claim, list)})
        for feature, claim in value.items():
            _read_identifiers([feature])
            if isinstance(claim, list) and not (0 < len(claim) <= MAX_ITEMS and all(map(_is_by_setting, claim))):
                raise ValueError(f"{feature}: expected a list of {{ setting, is }} and {{ setting, above }}")
        return value
    return _read_features(value)


def _read_conditional(value: Any) -> bool | Mapping[str, Any]:
    by_setting = isinstance(value, dict) and set(value) == {"setting", "is"} and isinstance(value["setting"], str)
    if not isinstance(value, bool) and not (by_setting and value["setting"].startswith("model.")):
        raise ValueError("expected true, false, or { setting, is } with a setting of the model")
    _read_features({"conditional": value})
    claim: bool | Mapping[str, Any] = value
    return claim


def _read_given(value: Any) -> Mapping[str, Any]:
    claims = _read_features(value)
    for name, claim in claims.items():
        if claim is not True and not (isinstance(claim, dict) and "above" in claim):
            raise ValueError(f"{name}: expected true, or {{ setting, above }} for a value that a setting turns on")
    return claims


def _read_presets(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        raise ValueError("expected a table for each preset")
    _read_names(list(value))
    if "none" in value:
        raise ValueError("'none' is what a user says for no preset")
    return {name: read_table(_drop_suits(preset)) for name, preset in value.items()}


def _drop_suits(preset: Any) -> Any:
    return {key: value for key, value in preset.items() if key != "suits"} if isinstance(preset, dict) else preset


def read_suits(presets: Mapping[str, Any]) -> Mapping[str, Suits]:
    """Read the `suits` of each preset that has it.

    Args:
        presets: the tables by name, with settings and `suits` together.

    Raises:
        ValueError: for an invalid `suits`, naming the preset.
    """
    return {name: _read_preset_suits(name, preset["suits"]) for name, preset in presets.items() if "suits" in preset}


def _read_preset_suits(name: str, value: Any) -> Suits:
    if not isinstance(value, dict) or not value or not set(value) <= set(SUITS_FIELDS):
        raise ValueError(f"{name}.suits: expected max_images or machine, such as {{ max_images = 1000 }}")
    most, machine = value.get("max_images"), value.get("machine", "")
    if most is not None and not (type(most) is int and 0 < most <= settings.MAX_INTEGER):
        raise ValueError(f"{name}.suits.max_images: expected a number of images above 0")
    if machine not in ("", *MACHINES):
        raise ValueError(f"{name}.suits.machine: expected {' or '.join(MACHINES)}")
    return Suits(most, machine)


def _read_speedups(value: Any) -> Mapping[str, float]:
    if not isinstance(value, dict) or not all(_is_number(each) and 1 < each <= MAX_SPEEDUP for each in value.values()):
        raise ValueError(f"expected a number between 1 and {MAX_SPEEDUP} for each preset, such as {{ digits = 1.4 }}")
    return {preset: float(speedup) for preset, speedup in value.items()}


def _read_choices(value: Any) -> Mapping[str, tuple[Any, ...]]:
    flat = read_table(value)
    if not all(isinstance(items, list) and items for items in flat.values()):
        raise ValueError("expected a list of values for each setting")
    return {key: tuple(items) for key, items in flat.items()}


def _read_bounds(value: Any) -> Mapping[str, float]:
    flat = read_table(value)
    if not all(map(_is_number, flat.values())):
        raise ValueError("expected a number for each setting")
    return flat


_COMMON_FIELDS: Mapping[str, Check] = {
    "title": _read_text, "hooks": _read_module, "framework": _read_frameworks, "frameworks": _read_frameworks,
    "paper": _read_text, "aliases": _read_names, "default": _read_flag, "defaults": read_table,
    "choices": _read_choices, **dict.fromkeys(BOUNDS, _read_bounds), "help": _read_help,
}  # fmt: skip
_KIND_FIELDS: Mapping[str, Mapping[str, Check]] = {
    "models": {
        "presets": _read_presets, "has": _read_features, "conditional": _read_conditional,
        "output": _make_choice_check("tanh", "linear"),
        "latent": _make_choice_check("normal", "uniform", "sphere", "none"),
        "image_sizes": _read_sizes, "takes": _read_identifiers, "generators": _read_names,
        "conditions": _read_conditions, "discriminator_takes": _read_discriminator_takes, "drawn_alone": _read_flag,
        "bfloat16": _read_speedups,
    },
    "losses": {
        "needs": _read_identifiers, "has": _read_added_features, "decision": _read_decision,
        "clip_discriminator": _read_clip, "probability": _make_choice_check("sigmoid"),
        "takes": _read_identifiers, "contract": _read_part_name,
    },
    "schedules": {"gives": _read_given},
    "datasets": {
        "license": _read_text, "image": _read_image,
        "argument": _make_choice_check("none", "optional", "required", "path"),
    },
    "modifiers": {
        "needs": _read_identifiers, "doubles": _read_identifiers, "has": _read_added_features,
        "calms_divergence": _read_flag, "takes": _read_identifiers,
    },
    "trackers": {},
    "extractors": {"needs": _read_data_features, "has": _read_features},
    "metrics": {
        "needs": _read_identifiers, "lower": _read_names, "higher": _read_names, "main": _read_flag,
        "min_images": _read_count, "max_training_images": _read_count,
    },
}  # fmt: skip
FIELDS: Mapping[str, Mapping[str, Check]] = {kind: {**_COMMON_FIELDS, **own} for kind, own in _KIND_FIELDS.items()}
