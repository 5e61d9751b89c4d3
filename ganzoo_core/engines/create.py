"""Create the engine of a framework, which imports the framework; `protocol.py` says what an engine does."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo_core.discovery import catalog
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.frameworks import Framework, get_framework
from ganzoo_core.terminal.text import show_waiting

if TYPE_CHECKING:
    from ganzoo_core.api import Ops
    from ganzoo_core.engines.protocol import Engine, EngineFactory  # it imports numpy, and `--help` needs none


def create_engine(
    framework: str, settings: Mapping[str, Any], *, launch: Launch | None = None, quiet: bool = False
) -> Engine:
    """Create the engine of a framework, on the device and with the threads of the settings.

    Args:
        framework: a name in `frameworks.FRAMEWORKS`; no other reaches the import machinery.
        settings: all of `engine.*`, as `settings.read_engine_settings` returns them; others are ignored.
        launch: how this process was started, or None if it trains alone; see `launchers.check_launch`.
        quiet: do not show on a terminal that the framework is being imported.

    Raises:
        UsageError: if the framework is unknown or not installed, the device is not available, or the file of tuned
            threads is damaged.
    """
    from ganzoo_core.engines.threads import choose_threads  # it imports a decoder, and `--help` needs none

    entry, rank = get_framework(framework), None if launch is None else launch.rank
    check_device(settings["engine.device"])
    quiet = quiet or entry.is_imported() or (rank is not None and not rank.is_rank_zero)
    with contextlib.nullcontext() if quiet else show_waiting(f"starting {entry.title}…"):
        make_engine = _import_engine(entry)
    return make_engine(
        device=settings["engine.device"],
        threads=choose_threads(settings, framework, rank).number,
        channels_last=settings["engine.channels_last"],
        precision=settings["engine.precision"],
        compile=settings["engine.compile"],
        max_parameters=settings["engine.max_parameters"],
        launch=None if rank is None or rank.is_alone else launch,
        timeout=settings["engine.timeout"],
    )


def _import_engine(framework: Framework) -> EngineFactory:
    """Import a framework and return its Engine class.

    Frameworks read the entry points of all installed distributions, and fail if those of one are broken.

    Raises:
        UsageError: if the framework is not installed, or cannot be imported.
    """
    try:
        engine: EngineFactory = framework.load_engine("Engine")
        return engine
    except GanzooError:
        raise
    except Exception as error:
        broken = " and ".join(name for name, _ in catalog.find_broken_metadata())
        reason = f"{type(error).__name__}: {error}"
        advice = f"the metadata of {broken} is broken, see `ganzoo doctor`" if broken else "reinstall it"
        raise UsageError(f"{framework.title} cannot be imported ({reason}); {advice}") from error


def check_device(device: str) -> None:
    """Raise UsageError if this machine cannot have the device, as far as that is known without a framework."""
    if device == "cuda":
        available = Path("/dev/kfd").exists() or _has_cuda_driver()  # AMD's devices are called cuda as well
    else:
        available = device != "mps" or sys.platform == "darwin"
    if not available:
        raise UsageError(f"{device.upper()} is not available; devices on this machine: cpu")


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def make_ops(framework: str, like: Any) -> Ops:
    """Make the `ops` that losses compute with, for arrays on the device of `like`, outside of training."""
    if framework == "numpy":
        from ganzoo_core.engines.numpy_ops import NumpyOps
        from ganzoo_core.randomness import philox

        return NumpyOps(philox(0, "trial"))
    ops: Ops = get_framework(framework).load_engine("make_ops_like")(like)
    return ops
