"""Notebook display of a saved generator: sample images and its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganzoo_core.api import Spec
from ganzoo_core.data import picture_files, pixels
from ganzoo_core.data.classes import Classes
from ganzoo_core.html import markup
from ganzoo_core.html.markup import Html, join, tag
from ganzoo_core.html.page import Section, make_or_explain
from ganzoo_core.messages import pluralise
from ganzoo_core.storage.records import Card

SIDE_BY_SIDE = "display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start"
MAX_CLASSES, IMAGES_PER_CLASS = 10, 8  # classes shown, and images of each


class Drawable(Protocol):
    """The attributes of `SavedGenerator` that are displayed."""

    folder: Path
    card: Card

    @property
    def spec(self) -> Spec: ...
    @property
    def latent(self) -> str: ...
    @property
    def classes(self) -> Classes: ...
    @property
    def images_seen(self) -> int: ...
    def describe_needs(self) -> dict[str, str]: ...
    def generate(self, n: int | None = None, *, seed: int = 0, labels: Any = None) -> np.ndarray: ...


def render_generator(generator: Drawable) -> Html:
    """Render a saved generator: sample images and its card."""

    needs = generator.describe_needs()

    def drawn() -> Html:
        if needs:
            return tag("p", "Drawn from conditions: ", tag("code", "generate(on=…)"), ".")
        names = generator.classes.trained_names[:MAX_CLASSES]
        if names:
            labels = np.repeat(generator.classes.trained[:MAX_CLASSES], IMAGES_PER_CLASS)
            images = generator.generate(len(labels), labels=labels)
        else:
            images = generator.generate(IMAGES_PER_CLASS * IMAGES_PER_CLASS // 2)
        sheet = pixels.annotate(pixels.enlarge(pixels.grid(images, IMAGES_PER_CLASS), least=360), rows=names)
        return render_image(
            markup.make_data_uri(picture_files.encode_png(sheet)),
            "Grid of images that the generator draws",
            sheet.width,
        )

    def card() -> Html:
        spec, names = generator.spec, generator.classes.trained_names
        origin = generator.card.part
        facts: dict[str, object] = {
            "made by": f"{origin.name} of {origin.distribution} {origin.version}" if origin else "an object",
            "images": f"{spec.width}×{spec.height}×{spec.channels}",
            "needs": "; ".join(f"{name}: {words}" for name, words in needs.items()),
            "z": "none" if generator.latent == "none" else f"{spec.latent_dim} numbers, {generator.latent}",
            "classes": f"{', '.join(names[:MAX_CLASSES])}{' …' if len(names) > MAX_CLASSES else ''}" if names else "",
            "trained on": pluralise(generator.images_seen, "image"),
            "written in": spec.framework,
            "folder": tag("code", generator.folder),
        }
        lines = [join([tag("strong", f"{name}: "), fact, Html("<br>")]) for name, fact in facts.items() if fact]
        return tag("p", *lines)

    return render_block(tag("div", render_part("drawn", drawn), render_part("card", card), style=SIDE_BY_SIDE))


def render_part(name: str, make: Callable[[], Html]) -> Html | None:
    """One part of the display, or its error as a sentence."""
    return make_or_explain(Section(name, name, make))


def render_block(*children: object) -> Html:
    return tag("div", *children, class_="ganzoo")


def render_image(uri: str, alternative: str, width: int) -> Html:
    return tag(
        "img", src=uri, alt=alternative, width=width, style="max-width:100%;height:auto;image-rendering:pixelated"
    )
