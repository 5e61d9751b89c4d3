"""What each field of a part's table may hold, one field at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ganzoo_core import settings
from ganzoo_core.discovery.manifest.cards import Suits

FRAMEWORKS = ("torch", "tensorflow")
MACHINES = ("laptop",)
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?")
NAME_IN_WORDS = "lower case letters, digits, dots, hyphens and underscores"
MAX_TEXT = 1000  # characters of one line
MAX_ITEMS = 500  # of a list, or of a table of settings
MAX_SIDE = 65_536  # pixels
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_KEY = re.compile(r"(?=.{3,200}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")

Check = Callable[[Any], Any]
"""A field's value -> the value as the card holds it; raises ValueError with what was expected."""


def _one_of(*words: str) -> Check:
    def check(value: Any) -> Any:
        if value not in words:
            raise ValueError(f"expected {' or '.join(words)}")
        return value

    return check


def _text(value: Any) -> str:
    # One printable line: it stands in tables, and a terminal obeys control characters.
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_TEXT:
        raise ValueError(f"expected one line of text, of at most {MAX_TEXT:,} characters")
    return value.strip()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of names")
    if len(value) > MAX_ITEMS or any(len(item) > MAX_TEXT for item in value):
        raise ValueError(f"expected at most {MAX_ITEMS} names")
    return tuple(value)


def _names(value: Any) -> tuple[str, ...]:
    names = _texts(value)
    if not all(NAME.fullmatch(name) for name in names):
        raise ValueError(f"expected names of {NAME_IN_WORDS}")
    return names


def _identifiers(value: Any) -> tuple[str, ...]:
    names = _texts(value)
    if not all(name.isidentifier() for name in names):
        raise ValueError("expected a list of identifiers, such as second_order")
    return names


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ITEMS or not all(map(_is_side, value)):
        raise ValueError("expected a list of pixels, such as [32, 64]")
    return tuple(sorted(set(value)))


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_SIDE


def _module(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not _MODULE.fullmatch(value):
        raise ValueError("expected a module, such as my_gan.hooks")
    return value


def _frameworks(value: Any) -> tuple[str, ...]:
    names = _texts([value] if isinstance(value, str) else value)
    for name in names:
        _one_of(*FRAMEWORKS)(name)
    return tuple(dict.fromkeys(names))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= settings.MAX_INTEGER and math.isfinite(value)


def _decision(value: Any) -> Any:
    if value != "pair" and not _is_number(value):
        raise ValueError("expected a number or 'pair'")
    return value


def _clip(value: Any) -> Any:
    by_setting = isinstance(value, str) and value.startswith("loss.")
    if not by_setting and not (_is_number(value) and value > 0):
        raise ValueError("expected a number above 0, or the name of one of the loss's settings")
    return value


def _image(value: Any) -> Mapping[str, int]:
    if not isinstance(value, dict) or set(value) != {"height", "width", "channels", "classes"}:
        raise ValueError("expected { height, width, channels, classes }")
    whole = all(type(number) is int and 0 <= number <= MAX_SIDE for number in value.values())
    if not whole or value["channels"] not in (1, 3) or not value["height"] or not value["width"]:
        raise ValueError("expected whole numbers of pixels, and 1 or 3 channels")
    return value


def table(value: Any) -> Mapping[str, Any]:
    """A table of settings -> the same, flat; raises ValueError for a key that could not be set."""
    if not isinstance(value, dict):
        raise ValueError("expected a table of settings")
    flat = settings.flatten(value)
    if len(flat) > MAX_ITEMS:
        raise ValueError(f"expected at most {MAX_ITEMS} settings")
    for key in flat:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no setting's name; expected such as model.width")
    return flat


def _help(value: Any) -> Mapping[str, str]:
    return {key: _text(line) for key, line in table(value).items()}


def _has(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected features, such as has.attention = true")
    for feature, claim in value.items():
        _identifiers([feature])
        by_setting = isinstance(claim, dict) and set(claim) in ({"setting", "is"}, {"setting", "above"})
        if not isinstance(claim, bool) and not (
            by_setting
            and isinstance(claim["setting"], str)
            and ("is" not in claim or isinstance(claim["is"], bool | int | float | str))
            and ("above" not in claim or _is_number(claim["above"]))
        ):
            raise ValueError(f"{feature}: expected true, false, {{ setting, is }} or {{ setting, above }}")
    return value


def _presets(value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        raise ValueError("expected a table for each preset")
    _names(list(value))
    if "none" in value:
        raise ValueError("'none' is what a user says for no preset")
    return {name: table(_without_suits(preset)) for name, preset in value.items()}


def _without_suits(preset: Any) -> Any:
    return {key: value for key, value in preset.items() if key != "suits"} if isinstance(preset, dict) else preset


def read_suits(presets: Mapping[str, Any]) -> Mapping[str, Suits]:
    """When each preset is the right one, of those that say so.

    Args:
        presets: the tables by name, settings and `suits` together.

    Raises:
        ValueError: naming the preset.
    """
    return {name: _suits(name, preset["suits"]) for name, preset in presets.items() if "suits" in preset}


def _suits(name: str, value: Any) -> Suits:
    if not isinstance(value, dict) or not value or not set(value) <= {"max_images", "machine"}:
        raise ValueError(f"{name}.suits: expected max_images or machine, such as {{ max_images = 1000 }}")
    most, machine = value.get("max_images"), value.get("machine", "")
    if most is not None and not (type(most) is int and 0 < most <= settings.MAX_INTEGER):
        raise ValueError(f"{name}.suits.max_images: expected a number of images above 0")
    if machine not in ("", *MACHINES):
        raise ValueError(f"{name}.suits.machine: expected {' or '.join(MACHINES)}")
    return Suits(most, machine)


def _choices(value: Any) -> Mapping[str, tuple[Any, ...]]:
    flat = table(value)
    if not all(isinstance(items, list) and items for items in flat.values()):
        raise ValueError("expected a list of values for each setting")
    return {key: tuple(items) for key, items in flat.items()}


_COMMON: Mapping[str, Check] = {
    "title": _text, "hooks": _module, "framework": _frameworks, "frameworks": _frameworks, "paper": _text,
    "aliases": _names, "default": _flag, "defaults": table, "choices": _choices, "help": _help,
}  # fmt: skip
_OF_KIND: Mapping[str, Mapping[str, Check]] = {
    "models": {
        "presets": _presets, "has": _has, "conditional": _flag, "output": _one_of("tanh", "linear"),
        "latent": _one_of("normal", "uniform", "sphere"), "image_sizes": _sizes, "takes": _identifiers,
        "generators": _names,
    },
    "losses": {
        "needs": _identifiers, "has": _has, "decision": _decision, "clip_discriminator": _clip,
        "probability": _one_of("sigmoid"),
    },
    "schedules": {},
    "datasets": {"license": _text, "image": _image, "argument": _one_of("none", "optional", "required", "path")},
    "modifiers": {"needs": _identifiers, "doubles": _identifiers, "has": _has, "calms_divergence": _flag},
    "trackers": {},
    "extractors": {"has": _has},
    "metrics": {"needs": _identifiers, "lower": _names, "higher": _names, "main": _flag},
}  # fmt: skip
FIELDS: Mapping[str, Mapping[str, Check]] = {kind: {**_COMMON, **own} for kind, own in _OF_KIND.items()}
