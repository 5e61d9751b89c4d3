"""`ganzoo doctor --tune`: how many threads train fastest on this machine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganzoo_core.data.cores import count_available_cores, measure_busy_cores
from ganzoo_core.discovery.catalog import Catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.engines.threads import write_tuned_threads
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import ProcessTimeout, run_process
from ganzoo_core.runs.layout import STATS
from ganzoo_core.runs.stats import read_stats

STEPS = 60  # of a run; the first few are not counted in its speed
ROUNDS = 2  # each number of threads is timed so often, in turn, and the faster one counts
RUN_TIMEOUT = 600.0
BUSY = 0.3  # cores that others may keep busy


@dataclass(frozen=True)
class Timing:
    """The speed of a model with some threads, in images a second."""

    framework: str
    model: str
    threads: int
    images_per_second: float


def tune_threads(installed: Catalog, model: Part | None, say: Callable[[str], None]) -> tuple[list[Timing], Path]:
    """Time one thread, half of the cores and all of them, by short runs on the default data, and keep the fastest.

    Args:
        installed: the catalog.
        model: the one to train; None for one in each installed framework.
        say: told what is timed.

    Returns:
        All timings, and the file that keeps the choices.

    Raises:
        UsageError: if other processes hold the cores, no model can be trained, or one of the runs fails.
    """
    _check_quiet()
    models = [model] if model is not None else list(pick_models(installed))
    if not models:
        raise UsageError("no model is installed whose framework is, so there is nothing to time")
    timings = [timing for part in models for timing in _time_model(part, say)]
    fastest = {framework: _find_fastest(timings, framework) for framework in {t.framework for t in timings}}
    return timings, write_tuned_threads(fastest)


def _check_quiet() -> None:
    """Raise UsageError if other processes hold the cores; what was kept before stays."""
    if (busy := measure_busy_cores()) > BUSY:
        raise UsageError(
            f"other processes keep {busy:.1f} of {pluralise(count_available_cores(), 'core')} busy, so a timing would "
            f"be of them; try again when they keep at most {BUSY}. Nothing was changed; --set engine.threads=N chooses "
            "for one run"
        )


def list_candidates(cores: int) -> list[int]:
    """One thread, half of the cores and all of them, each once."""
    return sorted({1, max(1, cores // 2), cores})


def pick_models(installed: Catalog) -> list[Part]:
    """One model for each installed framework: the first by name with a preset for the default data, else the first."""
    data = installed.find_default("datasets")
    picked = []
    for name, framework in FRAMEWORKS.items():
        models = sorted(
            (part for part in installed.parts if part.kind == "models" and name in part.frameworks),
            key=lambda part: (data is None or data.name not in part.presets, part.name),
        )
        if models and framework.is_installed():
            picked.append(models[0])
    return picked


def _time_model(part: Part, say: Callable[[str], None]) -> list[Timing]:
    rates: dict[int, float] = {}
    for _ in range(ROUNDS):
        for threads in list_candidates(count_available_cores()):
            say(f"{part.name} with {pluralise(threads, 'thread')}")
            rates[threads] = max(rates.get(threads, 0.0), _time_run(part, threads))
            _check_quiet()
    return [Timing(part.frameworks[0], part.name, threads, rate) for threads, rate in rates.items()]


def _time_run(part: Part, threads: int) -> float:
    """Images a second of one short run, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = ["run", part.qualified_name, "--steps", str(STEPS), "--device", "cpu", "--quiet", "--out", str(out)]
        words += ["--set", f"engine.threads={threads}", "--track", ""]
        try:
            done = run_process([sys.executable, "-P", "-m", "ganzoo_core", *words], timeout=RUN_TIMEOUT)
        except (OSError, ProcessTimeout) as error:
            raise UsageError(f"{part.name} could not be timed: {error}") from None
        if done.exit_code:
            last = (done.stderr.strip() or "without a word").splitlines()[-1]
            raise UsageError(f"{part.name} could not be timed: its run ended with {done.exit_code}: {last}")
        try:
            return float(read_stats(out / STATS)[-1]["images_per_second"])
        except (GanzooError, LookupError, TypeError) as error:
            raise UsageError(f"{part.name} could not be timed: its run left no speed ({error})") from None


def _find_fastest(timings: Sequence[Timing], framework: str) -> int:
    of_it = [timing for timing in timings if timing.framework == framework]
    return max(of_it, key=lambda timing: timing.images_per_second).threads
