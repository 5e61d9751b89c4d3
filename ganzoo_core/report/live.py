"""Serve the report of a running run on localhost.

Any user of this machine can connect, but even many or slow clients occupy only a bounded number of threads for a
bounded time.
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

ADDRESS = "127.0.0.1"  # localhost only: runs are private
PORT = 8765  # the default, if it is free
MAX_CLIENTS = 16  # concurrent, one thread each; a browser opens six connections
CLIENT_TIMEOUT = 10.0  # seconds for a client to send its request, and again to read the answer
MAX_REQUEST_BYTES = 16_384  # bytes of a request; a browser's has about 500
_TOO_MANY_RESPONSE = (
    b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_WATCHED_FILES = (
    *(layout.CONFIG, layout.STATS, layout.SCORES),
    *(f"{layout.REPORT_FOLDER}/{layout.MEASURED}", f"{layout.SAMPLES}/{layout.LATEST_GRID}"),
)


class LiveReport:
    """A run's report, rendered again when the run's files change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._page, self._page_version = b"", ""

    def read_version(self) -> str:
        """A version string that changes whenever a watched file changes."""
        versions = []
        for name in _WATCHED_FILES:
            try:
                stat = (self.folder / name).lstat()
            except OSError:
                versions.append("-")
            else:
                versions.append(f"{stat.st_size}.{stat.st_mtime_ns}")
        return " ".join(versions)

    def make_page(self) -> bytes:
        """The current report, or the previous one if the folder cannot be read."""
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
    """Serves a run's report to at most `MAX_CLIENTS` concurrent clients, and disconnects those that take longer than
    `CLIENT_TIMEOUT`."""

    request_queue_size = 128  # pending connections; a refused browser retries after a second

    def __init__(self, address: tuple[str, int], report: LiveReport) -> None:
        self.report = report
        self._deadlines: dict[socket.socket, float | None] = {}  # None while the client waits for the server
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or with status 503 if there are too many clients."""
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
            request.recv(MAX_REQUEST_BYTES)  # unread input would reset the connection before the answer arrives
        self.shutdown_request(request)

    def set_deadline(self, request: socket.socket, seconds: float | None) -> None:
        """Set a client's deadline to `seconds` from now; None for no deadline."""
        with self._lock:
            if request in self._deadlines:
                self._deadlines[request] = None if seconds is None else time.monotonic() + seconds

    def service_actions(self) -> None:
        """Disconnect clients past their deadline; `serve_forever` calls this at least twice a second."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, until in self._deadlines.items() if until is not None and until < now]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)  # wakes its thread, which then ends

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        try:
            super().shutdown_request(request)
        finally:
            with self._lock:
                self._deadlines.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a server error; clients that left or were disconnected are ignored."""
        if not isinstance(sys.exc_info()[1], OSError):
            write_lines(traceback.format_exc(), sys.stderr)


def make_server(folder: Path, port: int | None = None) -> Server:
    """Make a server bound to its port, to be run with `serve_forever`.

    Args:
        folder: the run's.
        port: None for 8765 or, if that is taken, any free one; 0 for any free one.

    Raises:
        UsageError: if the folder is not a run's, or the port is not available.
    """
    run_record.read(folder)
    report = LiveReport(folder)
    for candidate in (PORT, 0) if port is None else (port,):
        try:
            return Server((ADDRESS, candidate), report)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
    raise UsageError(f"port {port if port is not None else PORT} cannot be had: {reason}; choose another --port")


class _LimitedStream(io.RawIOBase):
    """A stream that raises ConnectionAbortedError after `max_bytes` bytes."""

    def __init__(self, stream: io.RawIOBase, max_bytes: int) -> None:
        self._stream, self._bytes_left = stream, max_bytes

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See `io.RawIOBase`."""
        if not self._bytes_left:
            raise ConnectionAbortedError("the request is too long")
        count = self._stream.readinto(memoryview(buffer)[: self._bytes_left])
        self._bytes_left -= count or 0
        return count

    def close(self) -> None:
        """Close the underlying stream as well."""
        self._stream.close()
        super().close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "ganzoo", ""

    def setup(self) -> None:
        """Limit the request to `MAX_REQUEST_BYTES`."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_LimitedStream(self.connection.makefile("rb", buffering=0), MAX_REQUEST_BYTES))

    def do_GET(self) -> None:
        """Answer with the page or its current version."""
        # Against DNS rebinding: a foreign page whose host name resolves to this address must not read the report.
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
            self.close_connection = True  # the client left or was disconnected
        except (GanzooError, OSError):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

    def _make_without_deadline(self, make: Callable[[], bytes]) -> bytes:
        """Call `make` without a deadline for the client, whose time restarts afterwards."""
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
        """Log nothing to the user's terminal."""
