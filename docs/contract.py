"""Writes docs/contract.md: every check that a plugin is held to, and a sample that it catches.

python docs/contract.py
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from ganzoo_core.testing import CHECKS

ROOT = Path(__file__).parents[1]
OF_DISTRIBUTIONS = {  # caught in tests/test_contract.py itself
    "manifest": "A title that is a number",
    "wheel": "A wheel whose files hold no ganzoo.toml",
    "readme": "A README without the paper, the name, or a word on what differs",
}
HEAD = """# The contract

What `ganzoo doctor NAME` checks, and what a plugin's tests inherit from `ganzoo_core.testing.Contract`. Each check has
a part that is broken in just that way, in `tests/broken`, and `tests/test_contract.py` shows that it is caught.
`python docs/contract.py` writes this page.

A check that an error ends before it can tell, after another check of the same part has failed, is *not tried*: what it
meets is most often the same fault. Mend the first, and run them again.

`settings` of the class, or `ganzoo doctor NAME --set KEY=VALUE`, reach each part that has such a setting. `effect`
compares twenty steps with and without the modifier. If they are the same, it compares the schedules of 100,000 images,
and then tries other values of those of the modifier's settings that you did not set: its `choices`, else 0 and 1. So a
modifier that begins after `with.NAME.images` is found to work at 0 images. Where no such value shows it, say one that
does: `settings = {"with.my-modifier.half_life": 2}`.

| check | of | what holds | caught |
|---|---|---|---|
"""


def page() -> str:
    """The page, from the checks and the manifest of the broken parts."""
    manifest = tomllib.loads((ROOT / "tests" / "broken" / "ganzoo.toml").read_text(encoding="utf-8"))
    samples = {name: part["title"] for kind, parts in manifest.items() if kind != "api" for name, part in parts.items()}
    rows = []
    for check in CHECKS:
        of = "all parts" if len(check.kinds) > 5 else ", ".join(check.kinds)
        caught = samples.get(check.name) or OF_DISTRIBUTIONS[check.name]
        rows.append(f"| `{check.name}` | {of} | {check.says} | {caught} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "contract.md").write_text(page(), encoding="utf-8")
