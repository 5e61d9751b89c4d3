"""Inception's weights: from a cache, or downloaded once over https with a pinned SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import platformdirs

import ganzoo_core as gz

WEIGHTS = gz.RemoteFile(
    name="weights-inception-2015-12-05-6726825d.pth",
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    base_url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0",
    mirror_variable="GANZOO_MIRROR_INCEPTION",
)
_ADVICE = "put the file there, or name it with --set extractor.inception.weights=FILE"


class WrongFile(Exception):
    """A file differs from the published one; the message says how."""


def fetch_weights(say: Callable[[str], None]) -> bytes:
    """The content of the published file, whose size and SHA-256 are checked.

    Raises:
        DataError: if it is not cached and cannot be downloaded.
        UsageError: if the mirror's address is neither https nor on this machine.
    """
    folder = find_cache_folder()
    path = folder / WEIGHTS.name
    for candidate in (path, find_torch_cache() / WEIGHTS.name):
        try:
            return read_verified(candidate)
        except (OSError, WrongFile):
            continue
    if not gz.is_offline():
        say(f"downloading Inception's weights, {WEIGHTS.size / 2**20:.0f} MB, once")
    missing = f"Inception's weights are not at {path}"
    try:
        return read_verified(gz.download(WEIGHTS, folder, missing=missing, advice=_ADVICE))
    except (OSError, WrongFile) as error:
        raise gz.DataError(f"{path} cannot be read: {error}; {_ADVICE}") from None


def read_verified(path: Path) -> bytes:
    """Read a regular file and check that it is the published one.

    The returned bytes are the checked ones, so that later changes of the file have no effect.

    Raises:
        WrongFile: if it is another file, with its size and SHA-256.
        OSError: if it is missing or cannot be read.
    """
    published = f"expected {WEIGHTS.size:,} bytes with the SHA-256 {WEIGHTS.sha256}"
    try:
        # Otherwise opening a named pipe would block.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a NUL in the name
        raise WrongFile(f"no file has such a name; {published}") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise WrongFile(f"it is no regular file; {published}")
        if about.st_size > WEIGHTS.size:
            raise WrongFile(f"it has {about.st_size:,} bytes; {published}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(WEIGHTS.size + 1)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != WEIGHTS.size or digest != WEIGHTS.sha256:
        raise WrongFile(f"it has {len(content):,} bytes with the SHA-256 {digest}; {published}")
    return content


def find_cache_folder() -> Path:
    """The folder of the cached file; `GANZOO_CACHE` replaces the `ganzoo` folder of the user's caches."""
    override = os.environ.get("GANZOO_CACHE")
    return (Path(override).expanduser() if override else platformdirs.user_cache_path("ganzoo")) / "weights"


def find_torch_cache() -> Path:
    """The folder in which torch-fidelity caches the file."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"
