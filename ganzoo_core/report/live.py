"""A report that is served while its run goes on, to this machine alone.

Any user of this machine can connect. However many do, and however slowly they talk or listen, they hold a bounded
number of threads for a bounded time.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.report import run_record
from ganzoo_core.report.run_page import render
from ganzoo_core.runs import layout
from ganzoo_core.runs.layout import REPORT
from ganzoo_core.terminal.text import write_lines

ADDRESS = "127.0.0.1"  # never another: a run is nobody else's business
PORT = 8765  # where none is asked for and this one is free
MAX_CLIENTS = 16  # at once, each in a thread; a browser opens six connections
CLIENT_TIMEOUT = 10.0  # a client may take to send its request, and again to read the answer
MAX_REQUEST_BYTES = 16_384  # bytes of a request; a browser's has about 500
_TOO_MANY_RESPONSE = (
    b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_WATCHED_FILES = (
    *(layout.CONFIG, layout.STATS, layout.SCORES),
    *(f"{layout.REPORT_FOLDER}/{layout.MEASURED}", f"{layout.SAMPLES}/{layout.LATEST_GRID}"),
)


class LiveReport:
    """A run's report, made anew when there is something new in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._page, self._page_version = b"", ""

    def read_version(self) -> str:
        """Another text whenever a file has changed."""
        found = []
        for name in _WATCHED_FILES:
            try:
                stat = (self.folder / name).lstat()
            except OSError:
                found.append("-")
            else:
                found.append(f"{stat.st_size}.{stat.st_mtime_ns}")
        return " ".join(found)

    def make_page(self) -> bytes:
        """The report; while its folder cannot be read, the one before."""
        with self._lock:
            version = self.read_version()
            if version != self._page_version or not self._page:
                try:
                    self._page = render(self.folder, live=True).encode("utf-8", "replace")
                except (GanzooError, OSError):
                    if not self._page:
                        raise
                self._page_version = version
            return self._page


class Server(ThreadingHTTPServer):
    """Serves a run's report to at most `MAX_CLIENTS` at once, and lets go of those that take longer than
    `CLIENT_TIMEOUT`."""

    request_queue_size = 128  # that wait to be looked at; where that is too short, a browser tries again a second later

    def __init__(self, address: tuple[str, int], report: LiveReport) -> None:
        self.report = report
        self._deadlines: dict[socket.socket, float | None] = {}  # None: it waits for the server
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or say that there are too many."""
        with self._lock:
            there_is_room = len(self._deadlines) < MAX_CLIENTS
            if there_is_room:
                self._deadlines[request] = time.monotonic() + CLIENT_TIMEOUT
        if there_is_room:
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_TOO_MANY_RESPONSE)
            request.recv(MAX_REQUEST_BYTES)  # what is left unread would turn the answer into a reset
        self.shutdown_request(request)

    def set_deadline(self, request: socket.socket, seconds: float | None) -> None:
        """Give a client so long from now on; None for as long as the server itself needs."""
        with self._lock:
            if request in self._deadlines:
                self._deadlines[request] = None if seconds is None else time.monotonic() + seconds

    def service_actions(self) -> None:
        """Let go of clients whose time is over; `serve_forever` calls it at least twice a second."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, until in self._deadlines.items() if until is not None and until < now]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)  # its thread wakes up, and ends

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        try:
            super().shutdown_request(request)
        finally:
            with self._lock:
                self._deadlines.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what failed here; a client that left, or was let go, is no failure."""
        if not isinstance(sys.exc_info()[1], OSError):
            write_lines(traceback.format_exc(), sys.stderr)


def make_server(folder: Path, port: int | None = None) -> Server:
    """A server that is bound, to be run with `serve_forever`.

    Args:
        folder: the run's.
        port: None for 8765 or, if that is taken, any that is free; 0 for any.

    Raises:
        UsageError: if the folder is no run's, or the port cannot be had.
    """
    run_record.read(folder)
    watched = LiveReport(folder)
    for candidate in (PORT, 0) if port is None else (port,):
        try:
            return Server((ADDRESS, candidate), watched)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
    raise UsageError(f"port {port if port is not None else PORT} cannot be had: {reason}; choose another --port")


class _LimitedStream(io.RawIOBase):
    """The first bytes of a stream; to read on is an error."""

    def __init__(self, stream: io.RawIOBase, max_bytes: int) -> None:
        self._stream, self._bytes_left = stream, max_bytes

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See `io.RawIOBase`."""
        if not self._bytes_left:
            raise ConnectionAbortedError("the request is too long")
        count = self._stream.readinto(memoryview(buffer)[: self._bytes_left])
        self._bytes_left -= count or 0
        return count

    def close(self) -> None:
        """Close the stream as well."""
        self._stream.close()
        super().close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "ganzoo", ""

    def setup(self) -> None:
        """Read no more of the request than `MAX_REQUEST_BYTES`."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_LimitedStream(self.connection.makefile("rb", buffering=0), MAX_REQUEST_BYTES))

    def do_GET(self) -> None:
        """Answer with the page, or with the version that it would have."""
        # A page from elsewhere that has its own name point here must learn nothing.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (ADDRESS, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            if self.path in ("/", f"/{REPORT}"):
                self._send_answer(self._make_without_deadline(self.server.report.make_page), "text/html; charset=utf-8")
            elif self.path == "/version":
                self._send_answer(self.server.report.read_version().encode(), "text/plain; charset=utf-8")
            elif self.path == "/favicon.ico":
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        except ConnectionError:
            self.close_connection = True  # the reader has left, or was let go
        except (GanzooError, OSError):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

    def _make_without_deadline(self, make: Callable[[], bytes]) -> bytes:
        """What the server takes time for; the client's own time begins anew after it."""
        self.server.set_deadline(self.connection, None)
        try:
            return make()
        finally:
            self.server.set_deadline(self.connection, CLIENT_TIMEOUT)

    def _send_answer(self, content: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Frame-Options": "DENY",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal is the user's."""
