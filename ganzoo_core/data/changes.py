"""Explain how a run's data has changed since it was recorded, in counts and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ganzoo_core.data.conditions import format_shape
from ganzoo_core.data.fingerprint import Fingerprint, ImageDigests
from ganzoo_core.messages import pluralise, quote_name
from ganzoo_core.storage.run_records import DataFacts

MAX_LISTED = 8  # names in a sentence


def explain_changes(then: Fingerprint, now: Fingerprint) -> list[str]:
    """Describe the differences between two sets, in counts and names; empty if there are none."""
    if then.sha256 == now.sha256:
        return []
    changes = []
    if then.images.size != now.images.size:
        changes.append(_explain_sizes(then.images.size, now.images.size))
    if then.images.count != now.images.count:
        changes.append(_explain_count(then, now))
    elif then.images.size == now.images.size:
        changes += _explain_rows(then.images, now.images, "image")
    if then.names_sha256 != now.names_sha256:
        changes.append(_explain_names(then.class_names, now.class_names))
    if then.images.count == now.images.count:
        changes += _explain_labels(then, now)
    changes += _explain_conditions(then.conditions, now.conditions)
    if then.background != now.background:
        changes.append(
            f"the background was {_format_optional(then.background)} and is {_format_optional(now.background)}"
        )
    return changes or [_explain_digest(then.sha256, now.sha256)]


def compare(recorded: DataFacts | None, saved: Fingerprint | None, now: Fingerprint) -> list[str]:
    """Describe how the data differs from what a run recorded; empty if it does not, or nothing was recorded.

    Args:
        recorded: the data in the run's facts.
        saved: the fingerprint in the run's folder; None if there is none that can be read.
        now: the fingerprint of the current data.
    """
    if recorded is None or recorded.sha256 in (None, now.sha256):
        return []
    if saved is not None and saved.sha256 == recorded.sha256:
        return explain_changes(saved, now)
    changes = []
    if recorded.images != now.images.count:
        changes.append(_explain_counts(recorded.images, now.images.count))
    if recorded.size != now.images.size:
        changes.append(_explain_sizes(recorded.size, now.images.size))
    return changes or [_explain_digest(recorded.sha256, now.sha256)]


def _explain_counts(then: int, now: int) -> str:
    """`1 image was there and 20 are`."""
    were, are = "was" if then == 1 else "were", "is" if now == 1 else "are"
    return f"{pluralise(then, 'image')} {were} there and {now:,} {are}"


def _explain_count(then: Fingerprint, now: Fingerprint) -> str:
    first, second = then.images, now.images
    text = _explain_counts(first.count, second.count)
    if first.size != second.size or first.block != 1 or second.block != 1:
        return text
    gone, new = _count_missing(first.digests, second.digests), _count_missing(second.digests, first.digests)
    if gone and new:
        text += f", of which {new:,} are new"
    return text


def _count_missing(first: np.ndarray, second: np.ndarray) -> int:
    """The number of elements of the first that the second lacks, counted with multiplicity."""
    return sum((Counter(first.tolist()) - Counter(second.tolist())).values())


def _explain_rows(then: ImageDigests, now: ImageDigests, row: str) -> list[str]:
    """Describe changed images, or changed rows of a condition; `row` names one of them."""
    differing = int((then.digests != now.digests).sum())
    if not differing:
        return []
    first, _, others = row.partition(" ")
    rows = f"{first}s {others}".rstrip()
    if then.total == now.total:
        return [f"the order of the {rows} differs"]
    if then.block > 1:
        return [_format_range(differing, then, f"{rows} differ")]
    changed = _count_missing(then.digests, now.digests)
    order = ", and the order of the others" if differing > changed else ""
    return [f"{changed:,} of {then.count:,} {rows if then.count != 1 else row} differ{order}"]


def _explain_labels(then: Fingerprint, now: Fingerprint) -> list[str]:
    """Describe changed labels. If only the order of the images changed, compare each image's label."""
    if then.labels is None or now.labels is None:
        was, is_ = ("none" if side.labels is None else "labels" for side in (then, now))
        return [] if was == is_ else [f"the images had {was} and have {is_}"]
    first, second = then.images, now.images
    differing = int((then.labels != now.labels).sum())
    if first.block > 1:
        return [_format_range(differing, first, "labels differ")] if differing and first.sha256 == second.sha256 else []
    if first.total == second.total and first.sha256 != second.sha256:
        pairs = [Counter(zip(f.images.digests.tolist(), f.labels.tolist(), strict=True)) for f in (then, now)]  # type: ignore[union-attr]
        differing = sum((pairs[0] - pairs[1]).values())
    return [f"{differing:,} {'label differs' if differing == 1 else 'labels differ'}"] if differing else []


def _format_range(blocks: int, images: ImageDigests, what: str) -> str:
    return f"{blocks:,} to {min(blocks * images.block, images.count):,} of {images.count:,} {what}"


def _explain_conditions(then: Mapping[str, ImageDigests], now: Mapping[str, ImageDigests]) -> list[str]:
    """Describe changed conditions; those of more or fewer images only where their rows have another shape."""
    changes = []
    for name in sorted({*then, *now}):
        if name not in then or name not in now:
            changes.append(f"the condition {name} {'is new' if name in now else 'is gone'}")
        elif then[name].size != now[name].size:
            changes.append(
                f"the condition {name} was {format_shape(then[name].size)} and is {format_shape(now[name].size)}"
            )
        elif then[name].count == now[name].count:
            changes += _explain_rows(then[name], now[name], f"row of the condition {name}")
    return changes


def _explain_names(then: tuple[str, ...] | None, now: tuple[str, ...] | None) -> str:
    if then is None or now is None:
        return "class names differ"
    if max(len(then), len(now)) <= MAX_LISTED:
        return f"class names were {_list_names(then)} and are {_list_names(now)}"
    if len(then) != len(now):
        return f"{len(then):,} classes were there and {len(now):,} are"
    renamed = [(was, is_) for was, is_ in zip(then, now, strict=True) if was != is_]
    named = ", ".join(f"{quote_name(was)} is {quote_name(is_)}" for was, is_ in renamed[:MAX_LISTED])
    return f"{len(renamed):,} of {len(then):,} class names differ: {named}{', …' if len(renamed) > MAX_LISTED else ''}"


def _list_names(names: tuple[str, ...]) -> str:
    return ", ".join(map(quote_name, names)) or "none"


def _explain_sizes(then: tuple[int, ...], now: tuple[int, ...]) -> str:
    return f"images were {'×'.join(map(str, then))} and are {'×'.join(map(str, now))}"


def _explain_digest(then: str, now: str) -> str:
    return f"the data's fingerprint was {then[:12]} and is {now[:12]}"


def _format_optional(value: int | None) -> str:
    return "none" if value is None else str(value)
