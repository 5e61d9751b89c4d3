"""Read a run's folder for a report, robustly: whatever cannot be read becomes a note."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.report.records import Measurements
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.settings import read_facts
from ganzoo_core.settings.lengths import Interval
from ganzoo_core.storage import decoding, files
from ganzoo_core.storage.records import Card

MAX_CELLS = 50_000_000  # limit of numbers in the statistics
MAX_COLUMNS = 200  # limit of columns in the statistics; a run has about ten
MAX_CONFIG = 200_000  # bytes
MAX_MEASURED = 64_000_000  # bytes
_SETTING_LINE = re.compile(r"(?P<key>[^\s:#][^\s:]*): (?P<rest>.*)")
_MAX_DIGITS = 18  # of a whole number in `config.yaml`
_CLOCK_COLUMNS = {"seconds", "images_per_second"}
_POSITION_COLUMNS = {"images", "step", "epoch"}


@dataclass(frozen=True)
class Setting:
    """A line of `config.yaml`."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class RunRecord:
    """The readable contents of a run's folder.

    Attributes:
        folder: of the run, as the user named it.
        settings: by key, in file order.
        facts: the run's facts; see `runs.facts`.
        columns: the statistics, by name, as lists of equal length; missing numbers are NaN.
        scores: the lines of `scores.jsonl`, each with `images` and `scores`.
        measured: report data that needs the generator or the training set, if computed; see `records.Measurements`.
        notes: sentences on what could not be read.
    """

    folder: Path
    settings: dict[str, Setting]
    facts: dict[str, Any]
    columns: dict[str, list[float]]
    scores: list[dict[str, Any]]
    measured: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def images(self) -> list[float]:
        """Images seen at each line of the statistics."""
        return self.columns.get("images", [])

    @property
    def terms(self) -> list[str]:
        """Names of loss terms and of D's accuracies and probabilities, in column order."""
        return [name for name in self.columns if "/" in name]

    @property
    def values(self) -> list[str]:
        """Names of the schedule's values."""
        return [name for name in self.columns if "/" not in name and name not in _POSITION_COLUMNS | _CLOCK_COLUMNS]

    @property
    def title(self) -> str:
        """The title, such as `MODEL on DATA`."""
        model = self.get_setting("use.model") or " and ".join(
            dict.fromkeys(filter(None, (self.get_setting("use.generator"), self.get_setting("use.discriminator"))))
        )
        data = self.get_setting("use.data")
        return f"{model} on {data}" if model and data else model or self.folder.name

    def get_setting(self, key: str) -> Any:
        """A setting's value; "" if it is missing."""
        return self.settings[key].value if key in self.settings else ""

    def get_fact(self, *keys: str) -> Any:
        """A fact from `run` in `config.yaml`, such as `get_fact("engine", "device")`; "" if it is missing."""
        fact: Any = self.facts
        for key in keys:
            fact = fact.get(key, "") if isinstance(fact, dict) else ""
        return fact

    @property
    def images_seen(self) -> int:
        """Images seen at the last line of the statistics."""
        return int(self.images[-1]) if self.images else 0

    @cached_property
    def length(self) -> int:
        """The run's length in images; 0 if unknown."""
        try:
            batch, critic = int(self.get_setting("train.batch_size")), int(self.get_setting("train.critic_steps") or 1)
            step = batch * critic
            length = Interval.parse(self.get_setting("train.length"))
            images = length.to_images(epoch_images=int(self.get_fact("data", "images") or 0), step_images=step)
        except (ValueError, TypeError, OverflowError):
            return 0
        return -(-images // step) * step if step > 0 else 0

    @property
    def generator_images(self) -> int:
        """Images seen by the saved generator; -1 without one."""
        card = self._read_card()
        return -1 if card is None else card.images

    @property
    def draws_from_conditions(self) -> bool:
        """Whether the saved generator draws from conditions."""
        card = self._read_card()
        return card is not None and bool(card.spec.conditions)

    def _read_card(self) -> Card | None:
        try:
            files.check_folder(self.folder / layout.GENERATOR)
            return read_card(self.folder / layout.GENERATOR)
        except GanzooError:
            return None

    @property
    def state(self) -> str:
        """The run's progress, as a sentence without a full stop."""
        if not self.images:
            return "Nothing reported yet"
        reached = (
            f"{self.images_seen:,} of {pluralise(self.length, 'image')}"
            if self.length
            else pluralise(self.images_seen, "image")
        )
        last = [self.columns[name][-1] for name in self.terms]
        if last and not all(map(math.isfinite, last)) and self.generator_images < self.images_seen:
            return f"Diverged at {reached}"
        if self.generator_images >= self.images_seen:
            whole = self.length == 0 or self.images_seen >= self.length
            return (
                f"Finished after {pluralise(self.images_seen, 'image')}" if whole else f"Stopped and saved at {reached}"
            )
        return f"Not finished: {reached} so far"


def read(folder: Path) -> RunRecord:
    """Read a run.

    Raises:
        UsageError: if there is no such folder, or it is not a run's.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not there; name a run's folder, such as runs/NAME-1")
    if not any(files.describe(folder / name) for name in (layout.CONFIG, layout.STATS, layout.SAMPLES)):
        raise UsageError(
            f"{folder} holds no {layout.CONFIG}, no {layout.STATS} and no {layout.SAMPLES}/, so it is no run's folder; "
            "name one, such as runs/NAME-1"
        )
    notes: list[str] = []
    settings, facts = _read_config(folder / layout.CONFIG, notes)
    columns = _read_stats(folder / layout.STATS, notes)
    scored = _read_scores(folder / layout.SCORES, notes)
    return RunRecord(folder, settings, facts, columns, scored, _read_measured(folder, notes), notes)


def _read_config(path: Path, notes: list[str]) -> tuple[dict[str, Setting], dict[str, Any]]:
    try:
        text = files.read_bytes(path, MAX_CONFIG).decode("utf-8", "replace")
    except UsageError as error:
        notes.append(f"{path.name} cannot be read, so the settings are not known: {error}.")
        return {}, {}
    try:
        facts = msgspec.to_builtins(read_facts(path))
    except UsageError as error:
        notes.append(f"{error}.")
        facts = {}
    settings = {}
    for line in text.partition("\nrun:")[0].splitlines():
        match = _SETTING_LINE.fullmatch(line)
        if match:
            settings[match["key"]] = Setting(match["key"], *_split_value_and_origin(match["rest"]))
    return settings, facts


def _split_value_and_origin(text: str) -> tuple[Any, str]:
    """`2e-4  # core` -> the value and `core`; a value that is not JSON stays text."""
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        value, end = text.partition("  # ")[0], len(text.partition("  # ")[0])
    return value, text[end:].strip().removeprefix("#").strip()


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _parse_int(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else _refuse(text)


def _parse_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


_DECODER = json.JSONDecoder(parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse)


def _read_json_lines(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Iterate over the JSON objects in a file, one per line; ignores a torn last line, notes other bad lines."""
    bad = 0
    try:
        for line in decoding.read_lines(path):
            try:
                entry = decoding.parse(line, path.name)
            except UsageError:
                entry = None
            if isinstance(entry, dict):
                yield entry
            else:
                bad += 1
    except UsageError as error:
        notes.append(f"{path.name} cannot be read to its end: {error}.")
    if bad:
        notes.append(
            f"{pluralise(bad, 'line')} of {path.name} could not be read and {'is' if bad == 1 else 'are'} left out."
        )


def to_number(value: Any) -> float:
    """A JSON number as a float; NaN for other values and for numbers out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _read_stats(path: Path, notes: list[str]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {"images": []}
    for entry in _read_json_lines(path, notes):
        if not to_number(entry.get("images")) >= 0:
            continue
        count = len(columns["images"])
        if count * len(columns) > MAX_CELLS:
            notes.append(f"{path.name} is read up to line {count:,}: more than {MAX_CELLS:,} numbers are not shown.")
            break
        for name, value in entry.items():
            if (
                name not in columns
                and len(columns) < MAX_COLUMNS
                and (value is None or not math.isnan(to_number(value)))
            ):
                columns[name] = [math.nan] * count
            if name in columns:
                columns[name].append(to_number(value))
        for column in columns.values():
            if len(column) == count:
                column.append(math.nan)
    return columns


def _read_scores(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    entries = [
        entry
        for entry in _read_json_lines(path, notes)
        if to_number(entry.get("images")) >= 0 and isinstance(entry.get("scores"), dict)
    ]
    return sorted(entries, key=lambda entry: to_number(entry["images"]))


def _read_measured(folder: Path, notes: list[str]) -> dict[str, Any]:
    path = folder / layout.REPORT_FOLDER / layout.MEASURED
    if not files.describe(path):
        return {}
    try:
        files.check_folder(path.parent)
        measurements = decoding.decode_large(
            files.read_bytes(path, MAX_MEASURED), Measurements, f"{path.parent.name}/{path.name}"
        )
    except UsageError as error:
        notes.append(f"{error}; `ganzoo report {shlex.quote(str(folder))}` writes it anew.")
        return {}
    built: dict[str, Any] = msgspec.to_builtins(measurements)
    return {name: value for name, value in built.items() if value is not None}
