"""Damage of two kinds: to bytes, and to the values in JSON, JSON lines, YAML, TOML and a safetensors header."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable
from typing import Any

EVIL_BYTES = (
    b"\x00", b"\xff", b"\x80", b"{", b"[" * 500, b'"', b"9" * 40, b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"!!python/",
)  # fmt: skip


class RawText(str):
    """Text that is written as it stands."""


Pairs = list[list[Any]]  # of an object: [key, value]; a key may stand twice


class Table:
    """An object of JSON whose keys may stand twice."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


NUMBERS = (
    RawText("Infinity"), RawText("-Infinity"), RawText("NaN"), RawText("1e999"), RawText("-1e999"), RawText("1e-400"),
    RawText("9" * 400),
    RawText("-" + "9" * 400), RawText("0." + "3" * 400), -3, -1, 0, 1, 0.5, 10**9, 2**31, 2**53 + 1, 2**63 - 1, 2**63,
    2**64,
    -(2**63) - 1, 1e308, 5e-324, -0.0,
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "\udc00x", "²", "٣", "१२", "1e999", "-3", "inf", "nan", "12", "0012", "../../x",
    "..", ".", "/", "a/b", "a\\b", "../outside/secret", "../outside/12", "../outside", "/etc/passwd", "~", "pictures.x",
    "pictures", "pictures.x:y", "os", "__class__", "\x1b[2J", "\x1b]0;owned\x07", "a\x9b2Jb", "\u202etxt.exe", "\u2066",
    "\u2028", "a\nb\r\nc", "{0}%s%n", "<script>ran()</script>", "'\"`$(touch ran)", "x" * 100_000, "é" * 70_000, "Ａ",
    "true", "null", "none", "[]", "digits", "dcgan-torch", "x:y", "CON", "-rf", ".hidden", "\ufeff", "\U0001f600",
)  # fmt: skip
CONTAINERS = (
    RawText("[]"), RawText("{}"), RawText("[" * 10_000 + "]" * 10_000),
    RawText('{"a":' * 10_000 + "1" + "}" * 10_000), RawText("[[[]]]"),
    RawText("[null]"), RawText("[" + ",".join("0" * 10_000) + "]"), RawText('{"": {"": {}}}'),
    RawText('{"a": 1, "a": 2}'),
    RawText('["a", 1, null, {}]'), RawText('{"bytes": -1}'),
)  # fmt: skip
PLAIN_VALUES = (True, False, None)


def pick_evil(rng: random.Random) -> Any:
    """A hostile value."""
    return rng.choice(rng.choice((NUMBERS, TEXTS, TEXTS, CONTAINERS, PLAIN_VALUES)))


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randint(1, 16))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:end]
        elif kind == 2:
            changed[at:at] = rng.choice(EVIL_BYTES)
        elif kind == 3:
            changed[at:end] = rng.choice(EVIL_BYTES)
        elif kind == 4:
            changed[at:at] = changed[at:end] * rng.randint(1, 50)
        else:
            del changed[at:]
    return bytes(changed)


def damage(content: bytes, syntax: str, rng: random.Random) -> bytes:
    """Damage the values of a text in seven cases of ten, else its bytes.

    Args:
        content: as it should be.
        syntax: `json`, `jsonl`, `yaml`, `toml`, `safetensors`; "" for bytes without any.
        rng: decides all.
    """
    if not syntax or rng.random() < 0.3:
        return damage_bytes(content, rng)
    return _STRUCTURED[syntax](content, rng)


def _damage_json(content: bytes, rng: random.Random) -> bytes:
    return write_json(_damage_tree(json.loads(content, object_pairs_hook=_as_table), rng)).encode("utf-8", "replace")


def _damage_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(len(lines)), rng.randrange(8)
        if kind == 0:
            lines.insert(at, lines[at])
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif kind == 2:
            lines.insert(at, rng.choice((b"\n", b"null\n", b"[]\n", b"\x00\n", b'{"images"', b"\xff\n", b"{}\n")))
        else:
            try:
                lines[at] = _damage_json(lines[at], rng) + b"\n"
            except (ValueError, RecursionError):  # it was damaged before
                lines[at] = damage_bytes(lines[at], rng)
    return b"".join(lines)


def _damage_yaml(content: bytes, rng: random.Random) -> bytes:
    """A mapping whose values are JSON, which is YAML as well, a line each."""
    import yaml

    tree = _damage_tree(_as_tree(yaml.load(content, yaml.SafeLoader)), rng)
    if not isinstance(tree, Table):
        return write_json(tree).encode("utf-8", "replace")
    lines = [f"{_yaml_key(key)}: {write_json(value)}\n" for key, value in tree.pairs]
    return "".join(lines).encode("utf-8", "replace")


def _yaml_key(key: str) -> str:
    return key if key.replace(".", "").replace("_", "").isalnum() and key.isascii() else write_json(key)


def _damage_toml(content: bytes, rng: random.Random) -> bytes:
    """Top-level keys with inline tables behind them."""
    tree = _damage_tree(_as_tree(tomllib.loads(content.decode())), rng)
    pairs = tree.pairs if isinstance(tree, Table) else [["x", tree]]
    lines = [f"{write_json(key)} = {write_json(value, toml=True)}\n" for key, value in pairs]
    return "".join(lines).encode("utf-8", "replace")


def _damage_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Its header, whose length is written anew."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = _damage_json(content[8:end], rng)
    return len(header).to_bytes(8, "little") + header + content[end:]


_STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "json": _damage_json, "jsonl": _damage_lines, "yaml": _damage_yaml, "toml": _damage_toml,
    "safetensors": _damage_safetensors,
}  # fmt: skip


def _as_table(pairs: list[tuple[str, Any]]) -> Table:
    return Table([[key, value] for key, value in pairs])


def _as_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return Table([[str(key), _as_tree(item)] for key, item in value.items()])
    return [_as_tree(item) for item in value] if isinstance(value, list) else value


def _list_slots(tree: Any) -> list[tuple[list[Any], int]]:
    """Every place in a tree that holds a value: a list, and the index in it."""
    found: list[tuple[list[Any], int]] = []
    if isinstance(tree, Table):
        for pair in tree.pairs:
            found += [(pair, 1), *_list_slots(pair[1])]
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            found += [(tree, index), *_list_slots(item)]
    return found


def _damage_tree(tree: Any, rng: random.Random) -> Any:
    if rng.random() < 0.02:
        return pick_evil(rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        slots = _list_slots(tree)
        if not slots:
            break
        place, index = rng.choice(slots)
        kind = rng.random()
        if kind < 0.5:
            place[index] = pick_evil(rng)
        elif kind < 0.6:
            place[index] = _nudge(place[index], rng)
        elif kind < 0.7:
            other, at = rng.choice(slots)
            place[index] = other[at] if not isinstance(other[at], Table | list) else pick_evil(rng)
        elif kind < 0.75:
            place[index] = [place[index]]
        else:
            _damage_keys(tree, rng)
    return tree


def _nudge(value: Any, rng: random.Random) -> Any:
    """A value of the same type that may pass for a good one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value[:-1] if isinstance(value, str) else pick_evil(rng)
    return rng.choice((value + 1, value - 1, value * 2, value * 1000, -value, float(value), str(value)))


def _damage_keys(tree: Any, rng: random.Random) -> None:
    """Take away, rename, double or add a key of one of the tables."""
    tables = [tree] if isinstance(tree, Table) else []
    tables += [place[index] for place, index in _list_slots(tree) if isinstance(place[index], Table)]
    if not tables:
        return
    pairs = rng.choice(tables).pairs
    kind = rng.randrange(4)
    if pairs and kind == 0:
        del pairs[rng.randrange(len(pairs))]
    elif pairs and kind == 1:
        rng.choice(pairs)[0] = rng.choice(TEXTS)
    elif pairs and kind == 2:
        pairs.append([rng.choice(pairs)[0], pick_evil(rng)])
    else:
        pairs.insert(rng.randrange(len(pairs) + 1), [rng.choice(TEXTS), pick_evil(rng)])


def write_json(value: Any, *, toml: bool = False) -> str:
    """A tree as JSON, or as a value of TOML; raw text as it stands."""
    if isinstance(value, RawText):
        return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(value, str(value)) if toml else str(value)
    if isinstance(value, Table):
        between = " = " if toml else ": "
        inner = (f"{write_json(key)}{between}{write_json(item, toml=toml)}" for key, item in value.pairs)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(write_json(item, toml=toml) for item in value) + "]"
    if value is None and toml:
        return "[]"
    return json.dumps(value)
