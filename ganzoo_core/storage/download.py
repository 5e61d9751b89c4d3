"""Download a published file over https, once: its size and SHA-256 are pinned, and nothing half-done stays."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ganzoo_core.errors import DataError, UsageError

if TYPE_CHECKING:
    import requests

_CHUNK = 2**16
_MAX_REDIRECTS = 5
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: the file's name, which is appended to the address.
        size: in bytes.
        sha256: in hexadecimal.
        base_url: the https address of its folder.
        mirror_variable: the environment variable that replaces `base_url`, such as `GANZOO_MIRROR_NAME`.
    """

    name: str
    size: int
    sha256: str
    base_url: str
    mirror_variable: str


class _DownloadRefused(Exception):
    """A download was refused; the message says why."""


def is_offline() -> bool:
    """Whether `GANZOO_OFFLINE` forbids downloads."""
    return os.environ.get("GANZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def download(
    remote: RemoteFile, folder: Path, *, missing: str, advice: str, advance: Callable[[int], object] = bool
) -> Path:
    """Download a file into a folder; a file there with another SHA-256 is replaced.

    Args:
        remote: the file.
        folder: created if it does not exist.
        missing: begins the error message: what is not where, such as "the set is not in data/raw".
        advice: ends it: how to do without a download.
        advance: called with the number of bytes of each piece that arrived.

    Returns:
        The path of the file, which everyone may read.

    Raises:
        UsageError: if the mirror's address is not https (http is allowed for this machine only).
        DataError: if the file cannot be downloaded.
    """
    path = folder / remote.name
    mirror = os.environ.get(remote.mirror_variable, "").strip()
    url = (mirror or remote.base_url).rstrip("/") + "/" + remote.name
    if mirror and not _is_allowed(url, local=True):
        raise UsageError(f"{remote.mirror_variable} is {mirror}; expected an address that starts with https://")
    if is_offline():
        raise DataError(f"{missing}, and GANZOO_OFFLINE forbids a download of {remote.name}; {advice}")
    try:
        _retrieve(url, remote, path, advance)
        path.chmod(0o644)  # only the owner can read a temporary file; the folder may be shared
    except _DownloadRefused as error:
        raise DataError(f"{missing}, and {url} could not be downloaded: {error}; {advice}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}; {advice}") from None
    return path


def _retrieve(url: str, remote: RemoteFile, path: Path, advance: Callable[[int], object]) -> None:
    """Download to a temporary file with pooch, which renames it once its SHA-256 is checked."""
    import pooch
    import requests
    import urllib3.exceptions

    def stream(url: str, output_file: Any, pooch: Any) -> None:
        with _open_response(url) as response, Path(output_file).open("wb") as file:
            for chunk in _read_chunks(response, remote.size):
                file.write(chunk)
                advance(len(chunk))

    pooch.get_logger().setLevel("WARNING")  # by default it prints a line for each file
    known_hash = f"sha256:{remote.sha256}"
    try:
        pooch.retrieve(url, known_hash=known_hash, fname=path.name, path=path.parent, downloader=stream)
    except requests.ConnectionError as error:
        raise _DownloadRefused(f"there is no network, or the host does not answer ({_find_cause(error)})") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise _DownloadRefused(f"the address is not valid ({error})") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _DownloadRefused(f"the connection broke ({_find_cause(error)})") from None
    except ValueError:
        raise _DownloadRefused(
            f"what came has another SHA-256 than the published {remote.sha256}, and was not kept"
        ) from None


def _read_chunks(response: requests.Response, size: int) -> Iterator[bytes]:
    """Yield a response's content, which must be of this size in bytes."""
    declared = response.headers.get("Content-Length", "")
    if re.fullmatch("[0-9]{1,18}", declared) and int(declared) != size:
        raise _DownloadRefused(f"it has {int(declared):,} bytes and the published file {size:,}")
    received = 0
    # Undecoded: some servers declare a .gz file as gzip transfer encoding, which would unpack it.
    for chunk in response.raw.stream(_CHUNK, decode_content=False):
        received += len(chunk)
        if received > size:
            raise _DownloadRefused(f"it is longer than the {size:,} bytes published")
        yield chunk
    if received < size:
        raise _DownloadRefused(f"it ended after {received:,} of {size:,} bytes")


@contextlib.contextmanager
def _open_response(url: str) -> Iterator[requests.Response]:
    """Send a GET request; each redirect is checked before it is followed."""
    import requests

    local, headers = _is_local(url), {"Accept-Encoding": "identity"}
    with requests.Session() as session:
        session.trust_env = not local  # a proxy cannot reach this machine's loopback address
        for _ in range(_MAX_REDIRECTS + 1):
            if not _is_allowed(url, local=local):
                raise _DownloadRefused(f"it leads to {url}, which is not https")
            with session.get(url, stream=True, timeout=_TIMEOUT, allow_redirects=False, headers=headers) as response:
                if response.status_code == 200:
                    yield response
                    return
                if not response.is_redirect:
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
