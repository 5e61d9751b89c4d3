"""Find shards, index each once, and name their pictures by row.

The index of a shard is a file `indexes/KEY.msgpack` in the cache folder, KEY being a hash of its path, size and times
and of what was looked for. It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.cache import find_base, hold_lock, stamp_files
from ganzoo_datasets.folder_layout import list_names
from ganzoo_datasets.tar_index import ShardIndex, index_shard

FORMAT = 1  # part of every key: increment it when an index changes
_THREADS = 4
_PACKED = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Shard:
    """A tar file: its path, and its path relative to what the user named."""

    path: Path
    relative: str

    @property
    def title(self) -> str:
        """`relative` for a message."""
        return gz.quote_name(self.relative)


def find_shards(path: Path) -> list[Shard]:
    """The tar at a path, or those of a folder at any depth, sorted by name; hidden ones are passed over.

    Raises:
        DataError: if there are none, or a folder cannot be read.
    """
    if not path.is_dir():
        return [Shard(path, path.name)]
    shards, packed, others = [], [], 0

    def refuse(error: OSError) -> None:
        raise gz.DataError(f"{gz.quote_name(str(error.filename))} cannot be read: {error.strerror}")

    for folder, inner, names in os.walk(path, onerror=refuse):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            shard = Shard(Path(folder, name), Path(folder, name).relative_to(path).as_posix())
            if name.startswith("."):
                continue
            if name.lower().endswith(".tar") and shard.path.is_file():
                shards.append(shard)
            elif name.lower().endswith(_PACKED):
                packed.append(shard)
            else:
                others += 1
    if packed:  # one of them says what to type
        index_shard(packed[0].path, packed[0].title, field="", decode=False, advance=lambda size: None)
    if not shards:
        beside = f"; {others:,} other files lie there" if others else ""
        raise gz.DataError(f"{gz.quote_name(str(path))} holds no shards{beside}; expected files such as 000000.tar")
    return sorted(shards, key=lambda shard: shard.relative)


def index_shards(shards: Sequence[Shard], *, field: str, decode: bool) -> list[ShardIndex]:
    """The index of each shard, from the cache or, with a progress bar, from reading it; see `index_shard`.

    Where several processes need the same, one reads and the others wait.

    Raises:
        DataError: if a shard cannot be used.
    """
    entries, sizes = _find_entries(shards, field, decode)
    found = [_load(entry) for entry in entries]
    if None not in found:
        return [index for index in found if index is not None]
    with hold_lock(entries[0].parent / hashlib.sha256("".join(map(str, entries)).encode()).hexdigest()[:40]):
        found = [_load(entry) for entry in entries]
        missing = [number for number, index in enumerate(found) if index is None]
        size = sum(sizes[number] for number in missing)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            with gz.show_progress("indexing shards", size, in_bytes=True) as advance:

                def work(number: int) -> ShardIndex:
                    shard = shards[number]
                    index = index_shard(shard.path, shard.title, field=field, decode=decode, advance=advance)
                    with contextlib.suppress(OSError):  # a cache that is read-only or full
                        _store(entries[number], index)
                    return index

                for number, index in zip(missing, pool.map(work, missing), strict=True):
                    found[number] = index
        finally:
            pool.shutdown(cancel_futures=True)
    return [index for index in found if index is not None]


def measure_unindexed(shards: Sequence[Shard], *, field: str, decode: bool) -> int:
    """How many bytes `index_shards` would read."""
    entries, sizes = _find_entries(shards, field, decode)
    return sum(size for entry, size in zip(entries, sizes, strict=True) if not entry.is_file())


def _find_entries(shards: Sequence[Shard], field: str, decode: bool) -> tuple[list[Path], list[int]]:
    """The file of each shard's index, and the shard's size in bytes."""
    try:
        stamps = stamp_files(shard.path for shard in shards)
    except OSError as error:
        raise gz.DataError(f"{gz.quote_name(str(error.filename))} cannot be read: {error.strerror}") from None
    keys = (json.dumps([FORMAT, *stamp, field, decode]) for stamp in stamps)
    folder = find_base() / "indexes"
    entries = [folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.msgpack" for key in keys]
    return entries, [stamp[1] for stamp in stamps]


def _load(entry: Path) -> ShardIndex | None:
    """An index in the cache; None if it is missing or damaged."""
    if not entry.is_file():
        return None
    try:
        index = msgspec.msgpack.decode(entry.read_bytes(), type=ShardIndex)
        index.read_places()
        index.read_facts()
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return index


def _store(entry: Path, index: ShardIndex) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=entry.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.msgpack.encode(index))
        Path(name).replace(entry)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


class ShardFiles(Sequence[gz.ImageFile]):
    """The pictures of shards, in the shards' order; about 100 bytes of memory each.

    Attributes:
        facts: `gz.IMAGE_FACTS` [N].
        shard_of: int64 [N], the index of each picture's shard.
        notes: what was passed over or left out.
        bad: how many were left out, since they cannot be read.
    """

    def __init__(self, shards: Sequence[Shard], indexes: Sequence[ShardIndex], *, skip_bad: bool, name: str) -> None:
        self._shards = shards
        self.facts = np.concatenate([index.read_facts() for index in indexes])
        self._places = np.concatenate([index.read_places() for index in indexes])
        self.shard_of = np.repeat(np.arange(len(shards)), [len(index.names) for index in indexes])
        names = [member.encode() for index in indexes for member in index.names]
        self._names, self._ends = b"".join(names), np.cumsum([len(member) for member in names], dtype=np.int64)
        bad = [
            f"{shard.title}/{gz.quote_name(member)} ({why})"
            for shard, index in zip(shards, indexes, strict=True)
            for member, why in index.bad.items()
        ]
        self.bad, total = len(bad), len(names) + len(bad)
        if bad and not skip_bad:
            raise gz.DataError(
                f"{name}: {len(bad):,} of {total:,} pictures cannot be read: {list_names(bad)}; remove them, or leave "
                "them out with --set data.skip_bad=true"
            )
        if not names:
            why = f"none of {total:,} can be read: {list_names(bad)}" if bad else "the shards hold none"
            raise gz.DataError(f"{name}: no pictures; {why}; expected members such as 0001.jpg with 0001.cls")
        self.notes = _describe(shards, indexes, bad, total)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        row = range(len(self))[index]
        shard, (offset, length) = self._shards[self.shard_of[row]], self._places[row].tolist()
        member = self._names[self._ends[row - 1] if row else 0 : self._ends[row]].decode()
        digest = self.facts["digest"][row].tobytes().hex()
        return gz.ImageFile(shard.path, f"{shard.relative}/{member}", offset=offset, length=length, digest=digest)


def _describe(shards: Sequence[Shard], indexes: Sequence[ShardIndex], bad: Sequence[str], total: int) -> list[str]:
    passed, notes = Counter[str](), []
    for index in indexes:
        passed.update(index.passed)
    if passed:
        listed = ", ".join(f"{gz.quote_name(what)}: {count:,}" for what, count in sorted(passed.items())[:8])
        notes.append(f"passed over in the shards: {listed}{', …' if len(passed) > 8 else ''}")
    empty = [shard.relative for shard, index in zip(shards, indexes, strict=True) if not index.names]
    if empty:
        notes.append(f"shards without pictures: {list_names(empty)}")
    if bad:
        notes.append(f"skipped {len(bad):,} of {total:,} pictures that cannot be read: {list_names(bad)}")
    return notes
