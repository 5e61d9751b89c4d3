"""Where settings are written: YAML files, which `files` reads, and `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo_core.errors import UsageError
from ganzoo_core.storage.paths import find_moved_path, read_paths

if TYPE_CHECKING:
    from ganzoo_core.storage.run_records import RunFacts


def read_config(path: Path, *, named_by_user: bool = False) -> dict[str, Any]:
    """A YAML file -> flat settings as text: `train: {lr: 2e-4}` and `train.lr: 2e-4` are the same.

    A top-level `run` holds facts of a run (`config.yaml`) and is passed over; by the paths in it, data that were moved
    together with the run's folder are found again.

    Args:
        path: of a regular file.
        named_by_user: whether the user named it; then it may be a link to one.

    Raises:
        UsageError: if the file cannot be read, is not YAML, is no mapping, or holds more than any config does.
    """
    from ganzoo_core.settings import files  # PyYAML takes a while to import, and most commands read no file

    table = files.read_table(path, named_by_user=named_by_user)
    facts = table.pop("run", None)
    try:
        found = flatten(table)
    except ValueError as error:
        raise files.make_config_error(path, f"is not clear: {error}") from None
    relative = read_paths(facts).get("data_from_here", "") if isinstance(facts, Mapping) else ""
    name, colon, place = str(found.get("use.data", "")).partition(":")
    if relative and colon:
        found["use.data"] = f"{name}:{find_moved_path(place, relative, path.parent)}"
    return found


def read_run_config(path: Path) -> dict[str, Any]:
    """The settings in a run's own `config.yaml`, but that nothing is downloaded for it: that is asked for anew.

    Raises:
        UsageError: as `read_config` does.
    """
    settings = read_config(path)
    return {key: "false" if key.endswith(".download") else value for key, value in settings.items()}


def read_facts(path: Path) -> RunFacts:
    """What a run's `config.yaml` says under `run`.

    Raises:
        UsageError: as `read_config` does, and naming the fact that is not as it must be.
    """
    from ganzoo_core.settings import files
    from ganzoo_core.storage import decoding
    from ganzoo_core.storage.run_records import ConfigFacts, RunFacts

    table = files.read_table(path).get("run")
    if table in (None, "", "null", "~"):
        return RunFacts()
    return decoding.convert({"run": table}, ConfigFacts, path, as_text=True).run


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings -> dotted keys; raises ValueError for a key that two spellings set."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        found = flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
        for twice in found.keys() & flat.keys():
            raise ValueError(f"{twice} is set twice")
        flat.update(found)
    return flat


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """`--set key=value` texts -> a mapping, in their order; of two for one key the last counts.

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
        assigned.pop(key, None)  # two spellings of a setting are told apart by their order alone
        assigned[key] = value.strip()
    return assigned
