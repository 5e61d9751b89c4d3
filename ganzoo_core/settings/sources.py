"""Read settings from YAML files (through `files`) and from `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo_core.errors import UsageError
from ganzoo_core.storage.paths import find_moved_path, read_paths

if TYPE_CHECKING:
    from ganzoo_core.storage.run_records import RunFacts


def read_config(path: Path, *, named_by_user: bool = False) -> dict[str, Any]:
    """Read a YAML file as flat settings, values as text: `train: {lr: 2e-4}` and `train.lr: 2e-4` are the same.

    A top-level `run` holds the facts of a run (`config.yaml`) and is not returned; the paths in it are used to find
    data that was moved together with the run's folder.

    Args:
        path: a regular file.
        named_by_user: whether the user named it; then it may be a link to a regular file.

    Raises:
        UsageError: if the file cannot be read, is not YAML, is not a mapping, or exceeds the limits of a config file.
    """
    from ganzoo_core.settings import files  # PyYAML takes a while to import, and most commands read no file

    table = files.read_table(path, named_by_user=named_by_user)
    facts = table.pop("run", None)
    try:
        settings = flatten(table)
    except ValueError as error:
        raise files.make_config_error(path, f"is not clear: {error}") from None
    relative = read_paths(facts).get("data_from_here", "") if isinstance(facts, Mapping) else ""
    name, colon, data_path = str(settings.get("use.data", "")).partition(":")
    if relative and colon:
        settings["use.data"] = f"{name}:{find_moved_path(data_path, relative, path.parent)}"
    return settings


def read_run_config(path: Path) -> dict[str, Any]:
    """Read the settings of a run's `config.yaml`, with every `*.download` off: downloads must be requested again.

    Raises:
        UsageError: as `read_config` does.
    """
    settings = read_config(path)
    return {key: "false" if key.endswith(".download") else value for key, value in settings.items()}


def read_facts(path: Path) -> RunFacts:
    """Read the facts under `run` in a run's `config.yaml`.

    Raises:
        UsageError: as `read_config` does, and naming a fact that is invalid.
    """
    from ganzoo_core.settings import files
    from ganzoo_core.storage import decoding
    from ganzoo_core.storage.run_records import ConfigFacts, RunFacts

    table = files.read_table(path).get("run")
    if table in (None, "", "null", "~"):
        return RunFacts()
    return decoding.convert({"run": table}, ConfigFacts, path, as_text=True).run


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys; raises ValueError for a key that is set twice."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        entries = flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
        for duplicate in entries.keys() & flat.keys():
            raise ValueError(f"{duplicate} is set twice")
        flat.update(entries)
    return flat


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Parse `--set key=value` texts to a mapping in their order; the last one for a key wins.

    Raises:
        UsageError: for a text without `=` or without a key.
    """
    assigned: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise UsageError(f"--set {text!r} has no value; write --set key=value, such as --set lr=2e-4")
        if not key:
            raise UsageError(f"--set {text!r} has no key; write --set key=value, such as --set lr=2e-4")
        assigned.pop(key, None)  # so that the key moves to the end: of two spellings of a setting the last wins
        assigned[key] = value.strip()
    return assigned
