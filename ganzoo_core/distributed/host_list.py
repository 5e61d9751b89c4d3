"""Slurm's short form for the names of many machines."""

from __future__ import annotations

import itertools
import re

MOST_HOSTS = 100_000
_PART = re.compile(r"\[([0-9,-]+)\]|([^\[\],\s]+)")
_NAME = re.compile(rf"(?:{_PART.pattern})+")


def expand_host_list(text: str) -> list[str]:
    """`gpu[01-03,7],login` -> gpu01, gpu02, gpu03, gpu7, login; [] for what is no such list.

    Several brackets in a name make all combinations, the last one fastest, as `scontrol show hostnames` does.
    """
    hosts: list[str] = []
    position = 0
    while position < len(text):
        name = _NAME.match(text, position)
        if name is None:
            return []
        parts = [_expand_ranges(ranges) if ranges else [word] for ranges, word in _PART.findall(name[0])]
        if not all(parts):
            return []
        hosts += map("".join, itertools.product(*parts))
        if len(hosts) > MOST_HOSTS or text[name.end() : name.end() + 1] not in ("", ","):
            return []
        position = name.end() + 1
    return hosts


def _expand_ranges(text: str) -> list[str]:
    """`08-10,12` -> 08, 09, 10, 12; [] for what is no such list."""
    numbers: list[str] = []
    for word in text.split(","):
        found = re.fullmatch("([0-9]{1,9})(?:-([0-9]{1,9}))?", word)
        if found is None:
            return []
        first, last = int(found[1]), int(found[2] or found[1])
        if not 0 <= last - first < MOST_HOSTS:
            return []
        numbers += [f"{number:0{len(found[1])}d}" for number in range(first, last + 1)]
    return numbers
