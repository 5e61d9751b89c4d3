"""make_table.py, on a few emoji written as emojibase has them."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

table = runpy.run_path(str(Path(__file__).parents[1] / "make_table.py"))["make_table"]

GROUPS = {
    "groups": {"0": "smileys-emotion", "1": "people-body", "2": "component", "8": "symbols", "9": "flags"},
    "subgroups": {
        "0": "face-smiling",
        "16": "hands",
        "32": "skin-tone",
        "94": "keycap",
        "95": "alphanum",
        "98": "flag",
    },
}
SKINS = [{}] * 5


def emoji(text, order, group, subgroup, **more):
    return {"emoji": text, "order": order, "group": group, "subgroup": subgroup, **more}


DATA = [
    {"emoji": "🇦"},  # regional indicators have no group
    emoji("☺️", 2, 0, 0),
    emoji("😀", 1, 0, 0),
    emoji("👋", 3, 1, 16, skins=SKINS),
    emoji("🧑‍🚒", 4, 1, 16, skins=SKINS),
    emoji("🏻", 5, 2, 32),
    emoji("0️⃣", 6, 8, 94),
    emoji("🅰️", 7, 8, 95),
    emoji("™️", 8, 8, 0),
    emoji("➕", 9, 8, 0),
    emoji("🏳️‍🌈", 10, 9, 98),
    emoji("🏁", 11, 9, 98),
]


def test_single_code_points_by_group_in_unicodes_order():
    text = table(DATA, GROUPS, "emojibase-data 1.0", "MIT License\n\nCopyright someone\n")
    read = tomllib.loads(text)
    assert {name: words.split() for name, words in read["groups"].items()} == {
        "smileys-emotion": ["😀", "☺"],
        "people-body": ["👋"],
        "symbols": ["➕"],
        "flags": ["🏳️‍🌈", "🏁"],
    }
    assert read["more"]["letters"].split() == ["0️⃣", "🅰", "™"]
    assert read["more"]["skin-tones"].split() == ["👋"]
    assert "# Copyright someone" in text
    assert "emojibase-data 1.0" in text
