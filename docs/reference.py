"""Writes the reference of ganzoo's public names, hooks and contract tests, from their docstrings.

    python docs/reference.py site

leaves `site/ganzoo_core.html` and its neighbours. A warning of the generator is an error.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pdoc
import pdoc.doc
import pdoc.render

PAGES = ("ganzoo_core", "ganzoo_core.hookspecs", "ganzoo_core.testing")


def pages() -> dict[str, pdoc.doc.Module]:
    """The documented modules by name, each with its public names and no others."""
    return {name: _page(import_module(name)) for name in PAGES}


def _page(module: ModuleType) -> pdoc.doc.Module:
    public = getattr(module, "__all__", None) or [name for name, hook in vars(module).items() if _is_hook(hook)]
    # pdoc looks into a module and asks no __getattr__, so it is shown a copy in which all names are there.
    shown = ModuleType(module.__name__, module.__doc__)
    vars(shown).update(vars(module), __all__=public, **{name: getattr(module, name) for name in public})
    page = pdoc.doc.Module(shown)
    # Python keeps no docstring with a constant, so it is read where the constant is made.
    homes = [home for name, home in sorted(sys.modules.items()) if name.startswith("ganzoo_core.") and home]
    for home in homes:
        explained = pdoc.doc.Module(home)._var_docstrings
        page._var_docstrings.update({name: explained[name] for name in public if name in explained})
    return page


def _is_hook(value: object) -> bool:
    return hasattr(value, "ganzoo_spec")


def undocumented(found: Mapping[str, pdoc.doc.Module]) -> list[str]:
    """The names on these pages that say nothing of themselves."""
    members = [(page, member) for page, module in found.items() for member in module.own_members]
    return [f"{page}.{member.name}" for page, member in members if not member.docstring]


def write(folder: Path) -> None:
    """All pages as HTML.

    Raises:
        Warning: where pdoc finds something that it cannot read.
    """
    pdoc.render.configure(docformat="google", footer_text="ganzoo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pages()
        folder.mkdir(parents=True, exist_ok=True)
        for page, module in found.items():
            path = folder / f"{page.replace('.', '/')}.html"
            path.parent.mkdir(exist_ok=True)
            path.write_text(pdoc.render.html_module(module, all_modules=found), encoding="utf-8")
        (folder / "index.html").write_text(pdoc.render.html_index(found), encoding="utf-8")
        (folder / "search.js").write_text(pdoc.render.search_index(found), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python docs/reference.py FOLDER")
    write(Path(sys.argv[1]))
