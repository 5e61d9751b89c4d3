"""A report that is served while its run goes on, to this machine alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ganzoo_core import rundir, scores
from ganzoo_core.api import GanzooError, UsageError
from ganzoo_core.report import REPORT, reading, render

ADDRESS = "127.0.0.1"  # never another: a run is nobody else's business
PORT = 8765  # where none is asked for and this one is free
_WATCHED = (rundir.CONFIG, rundir.STATS, scores.FILE, f"report/{reading.MEASURED}", "samples/latest.png")


class Watched:
    """A run's report, made anew when there is something new in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._page, self._made_of = b"", ""

    def version(self) -> str:
        """Another text whenever a file has changed."""
        found = []
        for name in _WATCHED:
            try:
                stat = (self.folder / name).lstat()
            except OSError:
                found.append("-")
            else:
                found.append(f"{stat.st_size}.{stat.st_mtime_ns}")
        return " ".join(found)

    def page(self) -> bytes:
        """The report; while its folder cannot be read, the one before."""
        with self._lock:
            version = self.version()
            if version != self._made_of or not self._page:
                try:
                    self._page = render(self.folder, live=True).encode("utf-8", "replace")
                except GanzooError:
                    if not self._page:
                        raise
                self._made_of = version
            return self._page


def server(folder: Path, port: int | None = None) -> ThreadingHTTPServer:
    """A server that is bound, to be run with `serve_forever`.

    Args:
        folder: the run's.
        port: None for 8765 or, if that is taken, any that is free; 0 for any.

    Raises:
        UsageError: if the folder is no run's, or the port cannot be had.
    """
    reading.read(folder)
    watched = Watched(folder)

    class Handler(_Handler):
        page, version = staticmethod(watched.page), staticmethod(watched.version)

    for candidate in (PORT, 0) if port is None else (port,):
        try:
            return ThreadingHTTPServer((ADDRESS, candidate), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
    raise UsageError(f"port {port if port is not None else PORT} cannot be had: {reason}; choose another --port")


class _Handler(BaseHTTPRequestHandler):
    page: Callable[[], bytes]
    version: Callable[[], str]
    server_version, sys_version = "ganzoo", ""

    def do_GET(self) -> None:
        """Answer with the page, or with the version that it would have."""
        # A page from elsewhere that has its own name point here must learn nothing.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (ADDRESS, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            if self.path in ("/", f"/{REPORT}"):
                self._answer(self.page(), "text/html; charset=utf-8")
            elif self.path == "/version":
                self._answer(self.version().encode(), "text/plain; charset=utf-8")
            elif self.path == "/favicon.ico":
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
        except GanzooError:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the reader has left

    def _answer(self, content: bytes, kind: str) -> None:
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
