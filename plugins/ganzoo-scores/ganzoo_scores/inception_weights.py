"""Inception's weights: from a cache, or downloaded once over https with a pinned SHA-256."""

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

FILE_NAME = "weights-inception-2015-12-05-6726825d.pth"
FILE_SIZE = 95_628_359
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BASE_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
MIRROR_VARIABLE = "GANZOO_MIRROR_INCEPTION"
_CHUNK = 2**18
_MAX_REDIRECTS = 5
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
_ADVICE = (
    "put the file there, or name it with --set extractor.inception.weights=FILE, or use --extractor classifier, which "
    "needs no download"
)


class WrongFile(Exception):
    """A file or download differs from the published one; the message says how."""


def fetch_weights(say: Callable[[str], None]) -> bytes:
    """The content of the published file, whose size and SHA-256 are checked.

    Raises:
        DataError: if it is not cached and cannot be downloaded.
        UsageError: if the mirror's address is neither https nor on this machine.
    """
    path = find_cache_folder() / FILE_NAME
    for candidate in (path, find_torch_cache() / FILE_NAME):
        try:
            return read_verified(candidate)
        except (OSError, WrongFile):
            continue
    base = os.environ.get(MIRROR_VARIABLE, "").strip() or BASE_URL
    url = f"{base.rstrip('/')}/{FILE_NAME}"
    if not _is_allowed(url, local=True):
        raise gz.UsageError(f"{MIRROR_VARIABLE} is {base}; expected an address that starts with https://")
    if os.environ.get("GANZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off"):
        raise gz.DataError(f"Inception's weights are not at {path}, and GANZOO_OFFLINE forbids a download; {_ADVICE}")
    say(f"downloading Inception's weights, {FILE_SIZE / 2**20:.0f} MB, once")
    try:
        _download(url, path)
        return read_verified(path)
    except WrongFile as error:
        raise gz.DataError(
            f"Inception's weights are not at {path}, and {url} could not be downloaded: {error}; {_ADVICE}"
        ) from None
    except OSError as error:
        raise gz.DataError(f"{path} cannot be written: {error.strerror or error}; {_ADVICE}") from None


def read_verified(path: Path) -> bytes:
    """Read a regular file and check that it is the published one.

    The returned bytes are the checked ones, so that later changes of the file have no effect.

    Raises:
        WrongFile: if it is another file, with its size and SHA-256.
        OSError: if it is missing or cannot be read.
    """
    published = f"expected {FILE_SIZE:,} bytes with the SHA-256 {SHA256}"
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
        if about.st_size > FILE_SIZE:
            raise WrongFile(f"it has {about.st_size:,} bytes; {published}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(FILE_SIZE + 1)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != FILE_SIZE or digest != SHA256:
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


def _download(url: str, path: Path) -> None:
    """Download to a temporary file, which is renamed after its size and SHA-256 are checked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    made = Path(name)
    digest, received = hashlib.sha256(), 0
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in _stream_chunks(url):
                received += len(chunk)
                if received > FILE_SIZE:
                    raise WrongFile(f"it is longer than the {FILE_SIZE:,} bytes published")
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if received < FILE_SIZE:
            raise WrongFile(f"it ended after {received:,} of {FILE_SIZE:,} bytes")
        if digest.hexdigest() != SHA256:
            raise WrongFile(f"what came has another SHA-256 than the published {SHA256}, and was not kept")
        made.chmod(0o644)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _stream_chunks(url: str) -> Iterator[bytes]:
    """Yield a URL's content in chunks; each redirect is checked before it is followed."""
    import requests

    local = _is_local(url)
    try:
        with requests.Session() as session:
            session.trust_env = not local  # a proxy cannot reach this machine's loopback address
            for _ in range(_MAX_REDIRECTS + 1):
                if not _is_allowed(url, local=local):
                    raise WrongFile(f"it leads to {url}, which is not https")
                headers = {"Accept-Encoding": "identity"}
                with session.get(
                    url, stream=True, timeout=_TIMEOUT, allow_redirects=False, headers=headers
                ) as response:
                    if response.status_code == 200:
                        yield from response.iter_content(_CHUNK)
                        return
                    if not response.is_redirect:
                        raise WrongFile(f"the server answered {response.status_code} {response.reason}")
                    url = urljoin(url, response.headers["Location"])
            raise WrongFile(f"it was redirected more than {_MAX_REDIRECTS} times")
    except requests.ConnectionError as error:
        raise WrongFile(f"there is no network, or the host does not answer ({_find_cause(error)})") from None
    except requests.RequestException as error:
        raise WrongFile(f"the connection broke ({_find_cause(error)})") from None


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _is_allowed(url: str, *, local: bool) -> bool:
    scheme = urlsplit(url).scheme
    return scheme == "https" or (scheme == "http" and local and _is_local(url))


def _find_cause(error: BaseException) -> str:
    """The innermost cause of an error, which libraries wrap several times."""
    seen = [error]
    while (inner := seen[-1].__cause__ or seen[-1].__context__) is not None and inner not in seen:
        seen.append(inner)
    return str(seen[-1]) or type(seen[-1]).__name__
