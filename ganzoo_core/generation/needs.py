"""What a generator with conditions is drawn from, in words."""

from __future__ import annotations

from ganzoo_core.data import derive
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.messages import pluralise
from ganzoo_core.storage.records import Card


def describe_conditions(card: Card, size: tuple[int, int]) -> dict[str, str]:
    """Each condition's name and what it is, such as `a picture 32×32×1, the grey of an image`.

    Args:
        card: of the generator.
        size: height and width of its images without the border that the networks see.
    """
    full = (card.spec.height, card.spec.width)
    described = {}
    for name, shape in card.spec.conditions.items():
        if len(shape) == 3:
            height, width = size if (shape[0], shape[1]) == full else (shape[0], shape[1])
            kind = _describe_method(card.derive) if name == DERIVED and card.derive else ""
            described[name] = f"a picture {width}×{height}×{shape[2]}" + (f", {kind}" if kind else "")
        else:
            described[name] = pluralise(shape[0], "number") if shape else "a whole number"
    return described


def _describe_method(method: str) -> str:
    name, number = derive.parse_method(method)
    return {
        "grey": "the grey of an image",
        "edges": "the edges of an image, white on black",
        "downscale": f"an image with 1/{number:g} of the pixels a side, enlarged again",
        "mask": f"an image of which a rectangle of {number:.0%} is hidden, which the last channel marks",
    }[name]
