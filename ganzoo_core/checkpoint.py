"""Folders of tensors that are there whole or not at all: safetensors and JSON, written durably. No pickle.

A folder is committed by a rename after all its files and its `manifest.json` (sizes, SHA-256) are on disk; a folder
without a valid manifest does not exist.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ganzoo_core.api import GanzooError, UsageError

MANIFEST = "manifest.json"
MAX_HEADER = 1_000_000  # bytes of JSON in front of the tensors
MAX_JSON = 1_000_000
_LEFTOVER = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(new|old)")
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def pack(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Named arrays -> the bytes of a safetensors file."""
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder so that it is never seen half-written, even after a crash.

    Args:
        path: where it will be; what is there already is replaced, and removed last.
        files: name -> content.

    Raises:
        OSError: if the disk refuses; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    fresh = path.with_name(f".{path.name}.{token}.new")
    fresh.mkdir()
    try:
        facts = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
        for name, content in files.items():
            _write(fresh / name, content)
        _write(fresh / MANIFEST, json.dumps({"format": 1, "files": facts}, indent=1).encode())
        _sync_folder(fresh)
        if path.exists():
            former = path.with_name(f".{path.name}.{token}.old")
            path.rename(former)
            fresh.rename(path)
            _sync_folder(path.parent)
            shutil.rmtree(former, ignore_errors=True)
        else:
            fresh.rename(path)
            _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _write(path: Path, content: bytes, *, at: int = 0) -> None:
    # The user's umask decides who may read it.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        os.ftruncate(handle, at)
        os.lseek(handle, at, os.SEEK_SET)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_whole(path: Path) -> bool:
    """Whether the folder has a manifest and its files have the sizes it states."""
    try:
        files = read_json(path / MANIFEST)["files"]
        return all((path / name).stat().st_size == facts["bytes"] for name, facts in files.items())
    except (GanzooError, OSError, KeyError, TypeError, AttributeError):
        return False


def read_json(path: Path) -> Any:
    """A small JSON file; raises UsageError if it is missing, too large or not JSON."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise UsageError(f"{path} is larger than {MAX_JSON:,} bytes, so it is not one of ganzoo's")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None


def is_valid(path: Path) -> bool:
    """Whether the folder is whole and every byte of its files is what was written."""
    if not is_whole(path):
        return False
    try:
        return all(
            hashlib.sha256((path / name).read_bytes()).hexdigest() == facts["sha256"]
            for name, facts in read_json(path / MANIFEST)["files"].items()
        )
    except (GanzooError, OSError, KeyError, TypeError):
        return False


def write_file(path: Path, content: bytes) -> None:
    """Write one file so that it is never seen half-written; OSError if the disk refuses."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        _write(fresh, content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def append(path: Path, content: bytes, *, at: int) -> None:
    """Write behind the first `at` bytes of a file; what stood there, half a line perhaps, goes."""
    _write(path, content, at=at)


def clear_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; what one was about to replace comes back."""
    for entry in folder.glob(".*"):
        match = _LEFTOVER.fullmatch(entry.name)
        if match is None:
            continue
        if match[2] == "old" and not (folder / match[1]).exists() and is_valid(entry):
            entry.rename(folder / match[1])
        elif entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def read_tensors(
    path: Path, expected: Mapping[str, tuple[str, tuple[int, ...]]], optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Read a safetensors file that must hold just these tensors; nothing is allocated before that is known.

    Args:
        path: the file.
        expected: name -> dtype and shape.
        optional: names of those that may be missing.

    Raises:
        UsageError: naming the first thing that differs.
    """
    found = _read_header(path)
    for name in expected:
        if name not in found and name not in optional:
            raise UsageError(f"{path} holds no tensor {name}, which the network has")
    for name, (dtype, shape) in found.items():
        if name not in expected:
            raise UsageError(f"{path} holds a tensor {name}, which the network has not")
        if (dtype, shape) != expected[name]:
            want = f"{expected[name][0]} {list(expected[name][1])}"
            raise UsageError(f"{path}: {name} is {dtype} {list(shape)}; the network has {want}")
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # safetensors' own error type is private to it
        raise UsageError(f"{path} cannot be read: {error}") from None


def read_matching(path: Path) -> dict[str, np.ndarray]:
    """Read whatever tensors a safetensors file holds; its sizes are checked against the file's first.

    Raises:
        UsageError: if it is none.
    """
    found = _read_header(path)
    stated = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in found.values() if dtype != "bfloat16")
    if stated > path.stat().st_size:
        raise UsageError(f"{path} states more than it holds; it is damaged")
    return read_tensors(path, found)


def _read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= MAX_HEADER:
                raise UsageError(f"{path} is not a safetensors file, or its header is over {MAX_HEADER:,} bytes")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        return {name: (_DTYPES[entry["dtype"]], tuple(map(int, entry["shape"]))) for name, entry in header.items()}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(f"{path} is not a safetensors file: its header cannot be understood") from None
