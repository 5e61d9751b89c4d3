"""One HTML file that holds all it shows: sections, style, script and data. Nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ganzoo_core.console import Reporter
from ganzoo_core.report.markup import Html, json_script, tag

STRICT = "GANZOO_STRICT_REPORT"
"""An environment variable that tests set: where it is, an error in a part of a page is raised."""
STYLES, SCRIPTS = ("page.css",), ("drawing.js", "charts.js", "page.js")


@dataclass(frozen=True)
class Section:
    """A part of a page: its name in links, its heading, and what makes it; None leaves it out."""

    name: str
    heading: str
    make: Callable[[], Html | None]


def page(
    title: str, state: str, head: Html, sections: Sequence[Section], data: Mapping[str, Any], *, live: bool = False
) -> str:
    """The whole file.

    Args:
        title: of the page.
        state: a line below it.
        head: what stands above the first section.
        sections: in their order. One that cannot be made says so, and the others are there.
        data: what the script draws: `charts`, `slides`.
        live: whether the page asks its server for a newer one.
    """
    made = [(section, make_section(section)) for section in sections]
    made = [(section, body) for section, body in made if body is not None]
    links = [tag("a", section.heading, href=f"#{section.name}") for section, _ in made]
    bodies = [
        tag("section", tag("h2", section.heading, id=f"{section.name}-heading"), body, id=section.name,
            aria_labelledby=f"{section.name}-heading")
        for section, body in made
    ]  # fmt: skip
    style, script = _joined(STYLES), _joined(SCRIPTS)
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
                Html("<noscript><p>Curves and sliders need JavaScript; the tables do not.</p></noscript>"),
                *bodies,
                id="main",
            ),
            tag("footer", "Written by ganzoo. This file holds all that it shows."),
            json_script("data", data),
            Html(f"<script>{script}</script>"),
        ),
        lang="en",
        data_live=live,
    )
    return f"<!DOCTYPE html>\n{document}\n"


def make_section(section: Section) -> Html | None:
    """The section, or a sentence that says which error kept it from being made."""
    try:
        return section.make()
    except Exception as error:
        return explain_error(error, section.heading)


def explain_error(error: Exception, what: str) -> Html:
    """What stands in the place of what could not be made; it is logged, too, and raised where `STRICT` is set.

    Args:
        error: ours, in all likelihood: what is wrong with a run's files is told by notes and sentences.
        what: was to be made, for the log.
    """
    if os.environ.get(STRICT):
        raise error
    words = f"{type(error).__name__}: {error}"
    Reporter().warn(f"the report's part {what!r} could not be made: {words}")
    return tag("p", f"This could not be shown: {words}", class_="absent")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _joined(names: Sequence[str]) -> str:
    here = resources.files("ganzoo_core.report")
    return "\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in names)
