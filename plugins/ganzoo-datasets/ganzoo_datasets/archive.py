"""Safely unpack an untrusted .tar.gz: known files only, no links, no paths outside, a limit on the bytes."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection
from pathlib import Path

import ganzoo_core as gz


class _LimitedReader:
    """The decompressed stream, limited in size; bytes that tarfile reads as file names count too."""

    def __init__(self, stream: gzip.GzipFile, limit: int, path: Path) -> None:
        self.stream, self.remaining, self.limit, self.path = stream, limit, limit, path

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.remaining -= len(piece)
        if self.remaining < 0:
            raise gz.DataError(f"{self.path} unpacks to more than {self.limit:,} bytes; nothing was taken from it")
        return piece


def unpack(path: Path, folder: Path, *, file_names: Collection[str], limit: int) -> None:
    """Extract the named files from the archive's top folder, which has the name of `folder`.

    The whole archive is checked before anything appears in `folder`, so one forbidden member refuses it all.

    Args:
        path: a gzipped tar.
        folder: where the files go; made if it does not exist.
        file_names: the files to extract; all must be in the archive.
        limit: maximum size of the whole unpacked archive, in bytes.

    Raises:
        DataError: if the archive is damaged, too large or incomplete, or holds an absolute path, `..`, a link or a
            device.
        OSError: if `folder` cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        try:
            _extract(path, aside, {f"{folder.name}/{name}": name for name in file_names}, limit)
        except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, OverflowError) as error:
            raise gz.DataError(f"{path} is damaged ({error}); remove it, so that it is fetched again") from None
        missing = [name for name in file_names if not (aside / name).is_file()]
        if missing:
            raise gz.DataError(f"{path} holds no {folder.name}/{missing[0]}; expected {', '.join(file_names)}")
        folder.mkdir(exist_ok=True)
        for name in file_names:
            (aside / name).replace(folder / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _extract(path: Path, folder: Path, targets: dict[str, str], limit: int) -> None:
    with gzip.open(path, "rb") as stream, tarfile.open(fileobj=_LimitedReader(stream, limit, path), mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            _check_member(path, member)
            target = targets.get(member.name.removeprefix("./"))
            if target is None or not member.isreg():
                continue
            content = tar.extractfile(member)
            assert content is not None  # a regular file has content
            with (folder / target).open("wb") as file:
                shutil.copyfileobj(content, file)


def _check_member(path: Path, member: tarfile.TarInfo) -> None:
    name = member.name
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        what = "an absolute path"
    elif ".." in parts:
        what = "a path that leaves its folder"
    elif member.issym() or member.islnk():
        what = "a link"
    elif not (member.isreg() or member.isdir()):
        what = "a device"
    else:
        return
    raise gz.DataError(f"{path} holds {name!r}, {what}; such an archive is refused: fetch it from its source again")
