"""`ganzoo doctor`: what is wrong with the installation, and what to do about it.

Of one plugin or part that is named, it also makes the contract's checks: what `ganzoo_core.testing` holds it to.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ganzoo_core.cli import completion
from ganzoo_core.cli.options import SETTINGS
from ganzoo_core.cli.parser import Parser
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.catalog.names import find_nearest, normalise_distribution
from ganzoo_core.discovery.manifest import KINDS, Part
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.frameworks import FRAMEWORKS, get_default_framework
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import ProcessTimeout, run_process
from ganzoo_core.storage import paths
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import to_one_line, write_json, write_line, write_paragraph
from ganzoo_core.testing import runner
from ganzoo_core.testing.runner import Result

IMPORT_TIMEOUT = 120.0
# The part's output while it is imported goes to stderr; stdout carries only the answer.
_IMPORT_SCRIPT = """
import json, os, sys
kind, name, *sys.path[:] = sys.argv[1:]
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import time
from ganzoo_core.discovery import catalog, loading
from ganzoo_core.errors import GanzooError
part = catalog.scan().find(kind, name)
started, error = time.perf_counter(), ""
try:
    loading.import_hooks(part)
except GanzooError as caught:
    error = str(caught)
json.dump({"seconds": time.perf_counter() - started, "error": error}, answer)
answer.close()
"""


@dataclass(frozen=True)
class Finding:
    """One result: `state` is `ok`, `warning` or the name of the problem."""

    name: str
    state: str
    detail: str = ""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        completer=completion.suggest_parts_and_plugins,
        help="one part or one distribution (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="of one that is named: its manifest alone, no checks")
    parser.add_argument("--set", **SETTINGS, help="for the checks, such as width=8 for speed")
    parser.add_argument("--deep", action="store_true", help="import each part in a process of its own, and time it")
    parser.add_argument(
        "--tune",
        action="store_true",
        help="instead: time training with one thread, half of the cores and all, and keep the fastest for this machine",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def execute(args: argparse.Namespace) -> int:
    """Run all checks and print the results; return 1 if there is a problem."""
    installed = catalog.scan()
    if args.tune:
        return _tune_threads(installed, args)
    parts, problems = _choose_parts(installed, args.name)
    findings = [*_check_cards(installed, parts, deep=args.deep), *problems, *_check_frameworks(parts)]
    if args.name is None:
        known = {normalise_distribution(problem.distribution) for problem in installed.problems}
        broken = [
            (name, why) for name, why in catalog.find_broken_metadata() if normalise_distribution(name) not in known
        ]
        findings += [*_check_defaults(installed), *(Finding(name, "broken-metadata", why) for name, why in broken)]
    results = _run_contract(parts, args) if args.name is not None and not args.quick else []
    warnings = sum(finding.state == "warning" for finding in findings)
    count = sum(finding.state not in ("ok", "warning") for finding in findings)
    count += sum(result.state == "failed" for result in results)
    notes = [note for framework in FRAMEWORKS.values() if (note := framework.explain_missing_wheels())]
    cache = paths.find_cache_folder()
    sizes = paths.measure_folder(cache) if args.name is None else {}
    if args.json:
        checks = [{"name": finding.name, "state": finding.state, "detail": finding.detail} for finding in findings]
        facts = {"schema": 1, "environment": _read_environment(), "notes": notes, "checks": checks}
        facts |= {"cache": {"folder": str(cache), "bytes": sizes}} if args.name is None else {}
        facts["contract"] = [
            {
                "part": result.case.part,
                "check": result.case.check,
                "framework": result.case.framework,
                "says": runner.describe_check(result.case.check),
                "state": result.state,
                "detail": result.detail,
            }
            for result in results
        ]
        write_json(facts, indent=1)
        return 1 if count else 0
    write_paragraph(" · ".join(f"{name} {version}" for name, version in _read_environment().items()))
    for note in notes:
        write_paragraph(f"{note}, so its models cannot be installed on this one")
    if args.name is None:
        parts_of_it = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in sizes.items())
        write_paragraph(f"cache: {cache} ({parts_of_it or 'empty'}); any folder in it may be deleted at any time")
    print_table(("part", "state", "detail"), [(finding.name, finding.state, finding.detail) for finding in findings])
    if results:
        _show_contract(results)
    if not findings:
        write_line(f"nothing is installed; {get_default_framework().install_command}")
    also = f", {pluralise(warnings, 'warning')}" if warnings else ""
    write_line(f"{pluralise(count, 'problem') if count else 'No problems'} found{also}")
    return 1 if count else 0


def _tune_threads(installed: catalog.Catalog, args: argparse.Namespace) -> int:
    """Time training with several numbers of threads and print the results."""
    from ganzoo_core.cli.tuning import tune_threads
    from ganzoo_core.engines.threads import describe_machine
    from ganzoo_core.terminal.progress import show_status

    if args.quick or args.deep or args.set:
        raise UsageError("--tune only times training; leave out --quick, --deep and --set")
    model = None if args.name is None else installed.find("models", args.name)
    with show_status("timing") as update:
        timings, path = tune_threads(installed, model, lambda words: update(f"timing {words}"))
    fastest = {timing.model: max(t.images_per_second for t in timings if t.model == timing.model) for timing in timings}
    kept = [timing for timing in timings if timing.images_per_second == fastest[timing.model]]
    if args.json:
        facts = [{**vars(timing), "kept": timing in kept} for timing in timings]
        write_json({"schema": 1, "machine": describe_machine(), "file": str(path), "timings": facts}, indent=1)
        return 0
    rows = [
        (t.framework, t.model, str(t.threads), f"{t.images_per_second:,.0f}", "kept" if t in kept else "")
        for t in timings
    ]
    print_table(("framework", "model", "threads", "img/s", ""), rows, title=describe_machine())
    write_paragraph(
        f"kept in {path}, which may be deleted to undo it; --set engine.threads=N and OMP_NUM_THREADS go before it"
    )
    return 0


def _run_contract(parts: Sequence[Part], args: argparse.Namespace) -> list[Result]:
    """Run the contract's checks of these parts, showing progress."""
    from ganzoo_core.settings import parse_assignments

    chosen: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        chosen[part.distribution].add(f"{part.kind}/{part.name}")
    from ganzoo_core.terminal.progress import show_status

    results: list[Result] = []
    for distribution, names in chosen.items():
        # If only a part is named, skip the checks of the whole distribution.
        whole = normalise_distribution(args.name) == normalise_distribution(distribution)
        cases = [case for case in runner.cases(distribution) if case.part in names or (whole and not case.part)]
        with show_status(f"checking {distribution}") as update:
            for result in runner.run(distribution, settings=parse_assignments(args.set), only=cases):
                update(f"checking {distribution}: {len(results) + 1}, {result.case}")
                results.append(result)
    return results


def _show_contract(results: Sequence[Result]) -> None:
    """Print a table with a row per check, and the number of checks in each state."""
    write_line()
    rows = [
        (
            result.case.part or "the whole",
            result.case.check,
            result.case.framework or "-",
            result.state,
            result.detail or runner.describe_check(result.case.check),
        )
        for result in results
    ]
    print_table(("part", "check", "in", "state", "what holds, or what was found"), rows, title="contract")
    states = Counter(result.state for result in results)
    write_line(
        ", ".join(f"{states[state]} {state}" for state in ("ok", "failed", "not tried", "skipped") if states[state])
    )


def _choose_parts(installed: catalog.Catalog, name: str | None) -> tuple[list[Part], list[Finding]]:
    """The parts to check, and the catalog's problems with them."""
    parts, problems = list(installed.parts), [*installed.problems, *installed.warnings]
    if name is not None:
        key = normalise_distribution(name)
        parts = [part for part in parts if key == normalise_distribution(part.distribution)]
        problems = [problem for problem in problems if key == normalise_distribution(problem.distribution)]
        if not parts and not problems:
            parts = _find_parts(installed, name)
            kinds = [problem for problem in installed.problems if problem.kind in KINDS]
            problems = [
                problem for problem in kinds if name in (problem.name, f"{problem.distribution}/{problem.name}")
            ]
        if not parts and not problems:
            raise UsageError(f"nothing that is installed is called {name!r}; {_suggest_names(installed, name)}")
    return parts, [
        Finding(f"{problem.distribution}/{problem.name}".rstrip("/"), problem.state, problem.reason)
        for problem in problems
    ]


def _find_parts(installed: catalog.Catalog, name: str) -> list[Part]:
    """Every part that matches a name, of any kind and distribution."""
    kind, _, rest = name.partition("/")
    kinds = [kind] if kind in KINDS and rest else KINDS
    word = rest if kinds == [kind] else name
    return [part for of_kind in kinds for part in installed.find_matches(of_kind, word)]


def _suggest_names(installed: catalog.Catalog, name: str) -> str:
    known = {part.name for part in installed.parts} | {part.distribution for part in installed.parts}
    known |= {problem.distribution for problem in installed.problems} | {
        problem.name for problem in installed.problems if problem.name
    }
    alike = find_nearest(name, known)
    return f"did you mean {' or '.join(alike)}?" if alike else "`ganzoo list` shows what there is"


def _check_cards(installed: catalog.Catalog, parts: Iterable[Part], *, deep: bool) -> Iterable[Finding]:
    """Check parts with valid manifests: unique names, default parts that are installed and, if `deep`, imports."""
    taken_names = {
        (row["kind"], row["name"]): row["reason"] for row in installed.list_rows() if row["state"] == "name-taken"
    }
    for part in parts:
        wrong = ""
        for slot, kind in (("loss", "losses"), ("schedule", "schedules"), ("with", "modifiers")):
            picked = part.defaults.get(f"use.{slot}", [])
            for name in [picked] if isinstance(picked, str) else picked:
                try:
                    installed.find(kind, name)
                except GanzooError as error:
                    wrong = wrong or f"its own {slot}: {error}"
        if (part.kind, part.qualified_name) in taken_names:
            yield Finding(part.qualified_name, "name-taken", taken_names[part.kind, part.qualified_name])
        elif wrong:
            yield Finding(part.qualified_name, "missing-part", wrong)
        elif deep:
            yield _check_import(part)
        else:
            yield Finding(part.qualified_name, "ok")
        for warning in part.warnings:
            yield Finding(part.qualified_name, "warning", warning)


def _check_import(part: Part) -> Finding:
    """Import one part in a child process."""
    command = [sys.executable, "-c", _IMPORT_SCRIPT, part.kind, part.qualified_name, *sys.path]
    try:
        done = run_process(command, timeout=IMPORT_TIMEOUT)
    except ProcessTimeout:
        return Finding(part.qualified_name, "import-hangs", f"importing {part.hooks} took over {IMPORT_TIMEOUT:.0f} s")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip() or "without a word").splitlines()[-1]
        ended = f"importing {part.hooks} ended the process with {done.exit_code}: {last}"
        return Finding(part.qualified_name, "import-fails", to_one_line(ended))
    if answer["error"]:
        return Finding(part.qualified_name, "import-fails", answer["error"])
    return Finding(part.qualified_name, "ok", f"imported in {answer['seconds']:.2f} s")


def _check_frameworks(parts: Sequence[Part]) -> Iterable[Finding]:
    """Report frameworks that installed models need and that are missing."""
    for name, framework in FRAMEWORKS.items():
        users = sorted(part.name for part in parts if part.kind == "models" and name in part.frameworks)
        if users and not framework.is_installed():
            note = framework.explain_missing_wheels()
            remedy = f"{note}; make an environment with one of them" if note else framework.install_command
            reason = f"{name} is not installed, so {', '.join(users)} cannot run; {remedy}"
            yield Finding(name, "framework-missing", reason)


def _check_defaults(installed: catalog.Catalog) -> Iterable[Finding]:
    """Report kinds with several default parts."""
    for kind in KINDS:
        try:
            installed.check_defaults(kind)
        except UsageError as error:
            yield Finding(kind, "several-defaults", str(error))


def _read_environment() -> dict[str, str]:
    distributions = [name for framework in FRAMEWORKS.values() for name in framework.distributions]
    return {"python": platform.python_version(), **dict(_read_versions(("ganzoo-core", *distributions)))}


def _read_versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"
