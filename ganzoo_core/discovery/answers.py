"""Check the objects that hooks return. Each check describes the problem in words, or returns "" if there is none."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from ganzoo_core.api import Extractor, ImageSource, Loss
from ganzoo_core.arguments import is_integer
from ganzoo_core.image_source import MAX_CONDITION_CHANNELS, is_condition_name
from ganzoo_core.messages import format_value


def check_loss(answer: Any) -> str:
    """Describe what is wrong with a loss; "" if nothing."""
    return _check_object(answer, Loss, "discriminator(step) and generator(step)")


def check_schedule(answer: Any) -> str:
    """Describe what is wrong with a schedule; "" if nothing."""
    if not callable(answer):
        return f"a {type(answer).__name__}; expected a function from images seen to named values"
    values = answer(0)
    if isinstance(values, Mapping) and all(isinstance(value, numbers.Real) for value in values.values()):
        return ""
    return f"a schedule that gives {format_value(values)} at 0 images; expected named numbers"


def check_source(answer: Any) -> str:
    """Describe what is wrong with an image source; "" if nothing."""
    return "" if isinstance(answer, ImageSource) else f"a {type(answer).__name__}; expected a gz.ImageSource"


def check_image_facts(answer: Any) -> str:
    """Describe what is wrong with the answer of `describe_dataset`; "" if nothing."""
    keys = ("height", "width", "channels", "classes")
    has_keys = isinstance(answer, Mapping) and (
        not answer or set(keys) <= set(answer) <= {*keys, "images", "conditions"}
    )
    if not has_keys or not all(is_integer(number) for name, number in answer.items() if name != "conditions"):
        expected = f"whole numbers for {', '.join(keys)} and perhaps images, or nothing where they are unknown"
        return f"{format_value(answer)}; expected {expected}"
    conditions = answer.get("conditions", {})
    if isinstance(conditions, Mapping) and all(map(_is_condition, conditions, conditions.values())):
        return ""
    expected = "name -> the shape of a row: (F,) for a vector, (H,W,C) for a picture, () for a whole number"
    return f"conditions = {format_value(conditions)}; expected {expected}"


def _is_condition(name: Any, shape: Any) -> bool:
    """Whether a name and the shape of a row are those of a condition; see `ImageSource`."""
    is_shape = isinstance(shape, Sequence) and not isinstance(shape, str) and len(shape) in (0, 1, 3)
    fits = is_shape and all(is_integer(side) and side > 0 for side in shape)
    return fits and is_condition_name(name) and (len(shape) < 3 or shape[2] <= MAX_CONDITION_CHANNELS)


def check_extractor(answer: Any) -> str:
    """Describe what is wrong with an extractor; "" if nothing."""
    problem = _check_object(answer, Extractor, "extract(images) and facts")
    batch = getattr(answer, "batch", 1)
    if not problem and (type(batch) is not int or batch < 1):
        return f"an extractor whose batch is {format_value(batch)}; expected a whole number of images"
    return problem


def _check_object(answer: Any, protocol: type, members: str) -> str:
    if isinstance(answer, type):
        return f"the class {answer.__name__}; expected an object of it"
    return "" if isinstance(answer, protocol) else f"a {type(answer).__name__} without {members}"


def check_metric(answer: Any) -> str:
    """Describe what is wrong with a metric; "" if nothing."""
    return "" if callable(answer) else f"a {type(answer).__name__}; expected a function metric(real, fake, seed)"
