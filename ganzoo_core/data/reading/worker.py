"""The process that performs reading tasks: `python -m ganzoo_core.data.reading.worker`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.reading.decoding import Header, Task, perform
from ganzoo_core.data.reading.formats import BadImage, limit_pillow
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.processes import Child, Say, serve

MODULE = "ganzoo_core.data.reading.worker"


def ask(child: Child, task: Task, files: Sequence[ImageFile], folder: Path) -> list[Any]:
    """Let a process perform a task with some files; a list of results, or of BadImage.

    Args:
        child: the process, which runs this module.
        task: what it does.
        files: at least one.
        folder: an empty folder, for the arrays.
    """
    array = folder / "pixels.npy"
    request = {
        "task": asdict(task),
        "files": [{**asdict(file), "path": str(file.path)} for file in files],
        "array": str(array),
    }
    answer = child.ask(request, lambda text: None)
    pixels, start = np.load(array) if task.kind == "decode" and answer["frames"] else None, 0
    results: list[Any] = []
    for value in answer["results"]:
        if isinstance(value, str):
            results.append(BadImage(value))
        elif task.kind == "header":
            results.append(Header(**value))
        elif pixels is None:
            results.append(tuple(value))
        else:
            results.append(pixels[start : start + value])
            start += value
    return results


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """The process's side of `ask`: headers as objects, extremes as pairs, frames as counts, reasons as text."""
    task = Task(**request["task"])
    results: list[Any] = []
    arrays = []
    for fields in request["files"]:
        try:
            result = perform(task, ImageFile(**{**fields, "path": Path(fields["path"])}))
        except BadImage as error:
            results.append(str(error))
            continue
        if task.kind == "decode":
            arrays.append(result)
        results.append(
            asdict(result) if task.kind == "header" else len(result) if task.kind == "decode" else list(result)
        )
    if arrays:
        np.save(request["array"], np.concatenate(arrays), allow_pickle=False)
    return {"results": results, "frames": sum(map(len, arrays))}


if __name__ == "__main__":
    with limit_pillow():
        serve(handle_request)
