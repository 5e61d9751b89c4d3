"""`--data torchvision:NAME`: any image set of torchvision, read by a process of its own into the array cache.

torchvision brings PyTorch along, which a TensorFlow run must not load, and it opens pickles. Both stay in the child.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import cache
from ganzoo_datasets.download import is_offline

PROBLEM_FILE, REQUEST_FILE = "problem.txt", "request.json"
_ERROR_LINES = 8  # of what a crashed child wrote last


@gz.hookimpl
def dataset(name: str, argument: str, root: Path, split: str, options: gz.Options) -> gz.ImageSource:
    """The set whose class in torchvision.datasets is NAME, from its usual place under the data root.

    Images keep their size, if it is one size, unless `size` is set. `arguments` is JSON for the class; `download`
    lets torchvision fetch what is missing. See `torchvision_child` for parts and labels.

    Raises:
        UsageError: if NAME or the arguments are unknown.
        DataError: if torchvision is not installed or the set cannot be read.
    """
    if not argument:
        raise gz.UsageError(f"{name} needs the name of a set: write --data {name}:CIFAR100, for one")
    if find_spec("torchvision") is None:
        raise gz.DataError(
            f"--data {name}:{argument} needs torchvision, which is not installed: "
            "pip install 'ganzoo-datasets[torchvision]'"
        )
    request = {
        "set": argument,
        "arguments": _parse_arguments(options.get("arguments", "")),
        "root": str(Path(root).expanduser().absolute()),
        "split": split,
        "size": options.get("size", 0),
        "channels": options.get("channels", 0),
        "holdout": options.get("holdout", 0.2),
    }
    download = options.get("download", False) and not is_offline()
    key = {"set": name, "torchvision": metadata.version("torchvision"), "request": request}
    return cache.load_or_build(key, partial(_read_in_child, {**request, "download": download}))


def _parse_arguments(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise gz.UsageError(f'data.arguments is {text!r}; expected a JSON object, such as {{"split": "letters"}}')
    return arguments


def _read_in_child(request: dict[str, Any]) -> gz.ImageSource:
    with tempfile.TemporaryDirectory(prefix="ganzoo-torchvision-") as made:
        folder = Path(made)
        (folder / REQUEST_FILE).write_text(json.dumps(request), encoding="utf-8")
        shown = sys.stderr.isatty()
        child = subprocess.run(
            # -P: a torch.py in the current folder is not what is meant.
            [sys.executable, "-P", "-m", "ganzoo_datasets.torchvision_child", made],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if shown else subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            cwd=made,  # some sets look for files of theirs in the current folder
        )
        if (folder / PROBLEM_FILE).is_file():
            raise gz.DataError((folder / PROBLEM_FILE).read_text(encoding="utf-8"))
        if child.returncode:
            last = "" if shown else ": " + " / ".join((child.stderr or "").strip().splitlines()[-_ERROR_LINES:])
            raise gz.DataError(
                f"torchvision:{request['set']} could not be read: its process ended with {child.returncode}{last}"
            )
        source = cache.load(folder)
        # Off the files, which go with the folder.
        return replace(source, images=np.array(source.images))
