"""What one tar shard holds: the place, the digest and the size of each picture, and its class. Nothing is unpacked.

A shard is a plain tar as webdataset writes it. The members `KEY.jpg` and `KEY.cls` belong together, KEY being the path
up to the first point of its last part. Its members are listed by the standard library's tarfile, which knows the long
names of every dialect; a picture is then read where it lies, by its offset.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from msgspec import Struct

import ganzoo_core as gz

PICTURES = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "jp2", "avif")
)
"""Endings of pictures; webdataset's own are jpg, jpeg, png, webp, ppm, pgm and pbm."""
CLASS_FIELDS = ("label", "class", "cls")
"""The fields of KEY.json that may name the class, where `data.label` names none."""
MAX_NAME_BYTES, MAX_CLASS_BYTES, MAX_JSON_BYTES = 2**20, 4096, 2**24  # of a header of tar's, a .cls, a .json
_BLOCK = 512
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_MAX_NAMED = 3

Advance = Callable[[int], None]


class ShardIndex(Struct, frozen=True):
    """The pictures of a shard, in their order.

    Attributes:
        names: of the members.
        labels: the class of each, as it is written; None without one.
        places: int64 [N,2], offset and length of each in bytes.
        facts: `gz.IMAGE_FACTS` [N].
        bad: name -> why it cannot be read, of those left out.
        passed: the number of other members by what they are.
    """

    names: list[str]
    labels: list[str | None]
    places: bytes
    facts: bytes
    bad: dict[str, str]
    passed: dict[str, int]

    def read_places(self) -> np.ndarray:
        """int64 [N,2]; raises ValueError if the index is damaged."""
        places = np.frombuffer(self.places, "<i8").reshape(-1, 2)
        if not len(places) == len(self.names) == len(self.labels) or (places < 0).any():
            raise ValueError("lengths differ")
        return places

    def read_facts(self) -> np.ndarray:
        """`gz.IMAGE_FACTS` [N]; raises ValueError if the index is damaged."""
        facts = np.frombuffer(self.facts, gz.IMAGE_FACTS)
        if len(facts) != len(self.names):
            raise ValueError("lengths differ")
        return facts


class _HeaderReader:
    """A stream from which no header of more than `MAX_NAME_BYTES` is read, whatever size it claims."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.seek, self.tell = stream, stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_NAME_BYTES:
            raise tarfile.ReadError(f"a member's name or attributes take {size:,} bytes")
        return self._stream.read(size)


def index_shard(path: Path, title: str, *, field: str, decode: bool, advance: Advance) -> ShardIndex:
    """Read a shard through, once.

    Args:
        path: the shard.
        title: its name in messages.
        field: the field of KEY.json that holds the class (`data.label`); "" for KEY.cls, else one of `CLASS_FIELDS`.
        decode: whether to decode all pictures too, so that damage behind their headers is found (`data.skip_bad`).
        advance: receives bytes as they are done.

    Raises:
        DataError: if it is no plain, whole tar, holds a key twice, or a class that cannot be read.
    """
    passed: Counter[str] = Counter()
    pictures: dict[str, tuple[str, int, int]] = {}
    classes: dict[str, dict[str, tuple[str, int, int]]] = {"cls": {}, "json": {}}
    try:
        with path.open("rb") as stream:
            _refuse_compressed(stream, path, title)
            for name, offset, length in _list_files(stream, title, passed):
                folder, _, base = name.rpartition("/")
                stem, _, ending = base.partition(".")
                key, ending = f"{folder}/{stem}" if folder else stem, ending.lower()
                kind = pictures if ending in PICTURES else classes.get(ending)
                if not stem or kind is None:
                    passed["hidden file" if not stem else f".{ending}" if ending else "file without ending"] += 1
                    continue
                if key in kind:
                    raise gz.DataError(
                        f"{title} holds the key {gz.quote_name(key)} twice, as {gz.quote_name(kind[key][0])} and "
                        f"{gz.quote_name(name)}; expected one picture and one class a key"
                    )
                kind[key] = name, offset, length
            labels = _read_labels(stream, title, pictures, classes, field)
    except OSError as error:
        raise gz.DataError(f"{title} cannot be read: {error.strerror or error}") from None
    for kind in classes.values():
        passed["class without a picture"] += sum(key not in pictures for key in kind)
    return _inspect(path, title, pictures, labels, +passed, decode=decode, advance=advance)


def _inspect(
    path: Path,
    title: str,
    pictures: dict[str, tuple[str, int, int]],
    labels: dict[str, str],
    passed: Counter[str],
    *,
    decode: bool,
    advance: Advance,
) -> ShardIndex:
    """Look at each picture of a shard."""
    names, places, facts, bad, done = [], [], [], {}, 0
    for key, (name, offset, length) in pictures.items():
        file = gz.ImageFile(path, f"{title}/{name}", offset=offset, length=length)
        try:
            facts.append(gz.inspect_image(file, decode=decode))
        except gz.DataError as error:
            bad[name] = str(error)
        else:
            names.append((name, labels.get(key)))
            places.append((offset, length))
        advance(max(0, offset + length - done))
        done = max(done, offset + length)
    return ShardIndex(
        [name for name, _ in names],
        [label for _, label in names],
        np.array(places, "<i8").tobytes(),
        np.array(facts, gz.IMAGE_FACTS).tobytes(),
        bad,
        dict(passed),
    )


def _refuse_compressed(stream: IO[bytes], path: Path, title: str) -> None:
    start = stream.read(8)
    if not start:
        raise gz.DataError(f"{title} is empty; fetch it again")
    tool = next((tool for magic, tool in _COMPRESSED.items() if start.startswith(magic)), None)
    if tool:
        raise gz.DataError(
            f"{title} is compressed, so that no picture in it can be reached without unpacking all before it; type "
            f"`{tool} {gz.quote_name(str(path))}` (pictures are compressed already, so this costs hardly any room)"
        )
    stream.seek(0)


def _list_files(stream: IO[bytes], title: str, passed: Counter[str]) -> Iterator[tuple[str, int, int]]:
    """Name, offset and length of each plain file of a tar; others are counted in `passed`."""
    size = stream.seek(0, 2)
    stream.seek(0)
    try:
        tar = tarfile.open(fileobj=_HeaderReader(stream), mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
        while (member := tar.next()) is not None:
            tar.members.clear()  # which it would keep
            parts = member.name.split("/")
            if member.isdir():
                continue
            if member.issym() or member.islnk():
                passed["link"] += 1
            elif not member.isreg() or member.issparse():
                passed["device, pipe or sparse file"] += 1
            elif member.name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", member.name):
                passed["absolute path or path with .."] += 1
            elif member.offset_data + member.size > size:
                raise tarfile.ReadError("unexpected end of data")
            else:
                plain = "/".join(part for part in parts if part not in ("", "."))
                yield plain.encode(errors="backslashreplace").decode(), member.offset_data, member.size
        end = tar.offset
        stream.seek(end)
        if (block := stream.read(_BLOCK)).strip(b"\0") or len(block) < _BLOCK:  # a tar ends in blocks of zeros
            raise tarfile.ReadError(f"there is no header where one should be, at byte {end:,} of {size:,}")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise gz.DataError(
            f"{title} is no tar, or is damaged or cut short: {' '.join(str(error).split())[:200]}; fetch it again, or "
            "move it away"
        ) from None


def _read_labels(
    stream: IO[bytes],
    title: str,
    pictures: dict[str, tuple[str, int, int]],
    classes: dict[str, dict[str, tuple[str, int, int]]],
    field: str,
) -> dict[str, str]:
    """Key -> class, of the pictures that have one."""
    labels = {}
    for key in pictures:
        value: Any = None
        if not field and key in classes["cls"]:
            value = _read_text(stream, title, *classes["cls"][key], most=MAX_CLASS_BYTES).strip()
        elif key in classes["json"]:
            value = _read_field(stream, title, *classes["json"][key], field=field)
        if value is not None:
            labels[key] = str(value)
    return labels


def _read_field(stream: IO[bytes], title: str, name: str, offset: int, length: int, *, field: str) -> int | str | None:
    """The class in a JSON member; None if it says none."""
    where = f"{title}/{gz.quote_name(name)}"
    try:
        facts = json.loads(_read_text(stream, title, name, offset, length, most=MAX_JSON_BYTES))
    except (ValueError, RecursionError):
        raise gz.DataError(f'{where} is no JSON; expected an object, such as {{"label": 3}}') from None
    if not isinstance(facts, dict):
        raise gz.DataError(f'{where} is {type(facts).__name__}; expected an object, such as {{"label": 3}}')
    value = next((facts[each] for each in ((field,) if field else CLASS_FIELDS) if each in facts), None)
    if field and field not in facts:
        named = ", ".join(map(gz.quote_name, sorted(facts)[:10]))
        raise gz.DataError(f"{where} has no field {gz.quote_name(field)}; it has {named}; see data.label")
    if value is not None and not isinstance(value, int | str):
        raise gz.DataError(f"{where}: the class is {type(value).__name__}; expected a number or a name; see data.label")
    return value


def _read_text(stream: IO[bytes], title: str, name: str, offset: int, length: int, *, most: int) -> str:
    where = f"{title}/{gz.quote_name(name)}"
    if length > most:
        raise gz.DataError(f"{where} takes {length:,} bytes; expected a class, in at most {most:,}")
    stream.seek(offset)
    try:
        return stream.read(length).decode("utf-8")
    except UnicodeDecodeError:
        raise gz.DataError(f"{where} is no text in UTF-8; expected a class") from None
