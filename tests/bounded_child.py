"""Loads saved generators one after the other with little memory; stdout is JSON: what each was refused with, and MB.

python bounded_child.py FRAMEWORK CARDS LIMIT FOLDER...
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path

from ganzoo_core import python_api
from ganzoo_core.errors import GanzooError
from ganzoo_core.generation import load

ROOM = 3 << 30  # bytes of address space that a framework that is loaded may still take


def peak() -> int:
    """MB that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def space() -> int:
    """Bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def main(framework: str, limit: str, *folders: str) -> None:
    """Load each, after a first network of the framework has been built."""
    importlib.import_module(framework)
    python_api.build("dcgan-torch" if framework == "torch" else "dcgan-tf", settings={"model.width": 8})
    before, (_, hard) = peak(), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (space() + ROOM, hard))
    told = {}
    for folder in folders:
        try:
            load.load(folder, device="cpu", settings={"engine.max_parameters": limit})
        except GanzooError as error:
            told[folder] = [type(error).__name__, str(error)]
        else:
            told[folder] = ["", ""]
    print(json.dumps({"told": told, "grown": peak() - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
