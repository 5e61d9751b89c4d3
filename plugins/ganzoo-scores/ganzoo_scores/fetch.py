"""Inception's weights: found where PyTorch keeps them, or downloaded once over https with a pinned SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import platformdirs

import ganzoo_core as gz

NAME = "weights-inception-2015-12-05-6726825d.pth"
SIZE = 95_628_359
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BASE = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
MIRROR = "GANZOO_MIRROR_INCEPTION"
_CHUNK = 2**18
_REDIRECTS = 5
_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
_WAYS_OUT = (
    "put the file there, or name it with --set extractor.inception.weights=FILE, or use --extractor classifier, which "
    "needs no download"
)


class Refused(Exception):
    """Why a file, or a download, is not the published one."""


def weights(say: Callable[[str], None]) -> bytes:
    """The content of the published file: its size and SHA-256 are those that are pinned.

    Raises:
        DataError: if it is not there and cannot be downloaded.
        UsageError: if the mirror's address is neither https nor this machine's own.
    """
    path = home() / NAME
    for place in (path, torch_home() / NAME):
        try:
            return read(place)
        except (OSError, Refused):
            continue
    base = os.environ.get(MIRROR, "").strip() or BASE
    url = f"{base.rstrip('/')}/{NAME}"
    if not _allowed(url, local=True):
        raise gz.UsageError(f"{MIRROR} is {base}; expected an address that starts with https://")
    if os.environ.get("GANZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off"):
        raise gz.DataError(f"Inception's weights are not at {path}, and GANZOO_OFFLINE forbids a download; {_WAYS_OUT}")
    say(f"downloading Inception's weights, {SIZE / 2**20:.0f} MB, once")
    try:
        _download(url, path)
        return read(path)
    except Refused as error:
        raise gz.DataError(
            f"Inception's weights are not at {path}, and {url} could not be downloaded: {error}; {_WAYS_OUT}"
        ) from None
    except OSError as error:
        raise gz.DataError(f"{path} cannot be written: {error.strerror or error}; {_WAYS_OUT}") from None


def read(path: Path) -> bytes:
    """Read a regular file whole, and check that what was read is the published file.

    The bytes that are returned are the ones that were checked: whoever changes the file afterwards changes nothing.

    Raises:
        Refused: if it is any other file, with its size and SHA-256.
        OSError: if it is missing or cannot be read.
    """
    published = f"expected {SIZE:,} bytes with the SHA-256 {SHA256}"
    try:
        # A named pipe would otherwise wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a NUL in the name
        raise Refused(f"no file has such a name; {published}") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"it is no regular file; {published}")
        if about.st_size > SIZE:
            raise Refused(f"it has {about.st_size:,} bytes; {published}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(SIZE + 1)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != SIZE or digest != SHA256:
        raise Refused(f"it has {len(content):,} bytes with the SHA-256 {digest}; {published}")
    return content


def home() -> Path:
    """Where it is kept; `GANZOO_CACHE` replaces the `ganzoo` folder of the user's caches."""
    override = os.environ.get("GANZOO_CACHE")
    return (Path(override).expanduser() if override else platformdirs.user_cache_path("ganzoo")) / "weights"


def torch_home() -> Path:
    """Where torch-fidelity leaves it, on a machine where it was used before."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _download(url: str, path: Path) -> None:
    """Into a temporary file, renamed when it is whole and has the pinned sum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    made = Path(name)
    digest, received = hashlib.sha256(), 0
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in _chunks(url):
                received += len(chunk)
                if received > SIZE:
                    raise Refused(f"it is longer than the {SIZE:,} bytes published")
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if received < SIZE:
            raise Refused(f"it ended after {received:,} of {SIZE:,} bytes")
        if digest.hexdigest() != SHA256:
            raise Refused(f"what came has another SHA-256 than the published {SHA256}, and was not kept")
        made.chmod(0o644)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _chunks(url: str) -> Iterator[bytes]:
    """The bytes behind an address, piece by piece; each redirection is checked before it is followed."""
    import requests

    local = _is_local(url)
    try:
        with requests.Session() as session:
            session.trust_env = not local  # a proxy cannot reach this machine's own loopback
            for _ in range(_REDIRECTS + 1):
                if not _allowed(url, local=local):
                    raise Refused(f"it leads to {url}, which is not https")
                headers = {"Accept-Encoding": "identity"}
                with session.get(
                    url, stream=True, timeout=_TIMEOUT, allow_redirects=False, headers=headers
                ) as response:
                    if response.status_code == 200:
                        yield from response.iter_content(_CHUNK)
                        return
                    if not response.is_redirect:
                        raise Refused(f"the server answered {response.status_code} {response.reason}")
                    url = urljoin(url, response.headers["Location"])
            raise Refused(f"it was redirected more than {_REDIRECTS} times")
    except requests.ConnectionError as error:
        raise Refused(f"there is no network, or the host does not answer ({_cause(error)})") from None
    except requests.RequestException as error:
        raise Refused(f"the connection broke ({_cause(error)})") from None


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _allowed(url: str, *, local: bool) -> bool:
    scheme = urlsplit(url).scheme
    return scheme == "https" or (scheme == "http" and local and _is_local(url))


def _cause(error: BaseException) -> str:
    """The innermost reason: libraries wrap it three times."""
    seen = [error]
    while (inner := seen[-1].__cause__ or seen[-1].__context__) is not None and inner not in seen:
        seen.append(inner)
    return str(seen[-1]) or type(seen[-1]).__name__
