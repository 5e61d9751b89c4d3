"""Commands, in this process and in others, and fake distributions: packages and their metadata, as pip leaves them."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ganzoo_core import mix
from ganzoo_core.cli import main
from ganzoo_core.discovery import catalog as discovery_catalog
from ganzoo_core.discovery import manifest as discovery_manifest
from ganzoo_core.errors import UsageError

WAIT_SECONDS = 240  # seconds that a process may take on a busy machine
os.environ["GANZOO_SECTION_ERRORS"] = "raise"  # in child processes too: no report hides an error

RAISING_CODE = "raise RuntimeError('this package must not be imported')\n"


def run_here(
    *words: str | Path, cwd: Path, code: int = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`ganzoo WORDS` in this process, which has imported its framework already; fails at another exit code.

    The folder, the environment and the handlers of signals are those of the command only while it runs. What its
    child processes write to stderr is not in the answer.
    """
    out, err = io.StringIO(), io.StringIO()
    stops = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
    handlers = {number: signal.getsignal(number) for number in stops}
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        discovery_catalog.clear_cache()
        try:
            left = main([*map(str, words)])
        except SystemExit as error:  # of argparse
            left = error.code if isinstance(error.code, int) else 1
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            discovery_catalog.leave_out(())
            discovery_catalog.clear_cache()
    assert left == code, out.getvalue() + err.getvalue()
    assert "Traceback" not in err.getvalue()
    return subprocess.CompletedProcess([*map(str, words)], left, out.getvalue(), err.getvalue())


class Site:
    """A folder of installed distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        distribution: str,
        manifest: str | bytes | None = None,
        *,
        package: str | None = None,
        files: Mapping[str, str] | None = None,
        version: str = "1.0",
        entry_points: str | bytes | None = None,
        metadata: str | bytes | None = None,
    ) -> Path:
        """Install a distribution; returns the folder of its package.

        Args:
            distribution: its name.
            manifest: of its `ganzoo.toml`; none without it.
            package: its top-level package; the distribution's name with underscores without it.
            files: path in the package -> content; an `__init__.py` that raises, and a `hooks.py`, are there anyway.
            version: of its metadata.
            entry_points, metadata: the whole files, where they are not the usual ones.
        """
        package = package or distribution.replace("-", "_").replace(".", "_").lower()
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        usual = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        write(info / "METADATA", usual if metadata is None else metadata)
        usual = f"[ganzoo.plugins]\n{distribution} = {package}\n"
        write(info / "entry_points.txt", usual if entry_points is None else entry_points)
        folder = self.path / package
        for name, content in {"__init__.py": RAISING_CODE, "hooks.py": RAISING_CODE, **(files or {})}.items():
            write(folder / name, content)
        if manifest is not None:
            write(folder / "ganzoo.toml", manifest)
        return folder

    @contextmanager
    def seen_here(self, plugins: str | None = None) -> Iterator[pytest.MonkeyPatch]:
        """Let this process see the distributions, and forget what it imported of them at the end.

        A package left in `sys.modules` would be taken for one of its name in a later folder.

        Args:
            plugins: the only ones that ganzoo sees, separated by commas; None for all that are installed.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(self.path)
            if plugins is None:
                patch.delenv("GANZOO_PLUGINS", raising=False)
            else:
                patch.setenv("GANZOO_PLUGINS", plugins)
            discovery_catalog.clear_cache()
            try:
                yield patch
            finally:
                discovery_catalog.clear_cache()
                for name, module in list(sys.modules.items()):
                    if str(getattr(module, "__file__", "")).startswith(f"{self.path}{os.sep}"):
                        del sys.modules[name]
                importlib.invalidate_caches()

    @staticmethod
    def loss(name: str, package: str, more: str = "") -> str:
        """The manifest of a package with one loss."""
        return f'api = 1\n[losses.{name}]\ntitle = "A loss"\nhooks = "{package}.hooks"\n{more}'

    def rows(self, *words: str, env: Mapping[str, str] | None = None) -> list[dict[str, str]]:
        """The parts and problems of `list WORDS --json`."""
        done = self.run("list", *words, "--json", env=env)
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        assert told["schema"] == 1
        parts: list[dict[str, str]] = told["parts"]
        return parts

    def run_here(self, *words: str | Path, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
        """`ganzoo WORDS` in this process, which sees this folder for so long."""
        with self.seen_here():
            return run_here(*words, cwd=cwd or self.path, code=code, env={"PYTHONPATH": str(self.path)})

    def run(
        self, *words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`ganzoo WORDS` in a process that sees this folder."""
        return self.python("-m", "ganzoo_core", *words, env=env, cwd=cwd)

    def python(
        self, *words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Python in a process that sees this folder."""
        environment = {name: value for name, value in os.environ.items() if name != "GANZOO_PLUGINS"}
        environment |= {"PYTHONPATH": str(self.path), **(env or {})}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(
            command, cwd=cwd or self.path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )


class RunningProcess(subprocess.Popen[str]):
    """A process of which a test waits for something."""

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Look again and again; a process that ends first, or takes over `WAIT` seconds, fails the test."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_so():
            assert self.poll() is None, f"it ended with {self.returncode}: {self.communicate(timeout=WAIT_SECONDS)}"
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)


@pytest.fixture
def start() -> Iterator[Callable[..., RunningProcess]]:
    """Start Python with some words, `-m ganzoo_core` for the most part.

    The process is killed after `WAIT` seconds, so that what reads from it comes to an end, and when the test is over.
    """
    processes: list[tuple[RunningProcess, threading.Timer]] = []

    def start(*words: str | Path, **options: Any) -> RunningProcess:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = RunningProcess([sys.executable, *map(str, words)], **{**pipes, **options})
        watchdog = threading.Timer(WAIT_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        processes.append((process, watchdog))
        return process

    yield start
    for process, watchdog in processes:
        watchdog.cancel()
        process.kill()
        process.wait(timeout=WAIT_SECONDS)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty folder of distributions, for commands in processes of their own."""
    return Site(tmp_path / "site")


@pytest.fixture
def here(site: Site) -> Iterator[Site]:
    """The same, seen by this process."""
    with site.seen_here():
        yield site


@pytest.fixture(scope="session")
def make_site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Site]:
    """For fixtures that share a folder among tests."""
    return lambda: Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def conditioned(make_site: Callable[[], Site]) -> Iterator[Site]:
    """The models and the data in conditioned/, as an installed distribution, with the losses and schedules."""
    site, folder = make_site(), Path(__file__).parent / "conditioned"
    code = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    site.add("conditioned", (folder / "ganzoo.toml").read_text(encoding="utf-8"), files=code)
    with site.seen_here("conditioned,ganzoo-losses,ganzoo-schedules") as patch:
        patch.setenv("PYTHONPATH", str(site.path))
        yield site


class Resolver:
    """Mixes of the parts in mix.toml."""

    def __init__(self, installed: discovery_catalog.Catalog) -> None:
        self.installed = installed

    def __call__(self, model: Any = None, *, catalog: discovery_catalog.Catalog | None = None, **asked: Any) -> mix.Mix:
        """What a user's words come to: picks by their slot, the rest as in `mix.Request`."""
        picks = {"model": model, **{slot: asked.pop(slot) for slot in mix.SLOTS if slot in asked}}
        return mix.resolve(catalog or self.installed, mix.Request(picks=picks, **asked))

    def refusal(self, *words: Any, **asked: Any) -> str:
        """The one sentence with which they are refused."""
        with pytest.raises(UsageError) as caught:
            self(*words, **asked)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> discovery_catalog.Catalog:
    """The parts in mix.toml."""
    path = tmp_path_factory.mktemp("pack") / "ganzoo.toml"
    path.write_bytes((Path(__file__).parent / "mix.toml").read_bytes())
    parts, problems, _ = discovery_manifest.read(path, distribution="dist", version="1", package="pack")
    assert problems == []
    return discovery_catalog.Catalog(tuple(parts), ())


@pytest.fixture(scope="session")
def resolve(installed: discovery_catalog.Catalog) -> Resolver:
    """Mixes of them."""
    return Resolver(installed)


@pytest.fixture
def make_card():
    """Gives the card of a small generator, with these fields changed; `class_names` makes it conditional."""

    def make(**changes):
        classes = len(changes.get("class_names", []))
        spec = {"height": 8, "width": 8, "channels": 1, "classes": classes, "latent_dim": 2, "framework": "torch"}
        card = {
            "format": 1, "part": None, "modifiers": [], "options": {}, "spec": spec, "latent": "normal",
            "output": "tanh", "crop": None, "class_names": [], "epoch_images": 10, "step_images": 2, "images": 10,
            "values": {},
        }  # fmt: skip
        return {**card, **changes}

    return make
