"""Where settings are written: YAML files and `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ganzoo_core.api import UsageError

MAX_BYTES = 200_000  # of a config file; a run's own has three thousand


class _TextLoader(yaml.SafeLoader):
    """YAML in which every scalar stays the text that was written: `2e-4`, `off`, `12:30`, `010`.

    Tags would undo that, and aliases let ten lines hold a billion values: both are refused, as is a key that
    stands twice.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(f"the alias *{event.anchor} is not read", event.start_mark)
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refusal("a tag such as !!int is not read", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refusal(f"{key.value!r} is set twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text: str = super().construct_scalar(node)
        # JSON writes a character beyond U+FFFF as two escapes, which YAML reads as two characters.
        if any("\ud800" <= character <= "\udfff" for character in text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file -> flat settings as text: `train: {lr: 2e-4}` and `train.lr: 2e-4` are the same.

    A top-level `run` holds facts of a finished run (`config.yaml`) and is passed over.

    Raises:
        UsageError: if the file cannot be read, is not YAML, or is no mapping.
    """
    table = _read_table(path)
    table.pop("run", None)
    try:
        return flatten(table)
    except ValueError as error:
        raise _bad(path, f"is not clear: {error}") from None


def read_facts(path: Path) -> dict[str, Any]:
    """What a run's `config.yaml` says under `run`, as text; raises UsageError as `read_config` does."""
    facts = _read_table(path).get("run")
    return facts if isinstance(facts, dict) else {}


def _read_table(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _bad(path, f"is larger than {MAX_BYTES:,} bytes; expected a few lines such as train.lr: 2e-4")
        loader = _TextLoader(content.decode("utf-8"))
        try:
            table = loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _bad(path, f"is not text in UTF-8: byte {error.start} is {content[error.start]:#04x}") from None
    except RecursionError:
        raise _bad(path, "is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _bad(
            path, f"cannot be understood{f' at line {mark.line + 1}' if mark else ''}: {error.problem}"
        ) from None
    except yaml.YAMLError as error:
        raise _bad(path, f"is not YAML: {' '.join(str(error).split())}") from None
    if table in (None, ""):
        return {}
    if not isinstance(table, dict):
        found = "a list" if isinstance(table, list) else f"the text {table[:40]!r}"
        raise _bad(path, f"holds {found}; expected settings, as train.lr: 2e-4")
    return table


def _bad(path: Path, reason: str) -> UsageError:
    return UsageError(f"the config file {path} {reason}")


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
