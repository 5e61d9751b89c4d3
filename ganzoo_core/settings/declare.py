"""Declare settings: one by one in a table, or as the fields of the dataclass that reads them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

Group = TypeVar("Group")
NETWORKS = {"g": "G", "d": "D"}  # the ends of settings for one network, such as `train.lr_d`


@dataclass(frozen=True)
class Setting:
    """A setting: its default, the kind of its values, and a line of help.

    `kind` is int, float, bool, text, length (see `lengths`), duration (a length, or minutes), or a list: numbers,
    integers, words, lengths. A default of None means that the setting is off unless it is set.

    Attributes:
        choices: the only values; () for any.
        length: of a list; 0 for any.
        above, at_least, below, at_most: the range of a number, or of each in a list; None for no limit.
        fallback: the setting whose value is taken where this one is None.
        only_with: (another setting, the values of it with which this one is read); () for any length but `off`.
        scheduled: the name of the schedule's value that replaces this setting; "" for none. In a group for each network
            `{network}` stands for `g` or `d`.
    """

    default: Any
    kind: str
    help: str = ""
    choices: tuple[Any, ...] = ()
    length: int = 0
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    fallback: str = ""
    only_with: tuple[str, tuple[str, ...]] | None = None
    scheduled: str = ""

    def describe_problem(self, value: Any) -> str:
        """What was expected instead of a value outside the range, or of a list of another length; "" if it is fine."""
        items = value if isinstance(value, list) else [value]
        what = f"{self.length} {'items' if self.kind == 'words' else 'numbers'}" if self.length else "a number"
        if self.at_most is not None and any(number > self.at_most for number in items):
            return f"expected {what} of at most {self.at_most:,}"
        is_low = self.above is not None and any(number <= self.above for number in items)
        is_low = is_low or (self.at_least is not None and any(number < self.at_least for number in items))
        is_high = self.below is not None and any(number >= self.below for number in items)
        if is_low or is_high or (self.length and len(items) != self.length):
            bounds = (("above", self.above), ("of at least", self.at_least), ("below", self.below))
            words = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
            return " ".join(("expected", what, " and ".join(words))).rstrip()
        return ""


def is_choice(value: Any, choices: Container[Any]) -> bool:
    """Whether a value is among the choices; of a list, each item may be one."""
    return value in choices or (isinstance(value, list) and all(item in choices for item in value))


def setting(key: str, default: Any, kind: str, help: str, choices: tuple[Any, ...] = (), **details: Any) -> Any:
    """Declare a dataclass field and the setting `key` that it is read from; `read_group` fills it in.

    Args:
        key: the setting's full name.
        default, kind, help, choices, details: see `Setting`.
    """
    declared = Setting(default, kind, help, choices, **details)
    return field(metadata={"key": key, "setting": declared}, default=_freeze(default))


def list_group(group: type[Any]) -> dict[str, Setting]:
    """The settings that a dataclass declares, by their full names."""
    return {each.metadata["key"]: each.metadata["setting"] for each in fields(group) if each.metadata}


def list_network_group(group: type[Any]) -> dict[str, Setting]:
    """The settings of a dataclass that each network has one of.

    Each setting is declared for both networks (`train.betas`), and for one (`train.betas_g`, `train.betas_d`), where
    None stands for the value of both.
    """
    listed = {}
    for key, shared in list_group(group).items():
        listed[key] = replace(shared, only_with=None, scheduled="")
        for network, name in NETWORKS.items():
            listed[f"{key}_{network}"] = replace(
                shared,
                default=None,
                help=f"for {name}, in place of {key}",
                fallback=key,
                only_with=shared.only_with and (f"{shared.only_with[0]}_{network}", shared.only_with[1]),
                scheduled=shared.scheduled.format(network=network),
            )
    return listed


def read_group(group: type[Group], settings: Mapping[str, Any], *, network: str = "", **others: Any) -> Group:
    """Make a dataclass from the settings that its fields declare; lists become tuples.

    Args:
        group: a dataclass with fields made by `setting`.
        settings: values by full name.
        network: `g` or `d`, for a group that each network has one of.
        others: its other fields.
    """
    values = {}
    for each in fields(group):  # type: ignore[arg-type]
        if each.metadata:
            key = each.metadata["key"]
            own = settings[f"{key}_{network}"] if network else None
            values[each.name] = _freeze(settings[key] if own is None else own)
    return group(**{**values, **others})


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
