"""Train a mix: assemble the run, train, write the report, and attribute errors to the plugin that raised them."""

from __future__ import annotations

import shlex
import traceback
from pathlib import Path
from typing import NoReturn

from ganzoo_core import report
from ganzoo_core.discovery import loading
from ganzoo_core.errors import Diverged, GanzooError
from ganzoo_core.mix import Mix
from ganzoo_core.runs import layout
from ganzoo_core.storage.files import explain_os_error
from ganzoo_core.training import assemble, setup
from ganzoo_core.training.resuming import StartPoint
from ganzoo_core.training.runner import Runner

_CORE_FOLDER = Path(__file__).parents[1]


def train(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, start_point: StartPoint
) -> tuple[Path, bool]:
    """Train a resolved mix in this process.

    Args:
        resolved: the mix to train.
        data_root: see `building.find_data_root`.
        out: the folder of a new run; None for one under `runs`.
        quiet: whether to hide the progress.
        start_point: a run, checkpoint or weights to start from.

    Returns:
        The run's folder, and whether it was interrupted.

    Raises:
        GanzooError: if the run fails, diverges, or cannot be saved.
    """
    try:
        loaded = setup.load(resolved, data_root, None if start_point.folder else out)
        resolved = loaded.mix
        built = setup.build(loaded, quiet=quiet, start_point=start_point)
        runner = assemble.open_run(built, out=out, start_point=start_point)
    except (GanzooError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise GanzooError(f"the run cannot begin: {explain_os_error(error)}") from error
    except BaseException as error:
        _raise_attributed(error, resolved)
    status = "failed"
    try:
        runner.trackers.start(runner.images)
        finished = runner.run()
        status = "done" if finished else "interrupted"
    except Diverged:
        status = "diverged"
        raise
    except OSError as error:
        raise GanzooError(
            f"the run could not be saved in {runner.folder.path} ({error.strerror or error}); what was saved before is "
            f"untouched: make room and say `ganzoo resume {shlex.quote(str(runner.folder.path))}`"
        ) from error
    except (GanzooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        _raise_attributed(error, resolved)
    finally:
        try:
            _finish_run(runner, status)
        finally:
            runner.close()
    latest = runner.folder.samples / layout.LATEST_GRID
    runner.reporter.say(f"samples: {latest}" + ("" if finished else " (interrupted, saved)"))
    return runner.folder.path, not finished


def _finish_run(runner: Runner, status: str) -> None:
    """Print the end of a run. The other ranks wait for rank 0, since torchrun stops all when the first one exits."""

    def tell() -> None:
        runner.trackers.notify("on_run_end", status=status)
        _write_report(runner)

    if status != "failed":
        runner.together.on_rank_zero(tell, long=True)
    elif runner.leads:
        tell()


def _write_report(runner: Runner) -> None:
    """Write `report.html`, also for a failed run; a failure to write it only warns."""
    try:
        path = report.write(runner.folder.path)
    except (GanzooError, OSError) as error:
        runner.reporter.warn(f"the report could not be written: {error}")
    else:
        runner.reporter.say(f"report: {path}")


def _raise_attributed(error: BaseException, resolved: Mix) -> NoReturn:
    """Raise an error of a plugin's code as a PluginError, any other unchanged.

    It is a plugin's error if the plugin's code is the innermost in the traceback, not counting libraries and `ops.py`.
    """
    parts = [part for part in (*resolved.parts.values(), *resolved.modifiers) if part.location]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        owner = next((part for part in parts if path.is_relative_to(part.location)), None)
        if owner is not None:
            raise loading.make_plugin_error(owner, "while training it raised", error) from error
        if path.is_relative_to(_CORE_FOLDER) and path.name != "ops.py":
            break
    raise error
