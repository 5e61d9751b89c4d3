"""`ganzoo doctor`: what is wrong with the installation, and what to do about it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterable

from ganzoo_core import catalog
from ganzoo_core.api import PluginError, UsageError
from ganzoo_core.console import table
from ganzoo_core.engines import EXTRAS
from ganzoo_core.manifest import Part

TENSORFLOW_PYTHONS = ((3, 11), (3, 13))  # the first and the last that TensorFlow 2.21 has wheels for
IMPORT_SECONDS = 120.0
_IMPORT = """
import sys, json
from ganzoo_core import catalog, loader
from ganzoo_core.api import GanzooError
part = catalog.scan().find(sys.argv[1], sys.argv[2])
try:
    loader.hooks_of(part)
except GanzooError as error:
    print(error); sys.exit(3)
"""


def add(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser("doctor", help="what is wrong, and what to do", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one part or one distribution (default: all)")
    parser.add_argument("--deep", action="store_true", help="import each part in a process of its own, and time it")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def execute(args: argparse.Namespace) -> int:
    """Look at everything; 1 if anything is wrong."""
    found = catalog.scan(args.no_plugin)
    parts, troubles = _chosen(found, args.name)
    for framework in sorted({framework for part in parts for framework in part.frameworks}):
        if importlib.util.find_spec(framework) is None:
            users = sorted(part.name for part in parts if framework in part.frameworks and part.kind == "models")
            if users:
                reason = f"{framework} is not installed, so {', '.join(users)} cannot run; {_remedy(framework)}"
                troubles.append((framework, "framework-missing", reason))
    rows = [(part.qualified, "ok", _deep(part, troubles) if args.deep else "") for part in parts]
    rows = [row for row in rows if row[0] not in {name for name, _, _ in troubles}]
    if args.json:
        checks = [{"name": name, "state": state, "detail": detail} for name, state, detail in (*rows, *troubles)]
        print(json.dumps({"schema": 1, "environment": _environment(), "checks": checks}, indent=1))
        return 1 if troubles else 0
    print(" · ".join(f"{name} {version}" for name, version in _environment().items()))
    low, high = (".".join(map(str, version)) for version in TENSORFLOW_PYTHONS)
    if not TENSORFLOW_PYTHONS[0] <= sys.version_info[:2] <= TENSORFLOW_PYTHONS[1]:
        print(f"TensorFlow has wheels for Python {low} to {high}, so its models cannot be installed on this one")
    table(("part", "state", "detail"), [*rows, *troubles])
    count = len(troubles)
    print("everything is well" if not count else f"{count} {'thing is' if count == 1 else 'things are'} wrong")
    return 1 if troubles else 0


def _chosen(found: catalog.Catalog, name: str | None) -> tuple[list[Part], list[tuple[str, str, str]]]:
    """The parts to look at, and the problems among them as (name, state, reason)."""
    problems = [
        (f"{problem.distribution}/{problem.name}".rstrip("/"), problem.state, problem.reason, problem)
        for problem in found.problems
    ]
    if name is None:
        return list(found.parts), [row[:3] for row in problems]
    own = [part for part in found.parts if name in (part.distribution, part.name, part.qualified, *part.aliases)]
    bad = [row[:3] for row in problems if name in (row[0], row[3].distribution, row[3].name)]
    if not own and not bad:
        try:
            own = [found.find_any(name)]
        except PluginError as error:
            return [], [(name, "plugin", str(error))]
        except UsageError as error:
            raise UsageError(str(error)) from None
    return own, bad


def _deep(part: Part, troubles: list[tuple[str, str, str]]) -> str:
    """Import one part in a subprocess; how long it took, or a trouble more."""
    started = time.perf_counter()
    command = [sys.executable, "-c", _IMPORT, part.kind, part.qualified]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        troubles.append((part.qualified, "import-hangs", f"importing {part.hooks} took over {IMPORT_SECONDS:.0f} s"))
        return ""
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        troubles.append((part.qualified, "import-fails", said))
    return f"imported in {time.perf_counter() - started:.2f} s"


def _remedy(framework: str) -> str:
    low, high = TENSORFLOW_PYTHONS
    if framework == "tensorflow" and not low <= sys.version_info[:2] <= high:
        return (
            f"it has wheels for Python {low[0]}.{low[1]} to {high[0]}.{high[1]}; make an environment with one of them"
        )
    return f"pip install ganzoo[{EXTRAS[framework]}]"


def _environment() -> dict[str, str]:
    return {"python": platform.python_version(), **dict(_versions(("ganzoo", *EXTRAS)))}


def _versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"
