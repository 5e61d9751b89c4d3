"""Summarise a run's data, as facts and in lines: the number of images, their classes, sizes, framing and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data.conditions import describe_shapes, format_shape
from ganzoo_core.data.derive import DERIVED, explain_method
from ganzoo_core.data.framing import Framing
from ganzoo_core.messages import pluralise, quote_name

MAX_LISTED_CLASSES = 5  # up to this many classes, each is named
MAX_COUNTED_CLASSES = 1000  # classes whose counts are kept
TOLD_CUT = 0.35  # the share of the pictures' area from which a crop is called a loss
MAX_NAME_LENGTH = 24  # characters of a class's name in a line

Size = tuple[int, int]


def describe_data(
    source: ImageSource,
    framing: Framing,
    channels: int,
    conditions: Mapping[str, tuple[int, ...]] | None = None,
    derived: str = "",
) -> dict[str, Any]:
    """The facts recorded under `data_summary` in `config.yaml`; see `run_records.DataSummary`.

    Args:
        source: the training images, as the dataset returned them.
        framing, channels: how they are brought to the networks' size, and the networks' channels.
        conditions: name -> shape of one row, of those that the networks take.
        derived: `data.derive`, if the condition `source` is made by it.
    """
    facts: dict[str, Any] = {"images": len(source.images), "skipped": int(source.skipped)}
    if source.held_out is not None:
        facts["held_out"] = int(source.held_out)
    if source.labels is not None:
        facts["classes"] = _describe_classes(source.labels, list(map(str, source.class_names)))
    sizes, counts = _count_sizes(source)
    areas = sizes[:, 0] * sizes[:, 1]
    most = int(np.argmax(counts))
    facts["sizes"] = {
        "count": len(sizes),
        "smallest": _to_width_height(sizes[int(np.argmin(areas))]),
        "largest": _to_width_height(sizes[int(np.argmax(areas))]),
        "commonest": [*_to_width_height(sizes[most]), int(counts[most])],
        "enlarged": int(counts[(sizes < np.array(framing.inner_size)).any(axis=1)].sum()),
    }
    facts["cut"] = _measure_cut(source, framing, sizes, counts)
    facts["framing"] = _explain_framing(source, framing, channels, sizes)
    taken = conditions or {}
    described = {name: _describe_condition(name, shape, derived, channels) for name, shape in taken.items()}
    for name, shape in describe_shapes(source.conditions).items():
        described.setdefault(name, f"{format_shape(shape)}, which the networks do not take")
    if described:
        facts["conditions"] = described
    return facts


def _describe_condition(name: str, shape: tuple[int, ...], derived: str, channels: int) -> str:
    """`32×32×1, grey of each image`: the shape that the networks see, and how it was made."""
    if name != DERIVED or not derived:
        return format_shape(shape)
    same = "; the images are grey, so it is the image itself" if derived == "grey" and channels == 1 else ""
    return f"{format_shape(shape)}, {explain_method(derived)}{same}"


def format_summary(summary: Mapping[str, Any]) -> list[str]:
    """Format the facts of `describe_data` as lines."""
    parts = [f"data: {pluralise(summary['images'], 'image')}{_format_classes(summary.get('classes'))}"]
    if summary.get("held_out"):
        are = "is" if summary["held_out"] == 1 else "are"
        parts.append(f"{summary['held_out']:,} more {are} held out")
    if summary["skipped"]:
        parts.append(f"{summary['skipped']:,} {'files were' if summary['skipped'] > 1 else 'file was'} skipped")
    classes = summary.get("classes") or {}
    empty = [_describe_empty(classes["empty"], classes["first_empty"])] if classes.get("empty") else []
    sizes, images = summary["sizes"], summary["images"]
    line = f"pictures: {summary['framing']}"
    if sizes["enlarged"] and sizes["count"] > 1:
        line += f"; {sizes['enlarged']:,} of {images:,} are smaller than that and enlarged"
    if summary.get("cut", 0) >= TOLD_CUT:
        line += f"; the crop cuts {summary['cut']:.0%} of the pictures away: --set data.fit=pad or stretch keeps all"
    conditions = [f"condition {name}: {text}" for name, text in summary.get("conditions", {}).items()]
    return [", ".join(parts), line, *conditions, *empty]


def _describe_classes(labels: np.ndarray, names: list[str]) -> dict[str, Any]:
    counts = np.bincount(labels, minlength=len(names))
    least, most = int(np.argmin(counts)), int(np.argmax(counts))
    facts = {
        "count": len(names),
        "smallest": [names[least], int(counts[least])],
        "largest": [names[most], int(counts[most])],
        "empty": int((counts == 0).sum()),
        "first_empty": [names[index] for index in np.flatnonzero(counts == 0)[:MAX_LISTED_CLASSES]],
    }
    if len(names) <= MAX_COUNTED_CLASSES:
        facts["each"] = [[name, int(count)] for name, count in zip(names, counts, strict=True)]
    return facts


def _format_classes(classes: Mapping[str, Any] | None) -> str:
    if classes is None:
        return " without classes"
    (least, fewest), (most, largest) = classes["smallest"], classes["largest"]
    count = f" in {classes['count']:,} class{'es' if classes['count'] > 1 else ''}"
    if classes["count"] <= MAX_LISTED_CLASSES:
        return count + f" ({', '.join(f'{_shorten(name)}: {number:,}' for name, number in classes['each'])})"
    if fewest == largest:
        return count + f" of {fewest:,} each"
    return count + f" of {fewest:,} ({_shorten(least)}) to {largest:,} ({_shorten(most)})"


def _describe_empty(count: int, first: list[str]) -> str:
    listed = ", ".join(map(_shorten, first)) + (", …" if count > len(first) else "")
    are = "1 class has" if count == 1 else f"{count:,} classes have"
    return f"{are} no training images, and a conditional model will not draw {'it' if count == 1 else 'them'}: {listed}"


def _shorten(name: str) -> str:
    return quote_name(name, MAX_NAME_LENGTH)


def _count_sizes(source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    """The distinct original sizes of the images, int64 [S,2] (height, width), and the count of each."""
    if source.sizes is None:
        return np.array([source.images.shape[1:3]], dtype=np.int64), np.array([len(source.images)])
    return np.unique(source.sizes, axis=0, return_counts=True)


def _measure_cut(source: ImageSource, framing: Framing, sizes: np.ndarray, counts: np.ndarray) -> float:
    """The share of the pictures' area that the crops of the dataset and of the framing cut away, on average."""
    if framing.fit != "crop":
        return 0.0
    shown = source.images.shape[1:3]
    kept = _find_kept_share(sizes, shown)
    if framing.method == "resize":
        kept = kept * _find_kept_share(np.array([shown]), framing.target_size)
    return round(1 - float(np.average(kept, weights=counts)), 4)


def _find_kept_share(sizes: np.ndarray, target: Sequence[int]) -> np.ndarray:
    """The share of each picture's area that the largest part of the target's aspect has."""
    aspects = sizes[:, 0] / sizes[:, 1] / (target[0] / target[1])
    return np.asarray(np.minimum(aspects, 1 / aspects))


def _explain_framing(source: ImageSource, framing: Framing, channels: int, sizes: np.ndarray) -> str:
    """`4,032×3,024 → crop 3,024² → 64×64`: the original sizes, and each change by the dataset or the framing."""
    _, height, width, own = source.images.shape
    steps = [_format_sizes(source, sizes), *_format_fit(sizes, (height, width), framing.fit)]
    steps.append(format_size((height, width)))
    if framing.method == "pad":
        steps.append(f"padded to {format_size(framing.target_size)}")
    elif framing.method == "resize":
        steps += [
            *_format_fit(np.array([framing.original_size]), framing.target_size, framing.fit),
            format_size(framing.target_size),
        ]
    steps = [step for index, step in enumerate(steps) if index == 0 or step != steps[index - 1]]
    if own != channels:
        steps.append("grey" if channels == 1 else "RGB")
    return " → ".join(steps)


def _format_sizes(source: ImageSource, sizes: np.ndarray) -> str:
    if len(sizes) == 1:
        return format_size(sizes[0])
    _, counts = _count_sizes(source)
    areas, most = sizes[:, 0] * sizes[:, 1], int(np.argmax(counts))
    ends = [format_size(sizes[int(index)]) for index in (np.argmin(areas), np.argmax(areas))]
    return f"{ends[0]} to {ends[1]}, most often {format_size(sizes[most])} ({counts[most]:,} of {len(source.images):,})"


def _format_fit(sizes: np.ndarray, target: Size, fit: str) -> list[str]:
    """`crop 3,024²`: how pictures of these sizes are brought to the target's aspect; [] if they have it."""
    height, width = target
    if (sizes[:, 0] * width == sizes[:, 1] * height).all():
        return []
    if fit == "stretch":
        return ["stretch"]
    if len(sizes) > 1:
        return [f"{fit} to a square" if height == width else f"{fit} to {_format_aspect(target)}"]
    scale = (min if fit == "crop" else max)(sizes[0, 0] / height, sizes[0, 1] / width)
    down, across = round(height * scale), round(width * scale)
    return [f"{fit} {down:,}²" if down == across else f"{fit} {format_size((down, across))}"]


def _format_aspect(size: Size) -> str:
    height, width = (side // np.gcd(*size) for side in size)
    return f"{width}:{height}"


def format_size(size: Any) -> str:
    """Format (height, width) as width by height: `4,032×3,024`."""
    return f"{int(size[1]):,}×{int(size[0]):,}"


def _to_width_height(size: np.ndarray) -> list[int]:
    """(height, width) -> [width, height]."""
    return [int(size[1]), int(size[0])]
