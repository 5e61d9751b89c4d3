"""Sections on memorisation and the latent walk."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ganzoo_core.html.chart import Chart
from ganzoo_core.html.markup import Html, join, render_table, tag
from ganzoo_core.messages import pluralise
from ganzoo_core.report.curves import round_value
from ganzoo_core.report.run_record import RunRecord, to_number
from ganzoo_core.report.sections import quote_path, render_commands, render_figures, render_note, render_slides
from ganzoo_core.runs import layout

BINS = 24  # of the histogram of distances
COPY_RATIO = 1 / 3  # nearest to second nearest distance; an image below it counts as a copy (arXiv:2310.02664)
_PICTURE_URI = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")


def render_nearest(run: RunRecord) -> Html:
    """Generated images beside their nearest training images, with distances between training images as a baseline."""
    nearest = run.measured.get("nearest")
    if not isinstance(nearest, Mapping):
        return _render_missing(run, "nearest", "which training images are nearest to what it draws")
    drawn, training, ratios = (_as_numbers(nearest.get(name)) for name in ("drawn", "training", "ratios"))
    rows = []
    for shown in _as_mappings(nearest.get("shown")):
        rows.append(
            [
                _render_image(shown.get("uri"), "A generated image"),
                *(
                    join(
                        [
                            _render_image(neighbour.get("uri"), "A training image"),
                            f"{to_number(neighbour['distance']):.1f}",
                        ]
                    )
                    for neighbour in _as_mappings(shown.get("neighbours"))
                    if to_number(neighbour.get("distance")) >= 0
                ),
                f"{to_number(shown.get('ratio')):.2f}",
            ]
        )
    if not rows or not drawn or not training or not ratios:
        return render_note(
            f"{layout.REPORT_FOLDER}/{layout.MEASURED} holds no distances; "
            f"`ganzoo report {quote_path(run.folder)}` writes it anew."
        )
    columns = max(map(len, rows)) - 2
    head = ["generated", *(["nearest", "second", "third"] + [""] * columns)[:columns], "ratio"]
    copies = sum(ratio < COPY_RATIO for ratio in ratios)
    return join(
        [
            _render_images_seen(run),
            tag(
                "p",
                "A copy lies much nearer to one training image than to the next. "
                f"{copies or 'None'} of {len(ratios)} generated images {'is' if copies == 1 else 'are'} less than a "
                "third as far from the nearest as from the second nearest, which is a usual bound for a copy.",
            ),
            tag(
                "p",
                "Distance is the root mean square difference of the pixels, in grey values (0 to 255). In the median "
                f"the nearest training image lies at {statistics.median(drawn):.1f} from a generated one and at "
                f"{statistics.median(training):.1f} from another training image. Blurred and grey pictures are near to "
                "everything; 0 is a copy in any case. A shifted copy is not seen, nor a mirrored one unless the run "
                "mirrored its images.",
            ),
            tag("p", _as_text(nearest.get("about")), class_="soft"),
            tag(
                "div",
                render_table(head, rows, caption=f"The {len(rows)} with the least ratio of nearest to second"),
                render_figures(make_charts(run)),
                class_="beside",
            ),
        ]
    )


def render_walk(run: RunRecord) -> Html:
    """Frames of a closed walk through latent space."""
    walk = run.measured.get("walk")
    frames = list_frames(run)
    if not isinstance(walk, Mapping) or not frames:
        return _render_missing(run, "walk", "a walk through the latent space")
    words = make_step_captions(len(frames))
    size = [int(side) if 0 < side < 10_000 else 480 for side in _as_numbers(walk.get("size"))] or [480, 240]
    alternative = "A grid of generated images, each on its own way through the latent space"
    return join(
        [
            _render_images_seen(run),
            tag("p", _as_text(walk.get("about")), class_="soft"),
            render_slides("walk", frames, words, (size * 2)[:2], "walk", alternative, at=0),
        ]
    )


def list_frames(run: RunRecord) -> list[str]:
    """The walk's frames, as data URIs."""
    walk = run.measured.get("walk")
    frames = walk.get("frames") if isinstance(walk, Mapping) else None
    return [frame for frame in frames if _is_picture_uri(frame)] if isinstance(frames, list) else []


def make_step_captions(count: int) -> list[str]:
    """Captions of a walk's frames."""
    return [f"step {index + 1} of {count}" for index in range(count)]


def make_charts(run: RunRecord) -> list[Chart]:
    """A histogram of nearest-neighbour distances: generated to training images, and between training images."""
    nearest = run.measured.get("nearest")
    if not isinstance(nearest, Mapping):
        return []
    both = {"generated to training": nearest.get("drawn"), "training to another": nearest.get("training")}
    distances = {name: _as_numbers(values) for name, values in both.items()}
    longest = max((max(values, default=0.0) for values in distances.values()), default=0.0)
    if not longest or not all(distances.values()):
        return []
    edges = [longest * index / BINS for index in range(BINS + 1)]
    middles = [round_value((low + high) / 2) for low, high in pairwise(edges)]
    series = []
    for colour, (name, values) in enumerate(distances.items()):
        counts = [0] * BINS
        for value in values:
            counts[min(BINS - 1, int(value / longest * BINS))] += 1
        shares = [round_value(100 * count / len(values)) for count in counts]
        series.append({"name": name, "colour": colour, "x": middles, "y": shares})
    title = "Distance to the nearest training image, % of images"
    return [{"id": "distances", "title": title, "unit": "distance", "series": series, "fill": True}]


def _render_missing(run: RunRecord, name: str, what: str) -> Html:
    notes = run.measured.get("notes")
    reason = notes.get(name) if isinstance(notes, Mapping) else None
    if isinstance(reason, str):
        return render_note(f"This could not be shown: {reason}")
    return join(
        [
            render_note(f"Not computed yet: {what}. This does it:"),
            render_commands([f"ganzoo report {quote_path(run.folder)}"]),
        ]
    )


def _render_images_seen(run: RunRecord) -> Html | None:
    images = to_number(run.measured.get("images"))
    if not images >= 0:
        return None
    later = (
        f" The run is at {run.images_seen:,} by now; `ganzoo report {quote_path(run.folder)}` looks anew."
        if images < run.images_seen
        else ""
    )
    return tag("p", f"Of the generator after {pluralise(round(images), 'image')}.{later}", class_="soft")


def _as_text(text: Any) -> str:
    return text if isinstance(text, str) else ""


def _render_image(uri: Any, alternative: str) -> Html | None:
    return tag("img", src=uri, alt=alternative, class_="small") if _is_picture_uri(uri) else None


def _is_picture_uri(uri: Any) -> bool:
    return isinstance(uri, str) and _PICTURE_URI.fullmatch(uri) is not None


def _as_mappings(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _as_numbers(values: Any) -> Sequence[float]:
    return [to_number(value) for value in values if to_number(value) >= 0] if isinstance(values, list) else []
