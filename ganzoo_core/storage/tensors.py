"""Pack safetensors files, and read them after checking names, types, shapes and sizes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.storage import decoding, files, records

MAX_HEADER = 1_000_000  # bytes of JSON in front of the tensors
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def pack_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Encode named arrays as a safetensors file."""
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})


def read_tensors(
    path: Path,
    expected: Mapping[str, tuple[str, tuple[int, ...]]],
    optional: Collection[str] = (),
    owners: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Read a safetensors file that must hold exactly these tensors; this is checked before allocating anything.

    Args:
        path: the file.
        expected: name -> dtype and shape.
        optional: names of expected tensors that may be missing.
        owners: beginning of a name -> whose tensor it is, for messages; of all others it is the network's.

    Raises:
        UsageError: naming the first difference.
    """

    def owner(name: str) -> str:
        return next((who for start, who in (owners or {}).items() if name.startswith(start)), "the network")

    header = _read_header(path)
    for name in expected:
        if name not in header and name not in optional:
            raise UsageError(f"{path} holds no tensor {format_value(name)}, which {owner(name)} has")
    for name, (dtype, shape) in header.items():
        if name not in expected:
            raise UsageError(f"{path} holds a tensor {format_value(name)}, which {owner(name)} has not")
        if (dtype, shape) != expected[name]:
            want = f"{expected[name][0]} {list(expected[name][1])}"
            raise UsageError(f"{path}: {name} is {dtype} {list(shape)}; {owner(name)} has {want}")
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # safetensors' own error type is private to it
        raise UsageError(f"{path} cannot be read: {format_value(str(error))}") from None


def is_finite(array: np.ndarray) -> bool:
    """Whether a tensor holds neither NaN nor infinity; integer and boolean tensors never do."""
    if array.dtype.kind in "biu" or not array.size:
        return True
    if array.dtype.kind != "f":  # bfloat16 of the package ml_dtypes
        array = array.astype(np.float32)
    return math.isfinite(array.min()) and math.isfinite(array.max())


def read_all_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read all tensors of a safetensors file, after checking the stated sizes against the file's size.

    Raises:
        UsageError: if it is not a valid safetensors file.
    """
    header = _read_header(path)
    stated = sum(
        math.prod(shape) * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize) for dtype, shape in header.values()
    )
    if stated > path.stat().st_size:
        raise UsageError(f"{path} states more than it holds; it is damaged")
    return read_tensors(path, header)


def _read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> dtype and shape of each tensor in a safetensors file."""
    try:
        with files.open_file(path) as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= MAX_HEADER:
                raise UsageError(f"{path} is not a safetensors file, or its header is over {MAX_HEADER:,} bytes")
            content = file.read(size)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    source = f"{path} is not a safetensors file: its header"
    header = decoding.convert(decoding.parse(content, source), dict[str, Any], source)
    header.pop("__metadata__", None)
    tensors = decoding.convert(header, dict[records.Label, records.TensorFacts], source)
    return {name: (_DTYPES[facts.dtype], tuple(facts.shape)) for name, facts in tensors.items()}
