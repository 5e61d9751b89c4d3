"""Scores and their protocol: `scores.jsonl` in a run's folder, one JSON object per line.

{"images": 6000, "scores": {"NAME": 3.2, …}, "real": {"NAME": 0.8, …}, "classes": {"share": {"0": 0.1, …}},
"better": {"NAME": "lower", …}, "protocol": {"data": …, "reference": "test", "extractor": {…}, "samples": 1000, …}, …}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.runs.layout import SCORES, SCORES_LOCK
from ganzoo_core.storage import atomic, decoding, files
from ganzoo_core.storage.records import ScoreLine
from ganzoo_core.terminal.text import to_one_line

MAX_LINES = 100_000
MAX_MESSAGE_LENGTH = 2_000  # characters of differences listed in an error
LOCK_TIMEOUT = 20  # seconds to wait for another process that writes
COLLAPSE_FACTOR = 2.0  # a generator has collapsed if its score exceeds its best by this factor
COLLAPSE_EVALUATIONS = 3  # at this many consecutive evaluations
# Protocol keys that may differ between comparable scores: properties of the model, some with little effect, and
# one that only explains `reference`.
UNCOMPARED_KEYS = ("seed", "ema", "labels", "drawn_size", "versions", "nothing_held_out")


@dataclass(frozen=True)
class Score:
    """Scores of one generator or one set of images, with their protocol.

    Attributes:
        images: real images seen by the generator; None for images that no run's generator drew.
        scores: values by name.
        classes: per-class values, by score name.
        better: `lower` or `higher`, for scores that have a direction.
        real: the same scores of real images from the split that is not the reference, resized like the generated ones:
            what a perfect generator would get. Empty if not requested.
        protocol: everything that the values depend on.
        extra: further keys: `generator`, the SHA-256 of its weights, and `during`, `training` or `evaluate`.
    """

    images: int | None
    scores: Mapping[str, float]
    protocol: Mapping[str, Any]
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    better: Mapping[str, str] = field(default_factory=dict)
    real: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Its line of `scores.jsonl`."""
        line = {"images": self.images, "scores": self.scores, "real": self.real, "classes": self.classes}
        return _non_finite_to_null({**line, "better": self.better, "protocol": self.protocol, **self.extra})

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Score:
        """Parse a line of `scores.jsonl`; raises UsageError if it is invalid."""
        record = decoding.convert(line, ScoreLine, "it")
        return cls(
            images=record.images,
            scores=_null_to_nan(record.scores),
            real=_null_to_nan(record.real),
            classes={name: _null_to_nan(values) for name, values in record.classes.items()},
            better=record.better,
            protocol=record.protocol,
            extra={key: value for key, value in line.items() if key not in ScoreLine.__struct_fields__},
        )


def read(run: Path) -> list[Score]:
    """A run's scores in the order in which they were computed; empty if it was never evaluated.

    A last line torn by a crash is ignored.

    Raises:
        UsageError: for an invalid line, or if `scores.jsonl` is not a regular file.
    """
    path = run / SCORES
    scores = []
    for number, line in enumerate(_read_lines(path), 1):
        try:
            scores.append(Score.from_json(decoding.parse(line, "it")))
        except UsageError as error:
            raise UsageError(
                f"{path}: line {number} is no score: {error}; take the line away, or the file: `ganzoo evaluate` "
                "writes it anew"
            ) from None
    return scores


def append(run: Path, score: Score) -> None:
    """Append a score durably.

    Raises:
        UsageError: if another process keeps the file locked.
        OSError: if the disk refuses; the earlier scores are untouched.
    """
    _rewrite(run, lambda kept: (kept, [score]))


def remove_later_scores(run: Path, images: int) -> None:
    """Remove scores computed during training after `images`: the run was rewound and will compute them again."""

    def kept(lines: list[bytes]) -> tuple[list[bytes], list[Score]]:
        return [line for line in lines if not _is_later(line, images)], []

    if files.describe(run / SCORES):
        _rewrite(run, kept)


def find_main_score() -> str:
    """The name of the score used by `find_best`, lower is better: that of the metric marked `main`; "" for none."""
    return next((part.lower[0] for part in catalog.scan().parts if part.main and part.lower), "")


def find_best(scores: Sequence[Score]) -> Score | None:
    """The best of a run's scores, by the main metric, with the same protocol as the newest one; None without any.

    Of a generator that was scored several times, the last score counts, not the best.
    """
    by = find_main_score()
    named = [score for score in scores if score.images is not None and math.isfinite(score.scores.get(by, math.nan))]
    alike = select_latest([score for score in named if not find_differences(score, named[-1])])
    sign = -1 if alike and alike[-1].better.get(by) == "higher" else 1
    return min(alike, key=lambda score: sign * score.scores[by], default=None)


def select_latest(scores: Sequence[Score]) -> list[Score]:
    """The last score for each number of images, ordered by it."""
    newest = {score.images: score for score in scores if score.images is not None}
    return [newest[images] for images in sorted(newest)]


def has_collapsed(values: Sequence[float]) -> bool:
    """Whether a lower-is-better score was over twice its best at each of the last three evaluations.

    Args:
        values: of one protocol, in the order of training.
    """
    before = [value for value in values[:-COLLAPSE_EVALUATIONS] if math.isfinite(value)]
    return bool(before) and all(
        not value <= COLLAPSE_FACTOR * max(min(before), 0.0) for value in values[-COLLAPSE_EVALUATIONS:]
    )


def find_differences(first: Score, second: Score) -> list[str]:
    """Describe the protocol differences that make two scores incomparable; empty if they are comparable."""
    # The same images under another path are the same data.
    same_images = first.protocol.get("data_sha256", 0) == second.protocol.get("data_sha256", 1)
    return [
        f"{name.replace('.', ' ')} is {_format_value(a)} and {_format_value(b)}"
        for name, a, b in _walk_differences(first.protocol, second.protocol)
        if name.split(".")[0] not in UNCOMPARED_KEYS
        and not name.endswith(".version")
        and not (name == "data" and same_images)
    ]


def check_comparable(scores: Sequence[Score], *, force: bool = False) -> list[str]:
    """Describe the protocol differences between these scores, to be shown beside them.

    Args:
        scores: scores to show in one table.
        force: allow differences.

    Raises:
        UsageError: if their protocols differ and `force` is not set.
    """
    differences = list(
        dict.fromkeys(to_one_line(words) for score in scores[1:] for words in find_differences(scores[0], score))
    )
    if differences and not force:
        words = "; ".join(differences)[:MAX_MESSAGE_LENGTH]
        raise UsageError(
            f"these scores were computed with different protocols: {words}. Evaluate all runs alike, or force it, "
            "which marks them"
        )
    return differences


def _walk_differences(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        # A metric that only one of them used does not make the others incomparable.
        shared = [key for key in a if key in b] if name == "metrics" else sorted({*a, *b})
        for key in shared:
            yield from _walk_differences(a.get(key), b.get(key), f"{name}.{key}".removeprefix("."))
    elif a != b:
        yield name, a, b


def _format_value(value: Any) -> str:
    text = "not said" if value is None else str(value)
    return text if len(text) <= 20 else text[:12] + "…"


def _null_to_nan(table: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in table.items()}


def _non_finite_to_null(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, Mapping):
        return {key: _non_finite_to_null(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_lines(path: Path) -> list[bytes]:
    """The complete, non-empty lines of a file."""
    return [line for line in decoding.read_lines(path, MAX_LINES) if line.strip()]


def _is_later(line: bytes, images: int) -> bool:
    try:
        score = Score.from_json(decoding.parse(line, "it"))
    except UsageError:
        return False
    return score.extra.get("during") == "training" and score.images is not None and score.images > images


def _rewrite(run: Path, change: Any) -> None:
    path, lock = run / SCORES, run / SCORES_LOCK
    files.check_file(path)
    files.check_file(lock)
    try:
        with filelock.FileLock(lock, timeout=LOCK_TIMEOUT):
            lines = _read_lines(path)
            kept, added = change(lines)
            if kept != lines:
                atomic.write_file(path, b"".join(kept))
            new = b"".join(json.dumps(score.as_json(), ensure_ascii=False).encode() + b"\n" for score in added)
            if new:
                atomic.append(path, new, at=sum(map(len, kept)))
    except filelock.Timeout:
        raise UsageError(f"{path} is being written by another process; wait for it") from None
