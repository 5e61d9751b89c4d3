"""Write ganzoo_emoji/table.toml: the emoji of each Unicode group.

    npm pack emojibase-data && tar xzf emojibase-data-*.tgz
    python make_table.py package

The argument is the folder of npm's `emojibase-data`; `en/data.json`, `meta/groups.json`, `package.json` and `LICENSE`
are read from it.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "ganzoo_emoji" / "table.toml"
COMPONENT_GROUP = "component"  # skin tones and hair, which are not emoji by themselves
TEXT_STYLE, EMOJI_STYLE = "\N{VARIATION SELECTOR-15}", "\N{VARIATION SELECTOR-16}"
LETTER_SUBGROUPS = {"alphanum", "keycap"}
# Letters and digits that Unicode has in other subgroups: copyright, registered, trade mark, ATM, WC,
# BACK, END, ON!, SOON, TOP, under eighteen.
LETTERS = set("©®™🏧🚾🔙🔚🔛🔜🔝🔞")
TONE_COUNT = 5
EMOJI_PER_LINE = 40


def main() -> None:
    parser = argparse.ArgumentParser(description="Write ganzoo_emoji/table.toml from emojibase-data.")
    parser.add_argument("folder", type=Path, help="the folder of npm's emojibase-data")
    folder = parser.parse_args().folder
    data, groups, package = (_read_json(folder / name) for name in ("en/data.json", "meta/groups.json", "package.json"))
    licence = (folder / "LICENSE").read_text(encoding="utf-8")
    TABLE.write_text(make_table(data, groups, f"{package['name']} {package['version']}", licence), encoding="utf-8")


def make_table(data: list[dict[str, Any]], groups: dict[str, Any], source: str, licence: str) -> str:
    """Return the table's text.

    Args:
        data: emojibase's emoji; those without a group are regional indicators and skipped.
        groups: emojibase's names of groups and subgroups, by number.
        source: the package's name and version.
        licence: the package's licence, which must be included.
    """
    pictures: dict[str, list[str]] = {name: [] for name in groups["groups"].values() if name != COMPONENT_GROUP}
    letters, toned = [], []
    for emoji in sorted((each for each in data if "group" in each), key=lambda each: each["order"]):
        group, subgroup = groups["groups"][str(emoji["group"])], groups["subgroups"][str(emoji["subgroup"])]
        text, is_single = _simplify(emoji["emoji"])
        if group == COMPONENT_GROUP:
            continue
        if subgroup in LETTER_SUBGROUPS or text in LETTERS:
            letters.append(text)
        elif is_single or group == "flags":
            pictures[group].append(text)
        if is_single and len(emoji.get("skins", ())) >= TONE_COUNT:
            toned.append(text)
    about = f"Which emoji are in which Unicode group. make_table.py wrote this from {source}, whose licence is:"
    head = textwrap.indent(f"{about}\n\n{licence}", "# ", lambda line: True)
    return "\n".join(
        [
            *(line.rstrip() for line in head.splitlines()),
            "",
            "[groups]",
            *(_format_entry(name, texts) for name, texts in pictures.items()),
            "",
            "[more] # letters and digits, of the group symbols; people and hands that come in five skin tones",
            _format_entry("letters", letters),
            _format_entry("skin-tones", toned),
            "",
        ]
    )


def _simplify(text: str) -> tuple[str, bool]:
    """Return an emoji without style selectors and True if that leaves one code point, else unchanged and False."""
    bare = text.replace(EMOJI_STYLE, "").replace(TEXT_STYLE, "")
    return (bare, True) if len(bare) == 1 else (text, False)


def _format_entry(name: str, pictures: Iterable[str]) -> str:
    words = list(pictures)
    lines = [" ".join(words[start : start + EMOJI_PER_LINE]) for start in range(0, len(words), EMOJI_PER_LINE)]
    return "\n".join([f'{name} = """', *lines, '"""'])


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
