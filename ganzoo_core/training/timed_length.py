"""`--minutes 10`: convert a length in time into images before the run begins.

Schedules may depend on the length, and an interrupted run must give the same result. So the speed is measured on
networks that are then discarded, and the run gets its length in images. Only training steps are counted: start-up,
grids, saving and scores come on top.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ganzoo_core import building
from ganzoo_core.api import ImageSource, Schedule
from ganzoo_core.distributed.ranks import ProcessGroup
from ganzoo_core.engines.protocol import Engine, Trainer
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.settings import Settings, SettingValue
from ganzoo_core.settings.lengths import parse_minutes

LENGTH = "train.length"
WARM_UP_STEPS = 3  # steps not measured, in which code is compiled and traced and memory allocated
BLOCKS, BLOCK_SECONDS = 7, 0.3  # number and seconds of the blocks of steps; the speed is their median
MAX_SHARE = 0.1  # of the requested time may go to measuring, apart from one step per block
MAX_TIMED_IMAGES = 10**14  # images; the longest run, and long enough for every schedule
SCHEDULE_PROBES = 256  # points of a run at which the schedule's resolution is read


def fix_length(
    resolved: Mix,
    engine: Engine,
    fitted: DataFit,
    prepared: ImageSource,
    together: ProcessGroup,
    say: Callable[[str], None],
) -> tuple[Mix, Mapping[str, np.ndarray] | None]:
    """Convert a length in minutes into images; lengths in images, epochs or steps stay unchanged.

    Args:
        resolved: the mix to train.
        engine, fitted, prepared: of the run.
        together: the process group; all ranks get rank 0's number.
        say: prints a message.

    Returns:
        The mix with `train.length` in images; and the trainer's initial state if the measuring trained networks that
        the user passed as objects, else None.

    Raises:
        UsageError: if networks passed as objects would have to grow for the measuring, or if the schedule's stages take
            more images than fit into the minutes.
    """
    minutes, objects = (
        parse_minutes(resolved.settings[LENGTH]),
        resolved.objects.keys() & {"generator", "discriminator"},
    )
    if minutes is None:
        return resolved, None

    def schedule_for(images: int) -> Schedule:
        schedule: Schedule = building.build_schedule(resolved, fitted, images)
        return schedule

    first = schedule_for(MAX_TIMED_IMAGES)(0)
    if objects and "resolution" in first:
        raise UsageError(
            f"{LENGTH} is {minutes:g} minutes, and networks that grow were given as objects, which measuring their "
            "speed would grow; say the length in images"
        )
    say(f"measuring the speed, to turn {minutes:g} minutes into images")
    trainer = building.build_trainer(engine, resolved, fitted, prepared, first)
    step_images = trainer.plan.images_per_step
    initial = trainer.read_state() if objects else None
    rates = _measure_rates(trainer, schedule_for(MAX_TIMED_IMAGES), together, 60 * minutes)
    del trainer
    gc.collect()
    images = together.broadcast_int(_solve_length(schedule_for, rates, 60 * minutes, step_images))
    speed = images / (60 * minutes)
    say(
        f"{minutes:g} minutes at {speed:,.0f} img/s are {pluralise(images, 'image')} "
        f"({pluralise(images // step_images, 'step')}, "
        f"{images / len(prepared.images):,.1f} epochs); start-up, grids, saving and scores come on top"
    )
    missed = _find_missed(schedule_for, rates, images, step_images, minutes)
    if missed:
        say(
            f"so short a run takes no step at {' or '.join(map(str, missed))} pixels, so its generator does not learn "
            "them; say more minutes"
        )
    entry = resolved.settings.entries[LENGTH]
    length = SettingValue(str(images), f"{entry.origin}: {minutes:g} minutes at {speed:.4g} images/s", entry.by_user)
    return replace(resolved, settings=Settings({**resolved.settings.entries, LENGTH: length})), initial


def _find_missed(
    schedule_for: Callable[[int], Schedule], rates: Mapping[int, float], images: int, step_images: int, minutes: float
) -> list[int]:
    """The resolutions at which a short growing run takes no step; [] for a run of many steps.

    Raises:
        UsageError: if the schedule's stages take more than `images`.
    """
    try:
        schedule = schedule_for(images)
    except UsageError as error:
        raise UsageError(
            f"{minutes:g} minutes are {pluralise(images, 'image')} at the speed that was measured, and {error}"
        ) from None
    if len(rates) == 1 or images // step_images > SCHEDULE_PROBES:
        return []
    return sorted(rates.keys() - {int(schedule(seen)["resolution"]) for seen in range(0, images, step_images)})


def _measure_rates(trainer: Trainer, schedule: Schedule, together: ProcessGroup, seconds: float) -> dict[int, float]:
    """Measure images per second at each resolution of the schedule; the key is 0 if it has no resolutions."""
    values_by_resolution: dict[int, list[Mapping[str, float]]] = {}
    points = {
        0,
        *np.linspace(0, MAX_TIMED_IMAGES - 1, SCHEDULE_PROBES).astype(int),
        *np.geomspace(1, MAX_TIMED_IMAGES - 1, SCHEDULE_PROBES).astype(int),
    }
    for point in sorted(points):
        values = schedule(int(point))
        values_by_resolution.setdefault(int(values.get("resolution", 0)), []).append(values)
    meter = _SpeedMeter(trainer, together, seconds / len(values_by_resolution))
    return {
        resolution: meter.measure(values[len(values) // 2])
        for resolution, values in sorted(values_by_resolution.items())
    }


class _SpeedMeter:
    """Measure a trainer's speed; rank 0 decides how many steps to time.

    Args:
        trainer: is trained by the measuring.
        together: the process group.
        seconds: of the run, of which `MAX_SHARE` may be spent on each speed.
    """

    def __init__(self, trainer: Trainer, together: ProcessGroup, seconds: float) -> None:
        self.trainer, self.together, self.seconds = trainer, together, seconds
        self.step = 0

    def measure(self, values: Mapping[str, float]) -> float:
        """Images per second at these values of the schedule."""
        for _ in range(WARM_UP_STEPS):
            step_seconds = self._time_steps(1, values)
        size = self.together.broadcast_int(
            max(1, int(min(BLOCK_SECONDS, self.seconds * MAX_SHARE / BLOCKS) / step_seconds))
        )
        blocks = self.together.broadcast_int(min(BLOCKS, max(1, int(self.seconds * MAX_SHARE / (size * step_seconds)))))
        median = statistics.median(self._time_steps(size, values) for _ in range(blocks))
        return float(size * self.trainer.plan.images_per_step / median)

    def _time_steps(self, steps: int, values: Mapping[str, float]) -> float:
        """Time so many steps, in seconds."""
        began = time.perf_counter()
        for _ in range(steps):
            self.trainer.step(self.step, self.step * self.trainer.plan.images_per_step, values)
            self.step += 1
        self.trainer.pop_means()  # waits for the accelerator to finish
        return max(time.perf_counter() - began, 1e-6)


def _solve_length(
    schedule_for: Callable[[int], Schedule], rates: Mapping[int, float], seconds: float, step_images: int
) -> int:
    """Images, in whole steps and at least one, that a run sees in `seconds`; by bisection if the speed varies."""

    def last(images: int) -> float:
        """Seconds that a run of so many images takes; 0 if its schedule refuses it as too short."""
        try:
            schedule = schedule_for(images)
        except UsageError:
            return 0.0
        points = ((np.arange(SCHEDULE_PROBES) + 0.5) / SCHEDULE_PROBES * images).astype(int)
        resolutions = [int(schedule(int(point)).get("resolution", 0)) for point in points]
        return sum(images / SCHEDULE_PROBES / rates.get(resolution, min(rates.values())) for resolution in resolutions)

    fewest, most = 1, max(1, min(MAX_TIMED_IMAGES, int(max(rates.values()) * seconds)) // step_images)
    if len(rates) == 1:
        return most * step_images
    while fewest < most:
        middle = (fewest + most + 1) // 2
        if last(middle * step_images) <= seconds:
            fewest = middle
        else:
            most = middle - 1
    return fewest * step_images
