"""Checks of a plugin's manifest, wheel, README and hooks modules."""

from __future__ import annotations

import email
import importlib
import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from ganzoo_core.discovery import catalog, loading
from ganzoo_core.discovery.catalog.names import normalise_distribution
from ganzoo_core.discovery.catalog.scanning import ENTRY_POINT_GROUP
from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.processes import ProcessResult, ProcessTimeout, run_process
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.subject import Subject

TIMEOUT_SECONDS = 600.0  # seconds for building a wheel or importing a module
NOT_COPIED = ("build", "dist", "*.egg-info", ".git", ".venv", "venv", "__pycache__", ".*_cache", "node_modules")
_IMPORT_SCRIPT = """
import importlib, sys
module, *sys.path[:] = sys.argv[1:]
importlib.import_module(module)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def manifest(subject: Subject) -> None:
    """The catalog reports neither a problem nor a warning of the distribution."""
    key, installed = normalise_distribution(subject.distribution), catalog.scan()
    for problem in (*installed.problems, *installed.warnings):
        if normalise_distribution(problem.distribution) == key:
            raise Broken(f"{problem.kind}/{problem.name} {problem.state}: {problem.reason}".lstrip("/ "))
    for part in installed.parts:
        if normalise_distribution(part.distribution) == key and part.warnings:
            raise Broken(f"{part.kind}/{part.name}: {part.warnings[0]}")


def wheel(subject: Subject) -> None:
    """The installed files include the manifest; for an editable install, those of a newly built wheel do."""
    distribution = importlib.metadata.distribution(subject.distribution)
    held, _ = read_wheel(subject)
    for entry in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
        package = entry.value
        if f"{package}/ganzoo.toml" not in held:
            where = "the wheel built from it" if _find_editable_source(distribution) else "what pip installed"
            raise Broken(
                f"{where} holds no {package}/ganzoo.toml; setuptools needs "
                '[tool.setuptools.package-data] "*" = ["ganzoo.toml"], hatchling the package in its list'
            )


def read_wheel(subject: Subject) -> tuple[list[str], str]:
    """Return the wheel's files and its METADATA."""
    if "shipped" not in subject.cache:
        distribution = importlib.metadata.distribution(subject.distribution)
        source = _find_editable_source(distribution)
        if source:
            subject.cache["shipped"] = _build_wheel(source)
        else:
            files = [str(path) for path in distribution.files or ()]
            subject.cache["shipped"] = files, distribution.read_text("METADATA") or ""
    files_and_metadata: tuple[list[str], str] = subject.cache["shipped"]
    return files_and_metadata


def _find_editable_source(distribution: importlib.metadata.Distribution) -> Path | None:
    """The source folder of an editable install, as recorded by pip and uv (PEP 610)."""
    noted = distribution.read_text("direct_url.json")
    facts = json.loads(noted) if noted else {}
    if not facts.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(facts["url"]).path))


def _build_wheel(source: Path) -> tuple[list[str], str]:
    """Build the wheel, without build isolation if the build backend is installed."""
    if importlib.util.find_spec("build") is None:
        raise Broken("the wheel cannot be built, since `build` is not installed; pip install ganzoo-core[testing]")
    with tempfile.TemporaryDirectory(prefix="ganzoo-wheel-") as folder:
        copy = Path(folder) / "source"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        text = (copy / "pyproject.toml").read_text(encoding="utf-8")
        backend = re.search(r'^build-backend\s*=\s*"([\w.]+)"', text, re.MULTILINE)
        here = backend is not None and importlib.util.find_spec(backend[1].split(".")[0]) is not None
        isolation = ["--no-isolation"] if here else []
        command = [sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", folder, str(copy)]
        done = _run(command, "its wheel cannot be built")
        if done.exit_code:
            raise Broken(f"its wheel cannot be built: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
        built = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(built) as archive:
            names = archive.namelist()
            metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
            return names, archive.read(metadata).decode("utf-8")


def readme(subject: Subject) -> None:
    """The wheel's description names each part's paper, and says what differs from it."""
    _, metadata = read_wheel(subject)
    text = str(email.message_from_string(metadata).get_payload())
    key = normalise_distribution(subject.distribution)
    parts = [part for part in catalog.scan().parts if normalise_distribution(part.distribution) == key]
    if not text.strip():
        raise Broken('it has no README that pip installs; say readme = "README.md" under [project]')
    for part in parts:
        if part.paper and part.paper.rpartition(":")[2] not in text:
            raise Broken(f"the README does not name {part.paper}, the paper of {part.name}")
        if part.name not in text:
            raise Broken(f"the README does not name {part.name}")
    if any(part.kind == "models" and part.paper for part in parts) and not re.search(r"\bdiffer", text, re.IGNORECASE):
        raise Broken("the README does not say what differs from the paper; nothing differs? Then say that")


def hooks(subject: Subject) -> None:
    """The loader accepts the hooks module."""
    loading.import_hooks(subject.part)


def light(subject: Subject) -> None:
    """Importing the hooks module imports no framework."""
    command = [sys.executable, "-c", _IMPORT_SCRIPT, subject.part.hooks, *sys.path]
    done = _run(command, f"importing {subject.part.hooks} failed")
    if done.exit_code:
        raise Broken(f"importing {subject.part.hooks} failed: {(done.stderr.strip() or '?').splitlines()[-1]}")
    modules = [*(name for framework in FRAMEWORKS.values() for name in framework.modules), "jax"]
    heavy = [name for name in modules if name in done.stdout.split()]
    if heavy:
        raise Broken(f"importing {subject.part.hooks} imports {heavy[0]}; import it inside the hook functions")


def _run(command: Sequence[str], failure: str) -> ProcessResult:
    """Run a program; raise Broken, with `failure`, if it takes too long."""
    try:
        return run_process(command, timeout=TIMEOUT_SECONDS)
    except ProcessTimeout as error:
        raise Broken(f"{failure}: {error}") from None
