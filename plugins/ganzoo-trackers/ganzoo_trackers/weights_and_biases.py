"""Weights & Biases: settings, numbers by images seen, and sample grids. The hooks."""

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

TIMEOUTS = {"init_timeout": 20, "finish_timeout": 120}  # seconds that a server may keep a run waiting
_ID = re.compile("[A-Za-z0-9_-]{1,64}")
EXIT_CODES = {"done": 0, "interrupted": 130, "diverged": 4}  # as the command's own; anything else is a failure


@gz.hookimpl
def on_run_start(run: gz.TrackedRun, options: gz.Options) -> None:
    """Begin a run of wandb, or go on with the one that this folder belongs to.

    Raises:
        UsageError: if it is to be online and nobody is logged in.
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
        _locate_id_file(run).unlink(missing_ok=True)  # what lay there was none of wandb's names
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
    """The mode to begin in, and why it is offline where that was not asked for.

    Where nobody is logged in wandb would ask for a key and wait, so it is not asked to be online then.
    """
    if requested in ("offline", "disabled"):
        return requested, ""
    settings = wandb.setup().settings
    if requested == "auto" and settings.mode != "online":  # by WANDB_MODE or `wandb offline`
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
    theirs = wandb.run  # a surrounding program's, beside which login answers nothing
    if theirs is not None:
        return not theirs.offline
    before, settings.silent = settings.silent, True  # else it asks the server who that is, to say so
    try:
        return bool(wandb.login(prompt=False, verify=False))
    finally:
        settings.silent = before


def _read_run_id(run: gz.TrackedRun) -> str | None:
    """wandb's name for this run, where a process before this one has left it.

    Raises:
        UsageError: if a link or a folder lies where wandb or this writes.
    """
    place, folder = _locate_id_file(run), run.own / "wandb"
    if folder.is_symlink() or place.is_symlink() or place.is_dir():
        wrong = folder if folder.is_symlink() else place
        raise gz.UsageError(f"{wrong} is a link, or a folder; take it away, since nothing is written through it")
    if not place.is_file():
        return None
    with place.open("rb") as file:
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
            reinit="create_new",  # a run that the surrounding program has begun stays its own
            settings=wandb.Settings(console="off", silent=True, **TIMEOUTS),
        )


@contextlib.contextmanager
def _keep_exit_hooks() -> Iterator[None]:
    """wandb puts itself in the place of what ends a program; how this one ends it learns from `on_run_end`."""
    before = sys.exit, sys.excepthook
    try:
        yield
    finally:
        sys.exit, sys.excepthook = before


def _locate_id_file(run: gz.TrackedRun) -> Path:
    """The file with wandb's name for this run, by which a later process goes on with it."""
    return run.own / "id"


def _announce(begun: Any, run: gz.TrackedRun, mode: str, why: str) -> None:
    if mode == "online":
        print(gz.clean_text(f"wandb: {begun.url}"), file=sys.stderr)
        return
    because = f" ({why})" if why else ""
    parts = f"{shlex.quote(str(run.own / 'wandb'))}/offline-run-*"  # one for each time that the run goes on
    print(gz.clean_text(f"wandb: offline{because}; to upload the run later: wandb sync {parts}"), file=sys.stderr)


def _nest_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`train.lr` as `{"train": {"lr": …}}`: wandb shows it as train.lr again, and takes dots in names amiss."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        *tables, last = name.split(".")
        table = nested
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return nested
