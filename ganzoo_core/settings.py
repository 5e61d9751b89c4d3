"""Settings: what the core has, how a value is read, which value wins, and where it came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ganzoo_core import intervals
from ganzoo_core.api import Options, UsageError

OPTIMIZERS = ("adam", "rmsprop", "sgd")


@dataclass(frozen=True)
class Setting:
    """One setting: its default, how its values are read, and a line of help.

    `kind` is one of int, float, bool, text, numbers (a list), words (a list), length (see `intervals`), lengths.
    A default of None means that the setting is off until it is given.
    """

    default: Any
    kind: str
    help: str = ""
    choices: tuple[str, ...] = ()


CORE: Mapping[str, Setting] = {
    "use.model": Setting("", "text", "the model; generator and discriminator are its own unless named"),
    "use.generator": Setting("", "text", "the model whose generator is trained"),
    "use.discriminator": Setting("", "text", "the model whose discriminator is trained"),
    "use.loss": Setting("", "text", "the loss"),
    "use.schedule": Setting("", "text", "the schedule"),
    "use.data": Setting("", "text", "the dataset, NAME or NAME:ARGUMENT"),
    "use.with": Setting([], "words", "modifiers, the first innermost"),
    "model.latent_dim": Setting(100, "int", "length of z"),
    "data.split": Setting("train", "text", "which part of the data", ("train", "test", "all")),
    "data.size": Setting(0, "int", "height and width in pixels; 0 for the data's own, or the least the model takes"),
    "data.channels": Setting(0, "int", "1 or 3; 0 for the data's own"),
    "data.skip_bad": Setting(False, "bool", "leave out files that cannot be read, and count them"),
    "train.length": Setting("20epochs", "length", "how long to train: images, epochs or steps"),
    "train.batch_size": Setting(64, "int", "real images a step of D"),
    "train.seed": Setting(0, "int", "of every random number"),
    "train.optimizer": Setting("adam", "text", "of both networks", OPTIMIZERS),
    "train.lr": Setting(2e-4, "float", "learning rate of both networks"),
    "train.lr_g": Setting(None, "float", "learning rate of G, where it differs"),
    "train.lr_d": Setting(None, "float", "learning rate of D, where it differs"),
    "train.betas": Setting([0.5, 0.999], "numbers", "Adam's decay rates of the two moments"),
    "train.adam_eps": Setting(1e-8, "float", "Adam's epsilon; the frameworks' own defaults differ"),
    "train.momentum": Setting(0.0, "float", "of sgd"),
    "train.rmsprop_decay": Setting(0.99, "float", "RMSProp's decay of the squared gradient"),
    "train.critic_steps": Setting(1, "int", "steps of D for each step of G"),
    "train.updates": Setting(
        "alternating",
        "text",
        "alternating: G against the new D; simultaneous: both against the old weights",
        ("alternating", "simultaneous"),
    ),
    "train.ema_halflife": Setting(0, "int", "half-life in images of G's moving average; 0 for none"),
    "train.report_every": Setting("50steps", "length", "a line of statistics"),
    "train.sample_every": Setting("1epoch", "length", "a grid of samples"),
    "train.sample_at": Setting([], "lengths", "grids at chosen points besides, such as [1,5,20]epochs"),
    "train.sample_count": Setting(64, "int", "images in a grid"),
    "train.snapshot_every": Setting("5epochs", "length", "the generator is saved, to be drawn from later"),
    "engine.device": Setting("auto", "text", "where it runs", ("auto", "cpu", "cuda", "mps")),
    "engine.threads": Setting(0, "int", "CPU threads; 0 for the cores this process may use"),
    "engine.channels_last": Setting(True, "bool", "PyTorch's memory layout that convolutions prefer"),
}
POSITIVE = {
    "model.latent_dim", "train.batch_size", "train.critic_steps", "train.lr", "train.lr_g", "train.lr_d",
    "train.adam_eps", "train.sample_count",
}  # fmt: skip
NOT_NEGATIVE = {"data.size", "train.seed", "train.ema_halflife", "train.momentum", "engine.threads"}
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def kind_of(key: str, default: Any) -> str:
    """How values of a part's setting are read: by the type of the default in its manifest."""
    if key in CORE:
        return CORE[key].kind
    if isinstance(default, list):
        return "numbers" if all(isinstance(item, int | float) for item in default) else "words"
    return {bool: "bool", int: "int", float: "float", str: "text"}[type(default)]


def read(key: str, kind: str, raw: Any) -> Any:
    """A value as it was written -> a value of that kind.

    Args:
        key: the setting's name, for the message.
        kind: see `Setting`.
        raw: text from the command line or YAML, or a Python value.

    Raises:
        UsageError: naming the key, what was found and what was expected.
    """
    try:
        value: Any = _READERS[kind](raw)
    except (ValueError, TypeError, OverflowError) as error:
        expected = str(error) if kind.startswith("length") else f"expected {_EXPECTED[kind]}"
        raise UsageError(f"{key} is {raw!r}; {expected}") from None
    if value is not None and ((key in POSITIVE and value <= 0) or (key in NOT_NEGATIVE and value < 0)):
        raise UsageError(f"{key} is {raw!r}; expected a number {'above 0' if key in POSITIVE else 'of at least 0'}")
    return value


def _int(raw: Any) -> int:
    if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
        raise ValueError
    if isinstance(raw, str):
        text = raw.strip()
        return int(text, 10) if text.lstrip("+-").replace("_", "").isdecimal() else _int(float(text))
    return int(raw)


def _float(raw: Any) -> float | None:
    if isinstance(raw, bool):
        raise ValueError
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in {"", "none"}):
        return None
    value = float(raw)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _bool(raw: Any) -> bool:
    word = str(raw).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError


def _text(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    raise ValueError


def _items(raw: Any) -> list[Any]:
    if isinstance(raw, str):
        return [item.strip() for item in raw.strip().removeprefix("[").removesuffix("]").split(",") if item.strip()]
    return list(raw)


def _numbers(raw: Any) -> list[float]:
    values = [_float(item) for item in _items(raw)]
    if None in values:
        raise ValueError
    return [value for value in values if value is not None]


def _words(raw: Any) -> list[str]:
    return [_text(item) for item in _items(raw)]


def _length(raw: Any) -> str:
    intervals.Interval.parse(raw)
    return str(raw)


_READERS = {
    "int": _int, "float": _float, "bool": _bool, "text": _text, "numbers": _numbers, "words": _words,
    "length": _length, "lengths": intervals.parse_list,
}  # fmt: skip
_EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false (also on, off, yes, no)", "text": "text",
    "numbers": "numbers such as 0.5,0.999", "words": "names such as a,b", "length": "a length", "lengths": "lengths",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A resolved value and the words that say where it came from."""

    value: Any
    origin: str
    by_user: bool = False


class Settings(Mapping[str, Any]):
    """Resolved settings: `settings["train.lr"]`, with the origin of each in `settings.values_with_origin`."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.entries = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self.entries[key].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def origin(self, key: str) -> str:
        """Where the value came from: `core`, a part, a preset, a file, `--set`."""
        return self.entries[key].origin

    def options(self, prefix: str) -> Options:
        """The settings below `prefix.`, with the prefix removed."""
        start = prefix + "."
        return {key[len(start) :]: entry.value for key, entry in self.entries.items() if key.startswith(start)}

    def replaced(self, key: str, value: Any, origin: str) -> Settings:
        """The same settings with one value changed."""
        return Settings({**self.entries, key: Value(value, origin)})


def expand(key: str, known: Iterable[str]) -> str:
    """A key as the user wrote it -> the full key; an unambiguous last segment is enough.

    Raises:
        UsageError: for an unknown key, with the nearest ones, and for an ambiguous one, with all it may mean.
    """
    known = sorted(known)
    if key in known:
        return key
    # generator.* and discriminator.* repeat model.*: they must be written whole.
    ends = [
        full for full in known if full.endswith("." + key) and not full.startswith(("generator.", "discriminator."))
    ]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UsageError(f"the setting {key!r} may mean {' or '.join(ends)}; write it whole")
    nearest = difflib.get_close_matches(key, known, n=3) or [
        full
        for full in known
        if full.split(".")[-1] in difflib.get_close_matches(key, [k.split(".")[-1] for k in known])
    ]
    hint = f"did you mean {' or '.join(nearest[:3])}?" if nearest else "`ganzoo info MODEL` lists what there is"
    raise UsageError(f"there is no setting {key!r} in this mix; {hint}")


class _TextLoader(yaml.SafeLoader):
    """YAML in which every scalar stays the text that was written: `2e-4`, `off`, `12:30`, `010`."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own class attribute)


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file -> flat settings as text: `train: {lr: 2e-4}` and `train.lr: 2e-4` are the same.

    A top-level `run` holds facts of a finished run (`config.yaml`) and is passed over.

    Raises:
        UsageError: if the file cannot be read, is not YAML, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_TextLoader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise UsageError(f"the config file {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the config file {path} is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            f"the config file {path} holds a {type(content).__name__}; expected settings, as train.lr: 2e-4"
        )
    content.pop("run", None)
    return flatten(content)


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings -> dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """`--set key=value` texts -> a mapping; raises UsageError for one without `=`."""
    assigned: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {text!r} has no value; write --set key=value, such as --set lr=2e-4")
        assigned[key.strip()] = value.strip()
    return assigned
