"""Reads the tensors of a file that `torch.save` wrote, and runs none of it.

Such a file holds a pickle: a program that may call anything. Here its instructions are looked at one by one
(`pickletools.genops` decodes them and executes nothing), and the few that build a dictionary of tensors are followed
by a table of our own. Any other instruction, or any name that is not one of six, is refused.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

MAX_BYTES = 2**30
MAX_INSTRUCTIONS = 1_000_000
MAGIC = 0x1950A86A20F9469CFC6C  # what the older of the two formats begins with
_STORAGES: Mapping[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_DICT = "collections OrderedDict"


class NotTensors(ValueError):
    """The file holds something else than a dictionary of tensors; says what."""


@dataclass(frozen=True)
class _Name:
    """A name that the pickle would import."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """Numbers that stand elsewhere in the file."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A window on a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """The start of a list of arguments."""


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, of either of `torch.save`'s two formats.

    Raises:
        NotTensors: if there is anything else in it.
        OSError: if it cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise NotTensors(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _of_archive(archive)
        with path.open("rb") as file:
            return _of_stream(file)
    except (zipfile.BadZipFile, EOFError, IndexError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise NotTensors(f"it is damaged: {type(error).__name__} {error}") from None
    except NotTensors:
        raise
    except ValueError as error:  # of pickletools
        raise NotTensors(f"it is damaged: {error}") from None


def _of_archive(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    named = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(named) != 1:
        raise NotTensors("it has no data.pkl, or several")
    folder = named[0].removesuffix("data.pkl")
    if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
        raise NotTensors(f"it unpacks to more than {MAX_BYTES:,} bytes")
    order = f"{folder}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise NotTensors("its numbers are in big-endian order")
    with archive.open(named[0]) as file:
        found = _tensors(_follow(file))
    return {name: _array(tensor, archive.read(f"{folder}data/{tensor.storage.key}")) for name, tensor in found.items()}


def _of_stream(file: IO[bytes]) -> dict[str, np.ndarray]:
    if _follow(file) != MAGIC or _follow(file) != 1001:
        raise NotTensors("it does not begin as torch.save's files do")
    machine = _follow(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise NotTensors("its numbers are in big-endian order")
    found = _tensors(_follow(file))
    sizes = {tensor.storage.key: tensor.storage for tensor in found.values()}
    content: dict[str, bytes] = {}
    for key in _follow(file):
        storage = sizes.get(str(key))
        count = int.from_bytes(file.read(8), "little")
        if storage is None or count != storage.count:
            raise NotTensors(f"the storage {key} is not as it was announced")
        content[storage.key] = file.read(count * storage.dtype.itemsize)
    return {name: _array(tensor, content[tensor.storage.key]) for name, tensor in found.items()}


def _tensors(value: Any) -> dict[str, _Tensor]:
    if not isinstance(value, dict) or not value:
        raise NotTensors(f"it holds a {type(value).__name__} instead of a dictionary of tensors")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise NotTensors(f"it holds a {type(tensor).__name__} under {str(name)[:40]!r} instead of a tensor")
    return value


def _array(tensor: _Tensor, content: bytes) -> np.ndarray:
    storage = tensor.storage
    if len(content) != storage.count * storage.dtype.itemsize:
        raise NotTensors(f"the storage {storage.key} has {len(content):,} bytes, and more or fewer were announced")
    whole = np.frombuffer(content, storage.dtype)
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, storage.dtype)
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    least, size = min((tensor.offset, *tensor.strides, *tensor.shape)), math.prod(tensor.shape)
    if least < 0 or last >= len(whole) or size > len(whole):
        raise NotTensors("a tensor reaches beyond its storage")
    strides = [step * storage.dtype.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(whole[tensor.offset :], tensor.shape, strides, writeable=False).copy()


def _storage_of(given: Any) -> _Storage:
    kind, name, key, _, count = given[:5]
    if kind != "storage" or not isinstance(name, _Name) or name.text not in _STORAGES:
        raise NotTensors(f"it refers to {str(given)[:60]}, which is no storage of float32 or int64")
    if len(given) > 5 and given[5] is not None:
        raise NotTensors("a storage is a view of another one")
    dtype = _STORAGES[name.text]
    if not 0 <= _whole(count) * dtype.itemsize <= MAX_BYTES:
        raise NotTensors(f"a storage has {count} numbers")
    return _Storage(str(key), dtype, count)


def _call(function: Any, given: Any) -> Any:
    """What the pickle would call, of the few things that it may."""
    name = function.text if isinstance(function, _Name) else repr(function)[:60]
    if name == _DICT and given == ():
        return {}
    if name == _TENSOR:
        storage, offset, shape, strides = given[:4]
        if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > 8:
            raise NotTensors("a tensor is made of something else than a storage")
        return _Tensor(storage, _whole(offset), tuple(map(_whole, shape)), tuple(map(_whole, strides)))
    if name == _PARAMETER and isinstance(given[0], _Tensor):
        return given[0]
    raise NotTensors(f"it wants to call {name}")


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise NotTensors(f"it has {str(number)[:40]!r} where a whole number belongs")
    return number


def _follow(file: IO[bytes]) -> Any:
    """The value that one pickle of the stream stands for."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for count, (code, argument, _) in enumerate(pickletools.genops(file)):
        if count > MAX_INSTRUCTIONS:
            raise NotTensors("it has too many instructions")
        name = code.name
        if name == "STOP":
            return stack.pop()
        if name in _VALUES:
            stack.append(_VALUES[name](argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name not in ("PROTO", "FRAME"):
            raise NotTensors(f"it has the instruction {name}")
    raise NotTensors("it has no end")


def _since_mark(stack: list[Any]) -> list[Any]:
    place = max(place for place, value in enumerate(stack) if isinstance(value, _Mark))
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def _set(stack: list[Any], pairs: list[Any]) -> None:
    table = stack[-1]
    if not isinstance(table, dict):
        raise NotTensors("it sets an item of something else than a dictionary")
    table.update(zip(pairs[::2], pairs[1::2], strict=True))


def _extend(stack: list[Any], values: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise NotTensors("it appends to something else than a list")
    stack[-1].extend(values)


def _take(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count:
        raise NotTensors("it takes what is not there")
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return taken


def _reduce(stack: list[Any]) -> None:
    function, given = _take(stack, 2)
    stack.append(_call(function, given))


def _build(stack: list[Any]) -> None:
    """A dictionary's attributes (`_metadata`, which PyTorch keeps there) go."""
    _take(stack, 1)
    if not isinstance(stack[-1], dict):
        raise NotTensors("it sets an attribute of something else than a dictionary")


def _global(stack: list[Any]) -> None:
    module, name = _take(stack, 2)
    stack.append(_Name(f"{module} {name}"))


def _same(value: Any) -> Any:
    return value


_VALUES: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"), _same),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "MARK": lambda _: _Mark(),
    "GLOBAL": _Name,  # its argument is `module name`
}
_STEPS: Mapping[str, Callable[[list[Any]], None]] = {
    "STACK_GLOBAL": _global,
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": lambda stack: stack.append(tuple(_take(stack, 1))),
    "TUPLE2": lambda stack: stack.append(tuple(_take(stack, 2))),
    "TUPLE3": lambda stack: stack.append(tuple(_take(stack, 3))),
    "SETITEM": lambda stack: _set(stack, _take(stack, 2)),
    "SETITEMS": lambda stack: _set(stack, _since_mark(stack)),
    "APPEND": lambda stack: _extend(stack, _take(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _since_mark(stack)),
    "REDUCE": _reduce,
    "BUILD": _build,
    "BINPERSID": lambda stack: stack.append(_storage_of(_take(stack, 1)[0])),
}
