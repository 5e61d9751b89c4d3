"""Scores and their protocol: `scores.jsonl` in a run's folder, one JSON object per line.

{"images": 6000, "scores": {"NAME": 3.2, …}, "real": {"NAME": 0.8, …}, "classes": {"share": {"0": 0.1, …}},
"better": {"NAME": "lower", …}, "doubts": {"NAME": "why it means little"}, "protocol": {"data": …, "reference": "test",
"extractor": {…}, "samples": 1000, …}, …}
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
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

STD_SUFFIX = "_std"  # suffix of a score's name: its standard deviation
MAX_LINES = 100_000
MAX_MESSAGE_LENGTH = 2_000  # characters of differences listed in an error
LOCK_TIMEOUT = 20  # seconds to wait for another process that writes
COLLAPSE_FACTOR = 2.0  # a generator has collapsed if its score exceeds its best by this factor
COLLAPSE_EVALUATIONS = 3  # at this many consecutive evaluations
# Protocol keys that may differ between comparable scores: properties of the model, some with little effect, and
# some that only explain `reference` and `extractor`.
UNCOMPARED_KEYS = ("seed", "ema", "labels", "drawn_size", "versions", "nothing_held_out", "passed_over", "real_halves")


@dataclass(frozen=True)
class Score:
    """Scores of one generator or one set of images, with their protocol.

    Attributes:
        images: real images seen by the generator; None for images that no run's generator drew.
        scores: values by name, the main one first, those in doubt last.
        classes: per-class values, by score name.
        better: `lower` or `higher`, for scores that have a direction.
        real: the same scores of one half of the reference against the other, resized like the generated images: the
            floor. Halves of at most 5,000 images, so that a score which falls with the number of images, such as
            Fréchet's distance, may lie below it. Empty if not requested. The protocol's `real_halves` is the number of
            images in each half; older scores, of other real images, lack it.
        protocol: everything that the values depend on.
        extra: further keys: `generator`, the SHA-256 of its weights, and `during`, `training` or `evaluate`.
        doubts: by name, why a score means little, such as for too few images, or why there is none.
    """

    images: int | None
    scores: Mapping[str, float]
    protocol: Mapping[str, Any]
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    better: Mapping[str, str] = field(default_factory=dict)
    real: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)

    def format(self, name: str, *, real: bool = False) -> str:
        """A score as text with four significant digits, and its standard deviation if it has one; "-" for none.

        Args:
            name: of the score.
            real: that of the real images.
        """
        values = self.real if real else self.scores
        return format_value(values.get(name), values.get(name + STD_SUFFIX))

    def as_json(self) -> dict[str, Any]:
        """Its line of `scores.jsonl`."""
        line: dict[str, Any] = {"images": self.images, "scores": self.scores, "real": self.real}
        line |= {"classes": self.classes, "better": self.better}
        line |= {"doubts": self.doubts} if self.doubts else {}
        return _non_finite_to_null({**line, "protocol": self.protocol, **self.extra})

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
            doubts=record.doubts,
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


def format_value(value: float | None, spread: float | None = None, *, missing: str = "-") -> str:
    """A score with four significant digits, and its standard deviation; `missing` for None and NaN."""
    if value is None or math.isnan(value):
        return missing
    return f"{value:.4g}" if spread is None or math.isnan(spread) else f"{value:.4g} ± {spread:.2g}"


def mark_doubt(text: str, *, in_doubt: bool) -> str:
    """A formatted score in brackets if it means little, for tables in which a row has several."""
    return f"({text})" if in_doubt and text not in ("-", "–") else text


def find_main_score(score: Score | None) -> str:
    """The name of the score used by `find_best`, lower is better; "" for none.

    That of the metric marked `main`. Of several the one that needs the most images and is not in doubt; if all are in
    doubt, the first that has a value.
    """
    if score is None:
        return ""
    usable = [name for name in list_main_scores() if math.isfinite(score.scores.get(name, math.nan))]
    return next((name for name in usable if name not in score.doubts), next(iter(usable), ""))


def list_main_scores() -> list[str]:
    """The scores of the metrics marked `main`, the one that needs the most images first."""
    parts = [part for part in catalog.scan().parts if part.main and part.lower]
    return [part.lower[0] for part in sorted(parts, key=lambda part: (-part.min_images, part.name))]


def order_names(names: Iterable[str], doubts: Container[str] = ()) -> list[str]:
    """The names of scores in the order in which they are shown: main ones first, those in doubt last.

    A standard deviation, such as `NAME_std`, follows its score.
    """
    main = list_main_scores()

    def rank(name: str) -> tuple[bool, int]:
        own = name.removesuffix(STD_SUFFIX)
        return own in doubts, main.index(own) if own in main else len(main)

    return sorted(names, key=rank)


def list_names(scores: Sequence[Score]) -> list[str]:
    """The names of all scores, also of those left out with a reason, as `order_names` has them; no deviations."""
    doubts = {name for score in scores for name in score.doubts}
    names = dict.fromkeys(name for score in scores for name in (*score.scores, *score.doubts))
    return [name for name in order_names(names, doubts) if not is_deviation(name, names)]


def is_deviation(name: str, names: Container[str]) -> bool:
    """Whether a score is the standard deviation of another one of `names`."""
    return name.endswith(STD_SUFFIX) and name.removesuffix(STD_SUFFIX) in names


def find_best(scores: Sequence[Score]) -> Score | None:
    """The best of a run's scores, by the main metric, with the same protocol as the newest one; None without any.

    Of a generator that was scored several times, the last score counts, not the best.
    """
    drawn = [score for score in scores if score.images is not None]
    by = next(filter(None, map(find_main_score, reversed(drawn))), "")
    named = [score for score in drawn if math.isfinite(score.scores.get(by, math.nan))]
    alike = select_latest([score for score in named if not find_differences(score, named[-1])])
    sign = -1 if alike and alike[-1].better.get(by) == "higher" else 1
    return min(alike, key=lambda score: sign * score.scores[by], default=None)


def select_latest(scores: Sequence[Score]) -> list[Score]:
    """The last score for each number of images, ordered by it."""
    newest = {score.images: score for score in scores if score.images is not None}
    return [newest[images] for images in sorted(newest)]


def has_collapsed(values: Sequence[float], spread: float = 0.0) -> bool:
    """Whether a lower-is-better score was over twice its best at each of the last three evaluations.

    Args:
        values: of one protocol, in the order of training.
        spread: the standard deviation of the best, for a score that is zero or below for equal distributions: only what
            lies over twice the upper end of its interval, two standard deviations above it, counts.
    """
    before = [value for value in values[:-COLLAPSE_EVALUATIONS] if math.isfinite(value)]
    return bool(before) and all(
        not value <= COLLAPSE_FACTOR * max(min(before) + 2 * spread, 0.0) for value in values[-COLLAPSE_EVALUATIONS:]
    )


def find_differences(first: Score, second: Score) -> list[str]:
    """Describe the protocol differences that make two scores incomparable; empty if they are comparable."""
    # The same images under another path are the same data.
    same_images = first.protocol.get("data_sha256", 0) == second.protocol.get("data_sha256", 1)
    return [
        f"{name.replace('.', ' ')} is {_shorten(a)} and {_shorten(b)}"
        for name, a, b in _walk_differences(first.protocol, second.protocol)
        if name.split(".")[0] not in UNCOMPARED_KEYS
        and not name.endswith(".version")
        and name != "extractor.device"  # like versions, it decides last bits alone
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
    if name == "extractor" and _get_name(a) != _get_name(b):  # all else differs with the extractor
        yield "extractor", _get_name(a), _get_name(b)
    elif isinstance(a, Mapping) and isinstance(b, Mapping):
        # A metric that only one of them used does not make the others incomparable.
        shared = [key for key in a if key in b] if name == "metrics" else sorted({*a, *b})
        for key in shared:
            yield from _walk_differences(a.get(key), b.get(key), f"{name}.{key}".removeprefix("."))
    elif a != b:
        yield name, a, b


def _get_name(extractor: Any) -> Any:
    return extractor.get("name") if isinstance(extractor, Mapping) else extractor


def _shorten(value: Any) -> str:
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
