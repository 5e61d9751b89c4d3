"""Build HTML in Python; all text is cleaned and escaped unless it is an `Html` string."""

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
    """Markup, inserted as it is; any other text is escaped."""


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element.

    Args:
        name: such as `p`.
        children: markup or text; None is skipped.
        attributes: a trailing underscore is removed, others become dashes; True gives a bare attribute, None and False
            omit it.
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
    """Concatenate markup and text; None is skipped."""
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
    """A table whose first column holds row headers; it scrolls within a narrow window.

    Args:
        head: column headers.
        rows: cells, as text or markup.
        caption: of the table.
        numeric: right-align the columns.
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
    """JSON data for the page's script, escaped so that it cannot end the element; ValueError for NaN or infinity."""
    text = json.dumps(_clean_value(value), allow_nan=False, separators=(",", ":"))
    for letter, code in _JSON_ESCAPES.items():
        text = text.replace(letter, code)
    return Html(f'<script type="application/json" id="{escape(name)}">{text}</script>')


def _escape_text(value: object) -> str:
    """Escape markup and remove control characters, including those that reverse the text direction."""
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
