"""Compare runs: group those that differ only in the seed, and find differing settings and scores of the groups."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.report import run_record
from ganzoo_core.report.run_record import RunRecord
from ganzoo_core.report.sections import format_value
from ganzoo_core.runs import layout
from ganzoo_core.runs.scores import Score, check_comparable, list_names
from ganzoo_core.storage import files

SEED_KEY = "train.seed"
MAX_DEPTH = 2  # levels of folders searched for runs below a named one
MAX_COMPARED_RUNS = 200  # runs compared at most
MAX_NAME_SETTINGS = 3  # settings in a group's name


@dataclass(frozen=True)
class RunGroup:
    """Runs with the same settings except the seed.

    Attributes:
        name: made from the settings that differ between groups.
        runs: ordered by seed.
        scores: of each run, the one after most images; None if it was not evaluated.
    """

    name: str
    runs: tuple[RunRecord, ...]
    scores: tuple[Score | None, ...]

    def format_setting(self, key: str) -> str:
        """A setting as text; "–" if it is missing."""
        run = self.runs[0]
        return format_value(run.settings[key].value) if key in run.settings else "–"

    @property
    def seeds(self) -> str:
        """The runs' seeds, such as `0, 1, 2`."""
        return ", ".join(str(run.get_setting(SEED_KEY)) for run in self.runs)

    @property
    def images(self) -> str:
        """Images seen, such as `6,000` or `6,000 to 8,000`."""
        seen = sorted({run.images_seen for run in self.runs})
        return f"{seen[0]:,}" if len(seen) == 1 else f"{seen[0]:,} to {seen[-1]:,}"

    def list_values(self, metric: str) -> list[float]:
        """A score's values over the runs that have it."""
        values = [score.scores.get(metric, float("nan")) for score in self.scores if score is not None]
        return [value for value in values if value == value]

    def find_doubt(self, metric: str) -> str:
        """Why a score means little in these runs; "" if it does not."""
        return _join_doubts(self.scores, metric)

    def format_spread(self, metric: str) -> str:
        """Mean ± standard deviation over the runs; of a single run, the score with its own; "–" without any."""
        values = self.list_values(metric)
        if len(values) < 2:
            scored = next((score for score in self.scores if score is not None and metric in score.scores), None)
            return scored.format(metric) if values and scored is not None else "–"
        return f"{statistics.fmean(values):.4g} ± {statistics.stdev(values):.2g}"


@dataclass(frozen=True)
class Comparison:
    """Runs in groups.

    Attributes:
        groups: best first by the first of `metrics`, if any.
        differing_settings: settings in which the groups differ, those chosen by the user first.
        metrics: for each score's name, the better direction: `lower`, `higher` or "". The main score is first.
        doubts: for each score's name, why it means little in some of the runs, if it does; see `RunGroup.find_doubt`.
        protocol_differences: differences between the scores' protocols, if they were compared by force.
        notes: further remarks.
    """

    groups: list[RunGroup]
    differing_settings: list[str]
    metrics: dict[str, str]
    protocol_differences: list[str]
    doubts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _join_doubts(scores: Sequence[Score | None], metric: str) -> str:
    """The reasons why these scores mean little, each once."""
    return "; ".join(dict.fromkeys(score.doubts[metric] for score in scores if score and metric in score.doubts))


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Find runs: the given run folders, and those inside other given folders.

    Raises:
        UsageError: for a path without runs, or if there are fewer than 2 or more than `MAX_COMPARED_RUNS` in all.
    """
    runs: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if files.is_file(path / layout.CONFIG) else _find_within(path, MAX_DEPTH)
        if not inside:
            what = "is not there" if not path.exists() else "is no run's folder and holds none"
            raise UsageError(f"{path} {what}; name runs, such as runs/NAME-1 runs/NAME-2, or a folder of them")
        for run in inside:
            runs.setdefault(run.resolve(), run)
    if len(runs) < 2:
        raise UsageError(f"there is one run to compare, {next(iter(runs.values()))}; name another")
    if len(runs) > MAX_COMPARED_RUNS:
        raise UsageError(f"there are {len(runs)} runs; at most {MAX_COMPARED_RUNS} are compared at once")
    return list(runs.values())


def _find_within(path: Path, depth: int) -> list[Path]:
    if depth == 0 or not path.is_dir():
        return []
    runs = []
    for inner in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        runs += [inner] if files.is_file(inner / layout.CONFIG) else _find_within(inner, depth - 1)
    return runs


def compare_runs(paths: Sequence[Path], *, force: bool = False) -> Comparison:
    """Read and group runs.

    Args:
        paths: of runs; see `find_runs`.
        force: allow scores computed with different protocols.

    Raises:
        UsageError: if the protocols differ and `force` is not set.
    """
    runs = [run_record.read(path) for path in paths]
    notes = [f"{run.folder}: {note}" for run in runs for note in run.notes]
    by_settings: dict[str, list[RunRecord]] = {}
    for run in runs:
        settings = {key: setting.value for key, setting in run.settings.items() if key != SEED_KEY}
        by_settings.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    sets = [sorted(group, key=lambda run: str(run.get_setting(SEED_KEY)).zfill(12)) for group in by_settings.values()]
    differ = find_differing_settings([group[0] for group in sets])
    score_by_run = {id(run): _find_newest_score(run) for run in runs}
    scores = [score for score in score_by_run.values() if score is not None]
    protocol_differences = check_comparable(scores, force=force)
    names = _make_names(sets, differ)
    groups = [
        RunGroup(name, tuple(group), tuple(score_by_run[id(run)] for run in group))
        for name, group in zip(names, sets, strict=True)
    ]
    better = {name: way for score in scores for name, way in score.better.items()}
    metrics = {name: better.get(name, "") for name in list_names(scores)}
    doubts = {name: _join_doubts(scores, name) for score in scores for name in score.doubts}
    missing = sum(score is None for score in score_by_run.values())
    if missing:
        notes.append(
            f"without a score yet: {missing} of {pluralise(len(runs), 'run')}; `ganzoo evaluate RUN` gives them one"
            if scores
            else "no run has a score yet; `ganzoo evaluate RUN` gives it one"
        )
    notes += _find_version_differences(runs)
    main = next(iter(metrics), "")
    sign = -1 if metrics.get(main) == "higher" else 1
    groups.sort(
        key=lambda group: (not group.list_values(main), sign * statistics.fmean(group.list_values(main) or [0.0]))
    )
    return Comparison(groups, differ, metrics, protocol_differences, doubts, notes)


def _find_newest_score(run: RunRecord) -> Score | None:
    for entry in reversed(run.scores):  # ordered by images
        try:
            return Score.from_json(entry)
        except UsageError:
            continue
    return None


def find_differing_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Settings that differ between runs: parts first, then values chosen by the user, then the rest."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if key != SEED_KEY)
    differing = [key for key in keys if len({_encode_setting(run, key) for run in runs}) > 1]
    if "use.model" in differing:  # implies the other two
        differing = [key for key in differing if key not in ("use.generator", "use.discriminator")]
    return sorted(differing, key=lambda key: (not key.startswith("use."), not _is_chosen(runs, key), key))


def _encode_setting(run: RunRecord, key: str) -> str:
    return json.dumps(run.settings[key].value, sort_keys=True) if key in run.settings else ""


def _is_chosen(runs: Sequence[RunRecord], key: str) -> bool:
    """Whether the user set it in one of the runs, by a flag or `--set`."""
    origins = (run.settings[key].origin for run in runs if key in run.settings)
    return any(origin.startswith("--") or origin == "MODEL" for origin in origins)


def _make_names(sets: Sequence[Sequence[RunRecord]], differ: Sequence[str]) -> list[str]:
    """A unique name for each group: its differing parts and chosen settings, else its first run's folder name."""
    first = [group[0] for group in sets]
    keys = [key for key in differ if key.startswith("use.") or _is_chosen(first, key)][:MAX_NAME_SETTINGS]
    names = []
    for run in first:
        words = [
            f"{key.rpartition('.')[2]}={format_value(run.settings[key].value, 30)}"
            for key in keys
            if key in run.settings
        ]
        names.append(" ".join(words) or run.folder.name or run.title)
    return [
        name if names.count(name) == 1 else f"{name} ({run.folder.name})"
        for name, run in zip(names, first, strict=True)
    ]


def _find_version_differences(runs: Sequence[RunRecord]) -> list[str]:
    """Describe differences in the runs' ganzoo version, data and device."""
    notes = []
    for words, keys in {"ganzoo": ("ganzoo",), "data": ("data", "sha256"), "device": ("engine", "device")}.items():
        values = sorted({str(run.get_fact(*keys)) for run in runs if run.get_fact(*keys)})
        if len(values) > 1:
            shown = "another fingerprint in some" if words == "data" else " and ".join(values)
            notes.append(f"the runs do not have the same {words}: {shown}")
    return notes


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison in JSON types."""
    rows: list[Mapping[str, Any]] = []
    for group in comparison.groups:
        by_metric = {name: group.list_values(name) for name in comparison.metrics}
        rows.append(
            {
                "name": group.name,
                "runs": [str(run.folder) for run in group.runs],
                "seeds": [run.get_setting(SEED_KEY) for run in group.runs],
                "images": [run.images_seen for run in group.runs],
                "settings": {
                    key: group.runs[0].settings[key].value
                    for key in comparison.differing_settings
                    if key in group.runs[0].settings
                },
                "scores": {
                    name: {
                        "mean": statistics.fmean(values),
                        "std": statistics.stdev(values) if len(values) > 1 else None,
                        "n": len(values),
                        "values": values,
                    }
                    for name, values in by_metric.items()
                    if values
                },
            }
        )
    return {
        "differ": comparison.differing_settings,
        "better": comparison.metrics,
        "rows": rows,
        "unlike": comparison.protocol_differences,
        "doubts": comparison.doubts,
        "notes": comparison.notes,
    }
