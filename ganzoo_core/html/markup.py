"""HTML from Python, in which every text is cleaned and escaped unless it is markup already."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ganzoo_core.terminal.text import clean_text

_VOID_TAGS = {"img", "input", "meta", "br"}
_JSON_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class Html(str):
    """Markup; any other text is escaped before it gets into a page."""


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element.

    Args:
        name: such as `p`.
        children: markup or texts; None is passed over.
        attributes: a trailing underscore goes and others become dashes; True stands alone, None and False are left out.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{_escape_text(value)}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening) if name in _VOID_TAGS else Html(f"{opening}{join(children)}</{name}>")


def join(children: Iterable[object]) -> Html:
    """Several in a row."""
    return Html(
        "".join(child if isinstance(child, Html) else _escape_text(child) for child in children if child is not None)
    )


def render_table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numeric: bool = False,
    left_align_first: bool = False,
) -> Html:
    """A table whose first column names its rows; it scrolls by itself where the window is too narrow.

    Args:
        head: the columns' names.
        rows: texts or markup.
        caption: what it shows.
        numeric: whether the columns are numbers, to be set flush right.
        left_align_first: left-align the first column even when `numeric` is set.
    """
    lines = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in map(tuple, rows)
    ]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else None,
            tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
            tag("tbody", *lines),
            class_=" ".join(["numbers"] * numeric + ["named"] * left_align_first) or None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "table",
    )


def make_json_script(name: str, value: Any) -> Html:
    """Data for the page's script, in letters that can end no element; a number that is not finite raises ValueError."""
    text = json.dumps(_clean_value(value), allow_nan=False, separators=(",", ":"))
    for letter, code in _JSON_ESCAPES.items():
        text = text.replace(letter, code)
    return Html(f'<script type="application/json" id="{escape(name)}">{text}</script>')


def _escape_text(value: object) -> str:
    """A text that is neither markup nor turns what stands beside it around."""
    return escape(clean_text(value, lines=True))


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value, lines=True)
    if isinstance(value, dict):
        return {_clean_value(key): _clean_value(item) for key, item in value.items()}
    return [_clean_value(item) for item in value] if isinstance(value, list | tuple) else value


def make_data_uri(content: bytes, image_type: str = "png") -> str:
    """A file as a data URI."""
    return f"data:image/{image_type};base64,{base64.b64encode(content).decode()}"
