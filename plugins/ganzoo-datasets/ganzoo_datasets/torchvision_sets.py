"""`--data torchvision:NAME`: any image dataset of torchvision, read by a child process into the array cache.

torchvision imports PyTorch, which a TensorFlow run must not load, and opens pickles. Both stay in the child.
"""

from __future__ import annotations

import ast
import difflib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import cache

PROBLEM_FILE, REQUEST_FILE = "problem.txt", "request.json"
_FOLDERS = ("ImageFolder", "DatasetFolder", "VisionDataset", "LSUNClass")
_PICKLE_SETS = ("LSUN",)  # refused: pickles without a published checksum, which could run any code
_ERROR_LINES = 8  # last lines of a crashed child's output to show


@gz.hookimpl
def dataset(name: str, argument: str, root: Path, split: str, options: gz.Options) -> gz.ImageSource:
    """The dataset of class NAME in torchvision.datasets, from its usual folder under the data root.

    Images keep their size, which must be the same for all, unless `size` is set. `arguments` is JSON with arguments
    for the class; `download` lets torchvision download missing files. For parts and labels see `torchvision_child`.

    Raises:
        UsageError: if NAME or the arguments are unknown.
        DataError: if torchvision is not installed or the dataset cannot be read.
    """
    request = {
        "set": argument,
        "arguments": _check_request(name, argument, options),
        "root": str(Path(root).expanduser().absolute()),
        "split": split,
        "size": options.get("size", 0),
        "channels": options.get("channels", 0),
        "fit": options.get("fit", "crop"),
        "holdout": options.get("holdout", 0.2),
    }
    download = options.get("download", False) and not gz.is_offline()
    key = {"set": name, "torchvision": metadata.version("torchvision"), "request": request}
    return cache.load_or_build(key, partial(_read_in_child, {**request, "download": download}))


@gz.hookimpl
def describe_dataset(name: str, argument: str, options: gz.Options) -> Mapping[str, int]:
    """Nothing but whether there is such a set; the rest is known once its images are read."""
    _check_request(name, argument, options)
    return {}


def _check_request(name: str, argument: str, options: gz.Options) -> dict[str, Any]:
    """Check the set's name by torchvision's source, without importing it; return the arguments for its class."""
    if not argument:
        raise gz.UsageError(f"{name} needs the name of a set: write --data {name}:CIFAR100, for one")
    found = find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        raise gz.DataError(
            f"--data {name}:{argument} needs torchvision, which is not installed: "
            "pip install 'ganzoo-datasets[torchvision]'"
        )
    source = Path(found.submodule_search_locations[0], "datasets", "__init__.py").read_text(encoding="utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            check_set_name(argument, ast.literal_eval(statement.value))
    return _parse_arguments(options.get("arguments", ""))


def check_set_name(name: str, known: Sequence[str]) -> None:
    """Raise UsageError for a name that is not among torchvision's, or a set that is not read here."""
    if name in _FOLDERS:
        raise gz.UsageError(f"torchvision:{name} reads a folder of yours: use --data folder:PATH")
    if name in _PICKLE_SETS:
        raise gz.UsageError(f"torchvision's {name} opens pickles, which could run code; use --data folder:PATH")
    if name not in known:
        nearest = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=1)
        hint = next((f"; did you mean {each}?" for each in known if [each.lower()] == nearest), "")
        raise gz.UsageError(f"torchvision.datasets has no set {name!r}{hint}")


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
            # -P: do not import a torch.py from the current folder.
            [sys.executable, "-P", "-m", "ganzoo_datasets.torchvision_child", made],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if shown else subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            cwd=made,  # some datasets look for their files in the current folder
        )
        if (folder / PROBLEM_FILE).is_file():
            raise gz.DataError((folder / PROBLEM_FILE).read_text(encoding="utf-8"))
        if child.returncode:
            last = "" if shown else ": " + " / ".join((child.stderr or "").strip().splitlines()[-_ERROR_LINES:])
            raise gz.DataError(
                f"torchvision:{request['set']} could not be read: its process ended with {child.returncode}{last}"
            )
        source = cache.load(folder)
        # Copied into memory, since the folder is deleted.
        return replace(source, images=np.array(source.images))
