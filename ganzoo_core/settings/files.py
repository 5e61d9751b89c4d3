"""Read YAML files of settings, with every scalar as the text that was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.settings.values import MAX_TEXT
from ganzoo_core.storage import files

MAX_BYTES = 200_000  # of a config file; that of a run has about 3,000
MAX_KEYS = 2000
MAX_KEY_LENGTH = 200  # characters
MAX_DEPTH = 20


class _TextLoader(yaml.SafeLoader):
    """A YAML loader that keeps every scalar as the text that was written: `2e-4`, `off`, `12:30`, `010`.

    Tags would convert scalars, and aliases let ten lines expand to a billion values, so both are refused. Duplicate
    keys are refused too.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _make_yaml_error(f"the alias *{event.anchor} is not read", event.start_mark)
        if getattr(event, "tag", None) not in (None, "!"):
            raise _make_yaml_error("a tag such as !!int is not read", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _make_yaml_error(f"{key.value!r} is set twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text: str = super().construct_scalar(node)
        # JSON writes a character beyond U+FFFF as two surrogate escapes, which YAML reads as two characters.
        if any("\ud800" <= character <= "\udfff" for character in text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text


def _make_yaml_error(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def read_table(path: Path, *, named_by_user: bool = False) -> dict[str, Any]:
    """Read the mapping in a YAML file, each scalar as text.

    Args:
        path: a regular file.
        named_by_user: whether the user named it; see `files.open_file`.

    Raises:
        UsageError: if it cannot be read, is not YAML, is not a mapping, or exceeds the limits of a config file.
    """
    entry = files.describe(path)
    if entry == "a folder" or (entry not in ("", "a file") and not named_by_user):
        raise make_config_error(path, f"cannot be read: it is {entry}; expected a file")
    try:
        with files.open_file(path, named_by_user=named_by_user) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise make_config_error(
                path, f"is larger than {MAX_BYTES:,} bytes; expected a few lines such as train.lr: 2e-4"
            )
        loader = _TextLoader(content.decode("utf-8"))
        try:
            table = loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise make_config_error(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise make_config_error(
            path, f"is not text in UTF-8: byte {error.start} is {content[error.start]:#04x}"
        ) from None
    except RecursionError:
        raise make_config_error(path, "is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise make_config_error(
            path, f"cannot be understood{f' at line {mark.line + 1}' if mark else ''}: {error.problem}"
        ) from None
    except yaml.YAMLError as error:
        raise make_config_error(path, f"is not YAML: {' '.join(str(error).split())}") from None
    if table in (None, ""):
        return {}
    if not isinstance(table, dict):
        content_type = "a list" if isinstance(table, list) else f"the text {table[:40]!r}"
        raise make_config_error(path, f"holds {content_type}; expected settings, as train.lr: 2e-4")
    if (wrong := _find_excess(table)) is not None:
        raise make_config_error(path, wrong)
    return table


def _find_excess(table: dict[Any, Any]) -> str | None:
    """Describe what exceeds a config's limits: too many keys, a bad key, long text, deep nesting; None if nothing."""
    left: list[tuple[Any, str, int]] = [(table, "it", 0)]
    count = 0
    while left:
        value, name, depth = left.pop()
        if depth > MAX_DEPTH:
            return f"is nested too deeply at {name}"
        if isinstance(value, dict):
            count += len(value)
            for key, item in value.items():
                if len(key) > MAX_KEY_LENGTH or not key.isprintable():
                    return f"has the key {format_value(key)}; expected at most {MAX_KEY_LENGTH} printable characters"
                left.append((item, key, depth + 1))
        elif isinstance(value, list):
            left += [(item, name, depth + 1) for item in value]
        elif len(value) > MAX_TEXT or "\0" in value:
            return f"is {format_value(value)} at {name}; expected at most {MAX_TEXT:,} characters without NUL"
    return f"has {count:,} keys; expected at most {MAX_KEYS:,}" if count > MAX_KEYS else None


def make_config_error(path: Path, reason: str) -> UsageError:
    """Make the error for a problem with a config file."""
    return UsageError(f"the config file {path} {reason}")
