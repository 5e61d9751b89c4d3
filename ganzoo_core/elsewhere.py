"""A process for the other framework: where one of the two is loaded already, the other works in a process of its own.

Names, settings and images go there; an object that lives here cannot.
"""

from __future__ import annotations

import json
import sys
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import catalog, launch, mix, notebook
from ganzoo_core.api import ImageSource, UsageError
from ganzoo_core.children import Child, Say, serve
from ganzoo_core.engines import EXTRAS
from ganzoo_core.mix import Mix, Request
from ganzoo_core.resuming import Beginning
from ganzoo_core.rundir import RunFolder
from ganzoo_core.saved import SavedGenerator

MODULE = "ganzoo_core.elsewhere"


def is_needed(framework: str) -> bool:
    """Whether the other framework is loaded in this process, and this one is not."""
    return framework not in sys.modules and any(name in sys.modules for name in EXTRAS if name != framework)


def train(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, beginning: Beginning
) -> tuple[Path, bool]:
    """`launch.train` in a process of its own; Ctrl-C is handed on to it.

    Returns:
        The run's folder, and whether it was interrupted.

    Raises:
        UsageError: for an object that cannot go there.
        GanzooError: as it is raised there.
    """
    assert resolved.request is not None
    objects = dict(resolved.objects)
    source = objects.pop("data", None)
    if objects:
        slot, given = next(iter(objects.items()))
        raise UsageError(
            f"the {slot} is a {type(given).__name__} of this process, and {resolved.framework} has to run in another "
            "one, since the other framework is loaded here; start Python anew, and import only one of the two"
        )
    with (
        tempfile.TemporaryDirectory(prefix="ganzoo-elsewhere-") as folder,
        Child(MODULE, "trains", interruptible=True) as child,
    ):
        request = {
            "mix": _packed(resolved.request),
            "data": None if source is None else _written(source, Path(folder) / "images.npz"),
            "data_root": None if data_root is None else str(data_root),
            "out": None if out is None else str(out),
            "quiet": quiet,
            "beginning": _packed_beginning(beginning),
            "relay": notebook.is_notebook(),
        }
        answer = child.ask(request, notebook.relayed() if request["relay"] else print)
    return Path(answer["folder"]), bool(answer["interrupted"])


class Generator(SavedGenerator):
    """A saved generator whose network is in a process of its own."""

    def _open(self, device: str, network: Any, settings: Mapping[str, Any]) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="ganzoo-elsewhere-")
        self._child = Child(MODULE, "draws the images")
        weakref.finalize(self, self._child.close)
        request = {"generator": str(self.folder.absolute()), "device": device, "settings": dict(settings)}
        self._child.ask(request, print)

    def draw(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        labels = self._check_inputs(z, labels)
        path = Path(self._place.name) / "drawn.npz"
        given: dict[str, Any] = {"z": z} if labels is None else {"z": z, "labels": labels}
        np.savez(path, **given)
        self._child.ask({"draw": str(path), "to": str(path.with_suffix(".npy"))}, print)
        drawn: np.ndarray = np.load(path.with_suffix(".npy"), allow_pickle=False)
        return drawn


def _packed(request: Request) -> dict[str, Any]:
    """A request as JSON holds it, other values as text, which settings are read from too.

    Images that were given in Python go beside it.
    """
    picks = {slot: given for slot, given in request.picks.items() if isinstance(given, str)}
    whole = {**{field.name: getattr(request, field.name) for field in fields(Request)}, "picks": picks}
    packed: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return packed


def _unpacked(packed: Mapping[str, Any], source: ImageSource | None) -> Mix:
    picks = packed["picks"] if source is None else {**packed["picks"], "data": source}
    flags = {key: tuple(given) for key, given in packed["flags"].items()}
    return mix.resolve(catalog.scan(), Request(**{**packed, "picks": picks, "flags": flags}))


def _packed_beginning(beginning: Beginning) -> dict[str, Any]:
    paths = {"checkpoint": beginning.checkpoint, "weights": beginning.weights}
    return {
        "folder": None if beginning.folder is None else str(beginning.folder.path),
        **{name: None if path is None else str(path) for name, path in paths.items()},
        "parent": beginning.parent,
        "allow_inexact": beginning.allow_inexact,
    }


def _unpacked_beginning(packed: Mapping[str, Any]) -> Beginning:
    return Beginning(
        folder=None if packed["folder"] is None else RunFolder(Path(packed["folder"])),
        checkpoint=None if packed["checkpoint"] is None else Path(packed["checkpoint"]),
        weights=None if packed["weights"] is None else Path(packed["weights"]),
        parent=packed["parent"],
        allow_inexact=packed["allow_inexact"],
    )


def _written(source: ImageSource, path: Path) -> str:
    """Images in a file that the other process reads."""
    arrays: dict[str, Any] = {"images": source.images, "names": np.asarray(list(source.class_names), dtype=np.str_)}
    arrays["background"] = np.asarray(-1 if source.background is None else source.background)
    arrays["about"] = np.asarray([-1 if source.held_out is None else source.held_out, source.skipped, source.whole])
    for name, array in (("labels", source.labels), ("sizes", source.sizes)):
        if array is not None:
            arrays[name] = array
    np.savez(path, **arrays)
    return str(path)


def _read(path: str) -> ImageSource:
    with np.load(path, allow_pickle=False) as found:
        background = int(found["background"])
        labels, sizes = (found[name] if name in found else None for name in ("labels", "sizes"))  # noqa: SIM401
        held_out, skipped, whole = map(int, found["about"])
        return ImageSource(
            found["images"],
            labels,
            tuple(map(str, found["names"])),
            None if background < 0 else background,
            sizes=sizes,
            held_out=None if held_out < 0 else held_out,
            skipped=skipped,
            whole=whole,
        )


_held: dict[str, Any] = {}


def answer(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """This module's other end: train a mix, open a saved generator, or draw from the one that is open."""
    if "generator" in request:
        _held["generator"] = SavedGenerator(
            Path(request["generator"]), device=request["device"], settings=request["settings"]
        )
        return {}
    if "draw" in request:
        with np.load(request["draw"], allow_pickle=False) as given:
            labels = given["labels"] if "labels" in given else None  # noqa: SIM401
            drawn = _held["generator"].draw(given["z"], labels)
        np.save(request["to"], drawn, allow_pickle=False)
        return {}
    source = None if request["data"] is None else _read(request["data"])
    if request["relay"]:
        notebook.relay(say)
    place, interrupted = launch.train(
        _unpacked(request["mix"], source),
        data_root=request["data_root"],
        out=None if request["out"] is None else Path(request["out"]),
        quiet=request["quiet"],
        beginning=_unpacked_beginning(request["beginning"]),
    )
    return {"folder": str(place.absolute()), "interrupted": interrupted}


if __name__ == "__main__":
    serve(answer)
