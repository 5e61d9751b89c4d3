"""A mix, trained: the run assembled, watched, reported, and whatever goes wrong in it told as whose fault it is."""

from __future__ import annotations

from pathlib import Path

from ganzoo_core import assembly, loader, report
from ganzoo_core.api import Diverged, GanzooError, PluginError, UsageError
from ganzoo_core.mix import Mix
from ganzoo_core.resuming import Beginning
from ganzoo_core.runner import Runner


def train(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, beginning: Beginning
) -> tuple[Path, bool]:
    """Train a mix that was resolved, in this process.

    Args:
        resolved, data_root, out, quiet, beginning: see `assembly.assemble`.

    Returns:
        The run's folder, and whether it was interrupted.

    Raises:
        GanzooError: if the run fails, diverges, or cannot be saved.
    """
    runner = assembly.assemble(resolved, data_root=data_root, out=out, quiet=quiet, beginning=beginning)
    runner.trackers.start(runner.images)
    status = "failed"
    try:
        finished = runner.run()
        status = "done" if finished else "interrupted"
    except Diverged:
        status = "diverged"
        raise
    except OSError as error:
        raise GanzooError(
            f"the run could not be saved in {runner.folder.path} ({error.strerror or error}); what was saved before is "
            f"untouched: make room and say `ganzoo resume {runner.folder.path}`"
        ) from error
    except Exception as error:
        raise _attributed(error, resolved) from error
    finally:
        _end(runner, status)
        runner.close()
    latest = runner.folder.samples / "latest.png"
    runner.reporter.say(f"samples: {latest}" + ("" if finished else " (interrupted, saved)"))
    return runner.folder.path, not finished


def _end(runner: Runner, status: str) -> None:
    """The last words of a run. Where several processes end alike, the others wait: torchrun ends all with the first."""

    def told() -> None:
        runner.trackers.tell("on_run_end", status=status)
        _write_report(runner)

    if status != "failed":
        runner.together.first(told, long=True)
    elif runner.leads:
        told()


def _write_report(runner: Runner) -> None:
    """`report.html`, of a run that went wrong too; no run fails by it."""
    try:
        path = report.write(runner.folder.path)
    except GanzooError as error:
        runner.reporter.warn(str(error))
    else:
        runner.reporter.say(f"report: {path}")


def _attributed(error: Exception, resolved: Mix) -> Exception:
    """An error from inside a picked part, told as that plugin's; any other as it is."""
    if isinstance(error, UsageError | PluginError):
        return error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = trace.tb_frame.f_code.co_filename if trace else ""
    for part in (*resolved.parts.values(), *resolved.modifiers):
        if part.location and place.startswith(part.location):
            return loader.failure(part, "while training it raised", error)
    return error
