"""The hooks of the tracker `wandb`: settings, numbers by images seen, and sample grids."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz
from ganzoo_trackers import history

TIMEOUTS = {"init_timeout": 20, "finish_timeout": 120}  # seconds that a run waits for the server
_ID = re.compile("[A-Za-z0-9_-]{1,64}")
EXIT_CODES = {"done": 0, "interrupted": 130, "diverged": 4}  # as ganzoo's exit codes; 1 for any other status


@gz.hookimpl
def on_run_start(run: gz.TrackedRun, options: gz.Options) -> None:
    """Start a wandb run, or continue the one of this folder.

    Raises:
        UsageError: if the mode is `online` and nobody is logged in.
    """
    import wandb

    mode, why = _choose_mode(wandb, options["mode"])
    known = _read_run_id(run)
    try:
        begun = _init_run(wandb, run, options, mode, known)
    except wandb.Error as error:
        if mode != "online" or options["mode"] == "online":
            raise
        mode, why = "offline", f"the server cannot be reached: {str(error).partition(chr(10))[0]}"
        begun = _init_run(wandb, run, options, mode, known)
    run.memory["run"] = begun
    if mode == "disabled":
        return
    _announce(begun, run, mode, why)
    begun.define_metric("images")
    begun.define_metric("*", step_metric="images")
    if not known:
        _locate_id_file(run).unlink(missing_ok=True)  # its content was not a valid wandb id
        _locate_id_file(run).write_text(begun.id, encoding="utf-8")
        for images, what in history.list_events(run):
            if isinstance(what, Path):
                on_samples(run, images, what)
            else:
                on_report(run, what)


@gz.hookimpl
def on_report(run: gz.TrackedRun, line: Mapping[str, Any]) -> None:
    run.memory["run"].log({name: value for name, value in line.items() if value is not None})


@gz.hookimpl
def on_samples(run: gz.TrackedRun, images: int, path: Path) -> None:
    import wandb

    run.memory["run"].log({"images": images, "samples": wandb.Image(str(path), caption=f"{images:,} images")})


@gz.hookimpl
def on_run_end(run: gz.TrackedRun, status: str) -> None:
    begun = run.memory.pop("run")
    begun.summary["status"] = status
    begun.finish(exit_code=EXIT_CODES.get(status, 1))


def _choose_mode(wandb: Any, requested: str) -> tuple[str, str]:
    """Return the mode to start in, and the reason if it is offline without being requested.

    Without a login wandb would prompt for a key and block, so the mode is offline then.
    """
    if requested in ("offline", "disabled"):
        return requested, ""
    settings = wandb.setup().settings
    if requested == "auto" and settings.mode != "online":  # set by WANDB_MODE or `wandb offline`
        return settings.mode, ""
    if requested == "auto" and os.environ.get("GANZOO_OFFLINE", "0") not in ("", "0"):
        return "offline", "GANZOO_OFFLINE is set"
    if _is_logged_in(wandb, settings):
        return "online", ""
    if requested == "online":
        raise gz.UsageError(
            "track.wandb.mode is online and nobody is logged in; say `wandb login`, or --set track.wandb.mode=offline"
        )
    return "offline", "nobody is logged in"


def _is_logged_in(wandb: Any, settings: Any) -> bool:
    theirs = wandb.run  # a run of the calling program, during which `login` returns nothing
    if theirs is not None:
        return not theirs.offline
    before, settings.silent = settings.silent, True  # else it asks the server for the user's name, to print it
    try:
        return bool(wandb.login(prompt=False, verify=False))
    finally:
        settings.silent = before


def _read_run_id(run: gz.TrackedRun) -> str | None:
    """The wandb id of this run, if an earlier process has stored it.

    Raises:
        UsageError: if the id file is a link or a folder, or wandb's folder a link.
    """
    id_file, folder = _locate_id_file(run), run.own / "wandb"
    if folder.is_symlink() or id_file.is_symlink() or id_file.is_dir():
        wrong = folder if folder.is_symlink() else id_file
        raise gz.UsageError(f"{wrong} is a link, or a folder; take it away, since nothing is written through it")
    if not id_file.is_file():
        return None
    with id_file.open("rb") as file:
        name = file.read(100).decode("utf-8", "replace").strip()
    return name if _ID.fullmatch(name) else None


def _init_run(wandb: Any, run: gz.TrackedRun, options: gz.Options, mode: str, run_id: str | None) -> Any:
    run.own.mkdir(parents=True, exist_ok=True)
    with _keep_exit_hooks():
        return wandb.init(
            mode=mode,
            project=options["project"] or os.environ.get("WANDB_PROJECT") or "ganzoo",
            entity=options["entity"] or None,
            name=options["name"] or os.environ.get("WANDB_NAME") or run.name,
            tags=[tag.strip() for tag in options["tags"].split(",") if tag.strip()] or None,
            config={**_nest_settings(run.settings), "ganzoo": dict(run.facts)},
            id=run_id,
            resume="allow" if run_id and mode == "online" else None,
            dir=str(run.own),
            reinit="create_new",  # do not take over a run of the calling program
            settings=wandb.Settings(console="off", silent=True, **TIMEOUTS),
        )


@contextlib.contextmanager
def _keep_exit_hooks() -> Iterator[None]:
    """Restore `sys.exit` and `sys.excepthook`, which wandb replaces; `on_run_end` reports how the run ended."""
    before = sys.exit, sys.excepthook
    try:
        yield
    finally:
        sys.exit, sys.excepthook = before


def _locate_id_file(run: gz.TrackedRun) -> Path:
    """The file with the run's wandb id, by which a later process continues it."""
    return run.own / "id"


def _announce(begun: Any, run: gz.TrackedRun, mode: str, why: str) -> None:
    if mode == "online":
        print(gz.clean_text(f"wandb: {begun.url}"), file=sys.stderr)
        return
    because = f" ({why})" if why else ""
    parts = f"{shlex.quote(str(run.own / 'wandb'))}/offline-run-*"  # one per resume
    print(gz.clean_text(f"wandb: offline{because}; to upload the run later: wandb sync {parts}"), file=sys.stderr)


def _nest_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`train.lr` -> `{"train": {"lr": …}}`: wandb shows it as train.lr, but mishandles dots in names."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        *tables, last = name.split(".")
        table = nested
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return nested
