"""Run a plugin's checks, in one child process per framework."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.catalog.names import normalise_distribution
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.processes import PrintingProcess
from ganzoo_core.testing.checks import CHECKS, DISTRIBUTION, FRAMEWORK_KINDS, list_checks

TIMEOUT = 1800.0  # seconds for all checks of a plugin in one framework
# The output of the plugin under test goes to stderr; stdout carries only the results.
_CHILD_SCRIPT = """
import os, sys
asked, *sys.path[:] = sys.argv[1:]
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from ganzoo_core.testing.worker import main
main(asked, answers)
"""

Argument = str | Callable[[Path], str]


@dataclass(frozen=True)
class Case:
    """One check of one part in one framework: `part` is `kind/name`, or empty for the whole distribution."""

    part: str
    check: str
    framework: str = ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.part.rpartition("/")[2], self.check, self.framework) if word)


@dataclass(frozen=True)
class Result:
    """The result of a case: `state` is `ok`, `failed`, `skipped` or `not tried`; `detail` says why.

    A check is `not tried` if an earlier one of the same part failed and an error ended this one before it could tell,
    or if the process ended before.
    """

    case: Case
    state: str
    detail: str = ""


def cases(distribution: str) -> list[Case]:
    """List all cases of an installed plugin, from its manifest, without importing it."""
    parts = [part for part in catalog.scan().parts if _is_same_distribution(part.distribution, distribution)]
    all_cases = [Case("", check.name) for check in list_checks(DISTRIBUTION)]
    for part in parts:
        for check in list_checks(part.kind):
            in_frameworks = part.kind in FRAMEWORK_KINDS and check.module != "distribution"
            for framework in _list_frameworks(part) if in_frameworks else ("",):
                all_cases.append(Case(f"{part.kind}/{part.name}", check.name, framework))
    return all_cases


def _list_frameworks(part: Part) -> tuple[str, ...]:
    """The frameworks that a part is tried in: those that it is for, and of a loss those of the model that it names."""
    frameworks = part.frameworks or tuple(FRAMEWORKS)
    models = catalog.scan().find_matches("models", part.contract) if part.contract else []
    return tuple(each for each in frameworks if not models or each in models[0].frameworks)


def run(
    distribution: str,
    *,
    settings: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Argument] | None = None,
    only: Sequence[Case] | None = None,
) -> Iterator[Result]:
    """Run the checks, framework by framework; yield results as they come.

    Args:
        distribution: an installed plugin.
        settings: override the smallest preset of the trained model, such as `{"model.width": 8}`.
        arguments: by a dataset's name, its argument, which follows the colon in `--data NAME:ARGUMENT`; or a function
            that takes an empty folder, writes files there, and returns the argument.
        only: a selection of `cases(distribution)`; None for all.
    """
    chosen = cases(distribution) if only is None else list(only)
    failed: dict[str, str] = {}  # part -> its first failed check of those that need no framework
    for framework in ("", *FRAMEWORKS):
        group = [case for case in chosen if case.framework == framework]
        if not group:
            continue
        if framework and not FRAMEWORKS[framework].is_installed():
            yield from (Result(case, "skipped", f"{framework} is not installed") for case in group)
            continue
        for result in _run_in_child(distribution, framework, group, settings or {}, arguments or {}, failed):
            if not framework and result.state == "failed":
                failed.setdefault(result.case.part, result.case.check)
            yield result


def _run_in_child(
    distribution: str,
    framework: str,
    group: Sequence[Case],
    settings: Mapping[str, Any],
    arguments: Mapping[str, Argument],
    failed: Mapping[str, str],
) -> Iterator[Result]:
    left = {(case.part, case.check): case for case in group}
    with tempfile.TemporaryDirectory(prefix="ganzoo-contract-") as folder, tempfile.TemporaryFile() as stderr_file:
        request = {
            "distribution": distribution,
            "framework": framework,
            "cases": [[case.part, case.check] for case in group],
            "failed": dict(failed),
            "settings": dict(settings),
            "arguments": {name: _write_argument(argument, Path(folder) / name) for name, argument in arguments.items()},
        }
        command = [
            sys.executable,
            "-c",
            _CHILD_SCRIPT,
            json.dumps(request),
            *(str(Path(path).absolute()) for path in sys.path),
        ]
        environment = {**os.environ, "GANZOO_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with PrintingProcess(
            command, timeout=TIMEOUT, folder=Path(folder), environment=environment, stderr=stderr_file
        ) as child:
            for line in child.read_lines():
                answer = json.loads(line)
                case = left.pop((answer["part"], answer["check"]))
                yield Result(case, answer["state"], answer["detail"])
            code = child.finish()
        if left:
            stderr_file.seek(0)
            words = stderr_file.read().decode(errors="replace").strip().splitlines() or ["without a word"]
            end = f"took over {TIMEOUT:.0f} s" if child.timed_out else f"ended with {code}"
            ended = f"the process of the {framework} checks".replace("  ", " ") + f" {end}: {words[-1]}"
            first, *rest = left.values()
            yield Result(first, "failed", ended)
            yield from (Result(case, "not tried", f"in {first} {ended}") for case in rest)


def _write_argument(argument: Argument, folder: Path) -> str:
    if isinstance(argument, str):
        return argument
    folder.mkdir()
    return argument(folder)


def _is_same_distribution(one: str, other: str) -> bool:
    return normalise_distribution(one) == normalise_distribution(other)


def describe_check(name: str) -> str:
    """The statement that is true if the check passes."""
    return next(check.says for check in CHECKS if check.name == name)
