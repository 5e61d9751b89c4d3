"""A self-contained HTML page: sections, style, script and data in one file, without network access."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ganzoo_core.errors import GanzooError
from ganzoo_core.html.markup import Html, make_json_script, tag
from ganzoo_core.terminal.text import to_one_line, write_line

SECTION_ERRORS_VARIABLE = (
    "GANZOO_SECTION_ERRORS"  # "raise": raise errors in sections; set by our tests and their child processes
)
STYLES, SCRIPTS = ("page.css",), ("charts.js", "page.js")


@dataclass(frozen=True)
class Section:
    """A section of a page: its anchor, its heading, and the function that makes it or returns None to omit it."""

    name: str
    heading: str
    make: Callable[[], Html | None]


def render_page(
    title: str, state: str, head: Html, sections: Sequence[Section], data: Mapping[str, Any], *, live: bool = False
) -> str:
    """Render the whole page.

    Args:
        title: the page's title and heading.
        state: a line below the title.
        head: content above the first section.
        sections: in order. One that fails is replaced by its error message.
        data: for the script: `charts` and `slides`.
        live: whether the page polls its server for updates.
    """
    rendered = [(section, make_or_explain(section)) for section in sections]
    rendered = [(section, body) for section, body in rendered if body is not None]
    links = [tag("a", section.heading, href=f"#{section.name}") for section, _ in rendered]
    bodies = [
        tag("section", tag("h2", section.heading, id=f"{section.name}-heading"), body, id=section.name,
            aria_labelledby=f"{section.name}-heading")
        for section, body in rendered
    ]  # fmt: skip
    style, script = _join_assets(STYLES), _join_assets(SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        f"""connect-src {"'self'" if live else "'none'"}; base-uri 'none'; form-action 'none'"""
    )
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", title),
            Html(f"<style>{style}</style>"),
        ),
        tag(
            "body",
            tag("a", "To the content", href="#main", class_="skip"),
            tag(
                "header",
                tag("h1", title),
                tag("p", state, class_="state", role="status" if live else None),
                tag("nav", *links, aria_label="Sections"),
            ),
            tag(
                "main",
                head,
                Html("<noscript><p>Sliders, and values under the pointer, need JavaScript.</p></noscript>"),
                *bodies,
                id="main",
            ),
            tag("footer", "Written by ganzoo. This file holds all that it shows."),
            make_json_script("data", data),
            Html(f"<script>{script}</script>"),
        ),
        lang="en",
        data_live=live,
    )
    return f"<!DOCTYPE html>\n{document}\n"


def make_or_explain(section: Section) -> Html | None:
    """The section's content, or its error as a sentence; see `log_error`."""
    try:
        return section.make()
    except Exception as error:
        log_error(section.name, error)
        return tag("p", f"This could not be shown: {type(error).__name__}: {error}", class_="absent")


def log_error(section: str, error: Exception) -> None:
    """Log a section's error on stderr, in one line.

    Bugs, which are all errors but GanzooError, are re-raised if `SECTION_ERRORS_VARIABLE` is "raise".
    """
    if os.environ.get(SECTION_ERRORS_VARIABLE) == "raise" and not isinstance(error, GanzooError):
        raise error
    text = f"note: the section {section!r} of the report could not be made: {type(error).__name__}: {error}"
    write_line(to_one_line(text), sys.stderr)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _join_assets(names: Sequence[str]) -> str:
    here = resources.files("ganzoo_core.html") / "assets"
    return "\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in names)
