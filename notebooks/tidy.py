"""Puts the notebooks in the form in which they are committed: `python notebooks/tidy.py`.

Outputs go, links into a plain.py lead to the lines that hold what they name, and every notebook has its badge. Edit
them in Jupyter, run this, commit.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = "ganzoo/ganzoo"  # owner and name on GitHub, where Colab opens the notebooks from
LINK = re.compile(r"\[`(?P<named>[^`]+)`\]\((?P<path>\.\./[^)#\s]+\.py)(?:#[^)]*)?\)")
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def tidy(path: Path) -> str:
    """A notebook's text as it is to be committed.

    Raises:
        ValueError: if a link names what is not there, or what is there more than once.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        kept: dict[str, Any] = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}}
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        else:
            source = LINK.sub(lambda found: _anchored(found, path), source)
            source = BADGE.sub(lambda _: badge(path.name), source)
        cells.append({**kept, "source": source.splitlines(keepends=True)})
    tidied = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(tidied, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def badge(name: str) -> str:
    """The badge of the notebook of that name, in Markdown."""
    colab = "https://colab.research.google.com"
    return f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{REPOSITORY}/blob/main/notebooks/{name})"


def lines_of(named: str, code: str) -> tuple[int, int]:
    """The first and the last line, from 1, of what a link names: a function, a class, or a piece of one line.

    Raises:
        ValueError: if it is not there once.
    """
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == named:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return first, node.end_lineno or first
    found = [number for number, line in enumerate(code.splitlines(), 1) if named in line]
    if len(found) != 1:
        raise ValueError(f"`{named}` is on {len(found)} lines; name a function, a class, or what only one line holds")
    return found[0], found[0]


def _anchored(found: re.Match[str], notebook: Path) -> str:
    path = notebook.parent / found["path"]
    try:
        first, last = lines_of(found["named"], path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{notebook.name} links to {found['path']}, where {error}") from None
    anchor = f"L{first}" if first == last else f"L{first}-L{last}"
    return f"[`{found['named']}`]({found['path']}#{anchor})"


def main() -> int:
    """Tidy all of them."""
    for path in sorted(HERE.glob("*.ipynb")):
        text = tidy(path)
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"tidied {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
