"""Licences for a new plugin, and its author."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ganzoo_core.errors import UsageError
from ganzoo_core.processes import ProcessTimeout, run_process

GIT_TIMEOUT = 10.0  # seconds that git may take
_NAME_AND_ADDRESS = re.compile(r"(?P<name>[^<>]+?)\s*<(?P<email>[^<>@\s]+@[^<>@\s]+)>")


@dataclass(frozen=True)
class Licence:
    """A licence: its SPDX identifier ("" for none), and its title for a README."""

    spdx: str
    title: str


LICENCES = {
    "mit": Licence("MIT", "MIT licence"),
    "apache-2.0": Licence("Apache-2.0", "Apache License 2.0"),
    "bsd-3-clause": Licence("BSD-3-Clause", "BSD 3-Clause License"),
    "none": Licence("", "All rights reserved"),
}


def find_default_author(name: str) -> str:
    """Git's `user.name`, else "the authors of NAME"."""
    try:
        done = run_process(["git", "config", "user.name"], timeout=GIT_TIMEOUT)
    except (OSError, ProcessTimeout):
        return f"the authors of {name}"
    return done.stdout.strip() or f"the authors of {name}"


def format_readme_line(licence: str, *, author: str, year: int) -> str:
    """The licence as the last line of a README."""
    chosen, (name, _) = LICENCES[licence], split_author(author)
    if chosen.spdx:
        return f"{chosen.title}. Copyright {year} {name}."
    return f"Copyright {year} {name}. All rights reserved: no licence to use, copy or change it is given."


def format_pyproject_lines(licence: str) -> str:
    """The licence's lines under `[project]`."""
    chosen = LICENCES[licence]
    return f'license = "{chosen.spdx}"\nlicense-files = ["LICENSE"]\n' if chosen.spdx else ""


def format_author_table(author: str) -> str:
    """An author as TOML."""
    name, email = split_author(author)
    # A JSON string of one line is a valid basic string in TOML.
    address = f", email = {json.dumps(email)}" if email else ""
    return f"{{ name = {json.dumps(name, ensure_ascii=False)}{address} }}"


def split_author(author: str) -> tuple[str, str]:
    """`Name <address>` -> both; an author without an address -> the name and "".

    Raises:
        UsageError: unless it is one line of text.
    """
    if not author.strip() or not author.isprintable():
        raise UsageError(f"--author is {author!r}; expected a name on one line, such as 'Ada Lovelace'")
    match = _NAME_AND_ADDRESS.fullmatch(author.strip())
    return (match["name"], match["email"]) if match else (author.strip(), "")
