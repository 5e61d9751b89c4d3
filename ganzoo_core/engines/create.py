"""Create the engine of a framework, which imports the framework; `protocol.py` says what an engine does."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines.size_limits import DEFAULT_MAX_PARAMETERS
from ganzoo_core.frameworks import get_framework

if TYPE_CHECKING:
    from ganzoo_core.api import Ops
    from ganzoo_core.engines.protocol import Engine, EngineFactory  # it imports numpy, and `--help` needs none


def create_engine(framework: str, settings: Mapping[str, Any], *, rank: Rank | None = None) -> Engine:
    """Create the engine of a framework, on the device and with the threads of the settings.

    Args:
        framework: a name in `frameworks.FRAMEWORKS`; no other reaches the import machinery.
        settings: only `engine.*` is read.
        rank: this process's rank in distributed training, or None; see `ranks.check_launch`.

    Raises:
        UsageError: if the framework is unknown or not installed, or the device is not available.
    """
    entry = get_framework(framework)
    _ignore_broken_metadata()
    make_engine: EngineFactory = entry.load_engine("Engine")
    cores = max(1, count_available_cores() // rank.local_world_size) if rank is not None else count_available_cores()
    return make_engine(
        device=settings["engine.device"],
        threads=settings["engine.threads"] or cores,
        channels_last=settings["engine.channels_last"],
        precision=settings.get("engine.precision", "float32"),
        compile=settings.get("engine.compile", False),
        max_parameters=settings.get("engine.max_parameters", DEFAULT_MAX_PARAMETERS),
        rank=None if rank is None or rank.is_alone else rank,
        timeout=settings.get("engine.timeout", 0.0),
    )


def _ignore_broken_metadata() -> None:
    """In this process, treat a distribution whose entry points cannot be read as one without entry points.

    PyTorch and Triton read the entry points of all distributions on import and fail if one is broken. A broken
    package must not stop every run. Nothing is patched if all can be read.
    """
    try:
        importlib.metadata.entry_points()
        return
    except Exception:  # other people's metadata
        getter = importlib.metadata.Distribution.entry_points.fget  # type: ignore[attr-defined]

    def or_none(distribution: importlib.metadata.Distribution) -> importlib.metadata.EntryPoints:
        try:
            points: importlib.metadata.EntryPoints = getter(distribution)
        except Exception:
            return importlib.metadata.EntryPoints(())
        return points

    importlib.metadata.Distribution.entry_points = property(or_none)  # type: ignore[assignment, method-assign]


def count_available_cores() -> int:
    """The number of cores this process may use, from its affinity mask and the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def make_ops(framework: str, like: Any) -> Ops:
    """Make the `ops` that losses compute with, for arrays on the device of `like`, outside of training."""
    if framework == "numpy":
        from ganzoo_core.engines.numpy_ops import NumpyOps
        from ganzoo_core.randomness import philox

        return NumpyOps(philox(0, "trial"))
    ops: Ops = get_framework(framework).load_engine("make_ops_like")(like)
    return ops
