"""Train in a child process when the other framework is loaded in this one.

Names, settings and images are passed to the child; Python objects, such as networks, cannot be.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import mix
from ganzoo_core.api import ImageSource
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.mix import Mix, Request
from ganzoo_core.processes import Child, Say, serve
from ganzoo_core.report import notebook
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.training import run
from ganzoo_core.training.resuming import StartPoint

MODULE = "ganzoo_core.training.other_process"


def train(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, start_point: StartPoint
) -> tuple[Path, bool]:
    """Call `run.train` in a child process; Ctrl-C is forwarded to it.

    Returns:
        The run's folder, and whether it was interrupted.

    Raises:
        UsageError: for an object that cannot be passed on.
        GanzooError: as raised in the child.
    """
    assert resolved.request is not None
    objects = dict(resolved.objects)
    source = objects.pop("data", None)
    if objects:
        slot, network = next(iter(objects.items()))
        raise UsageError(
            f"the {slot} is a {type(network).__name__} of this process, and {resolved.framework} has to run in another "
            "one, since the other framework is loaded here; start Python anew, and import only one of the two"
        )
    with (
        tempfile.TemporaryDirectory(prefix="ganzoo-elsewhere-") as folder,
        Child(MODULE, "trains", interruptible=True) as child,
    ):
        request = {
            "mix": _pack_request(resolved.request),
            "data": None if source is None else _write_source(source, Path(folder) / "images.npz"),
            "data_root": None if data_root is None else str(data_root),
            "out": None if out is None else str(out),
            "quiet": quiet,
            "start_point": _pack_start_point(start_point),
            "relay": notebook.is_notebook(),
        }
        answer = child.ask(request, notebook.make_relay_display() if request["relay"] else print)
    return Path(answer["folder"]), bool(answer["interrupted"])


def _pack_request(request: Request) -> dict[str, Any]:
    """Return a request as JSON types; other values become text, which settings can be parsed from.

    Images that the user passed as arrays are sent separately.
    """
    picks = {slot: pick for slot, pick in request.picks.items() if isinstance(pick, str)}
    whole = {**{field.name: getattr(request, field.name) for field in fields(Request)}, "picks": picks}
    packed: dict[str, Any] = json.loads(json.dumps(whole, default=str))
    return packed


def _unpack_mix(packed: Mapping[str, Any], source: ImageSource | None) -> Mix:
    picks = packed["picks"] if source is None else {**packed["picks"], "data": source}
    flags = {key: tuple(words) for key, words in packed["flags"].items()}
    return mix.resolve(catalog.scan(), Request(**{**packed, "picks": picks, "flags": flags}))


def _pack_start_point(start_point: StartPoint) -> dict[str, Any]:
    paths = {"checkpoint": start_point.checkpoint, "weights": start_point.weights}
    return {
        "folder": None if start_point.folder is None else str(start_point.folder.path),
        **{name: None if path is None else str(path) for name, path in paths.items()},
        "parent": start_point.parent,
        "allow_inexact": start_point.allow_inexact,
    }


def _unpack_start_point(packed: Mapping[str, Any]) -> StartPoint:
    return StartPoint(
        folder=None if packed["folder"] is None else RunFolder(Path(packed["folder"])),
        checkpoint=None if packed["checkpoint"] is None else Path(packed["checkpoint"]),
        weights=None if packed["weights"] is None else Path(packed["weights"]),
        parent=packed["parent"],
        allow_inexact=packed["allow_inexact"],
    )


def _write_source(source: ImageSource, path: Path) -> str:
    """Write the images to a file for the child process; return its path."""
    arrays: dict[str, Any] = {"images": source.images, "names": np.asarray(list(source.class_names), dtype=np.str_)}
    arrays["background"] = np.asarray(-1 if source.background is None else source.background)
    arrays["about"] = np.asarray([-1 if source.held_out is None else source.held_out, source.skipped, source.whole])
    for name, array in (("labels", source.labels), ("sizes", source.sizes)):
        if array is not None:
            arrays[name] = array
    np.savez(path, **arrays)
    return str(path)


def _read_source(path: str) -> ImageSource:
    with np.load(path, allow_pickle=False) as arrays:
        background = int(arrays["background"])
        labels, sizes = (arrays[name] if name in arrays else None for name in ("labels", "sizes"))  # noqa: SIM401
        held_out, skipped, whole = map(int, arrays["about"])
        return ImageSource(
            arrays["images"],
            labels,
            tuple(map(str, arrays["names"])),
            None if background < 0 else background,
            sizes=sizes,
            held_out=None if held_out < 0 else held_out,
            skipped=skipped,
            whole=whole,
        )


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Train a mix in the child process."""
    source = None if request["data"] is None else _read_source(request["data"])
    if request["relay"]:
        notebook.relay_displays(say)
    folder, interrupted = run.train(
        _unpack_mix(request["mix"], source),
        data_root=request["data_root"],
        out=None if request["out"] is None else Path(request["out"]),
        quiet=request["quiet"],
        start_point=_unpack_start_point(request["start_point"]),
    )
    return {"folder": str(folder.absolute()), "interrupted": interrupted}


if __name__ == "__main__":
    serve(handle_request)
