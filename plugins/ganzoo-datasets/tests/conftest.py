"""Tiny files of every kind, and a server on this machine's loopback."""

from __future__ import annotations

import gzip
import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _own_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and none of the user's switches."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
    mirrors = ("GANZOO_MIRROR_MNIST", "GANZOO_MIRROR_FASHION_MNIST", "GANZOO_MIRROR_CIFAR10")
    for name in ("GANZOO_CACHE_GB", "GANZOO_OFFLINE", *mirrors):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def real_data() -> Path:
    """The folder GANZOO_DATA, with real images."""
    given = os.environ.get("GANZOO_DATA", "")
    if not given or not (Path(given) / "MNIST" / "raw").is_dir():
        pytest.skip("GANZOO_DATA names no folder with MNIST/raw")
    return Path(given)


def idx_bytes(values: np.ndarray) -> bytes:
    """An IDX file as LeCun's page describes it, one length and one value after the other."""
    lengths = b"".join(struct.pack(">I", length) for length in values.shape)
    return bytes([0, 0, 8, values.ndim]) + lengths + bytes(int(value) for value in values.reshape(-1))


@pytest.fixture
def write_idx() -> Callable[..., Path]:
    def write(path: Path, values: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = idx_bytes(values)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.fixture
def write_set(write_idx: Callable[..., Path]) -> Callable[..., dict[str, np.ndarray]]:
    """Write four IDX files with random values; returns them by `train-images` and so on."""

    def write(
        folder: Path, *, train: int = 12, test: int = 4, size: int = 28, classes: int = 10, ending: str = ""
    ) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(5)
        made = {}
        for prefix, count in (("train", train), ("t10k", test)):
            made[f"{prefix}-images"] = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
            made[f"{prefix}-labels"] = (np.arange(count) % classes).astype(np.uint8)
        for name, values in made.items():
            write_idx(folder / f"{name}-idx{values.ndim}-ubyte{ending}", values)
        return made

    return write


@dataclass
class Server:
    """What a test sets before it downloads, and what was asked for.

    Attributes:
        files: body by path.
        headers: headers of every answer by path; `Content-Length` is set unless it is here.
        endless: paths that are sent without a length, and go on until the client hangs up.
        redirects: Location by path.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state: Server

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path not in state.files:
                self.send_error(404)
                return
            self.send_response(200)
            extra = dict(state.headers.get(self.path, {}))
            if self.path not in state.endless:
                extra.setdefault("Content-Length", str(len(state.files[self.path])))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(state.files[self.path])
                while self.path in state.endless:
                    self.wfile.write(bytes(2**16))
            except OSError:
                pass  # the client hung up

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        state = Server(f"http://127.0.0.1:{http.server_address[1]}")
        yield state
        http.shutdown()
        thread.join(timeout=60)
