"""Facts of a run: versions, the plugins' code, settings, device and data; recorded with it, compared on resume."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data import fingerprint, summary
from ganzoo_core.data.changes import compare
from ganzoo_core.data.fingerprint import Fingerprint, Say
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.runs import layout
from ganzoo_core.settings import Settings, read_facts
from ganzoo_core.storage import files

# Facts that must be equal for an exact resume, with `settings`; both are stored in each checkpoint.
COMPARED_FACTS = ("ganzoo", "python", "numpy", "engine", "parts", "modifiers", "code", "data")
MAX_SOURCE_FILES, MAX_SOURCE_BYTES = 5_000, 2**26  # read per package; further files are hashed by name and size
# Settings that do not affect a run's numbers or images, or that are compared by another fact.
_UNCOMPARED_SETTINGS = (
    "use.", "track.", "data.download", "data.workers", "train.length", "train.checkpoint_keep", "train.snapshot_every",
    "train.evaluate_", "engine.device", "engine.threads",
    "engine.timeout", "engine.max_parameters", "engine.precision", "engine.compile",
)  # fmt: skip


def describe_run(
    resolved: Mix, fitted: DataFit, source: ImageSource, fingerprint: Fingerprint, engine: Engine
) -> dict[str, Any]:
    """The facts that `config.yaml` stores under `run`, beside the settings."""
    spec = fitted.spec
    return {
        "ganzoo": metadata.version("ganzoo-core"),
        "python": platform.python_version(),
        "engine": engine.describe(),
        "keeps_memory": engine.keeps_memory,  # not within `engine`: it does not affect results
        "parts": {slot: f"{part.qualified_name} {part.version}".strip() for slot, part in resolved.parts.items()},
        "modifiers": [f"{part.qualified_name} {part.version}" for part in resolved.modifiers],
        "code": digest_plugins([*resolved.parts.values(), *resolved.modifiers]),
        "preset": resolved.preset,
        "length_from": resolved.settings.find_origin("train.length"),
        "numpy": np.__version__,
        "data": fingerprint.to_facts(),
        "data_summary": summary.describe_data(
            source, fitted.framing, spec.channels, spec.conditions, resolved.settings["data.derive"]
        ),
        "notes": list(source.notes),
        "spec": {"height": spec.height, "width": spec.width, "channels": spec.channels, "classes": spec.classes},
        "framing": fitted.framing.method,
        "background": source.background,
        "warnings": list(resolved.warnings),
    }


def select_compared_settings(settings: Settings, *, exclude_command_line: bool = False) -> dict[str, Any]:
    """The settings that affect a run's result, as JSON types.

    Args:
        settings: resolved.
        exclude_command_line: omit those set on this command line or in this call.
    """
    excluded = (
        _UNCOMPARED_SETTINGS
        if settings["train.on_divergence"] == "rollback"
        else (*_UNCOMPARED_SETTINGS, "train.checkpoint_every")
    )
    compared = {
        key: entry.value
        for key, entry in settings.entries.items()
        if not key.startswith(excluded) and not (exclude_command_line and entry.origin.startswith("--"))
    }
    plain: dict[str, Any] = json.loads(json.dumps(compared, sort_keys=True))
    return plain


def digest_plugins(parts: list[Part]) -> dict[str, str]:
    """`DISTRIBUTION VERSION` -> a digest of the source of the packages that contain these parts."""
    packages: dict[str, set[str]] = {}
    for part in parts:
        if part.location:
            packages.setdefault(f"{part.distribution} {part.version}", set()).add(part.location)
    return {name: digest_source(sorted(locations)) for name, locations in sorted(packages.items())}


def digest_source(folders: list[str]) -> str:
    """SHA-256 over the names and contents of all Python files and manifests in these folders, without importing any."""
    digest, count, size = hashlib.sha256(), 0, 0
    for folder in map(Path, folders):
        for path in _list_source_files(folder):
            try:
                length = path.stat().st_size
                count, size = count + 1, size + length
                within = count <= MAX_SOURCE_FILES and size <= MAX_SOURCE_BYTES
                # Line endings differ between checkouts.
                content = files.read_bytes(path, MAX_SOURCE_BYTES).replace(b"\r\n", b"\n") if within else b""
            except Exception:
                length, content = -1, b""
            entry = [path.relative_to(folder).as_posix(), len(content) or length, hashlib.sha256(content).hexdigest()]
            digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def _list_source_files(folder: Path) -> Iterator[Path]:
    for folder_path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".py") or name == "ganzoo.toml":
                yield Path(folder_path) / name


def explain_differences(then: Mapping[str, Any], now: Mapping[str, Any], data_changes: list[str]) -> list[str]:
    """Describe the differences between a checkpoint's facts and the current ones.

    Args:
        then, now: `COMPARED_FACTS` and `settings`. Settings and plugins that only one of them has are ignored: the
            version that added or removed them differs as well.
        data_changes: descriptions of the differences in the data.
    """
    compared_separately = ("settings", "code", "data")
    was, is_ = ({key: value for key, value in facts.items() if key not in compared_separately} for facts in (then, now))
    differences = data_changes + [f"{name} was {a} and is {b}" for name, a, b in _walk_differences(was, is_)]
    for name, digest in _list_shared_entries(then, now, "code"):
        if digest != now["code"][name]:
            distribution, _, version = name.rpartition(" ")
            differences.append(f"the code of {distribution} changed since (same version {version})")
    differences += [
        f"{name} was {_format_value(value)} and is {_format_value(now['settings'][name])}"
        for name, value in _list_shared_entries(then, now, "settings")
        if value != now["settings"][name]
    ]
    return differences


def _list_shared_entries(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """The entries of the table `name` in `then` whose keys it also has in `now`."""
    first, second = then.get(name), now.get(name)
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return []
    return [(key, value) for key, value in sorted(first.items()) if key in second]


def _walk_differences(then: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted({*then, *now}):
            yield from _walk_differences(then.get(key), now.get(key), f"{name} {key}".strip())
    elif then != now:
        yield name, then, now


def _format_value(value: Any) -> str:
    if value is None:
        return "not set"
    return json.dumps(value) if isinstance(value, bool | list | str) else str(value)


def compare_with_run(run: Path, source: ImageSource, say: Say | None = None) -> list[str]:
    """Describe the differences between a run's training data and `source`; see `compare`.

    Raises:
        UsageError: if the run's `config.yaml` cannot be read.
    """
    recorded = read_facts(run / layout.CONFIG).data
    if recorded is None or recorded.sha256 is None:
        return []
    return compare(recorded, fingerprint.load(run / layout.DATA), fingerprint.compute_fingerprint(source, say))
