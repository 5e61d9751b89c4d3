"""Downloads over https with a pinned size and SHA-256, into a temporary file that is then renamed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import ganzoo_core as gz

if TYPE_CHECKING:
    import requests

_CHUNK = 2**16
_MAX_REDIRECTS = 5
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
_REDIRECT_CODES = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Remote:
    """A published file: its name, its size in bytes, and its SHA-256."""

    name: str
    size: int
    sha256: str


class _DownloadRefused(Exception):
    """A download was refused; the message says why."""


def is_offline() -> bool:
    """Whether `GANZOO_OFFLINE` forbids downloads."""
    return os.environ.get("GANZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def compute_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(remote: Remote, *, dataset: str, base_url: str, folder: Path, advice: str) -> Path:
    """Download one file into a folder; a file that differs from the published one is discarded.

    Args:
        remote: the file.
        dataset: the dataset's name; `GANZOO_MIRROR_<DATASET>` replaces `base_url`.
        base_url: the address to which the file's name is appended.
        folder: created if it does not exist.
        advice: how to do without a download, for the error message.

    Raises:
        UsageError: if the mirror's address is not https (http is allowed for this machine only).
        DataError: if the file cannot be downloaded.
    """
    path = folder / remote.name
    variable = f"GANZOO_MIRROR_{dataset.upper()}"
    mirror = os.environ.get(variable, "").strip()
    url = (mirror or base_url).rstrip("/") + "/" + remote.name
    advice = f"{advice}, or use --data digits, which needs no download"
    if mirror and not _is_allowed(url, local=True):
        raise gz.UsageError(f"{variable} is {mirror}; expected an address that starts with https://")
    if is_offline():
        raise gz.DataError(
            f"{dataset} is not in {folder}, and GANZOO_OFFLINE forbids to download {remote.name}; {advice}"
        )
    try:
        _retrieve(url, remote, path)
    except _DownloadRefused as error:
        raise gz.DataError(
            f"{dataset} is not in {folder}, and {url} could not be downloaded: {error}; {advice}"
        ) from None
    except OSError as error:
        raise gz.DataError(
            f"{dataset}: {path} cannot be written: {error}; choose another --data-root, or {advice}"
        ) from None
    return path


def _retrieve(url: str, remote: Remote, path: Path) -> None:
    import pooch
    import requests
    import urllib3.exceptions

    pooch.get_logger().setLevel("WARNING")  # by default it prints a line for each file
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{remote.sha256}",
            fname=path.name,
            path=path.parent,
            downloader=_Downloader(remote),
        )
    except ValueError as error:
        if isinstance(error, requests.RequestException):
            raise _DownloadRefused(f"the address is not valid ({error})") from None
        raise _DownloadRefused(
            f"what came has another SHA-256 than the published {remote.sha256}, and was not kept"
        ) from None
    except requests.ConnectionError as error:
        raise _DownloadRefused(f"there is no network, or the host does not answer ({_find_cause(error)})") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _DownloadRefused(f"the connection broke ({_find_cause(error)})") from None
    path.chmod(0o644)  # only the owner can read a temporary file; a data root may be shared


class _Downloader:
    """Stream a URL into a file; a downloader for pooch."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        with _open_response(url) as response, Path(output_file).open("wb") as file:
            declared = response.headers.get("Content-Length", "")
            if re.fullmatch("[0-9]{1,18}", declared) and int(declared) != self.remote.size:
                raise _DownloadRefused(f"it has {int(declared):,} bytes and the published file {self.remote.size:,}")
            received = 0
            with gz.show_progress(f"downloading {self.remote.name}", self.remote.size, in_bytes=True) as advance:
                # Undecoded: some servers declare a .gz file as gzip transfer encoding, which would unpack it.
                for chunk in response.raw.stream(_CHUNK, decode_content=False):
                    received += len(chunk)
                    if received > self.remote.size:
                        raise _DownloadRefused(f"it is longer than the {self.remote.size:,} bytes published")
                    file.write(chunk)
                    advance(len(chunk))
            if received < self.remote.size:
                raise _DownloadRefused(f"it ended after {received:,} of {self.remote.size:,} bytes")


@contextmanager
def _open_response(url: str) -> Iterator[requests.Response]:
    """Send a GET request; each redirect is checked before it is followed."""
    import requests

    local = _is_local(url)
    with requests.Session() as session:
        session.trust_env = not local  # a proxy cannot reach this machine's loopback address
        for _ in range(_MAX_REDIRECTS + 1):
            if not _is_allowed(url, local=local):
                raise _DownloadRefused(f"it leads to {url}, which is not https")
            response = session.get(
                url, stream=True, timeout=_TIMEOUT, allow_redirects=False, headers={"Accept-Encoding": "identity"}
            )
            with response:
                if response.status_code == 200:
                    yield response
                    return
                if response.status_code not in _REDIRECT_CODES or "Location" not in response.headers:
                    raise _DownloadRefused(f"the server answered {response.status_code} {response.reason}")
                url = urljoin(url, response.headers["Location"])
    raise _DownloadRefused(f"it was redirected more than {_MAX_REDIRECTS} times")


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
