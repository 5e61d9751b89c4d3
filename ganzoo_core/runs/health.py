"""Is a run going well? The least of it: a sentence where it is too short, or where D has won.

Both can be read from a run's folder alone: the first stands among the warnings in `config.yaml`, the second is found in
`stats.jsonl` again.
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
from ganzoo_core.settings.lengths import Interval
from ganzoo_core.storage.records import SEPARATION_TERM

MIN_STEPS = 2_000  # steps of G below which most GANs draw next to nothing
EARLY_STEPS = 200  # steps in which D separates everything in healthy runs too, since G draws noise
REPORTS_IN_A_ROW = 3  # in a row
ACCURACY_REAL = "discriminator/accuracy_real"


def explain_short_run(resolved: Mix, steps: int, *, laptop: str = "", resumed: Path | None = None) -> str:
    """What to say of a run of so many steps; "" where they are enough, or its length was chosen for just these data.

    Args:
        resolved: what is trained.
        steps: of the generator, in all.
        laptop: the preset that trains for longer on this machine; see `find_laptop_preset`.
        resumed: the folder of a run that goes on, or begins again in it; None for a new one.
    """
    own = f"{resolved.parts['generator'].name} preset {resolved.parts['data'].name}"
    if steps >= MIN_STEPS or resolved.settings.find_origin("train.length") == own:
        return ""
    advice = f"the same command with --steps 5000 or --minutes 10{f' or --preset {laptop}' if laptop else ''}"
    if resumed is not None:
        advice = f"`ganzoo resume {shlex.quote(str(resumed))} --steps 5000`"
    return (
        f"this run takes {pluralise(steps, 'step')} of the generator, and below {MIN_STEPS:,} most GANs draw little "
        "more "
        f"than noise; {advice} trains for longer"
    )


def find_laptop_preset(resolved: Mix, images: int, *, epoch_images: int, is_too_short: bool = False) -> str:
    """The model's preset for a machine without a GPU where it would help a run of so many images, else "".

    It helps no run whose preset is for few pictures, and so for such a machine as well; nor one with the data's own
    preset and a length that somebody said.

    Args:
        resolved: what is trained.
        images: the run's length.
        epoch_images: in the set.
        is_too_short: a run that is too short is to be helped, and not one that takes long.
    """
    name, model, entry = resolved.laptop_preset, resolved.parts["generator"], resolved.settings.entries["train.length"]
    if not name or (resolved.preset and model.suits.get(resolved.preset, Suits()).max_images is not None):
        return ""
    if entry.by_user or not (is_too_short or resolved.preset):
        return "" if is_too_short or resolved.preset else name
    length = {**model.defaults, **model.presets[name]}.get("train.length", CORE_SETTINGS["train.length"].default)
    its_own = Interval.parse(length).to_images(epoch_images=epoch_images, step_images=1)
    return name if (its_own > images if is_too_short else its_own < images) else ""


class SeparationDetector:
    """Watches the reports for a D that tells training images from generated ones without fail.

    It does where in every step of `REPORTS_IN_A_ROW` reports in a row the least score of a real image was above the
    largest of a
    generated one. Losses whose D has no decision are left out: a critic that estimates a distance is meant to do that.
    The first steps do not count.
    """

    def __init__(self) -> None:
        self.last_step, self.streak, self.since = 0, 0, 0
        self.detected_at: int | None = None

    def update(self, line: Mapping[str, Any]) -> bool:
        """Take in a line of statistics; True at the first with which it is found."""
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
        """Begin again from the lines of statistics that are kept; what was found in this process stays found."""
        found, fresh = self.detected_at, SeparationDetector()
        for line in lines:
            fresh.update(line)
        self.__dict__.update(fresh.__dict__)
        self.detected_at = fresh.detected_at if found is None else found


def explain_separation(images: int, *, run: Path, lr_d: Any, final_images: int = 0, schedule: str = "") -> str:
    """What it means that D tells them apart without fail, and what helps.

    Args:
        images: seen when it was found.
        run: the run's folder.
        lr_d: D's learning rate; nothing is said of it where it is no number.
        final_images: the images that a run which is over has seen; 0 while it is under way. Nothing is left for a new
        run that
            begins there, unless it is longer.
        schedule: its name; only with the default one a run may be made longer whatever its length was.
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
