"""Fetch a published file into the data root, with a progress bar."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ganzoo_core as gz


def compute_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(remote: gz.RemoteFile, *, dataset: str, folder: Path, advice: str) -> Path:
    """Download one file into a folder, as `gz.download` does.

    Args:
        remote: the file.
        dataset: the dataset's name.
        folder: created if it does not exist.
        advice: how to do without a download, for the error message.
    """
    advice = f"{advice}, choose another --data-root, or use --data digits, which needs no download"
    with gz.show_progress(f"downloading {remote.name}", remote.size, in_bytes=True) as advance:
        return gz.download(remote, folder, missing=f"{dataset} is not in {folder}", advice=advice, advance=advance)
