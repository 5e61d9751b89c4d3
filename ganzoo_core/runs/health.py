"""Warnings about a run's health: it is too short, or D separates real from generated images perfectly.

Both can be read from a run's folder: the first is among the warnings in `config.yaml`, the second is recomputed from
`stats.jsonl`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Suits
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import Mix
from ganzoo_core.runs import layout
from ganzoo_core.settings import CORE_SETTINGS
from ganzoo_core.settings.lengths import Interval, parse_minutes
from ganzoo_core.storage.records import SEPARATION_TERM

MIN_STEPS = 2_000  # steps of G below which most GANs draw little more than noise
EARLY_STEPS = 200  # first steps, where D separates perfectly in healthy runs too, since G draws noise
REPORTS_IN_A_ROW = 3
ACCURACY_REAL = "discriminator/accuracy_real"


def explain_short_run(resolved: Mix, steps: int, *, laptop: str = "", resumed: Path | None = None) -> str:
    """A warning for a run of too few steps; "" if they are enough, or the length is from the preset for this data set.

    Args:
        resolved: the mix to train.
        steps: total steps of the generator.
        laptop: the preset that trains for longer on this machine; see `find_laptop_preset`.
        resumed: the folder of a run that is resumed or restarted; None for a new one.
    """
    data_preset_origin = f"{resolved.parts['generator'].name} preset {resolved.parts['data'].name}"
    if steps >= MIN_STEPS or resolved.settings.find_origin("train.length") == data_preset_origin:
        return ""
    entry = resolved.settings.entries["train.length"]
    flag = entry.origin.partition(":")[0]  # `--minutes: 10 minutes at …`, where they were turned into images
    written = flag if flag in ("--images", "--epochs", "--steps", "--minutes") else f"train.length={entry.value}"
    instead = f" in place of {written}" if entry.by_user else ""
    advice = f"the same command with --steps 5000 or --minutes 10{f' or --preset {laptop}' if laptop else ''}{instead}"
    if resumed is not None:
        advice = f"`ganzoo resume {shlex.quote(str(resumed))} --steps 5000`"
    return (
        f"this run takes {pluralise(steps, 'step')} of the generator, and below {MIN_STEPS:,} most GANs draw "
        f"little more than noise; {advice} trains for longer"
    )


def find_laptop_preset(resolved: Mix, images: int, *, epoch_images: int, is_too_short: bool = False) -> str:
    """The model's preset for a machine without a GPU if it suits a run of this length, else "".

    Never suggested if the run's own preset is for small data sets, and so for such a machine as well, nor if the user
    set the length of a run that has a preset or is too short.

    Args:
        resolved: the mix to train.
        images: the run's length.
        epoch_images: images in an epoch.
        is_too_short: suggest a longer run, instead of a shorter one.
    """
    name, model, entry = resolved.laptop_preset, resolved.parts["generator"], resolved.settings.entries["train.length"]
    if not name or (resolved.preset and model.suits.get(resolved.preset, Suits()).max_images is not None):
        return ""
    if entry.by_user or not (is_too_short or resolved.preset):
        return "" if is_too_short or resolved.preset else name
    length = {**model.defaults, **model.presets[name]}.get("train.length", CORE_SETTINGS["train.length"].default)
    if parse_minutes(length) is not None:  # its images depend on the speed
        return "" if is_too_short else name
    preset_images = Interval.parse(length).to_images(epoch_images=epoch_images, step_images=1)
    return name if (preset_images > images if is_too_short else preset_images < images) else ""


class SeparationDetector:
    """Detects a D that separates training images from generated ones perfectly.

    That is: in every step of `REPORTS_IN_A_ROW` consecutive reports, the lowest score of a real image was above the
    highest of a generated one. Losses whose D has no decision are ignored: a critic that estimates a distance is meant
    to separate them. The first `EARLY_STEPS` steps do not count.
    """

    def __init__(self) -> None:
        self.last_step, self.streak, self.since = 0, 0, 0
        self.detected_at: int | None = None

    def update(self, line: Mapping[str, Any]) -> bool:
        """Process a line of statistics; returns True once, at the first detection."""
        begins, self.last_step = self.last_step, int(line.get("step", 0))
        if begins < EARLY_STEPS or ACCURACY_REAL not in line or line.get(SEPARATION_TERM) != 1.0:
            self.streak = 0
            return False
        self.streak += 1
        if self.streak < REPORTS_IN_A_ROW or self.detected_at is not None:
            return False
        self.detected_at = int(line["images"])
        return True

    def rewind(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Recompute the state from the remaining lines of statistics; an earlier detection in this process is kept."""
        detected_before, fresh = self.detected_at, SeparationDetector()
        for line in lines:
            fresh.update(line)
        self.__dict__.update(fresh.__dict__)
        self.detected_at = fresh.detected_at if detected_before is None else detected_before


def explain_separation(images: int, *, run: Path, lr_d: Any, final_images: int = 0, schedule: str = "") -> str:
    """A warning that D separates real from generated images perfectly, with advice.

    Args:
        images: images seen at the detection.
        run: the run's folder.
        lr_d: D's learning rate; no advice on it if it is not a number.
        final_images: images seen by a finished run, which must be lengthened to be resumed; 0 while it trains.
        schedule: its name; only the default schedule allows any run to be lengthened.
    """
    slower = ""
    if isinstance(lr_d, int | float) and not isinstance(lr_d, bool):
        usual = catalog.scan().find_default("schedules")
        words = f"resume {shlex.quote(str(run))} --set lr_d={lr_d / 4:.3g}"
        where = "begins a new run here with a slower D"
        if final_images and usual is not None and schedule.rpartition("/")[2] != usual.name:
            words = f"run --config {shlex.quote(str(run / layout.CONFIG))} --set lr_d={lr_d / 4:.3g}"
            where = "trains anew with a slower D"
        elif final_images:
            words += f" --images {2 * final_images}"
        slower = f"`ganzoo {words}` {where}, and "
    return (
        f"D told every training image from every generated one through {REPORTS_IN_A_ROW} reports, up to "
        f"{pluralise(images, 'image')}: G then learns little, and its pictures may stop improving; "
        f"{slower}`ganzoo list modifiers` shows what holds D back. More training images help most"
    )


def advise_modifiers(prefix: str) -> str:
    """The installed modifiers that calm divergence, as options with `prefix` in front of each; "" for none."""
    return "".join(f"{prefix}--with {part.name}" for part in catalog.scan().parts if part.calms_divergence)
