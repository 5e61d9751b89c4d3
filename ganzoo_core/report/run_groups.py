"""Several runs beside each other: which of them differ in their seed alone, in what the others differ, their scores."""

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
from ganzoo_core.runs.scores import Score, check_comparable, find_main_score
from ganzoo_core.storage import files

SEED_KEY = "train.seed"
MAX_DEPTH = 2  # folders below the one that is named, in which runs are looked for
MAX_RUNS = 200  # runs that are compared
MAX_NAME_SETTINGS = 3  # settings in the name of a row


@dataclass(frozen=True)
class RunGroup:
    """Runs that are alike in all settings but the seed.

    Attributes:
        name: what sets it apart.
        runs: by seed.
        scores: of each run, the one after most images, where it was evaluated.
    """

    name: str
    runs: tuple[RunRecord, ...]
    scores: tuple[Score | None, ...]

    def format_setting(self, key: str) -> str:
        """A setting as text; "–" where there is none."""
        run = self.runs[0]
        return format_value(run.settings[key].value) if key in run.settings else "–"

    @property
    def seeds(self) -> str:
        """Such as `0, 1, 2`."""
        return ", ".join(str(run.get_setting(SEED_KEY)) for run in self.runs)

    @property
    def images(self) -> str:
        """Images seen, from the least to the most."""
        seen = sorted({run.images_seen for run in self.runs})
        return f"{seen[0]:,}" if len(seen) == 1 else f"{seen[0]:,} to {seen[-1]:,}"

    def list_values(self, metric: str) -> list[float]:
        """A score of each run that has it."""
        found = [score.scores.get(metric, float("nan")) for score in self.scores if score is not None]
        return [value for value in found if value == value]

    def format_spread(self, metric: str) -> str:
        """Mean ± standard deviation over the runs, or the one value; "–" without any."""
        values = self.list_values(metric)
        if len(values) < 2:
            return f"{values[0]:.4g}" if values else "–"
        return f"{statistics.fmean(values):.4g} ± {statistics.stdev(values):.2g}"


@dataclass(frozen=True)
class Comparison:
    """Runs in groups.

    Attributes:
        groups: the best first, by the score that `best` goes by, where there is one.
        differing_settings: settings in which the groups differ, those that somebody chose first.
        metrics: names of scores, and for each whether `lower` or `higher` is better, or "".
        protocol_differences: what differs in how the scores were found, if they were compared by force.
        notes: what else there is to know.
    """

    groups: list[RunGroup]
    differing_settings: list[str]
    metrics: dict[str, str]
    protocol_differences: list[str]
    notes: list[str] = field(default_factory=list)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The runs that are meant: run folders, and those within other folders.

    Raises:
        UsageError: for a place without any, or if there are fewer than two in all.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        within = [path] if files.is_file(path / layout.CONFIG) else _find_within(path, MAX_DEPTH)
        if not within:
            what = "is not there" if not path.exists() else "is no run's folder and holds none"
            raise UsageError(f"{path} {what}; name runs, such as runs/NAME-1 runs/NAME-2, or a folder of them")
        for run in within:
            found.setdefault(run.resolve(), run)
    if len(found) < 2:
        raise UsageError(f"there is one run to compare, {next(iter(found.values()))}; name another")
    if len(found) > MAX_RUNS:
        raise UsageError(f"there are {len(found)} runs; at most {MAX_RUNS} are compared at once")
    return list(found.values())


def _find_within(path: Path, depth: int) -> list[Path]:
    if depth == 0 or not path.is_dir():
        return []
    found = []
    for inner in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        found += [inner] if files.is_file(inner / layout.CONFIG) else _find_within(inner, depth - 1)
    return found


def compare_runs(paths: Sequence[Path], *, force: bool = False) -> Comparison:
    """Read the runs and put them in groups.

    Args:
        paths: of runs; see `find_runs`.
        force: whether scores may have been computed with different protocols.

    Raises:
        UsageError: if they were and may not.
    """
    runs = [run_record.read(path) for path in paths]
    notes = [f"{run.folder}: {note}" for run in runs for note in run.notes]
    alike: dict[str, list[RunRecord]] = {}
    for run in runs:
        settings = {key: setting.value for key, setting in run.settings.items() if key != SEED_KEY}
        alike.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    sets = [sorted(group, key=lambda run: str(run.get_setting(SEED_KEY)).zfill(12)) for group in alike.values()]
    differ = find_differing_settings([group[0] for group in sets])
    scored = {id(run): _find_newest_score(run) for run in runs}
    found = [score for score in scored.values() if score is not None]
    unlike = check_comparable(found, force=force)
    names = _make_names(sets, differ)
    groups = [
        RunGroup(name, tuple(group), tuple(scored[id(run)] for run in group))
        for name, group in zip(names, sets, strict=True)
    ]
    named = {name: score.better.get(name, "") for score in found for name in score.scores if not _is_spread(name)}
    main = find_main_score()
    metrics = {name: named[name] for name in sorted(named, key=lambda name: name != main)}
    missing = sum(score is None for score in scored.values())
    if missing:
        notes.append(
            f"without a score yet: {missing} of {pluralise(len(runs), 'run')}; `ganzoo evaluate RUN` gives them one"
            if found
            else "no run has a score yet; `ganzoo evaluate RUN` gives it one"
        )
    notes += _find_version_differences(runs)
    main = next(iter(metrics), "")
    sign = -1 if metrics.get(main) == "higher" else 1
    groups.sort(
        key=lambda group: (not group.list_values(main), sign * statistics.fmean(group.list_values(main) or [0.0]))
    )
    return Comparison(groups, differ, metrics, unlike, notes)


def _is_spread(name: str) -> bool:
    return name.endswith("_std")


def _find_newest_score(run: RunRecord) -> Score | None:
    for entry in reversed(run.scores):  # they are in the order of images
        try:
            return Score.from_json(entry)
        except UsageError:
            continue
    return None


def find_differing_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Settings that are not the same in all runs: what was picked and chosen first, then what follows from it."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if key != SEED_KEY)
    found = [key for key in keys if len({_encode_setting(run, key) for run in runs}) > 1]
    if "use.model" in found:  # it says the same
        found = [key for key in found if key not in ("use.generator", "use.discriminator")]
    return sorted(found, key=lambda key: (not key.startswith("use."), not _is_chosen(runs, key), key))


def _encode_setting(run: RunRecord, key: str) -> str:
    return json.dumps(run.settings[key].value, sort_keys=True) if key in run.settings else ""


def _is_chosen(runs: Sequence[RunRecord], key: str) -> bool:
    """Whether a flag or `--set` said it in one of the runs, rather than a part."""
    origins = (run.settings[key].origin for run in runs if key in run.settings)
    return any(origin.startswith("--") or origin == "MODEL" for origin in origins)


def _make_names(sets: Sequence[Sequence[RunRecord]], differ: Sequence[str]) -> list[str]:
    """A name for each group: what was picked and chosen for it, else its first folder; no two the same."""
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
    """What the runs were made with, where that is not the same."""
    notes = []
    for words, keys in {"ganzoo": ("ganzoo",), "data": ("data", "sha256"), "device": ("engine", "device")}.items():
        found = sorted({str(run.get_fact(*keys)) for run in runs if run.get_fact(*keys)})
        if len(found) > 1:
            shown = "another fingerprint in some" if words == "data" else " and ".join(found)
            notes.append(f"the runs do not have the same {words}: {shown}")
    return notes


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison for programs."""
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
        "notes": comparison.notes,
    }
