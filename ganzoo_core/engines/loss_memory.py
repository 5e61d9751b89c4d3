"""What losses keep from step to step: what they declare, what they may write, and how a modifier's comes beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from ganzoo_core.api import Loss, Memory, Ops, Step, Tensor
from ganzoo_core.discovery import answers
from ganzoo_core.errors import PluginError
from ganzoo_core.messages import format_value

DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")
MAX_NAME = 100  # characters
# Types that a value may have where an entry of another is declared: any number for a float, but no float for the rest.
_FITTING = {
    declared: {name for name in DTYPES if np.can_cast(name, declared, "same_kind")}
    | ({"bfloat16"} if declared.startswith("float") else set())
    for declared in DTYPES
}
MemoryShapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name -> numpy's name of the dtype, and the shape, of what a loss keeps."""
_NUMBERS = {bool: "bool", int: "int64", float: "float64"}


class LossMemory(MutableMapping[str, Tensor]):
    """The loss's view of its memory: tensors that the engine keeps for it from step to step.

    Args:
        read: name -> the tensor, a constant for differentiation.
        write: stores a new value under a name: a tensor, an array or a number of the declared shape.
        declared: from `describe_memory`.
    """

    def __init__(
        self, read: Callable[[str], Tensor], write: Callable[[str, Tensor], None], declared: MemoryShapes
    ) -> None:
        self._read, self._write, self._declared = read, write, declared

    def __getitem__(self, name: str) -> Tensor:
        self._find(name)
        return self._read(name)

    def __setitem__(self, name: str, value: Tensor) -> None:
        problem = _find_problem(value, *self._find(name))
        if problem:
            raise PluginError(f"the loss writes into step.memory[{name!r}] {problem}")
        self._write(name, value)

    def __delitem__(self, name: str) -> None:
        raise PluginError(f"a loss cannot forget {name!r} of its memory; assign to it")

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def _find(self, name: str) -> tuple[str, tuple[int, ...]]:
        if name not in self._declared:
            known = ", ".join(self._declared) or "nothing"
            raise PluginError(f"the loss asks for {name!r} of its memory, and declared {known} in `memory`")
        return self._declared[name]


def _find_problem(value: Tensor, declared_dtype: str, declared_shape: tuple[int, ...]) -> str:
    """What is wrong with a value for an entry that was declared so; "" if nothing."""
    shape = tuple(getattr(value, "shape", ()))
    # A size may be unknown in a graph; then TensorFlow compares it when it runs.
    if len(shape) != len(declared_shape) or any(
        own not in (None, size) for own, size in zip(shape, declared_shape, strict=True)
    ):
        return f"the shape {list(shape)}; it was declared with {list(declared_shape)}, and keeps it"
    dtype = name_dtype(value)
    if dtype in _FITTING[declared_dtype]:
        return ""
    return f"{dtype}; it was declared as {declared_dtype}, so convert what is written with step.ops.cast"


def name_dtype(value: Any) -> str:
    """numpy's name of the dtype of a tensor, an array or a number."""
    if type(value) in _NUMBERS:
        return _NUMBERS[type(value)]
    dtype = getattr(value, "dtype", type(value).__name__)
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def describe_memory(declared: Mapping[str, Memory]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The dtypes and shapes of what a loss keeps, in plain objects, which a compiled step can look into."""
    arrays = {name: np.asarray(each.initial) for name, each in declared.items()}
    return {name: (array.dtype.name, array.shape) for name, array in arrays.items()}


def read_initial_memory(loss: Any) -> dict[str, Memory]:
    """What a loss declares in `memory`, each entry with an array of its own.

    Raises:
        PluginError: if `memory` is no mapping of names to numbers, arrays or `Memory`.
    """
    declared = getattr(loss, "memory", {})
    if not isinstance(declared, Mapping):
        raise _make_declaration_error(loss, f"declares {format_value(declared)} as its memory")
    return {name: _read_entry(loss, name, entry) for name, entry in declared.items()}


def _read_entry(loss: Any, name: Any, entry: Any) -> Memory:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise _make_declaration_error(loss, f"declares {format_value(name)} as a name in its memory")
    entry = entry if isinstance(entry, Memory) else Memory(entry)
    initial, across = entry.initial, entry.across
    if across not in ("mean", "rank"):
        found = format_value(across)
        raise _make_declaration_error(loss, f'declares {name!r} across {found} in its memory, not "mean" or "rank"')
    try:
        is_number = isinstance(initial, bool | int | float)
        array = np.array(initial, np.float32 if is_number else None, order="C")
    except (TypeError, ValueError):  # such as ragged lists
        array = np.array(None)
    if isinstance(initial, str | list | tuple) or array.dtype.name not in DTYPES:
        raise _make_declaration_error(loss, f"declares {format_value(initial)} as {name!r} in its memory")
    if not np.isfinite(array).all():
        raise PluginError(f"the loss {name_loss(loss)} declares {name!r} in its memory, which is not finite")
    return Memory(array, across)


def _make_declaration_error(loss: Any, what: str) -> PluginError:
    return PluginError(
        f"the loss {name_loss(loss)} {what}; expected names and what they start with: a number, a numpy array of "
        f"{', '.join(DTYPES)}, or gz.Memory of one"
    )


def make_local_memory(loss: Any, ops: Ops) -> LossMemory:
    """A loss's memory outside of training, in tensors of these operations."""
    initial = read_initial_memory(loss)
    declared = describe_memory(initial)

    def convert(name: str, value: Tensor) -> Tensor:
        return ops.stop_gradient(ops.cast(value, declared[name][0]))

    kept = {name: convert(name, each.initial) for name, each in initial.items()}
    return LossMemory(kept.__getitem__, lambda name, value: kept.update({name: convert(name, value)}), declared)


class MergedLoss:
    """A loss within modifiers, whose memory is that of all of them."""

    def __init__(self, loss: Loss, memory: Mapping[str, Any]) -> None:
        self.loss, self.memory = loss, memory

    def discriminator(self, step: Step) -> Mapping[str, Tensor]:
        return self.loss.discriminator(step)

    def generator(self, step: Step) -> Mapping[str, Tensor]:
        return self.loss.generator(step)


class MemoryMerger:
    """Checks a loss and then each modifier around it, the innermost first, and merges what they remember."""

    def __init__(self) -> None:
        self._merged: dict[str, Any] = {}
        self._inner: Any = None  # the memory of the last

    def check(self, answer: Any) -> str:
        """Describe what is wrong with a loss or a modifier's loss; "" if nothing."""
        wrong = answers.check_loss(answer)
        # What `__getattr__` finds is the inner loss's.
        if wrong or inspect.getattr_static(answer, "memory", None) is None:
            return wrong
        own = answer.memory
        if own is self._inner:
            return ""
        if not isinstance(own, Mapping):
            return f"a loss whose memory is {format_value(own)}; expected a mapping"
        shared = [name for name in own if name in self._merged]
        if shared:
            return (
                f"a loss that remembers {shared[0]!r}, as the loss that it wraps does, and each would change the "
                "other's; give it another name (the wrapped loss's memory is kept without being repeated)"
            )
        self._merged |= own
        self._inner = own
        return ""

    def merge(self, loss: Loss) -> Loss:
        """The outermost loss, with the memory of all."""
        own = getattr(loss, "memory", {})
        return loss if own.keys() == self._merged.keys() else MergedLoss(loss, self._merged)


def name_loss(loss: Any) -> str:
    """The name of a loss's class, for messages."""
    return type(loss.loss if isinstance(loss, MergedLoss) else loss).__name__
