"""Atomic, durable writes of files and of folders of safetensors and JSON. No pickle.

A folder is committed by a rename after all its files and its `manifest.json` (sizes, SHA-256) are on disk; a folder
without a valid manifest counts as missing.
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
        path: the folder. An existing one is replaced, and removed last; if it holds files that were not written by
            this function, it is renamed to `replaced-NAME-…` instead of removed.
        contents: the content of each file, by file name.
        run_id: the id of the run that writes it; see `folder.RunFolder.id`.

    Raises:
        UsageError: if the parent folder is a link.
        OSError: if the disk refuses; an existing folder is then untouched.
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
            else:  # it holds files of somebody else
                former.rename(path.with_name(f"replaced-{path.name}-{token}"))
        else:
            fresh.rename(path)
            _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _write(path: Path, content: bytes, *, at: int = 0) -> None:
    files.check_file(path)
    # The user's umask restricts the permissions.
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
    """Read a folder's manifest; raises UsageError if the folder or a valid manifest is missing."""
    if not files.is_folder(folder):
        raise UsageError(f"{folder} is {files.describe(folder) or 'not there'}; expected a folder")
    return decoding.read_record(folder / MANIFEST, records.FolderManifest)


def is_complete(folder: Path) -> bool:
    """Whether the folder has a manifest, and every file in it is a regular file of the stated size."""
    try:
        return all(
            files.is_file(folder / name) and (folder / name).stat().st_size == facts.bytes
            for name, facts in read_manifest(folder).files.items()
        )
    except (GanzooError, OSError):
        return False


def explain_damage(folder: Path) -> str:
    """Explain why a folder is not complete; "" if it is."""
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
    """Whether the folder is complete and every file has the stated SHA-256."""
    if not is_complete(folder):
        return False
    try:
        written = read_manifest(folder).files
        return all(files.compute_sha256(folder / name) == facts.sha256 for name, facts in written.items())
    except (GanzooError, OSError):
        return False


def remove(path: Path) -> None:
    """Remove a file or a real folder, ignoring errors; of a link only the link is removed, not its target."""
    if files.is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write one file so that it is never seen half-written; raises OSError, with its name, if the disk refuses."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        _write(fresh, content)
        fresh.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)  # a failed write names no file, or only the temporary one
            error.filename2 = None
        with contextlib.suppress(OSError):  # the disk may have become read-only
            fresh.unlink(missing_ok=True)
        raise


def append(path: Path, content: bytes, *, at: int) -> None:
    """Truncate a file to `at` bytes, which drops a half-written line, and append the content."""
    _write(path, content, at=at)


def clear_leftovers(folder: Path, *, names: re.Pattern[str], contents: Container[str]) -> None:
    """Remove temporary files and folders of killed writers; restore a folder that was being replaced.

    The caller must hold the run's lock, because the files of a live writer look the same.

    Args:
        folder: the folder to clean; its subfolders are not searched.
        names: matches the names of the files and folders that are written there.
        contents: the names of the files in such folders. A leftover folder with other files that its manifest does not
            list is not removed.
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
    """Whether a folder holds only its manifest, the files listed in it, and files named in `contents`."""
    stated = {MANIFEST}
    with contextlib.suppress(UsageError):
        stated.update(read_manifest(folder).files)
    return files.is_folder(folder) and all(
        files.is_file(entry) and (entry.name in stated or entry.name in contents) for entry in files.list_folder(folder)
    )
