"""Read the files of an archive where they lie: nothing is unpacked to the disk."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ganzoo_core.errors import DataError
from ganzoo_core.messages import pluralise, quote_name

MAX_FILE_BYTES = 512_000_000  # of one file, unpacked: a 16-bit RGBA image of `DEFAULT_MAX_MEGAPIXELS`
_ENCRYPTED = 0x1  # of ZipInfo.flag_bits
_lock = threading.Lock()  # a ZipFile counts its open files without one


def is_archive(path: Path) -> bool:
    """Whether a path names a zip archive."""
    return path.suffix.lower() == ".zip" and path.is_file()


def list_files(path: Path) -> tuple[dict[str, str], Mapping[str, int]]:
    """The members of a zip archive that are files.

    Of members with the same path the last one counts, as when they are unpacked.

    Returns:
        The name of each by its path, with `/` and without `.`; and the number of members that are left out, by what
        they are: links, absolute paths (`/a.png`, `C:\\a.png`), and paths with `..`.

    Raises:
        DataError: if the archive is damaged, encrypted or unreadable.
    """
    try:
        members = _open(path).infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as a zip archive: {reason}; make it anew, or fetch it again") from None
    encrypted = sum(bool(member.flag_bits & _ENCRYPTED) for member in members)
    if encrypted:
        raise DataError(
            f"{path} is encrypted ({encrypted:,} of {pluralise(len(members), 'file')}); unpack it with its password, "
            "and give the folder"
        )
    files, unsafe = {}, Counter[str]()
    for member in members:
        path_inside = member.filename.replace("\\", "/")
        parts = [part for part in path_inside.split("/") if part not in ("", ".")]
        if path_inside.endswith("/") or not parts:
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            unsafe["link"] += 1
        elif path_inside.startswith("/") or re.match("[A-Za-z]:", path_inside):
            unsafe["absolute path"] += 1
        elif ".." in parts:
            unsafe["path with .."] += 1
        else:
            files["/".join(parts)] = member.filename
    return files, unsafe


def read_file(path: Path, member: str, size: int = -1) -> io.BytesIO:
    """Read a file of a zip archive.

    Args:
        path: the archive.
        member: the name of `list_files`.
        size: how many bytes at most; -1 for all.

    Raises:
        OSError: if it is damaged, or unpacks to more than `MAX_FILE_BYTES`.
    """
    with _lock:
        archive = _open(path)
        try:
            info = archive.getinfo(member)
            if info.file_size > MAX_FILE_BYTES:
                raise OSError(f"it unpacks to {info.file_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
            with archive.open(info) as stream:
                return io.BytesIO(stream.read(size))
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError) as error:
            raise OSError(str(error)) from None


def read_part(path: Path, offset: int, length: int, digest: str = "") -> io.BytesIO:
    """Read a part of a file, such as a member of a tar.

    Args:
        path: the file.
        offset, length: of the part, in bytes.
        digest: what `digest_bytes` gave for it before, in hexadecimal; "" if not known.

    Raises:
        OSError: if it is too large, or not there any more as it was.
    """
    if length > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, f"it takes {length:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    with path.open("rb") as stream:
        stream.seek(offset)
        content = stream.read(length)
    if len(content) != length or (digest and digest_bytes(content).hex() != digest):
        raise OSError(errno.ESTALE, f"{quote_name(path.name)} has changed since it was indexed")
    return io.BytesIO(content)


def digest_bytes(content: bytes) -> bytes:
    """The BLAKE2b digest of a file's bytes, 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def _open(path: Path) -> zipfile.ZipFile:
    """Open an archive, or take the one that is open if the file has not changed."""
    status = path.stat()
    return _open_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _open_version(path: Path, size: int, modified: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
