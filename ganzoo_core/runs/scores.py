"""Scores and what they were computed with: `scores.jsonl` in a run's folder, one JSON object a line.

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
MAX_MESSAGE_LENGTH = 2_000  # characters of what differs, in an error
LOCK_TIMEOUT = 20  # seconds for another process that writes
COLLAPSE_FACTOR = 2.0  # times its best: above that, at so many evaluations running, a generator has collapsed
COLLAPSE_EVALUATIONS = 3
# What may differ between two scores that are compared: the model's own ways, and what was shown not to matter much.
UNCOMPARED_KEYS = ("seed", "ema", "labels", "drawn_size", "versions")


@dataclass(frozen=True)
class Score:
    """What one generator, or one set of images, was worth, and how that was found.

    Attributes:
        images: real images that the generator had seen; None for images from elsewhere.
        scores: a number by name.
        classes: by name, a number for each class.
        better: `lower` or `higher`, for those scores of which one is better.
        real: the same scores of real images of the data's other part that were resized as the drawn ones are, which is
            what the best of generators would have; empty where that was not asked for.
        protocol: everything that the numbers depend on.
        extra: what else is kept: `generator`, the SHA-256 of its weights, and `during`, what it was computed in.
    """

    images: int | None
    scores: Mapping[str, float]
    protocol: Mapping[str, Any]
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    better: Mapping[str, str] = field(default_factory=dict)
    real: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The line of `scores.jsonl`."""
        line = {"images": self.images, "scores": self.scores, "real": self.real, "classes": self.classes}
        return _non_finite_to_null({**line, "better": self.better, "protocol": self.protocol, **self.extra})

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Score:
        """The score that a line holds; raises UsageError where it holds none."""
        found = decoding.convert(line, ScoreLine, "it")
        return cls(
            images=found.images,
            scores=_null_to_nan(found.scores),
            real=_null_to_nan(found.real),
            classes={name: _null_to_nan(values) for name, values in found.classes.items()},
            better=found.better,
            protocol=found.protocol,
            extra={key: value for key, value in line.items() if key not in ScoreLine.__struct_fields__},
        )


def read(run: Path) -> list[Score]:
    """A run's scores in the order in which they were computed; none where it was not evaluated.

    Raises:
        UsageError: for a line that is no score, and if something else than a regular file lies there. A last line that
            is torn, by a crash, is passed over.
    """
    path = run / SCORES
    found = []
    for number, line in enumerate(_read_lines(path), 1):
        try:
            found.append(Score.from_json(decoding.parse(line, "it")))
        except UsageError as error:
            raise UsageError(
                f"{path}: line {number} is no score: {error}; take the line away, or the file: `ganzoo evaluate` "
                "writes it anew"
            ) from None
    return found


def append(run: Path, score: Score) -> None:
    """Write a score behind those that are there, durably.

    Raises:
        UsageError: if another process keeps the file.
        OSError: if the disk refuses; what was there before is untouched.
    """
    _rewrite(run, lambda kept: (kept, [score]))


def remove_later_scores(run: Path, images: int) -> None:
    """Take away what training found after so many images: the run went back, and will find it again."""

    def kept(lines: list[bytes]) -> tuple[list[bytes], list[Score]]:
        return [line for line in lines if not _is_later(line, images)], []

    if files.describe(run / SCORES):
        _rewrite(run, kept)


def find_main_score() -> str:
    """The score that `find_best` goes by, the lower the better: of the metric whose card says `main`; "" for none."""
    return next((part.lower[0] for part in catalog.scan().parts if part.main and part.lower), "")


def find_best(scores: Sequence[Score], by: str = "") -> Score | None:
    """The best of a run's scores, among those of the newest one's protocol; None without any.

    Of what was scored several times, the last score counts: not the luckiest.

    Args:
        scores: of one run.
        by: the score's name; that of the main metric without it.
    """
    by = by or find_main_score()
    named = [score for score in scores if score.images is not None and math.isfinite(score.scores.get(by, math.nan))]
    alike = select_latest([score for score in named if not find_differences(score, named[-1])])
    sign = -1 if alike and alike[-1].better.get(by) == "higher" else 1
    return min(alike, key=lambda score: sign * score.scores[by], default=None)


def select_latest(scores: Sequence[Score]) -> list[Score]:
    """The last score of each number of images, in the order of those."""
    newest = {score.images: score for score in scores if score.images is not None}
    return [newest[images] for images in sorted(newest)]


def has_collapsed(values: Sequence[float]) -> bool:
    """Whether a score, the lower the better, was over twice its best at the last three evaluations.

    Args:
        values: of one protocol, in the order of training.
    """
    before = [value for value in values[:-COLLAPSE_EVALUATIONS] if math.isfinite(value)]
    return bool(before) and all(
        not value <= COLLAPSE_FACTOR * max(min(before), 0.0) for value in values[-COLLAPSE_EVALUATIONS:]
    )


def find_differences(first: Score, second: Score) -> list[str]:
    """What of their protocol keeps two scores from being compared, in words; empty where they are alike."""
    # Data that were moved are the same.
    same_images = first.protocol.get("data_sha256", 0) == second.protocol.get("data_sha256", 1)
    return [
        f"{name.replace('.', ' ')} is {_format_value(a)} and {_format_value(b)}"
        for name, a, b in _walk_differences(first.protocol, second.protocol)
        if name.split(".")[0] not in UNCOMPARED_KEYS
        and not name.endswith(".version")
        and not (name == "data" and same_images)
    ]


def check_comparable(scores: Sequence[Score], *, force: bool = False) -> list[str]:
    """What differs in how these scores were found, to be shown beside them.

    Args:
        scores: scores that are to stand in one table.
        force: whether they may differ.

    Raises:
        UsageError: if they do and may not.
    """
    told = list(
        dict.fromkeys(to_one_line(words) for score in scores[1:] for words in find_differences(scores[0], score))
    )
    if told and not force:
        words = "; ".join(told)[:MAX_MESSAGE_LENGTH]
        raise UsageError(
            f"these scores were computed with different protocols: {words}. Evaluate all runs alike, or force it, "
            "which marks them"
        )
    return told


def _walk_differences(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        # A metric that only one of the two has keeps nothing from being compared.
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
    """JSON has no infinity and no NaN: null."""
    if isinstance(value, Mapping):
        return {key: _non_finite_to_null(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_lines(path: Path) -> list[bytes]:
    """The whole lines of a file."""
    return [line for line in decoding.read_lines(path, MAX_LINES) if line.strip()]


def _is_later(line: bytes, images: int) -> bool:
    try:
        found = Score.from_json(decoding.parse(line, "it"))
    except UsageError:
        return False
    return found.extra.get("during") == "training" and found.images is not None and found.images > images


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
