"""Folders of tensors that are there whole or not at all: safetensors and JSON, written durably. No pickle.

A folder is committed by a rename after all its files and its `manifest.json` (sizes, SHA-256) are on disk; a folder
without a valid manifest does not exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Container, Mapping
from pathlib import Path

from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.storage import decoding, files, records

MANIFEST = "manifest.json"
_LEFTOVER = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(new|old)")


def write_folder(path: Path, contents: Mapping[str, bytes], *, run_id: str = "") -> None:
    """Write a folder so that it is never seen half-written, even after a crash.

    Args:
        path: where it will be. What is there already is replaced, and removed last; where it holds anything but what
            was written so, it is set aside as `replaced-NAME-…`.
        contents: of its files, by name.
        run_id: the id of the run that writes it; see `folder.RunFolder.id`.

    Raises:
        UsageError: if the folder around it is a link.
        OSError: if the disk refuses; what was there before is untouched.
    """
    files.check_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    fresh = path.with_name(f".{path.name}.{token}.new")
    fresh.mkdir()
    try:
        facts = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }
        for name, content in contents.items():
            _write(fresh / name, content)
        manifest = {"format": records.FORMAT, "files": facts, "run": run_id}
        _write(fresh / MANIFEST, json.dumps(manifest, indent=1).encode())
        _sync_folder(fresh)
        if files.describe(path):
            former = path.with_name(f".{path.name}.{token}.old")
            path.rename(former)
            try:
                fresh.rename(path)
            except BaseException:
                if not files.describe(path):
                    former.rename(path)
                raise
            _sync_folder(path.parent)
            if _has_only_known_files(former, contents):
                remove(former)
            else:  # somebody keeps something in it
                former.rename(path.with_name(f"replaced-{path.name}-{token}"))
        else:
            fresh.rename(path)
            _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _write(path: Path, content: bytes, *, at: int = 0) -> None:
    files.check_file(path)
    # The user's umask decides who may read it.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | files.SAFE_OPEN_FLAGS, 0o666)
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


def read_manifest(folder: Path) -> records.FolderManifest:
    """What a folder says of its files; raises UsageError where it does not, as it must."""
    if not files.is_folder(folder):
        raise UsageError(f"{folder} is {files.describe(folder) or 'not there'}; expected a folder")
    return decoding.read_record(folder / MANIFEST, records.FolderManifest)


def is_complete(folder: Path) -> bool:
    """Whether the folder has a manifest, and regular files of the sizes that it states."""
    try:
        return all(
            files.is_file(folder / name) and (folder / name).stat().st_size == facts.bytes
            for name, facts in read_manifest(folder).files.items()
        )
    except (GanzooError, OSError):
        return False


def explain_damage(folder: Path) -> str:
    """Why a folder is not whole, in words; "" where it is."""
    try:
        stated = read_manifest(folder).files
    except UsageError as error:
        return str(error)
    for name, facts in stated.items():
        path = folder / name
        if not files.is_file(path):
            return f"{path} is {files.describe(path) or 'not there'}; expected a file"
        if path.stat().st_size != facts.bytes:
            return f"{path} has {path.stat().st_size:,} bytes, and {facts.bytes:,} were written"
    return ""


def is_valid(folder: Path) -> bool:
    """Whether the folder is whole and every byte of its files is what was written."""
    if not is_complete(folder):
        return False
    try:
        return all(_sha256(folder / name) == facts.sha256 for name, facts in read_manifest(folder).files.items())
    except (GanzooError, OSError):
        return False


def _sha256(path: Path) -> str:
    with files.open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a real folder as far as the system lets us; a link goes, and what it leads to stays."""
    if files.is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write one file so that it is never seen half-written; OSError, with the file's name, if the disk refuses."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        _write(fresh, content)
        fresh.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)  # a failed write names no file, and the name of the fresh one tells nothing
            error.filename2 = None
        with contextlib.suppress(OSError):  # on a disk that went read-only
            fresh.unlink(missing_ok=True)
        raise


def append(path: Path, content: bytes, *, at: int) -> None:
    """Write behind the first `at` bytes of a file; what stood there, half a line perhaps, goes."""
    _write(path, content, at=at)


def clear_leftovers(folder: Path, *, names: re.Pattern[str], contents: Container[str]) -> None:
    """Remove what writers that were killed left in a folder; what one was about to replace comes back.

    Only for whoever holds the run's lock: what a living writer is writing looks the same.

    Args:
        folder: is looked through, and none below it.
        names: of the files and folders that are written there.
        contents: the files in such folders. One without a manifest that holds anything else stays.
    """
    for entry in list(files.list_folder(folder)):
        match = _LEFTOVER.fullmatch(entry.name)
        if match is None or not names.fullmatch(match[1]):
            continue
        if match[2] == "old" and not files.describe(folder / match[1]) and is_valid(entry):
            entry.rename(folder / match[1])
        elif files.is_folder(entry):
            if _has_only_known_files(entry, contents):
                remove(entry)
        elif match[2] == "new" and files.is_file(entry):
            remove(entry)


def _has_only_known_files(folder: Path, contents: Container[str]) -> bool:
    """Whether a folder holds nothing but its manifest, the files that this states, and such as are written there."""
    stated = {MANIFEST}
    with contextlib.suppress(UsageError):
        stated.update(read_manifest(folder).files)
    return files.is_folder(folder) and all(
        files.is_file(entry) and (entry.name in stated or entry.name in contents) for entry in files.list_folder(folder)
    )
