"""Find a run's saved generators: last, best, by images or by epoch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.runs import layout, scores
from ganzoo_core.runs.folder import check_entries, read_card
from ganzoo_core.storage import atomic, files


def find_generator(path: Path, which: str = "last") -> Path:
    """The folder of a saved generator.

    Args:
        path: a run, its `generator/`, or one of its snapshots.
        which: `last`, `best`, a number of images, or `epoch:N`; anything but `last` needs a run.

    Raises:
        UsageError: if there is no such generator; the message lists those that exist.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there; name a run's folder, its {layout.GENERATOR}/ or a snapshot")
    if files.describe(path / layout.CARD):
        if which != "last":
            raise UsageError(f"{path} is one generator; --checkpoint chooses among those of a run")
        return path
    check_entries(path)
    snapshots = files.list_numbered(path / layout.SNAPSHOTS)
    saved = {images: folder for images, folder in snapshots.items() if atomic.is_complete(folder)}
    if which == "last":
        if atomic.is_complete(path / layout.GENERATOR):
            return path / layout.GENERATOR
        if saved:
            if files.describe(path / layout.GENERATOR):
                from ganzoo_core.terminal.progress import Reporter  # imports rich, which most callers do not need

                Reporter().warn(
                    f"{path / layout.GENERATOR} is damaged; the snapshot at {pluralise(max(saved), 'image')} is taken"
                )
            return saved[max(saved)]
        if files.describe(path / layout.GENERATOR):
            why = atomic.explain_damage(path / layout.GENERATOR)
            raise UsageError(
                f"the generator of {path} is damaged: {why}; `ganzoo resume {shlex.quote(str(path))}` writes it anew"
            )
        raise UsageError(f"{path} holds no saved generator: it is no run's folder, or nothing was saved yet")
    if which == "best":
        return _find_best(saved, path)
    match = re.fullmatch(r"(epoch:)?([0-9][0-9_]{0,20})", which)
    if match is None:
        raise UsageError(f"--checkpoint {which!r} is not known; say last, best, a number of images, or epoch:N")
    number = int(match[2])
    if match[1]:
        return _find_epoch(saved, number, path)
    if number not in saved:
        if not saved:
            raise UsageError(f"{path} has no snapshot at {pluralise(number, 'image')}. This run has no snapshots yet")
        raise UsageError(
            f"{path} has no snapshot at {pluralise(number, 'image')}; it has {', '.join(map(str, sorted(saved)))}"
        )
    return saved[number]


def _find_best(saved: Mapping[int, Path], path: Path) -> Path:
    """The generator with the best score."""
    best = scores.find_best(scores.read(path))
    if best is None or best.images is None:
        raise UsageError(
            f"{path} was not evaluated, so none of its snapshots is the best yet; say last or epoch:N, or "
            f"`ganzoo evaluate {shlex.quote(str(path))} --checkpoint all` first"
        )
    if best.images in saved:
        return saved[best.images]
    last = path / layout.GENERATOR
    if atomic.is_complete(last) and read_card(last).images == best.images:
        return last
    raise UsageError(
        f"the best score of {path} is that at {pluralise(best.images, 'image')}, of which no snapshot is kept; "
        f"`ganzoo evaluate {shlex.quote(str(path))} --checkpoint all` scores those that are"
    )


def _find_epoch(saved: Mapping[int, Path], number: int, path: Path) -> Path:
    """The first snapshot at or after the end of an epoch, if less than one step after it."""
    epochs: dict[int, Path] = {}
    for images in sorted(saved):
        card = read_card(saved[images])
        epoch = images // card.epoch_images
        if images - epoch * card.epoch_images < card.step_images:
            epochs.setdefault(epoch, saved[images])
    if number not in epochs:
        if not saved:
            raise UsageError(f"{path} has no snapshot of epoch {number}. This run has no snapshots yet")
        listed = ", ".join(map(str, sorted(epochs)))
        known = f"it has epochs {listed}" if epochs else "none of its snapshots is at the end of an epoch"
        raise UsageError(f"{path} has no snapshot of epoch {number}; {known}")
    return epochs[number]


def list_generators(run: Path, which: str) -> list[Path]:
    """The folders of a run's saved generators.

    Args:
        run: its folder.
        which: `all`, or as in `find_generator`.

    Raises:
        UsageError: if there is none.
    """
    if which != "all":
        return [find_generator(run, which)]
    folders: dict[int, Path] = {}
    check_entries(run)
    for folder in [*files.list_numbered(run / layout.SNAPSHOTS).values(), run / layout.GENERATOR]:
        if atomic.is_complete(folder):
            folders.setdefault(read_card(folder).images, folder)
    if not folders:
        raise UsageError(f"{run} holds no saved generator, so there is nothing to evaluate; train it for longer")
    return [folders[images] for images in sorted(folders)]
