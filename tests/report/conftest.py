"""Runs' folders written by hand: no framework is needed to look at a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import ganzoo_core as gz

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&"
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync")  # fmt: skip


def png(path: Path, shade: int, size: tuple[int, int] = (64, 64), facts: Mapping[str, str] | None = None) -> None:
    """A picture of one shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    information = PngImagePlugin.PngInfo()
    for key, value in (facts or {}).items():
        information.add_text(key, value)
    Image.new("L", size, shade).save(path, pnginfo=information)


def card(folder: Path, *, images: int, class_names: Sequence[str] = ()) -> None:
    """The card of a generator that was given in Python."""
    spec = {"height": 4, "width": 4, "channels": 1, "classes": len(class_names), "latent_dim": 7, "framework": "torch"}
    facts = {
        "format": 1, "part": None, "modifiers": [], "options": {}, "spec": spec, "latent": "normal", "output": "tanh",
        "crop": None, "class_names": list(class_names), "epoch_images": 50, "step_images": 10, "images": images,
        "values": {},
    }  # fmt: skip
    (folder / "generator.json").write_text(json.dumps(facts))


class Runs:
    """Folders of runs, by what they hold."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def config(self, folder: Path, settings: Mapping[str, tuple[Any, str]], facts: Mapping[str, Any]) -> None:
        """As `config.format_config` writes it."""
        lines = ["# Every setting of this run and where it came from. `ganzoo run --config` reads it."]
        lines += [f"{key}: {json.dumps(value)}  # {origin}" for key, (value, origin) in sorted(settings.items())]
        lines += ["run:", *(f"  {key}: {json.dumps(value)}" for key, value in facts.items())]
        (folder / "config.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def __call__(
        self,
        name: str = "run",
        *,
        lines: Sequence[Mapping[str, Any]] | None = None,
        settings: Mapping[str, tuple[Any, str]] | None = None,
        facts: Mapping[str, Any] | None = None,
        samples: int = 5,
        scores: Sequence[Mapping[str, Any]] = (),
        finished: bool = True,
    ) -> Path:
        """A run of 1,000 images in ten lines, its grids growing brighter.

        Args:
            name: of the folder.
            lines: of the statistics.
            settings: key -> value and origin, laid over the usual ones.
            facts: laid over the usual ones.
            samples: how many grids.
            scores: the lines of `scores.jsonl`.
            finished: whether its generator was saved.
        """
        folder = self.place / name
        folder.mkdir(parents=True)
        usual = {
            "use.model": ("tiny", "MODEL"),
            "use.data": ("dots", "the default"),
            "use.loss": ("hinge", "tiny"),
            "train.lr": (2e-4, "--set"),
            "train.batch_size": (10, "tiny"),
            "train.critic_steps": (1, "core"),
            "train.length": ("1000", "--images"),
            "train.seed": (0, "core"),
        }
        self.config(
            folder,
            {**usual, **(settings or {})},
            {
                "ganzoo": "0.1.0",
                "engine": {"framework": "torch", "version": "2.0", "device": "cpu", "threads": 1},
                "parts": {"generator": "ganzoo-tiny/tiny 1.0"},
                "data": {"images": 50, "size": [8, 8, 1], "sha256": "ab"},
                **(facts or {}),
            },
        )
        if lines is None:
            lines = [line(100 * place) for place in range(1, 11)]
        (folder / "stats.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines), encoding="utf-8")
        for place in range(1, samples + 1):
            png(folder / f"samples/{200 * place}.png", 40 * place)
        png(folder / "samples/latest.png", 200)
        png(folder / "samples/real.png", 255)
        if scores:
            (folder / "scores.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in scores))
        if finished and lines:
            (folder / "generator").mkdir()
            card(folder / "generator", images=lines[-1]["images"])
        return folder


def line(images: float, **more: Any) -> dict[str, Any]:
    """A line of statistics."""
    return {
        "images": images,
        "step": images // 10,
        "epoch": images // 50,
        "seconds": images / 100,
        "images_per_second": 100.0,
        "discriminator/adversarial": 1 + 1 / images,
        "discriminator/accuracy_real": 0.75,
        "discriminator/accuracy_fake": 0.5,
        "generator/adversarial": 2.0,
        "lr_g": 2e-4,
        **more,
    }


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A place for folders of runs."""
    return Runs(tmp_path / "runs")


@pytest.fixture
def stats_line() -> Callable[..., dict[str, Any]]:
    """Makes a line of statistics."""
    return line


@pytest.fixture
def picture() -> Callable[..., None]:
    """Writes a picture."""
    return png


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, to be copied."""
    small = {"model.width": 4, "data.size": 16, "train.sample_count": 4, "engine.threads": 1}
    out = tmp_path_factory.mktemp("trained") / "run"
    return gz.train("dcgan-torch", settings=small, batch_size=32, images=64, out=out, quiet=True).folder


@pytest.fixture(scope="session")
def hostile() -> str:
    """A name that is markup."""
    return HOSTILE


class Browser:
    """Opens pages in Chromium, and keeps what they say on their console."""

    def __init__(self, chromium: Any) -> None:
        self.chromium = chromium
        self.said: list[str] = []

    def open(self, where: Path | str, *, width: int = 1400, scheme: str = "light", script: bool = True) -> Any:
        """A page in a window of its own."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
            java_script_enabled=script,
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.look(request.url))
        page.goto(where if isinstance(where, str) else where.resolve().as_uri())
        return page

    def look(self, url: str) -> None:
        """A page that goes elsewhere than to its own file, data in it, or this machine has something to explain."""
        if not url.startswith(("file:", "data:", "http://127.0.0.1:")):
            self.said.append(f"asked for {url}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Headless Chromium, where there is one."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, so no page can be opened")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine to open pages with")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM))
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Browser]:
    """Opens pages; whatever they say on their console is an error."""
    browser = Browser(chromium)
    yield browser
    for context in chromium.contexts:
        context.close()
    assert browser.said == []


@pytest.fixture
def write_card() -> Callable[..., None]:
    """Writes the card of a generator."""
    return card
