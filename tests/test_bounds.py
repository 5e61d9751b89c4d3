"""How large a network may be: refused from its numbers, in little memory, by a sentence that says what to type."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_core import building, mix, python_api
from ganzoo_core.cli import main
from ganzoo_core.data.classes import Classes
from ganzoo_core.discovery import catalog
from ganzoo_core.engines import size_limits
from ganzoo_core.engines.size_limits import NetworkTooLarge, SizeCounter
from ganzoo_core.generation import card, saved
from ganzoo_core.generation import load as generation_load
from ganzoo_core.runs import layout
from ganzoo_core.settings import read_engine_settings

CHILD = Path(__file__).with_name("bounded_child.py")
LIMIT = 1_000_000_000
# Each asks for a generator that is too large by what is changed.
HUGE: dict[str, list[dict[str, Any]]] = {
    "torch": [
        {"part": "dcgan-torch", "options": {"width": 10**6}},
        {"part": "dcgan-torch", "options": {"width": 10**17}},  # a tensor's size overflows
        {"part": "dcgan-torch", "options": {"width": 10**15}, "latent_dim": 10**6},
        {"part": "dcgan-torch", "options": {"width": 10**4}, "latent_dim": 10**5},
        {"part": "cgan-torch", "options": {"width": 10**6}},
        {"part": "cgan-torch", "options": {"embedding": 10**6}, "classes": 10**5},
        {"part": "cgan-projection-torch", "options": {"width": 10**5}},
    ],
    "tensorflow": [
        {"part": "dcgan-tf", "options": {"width": 10**6}},
        {"part": "convgan-tf", "options": {"width": 10**6}},
        {"part": "convgan-tf", "options": {"hidden": 10**9}},
        {"part": "convgan-tf", "options": {"width": 10**17}},
        {"part": "progan-tf", "latent_dim": 10**6},
    ],
}


def write_card(folder: Path, *, part: str, options: dict[str, Any] | None = None, **spec: int) -> Path:
    """A folder with the card of an untrained generator, with what is changed in it."""
    resolved = mix.resolve(catalog.scan(), mix.Request(picks={"model": part, "data": "digits"}, preset="none"))
    fitted = building.fit_from_card(resolved)
    assert fitted is not None
    names = [f"c{number}" for number in range(spec.get("classes", fitted.spec.classes))]
    spec_changed = replace(fitted, spec=replace(fitted.spec, classes=len(names)))
    told = card.make_card(resolved, spec_changed, classes=Classes(names), epoch_images=1, step_images=1, licences=())
    told["options"] |= options or {}
    told["spec"] |= spec
    values = {"resolution": 4.0, "fade": 1.0} if part == "progan-tf" else {}
    folder.mkdir(parents=True)
    (folder / layout.CARD).write_text(json.dumps({**told, "images": 0, "values": values}), encoding="utf-8")
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux'")
@pytest.mark.parametrize("framework", HUGE)
def test_a_card_that_asks_for_too_much_is_refused_in_little_memory(framework: str, tmp_path: Path) -> None:
    pytest.importorskip(framework)
    folders = [str(write_card(tmp_path / str(number), **case)) for number, case in enumerate(HUGE[framework])]
    done = subprocess.run(
        [sys.executable, CHILD, framework, str(LIMIT if framework == "torch" else 10**8), *folders],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    for folder in folders:
        kind, told = answer["told"][folder]
        assert kind == "UsageError"
        assert told.startswith(f"{Path(folder) / layout.CARD}: the generator"), told
        assert "--set engine.max_parameters=" in told, told
    assert answer["grown"] < 400


def test_a_limit_holds_to_the_parameter() -> None:
    """Parameters and buffers count, each once, as the state that is saved holds them."""
    pytest.importorskip("torch")
    settings = {"data.size": 16, "model.width": 2, "model.latent_dim": 3}
    G, D = python_api.build("dcgan-torch", data="digits", settings=settings)
    largest = max(sum(tensor.numel() for tensor in network.state_dict().values()) for network in (G, D))
    python_api.build("dcgan-torch", data="digits", settings={**settings, "engine.max_parameters": largest})
    with pytest.raises(gz.UsageError, match=rf"would have {largest:,} parameters, and engine.max_parameters is"):
        python_api.build("dcgan-torch", data="digits", settings={**settings, "engine.max_parameters": largest - 1})


def test_run_refuses_a_width_that_was_mistyped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    words = ["run", "dcgan-torch", "--data", "digits", "--set", "width=1000000", "--out", "run"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "the generator would have " in told
    assert "Traceback" not in told
    allowed = re.search(r"--set engine\.max_parameters=(\S+)", " ".join(told.split()))
    assert allowed is not None
    assert float(allowed[1]) > 1e14


@pytest.mark.slow
def test_set_raises_the_limit_of_a_saved_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    small = {"data.size": 16, "model.width": 4}
    run = gz.train(
        "dcgan-torch", data="digits", steps=1, batch_size=4, settings=small, out=tmp_path / "run", quiet=True
    )
    drawn = gz.load(run.folder).generate(2)
    folder = str(run.folder)
    for word in ("engine.max_parameters", "max_parameters"):
        assert main(["generate", folder, "-n", "2", "--set", f"{word}=100"]) == 2
        assert "engine.max_parameters is 100; make it smaller" in " ".join(capsys.readouterr().err.split())
        assert main(["generate", folder, "-n", "2", "--set", f"{word}=5e9"]) == 0
    assert (gz.load(run.folder, settings={"max_parameters": 5e9}).generate(2) == drawn).all()
    capsys.readouterr()
    assert main(["generate", folder, "--set", "model.width=8"]) == 2
    assert "--set model.width: what was trained keeps the settings" in " ".join(capsys.readouterr().err.split())
    assert main(["compare", folder, "--set", "lr=1"]) == 2
    assert main(["report", folder, "--set", "lr=1"]) == 2
    assert main(["judge", folder, folder + "/samples/latest.png", "--set", "max_parameters=100"]) == 2
    assert "engine.max_parameters is 100" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(gz.UsageError, match=r"engine.max_parameters is 100; make it smaller"):
        gz.evaluate(run.folder, settings={"max_parameters": 100}, n=2)


def test_a_run_does_not_raise_its_own_limit(tmp_path: Path) -> None:
    """A stranger's `config.yaml` may say anything; `judge` takes the limit from the user alone."""
    pytest.importorskip("torch")
    from ganzoo_core.evaluation.discriminator import Judge

    settings = {"data.size": 16, "model.width": 4, "engine.max_parameters": 10**15}
    run = gz.train("dcgan-torch", data="digits", steps=1, batch_size=4, settings=settings, out=tmp_path / "run",
                   quiet=True)  # fmt: skip
    assert Judge(run.folder)._engine.max_parameters == size_limits.DEFAULT_MAX_PARAMETERS
    assert Judge(run.folder, settings={"max_parameters": 5e9})._engine.max_parameters == 5 * 10**9
    assert saved.SavedGenerator(run.folder / "generator")._engine.max_parameters == size_limits.DEFAULT_MAX_PARAMETERS


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_parameters": 0}, "expected a number above 0"),
        ({"max_parameters": "many"}, "expected a whole number"),
        ({"max_parameters": "1e999"}, "expected a whole number"),
        ({"engine.device": "tpu"}, "expected auto or cpu or cuda or mps"),
        ({"engine.max_parameter": 5}, "did you mean engine.max_parameters"),
        ({"train.lr": 5}, "keeps the settings that it was trained with"),
    ],
)
def test_settings_of_the_engine_are_read(given: dict[str, Any], told: str) -> None:
    with pytest.raises(gz.UsageError, match=told):
        read_engine_settings(given)


def test_images_that_do_not_fit_are_refused_before_their_noise_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    small = {"data.size": 16, "model.width": 4}
    run = gz.train(
        "dcgan-torch", data="digits", steps=1, batch_size=4, settings=small, out=tmp_path / "run", quiet=True
    )
    generator = gz.load(run.folder)
    monkeypatch.setattr(size_limits, "read_total_memory", lambda: 8 * 10**9)
    for draw in (generator.generate, generator.walk, generator.labels):
        with pytest.raises(gz.UsageError, match=r"GB of memory, and there are 8\.0 GB of memory here; ask for fewer"):
            draw(10**9)
    assert generator.generate(2).shape == (2, 16, 16, 1)


def test_memory_that_runs_out_in_a_command_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(generation_load, "find_saved", load)
    assert main(["generate", "dcgan-torch"]) == 1
    assert capsys.readouterr().err.startswith("ganzoo generate: there is not enough memory for this")


@contextlib.contextmanager
def counting(count: SizeCounter, without_memory: bool) -> Iterator[None]:
    """Nothing is watched: what is built counts itself."""
    yield


def test_an_error_that_stands_for_the_stop_is_not_told() -> None:
    """A plugin may catch what stopped it, and raise something of its own."""

    @contextlib.contextmanager
    def watch(count: SizeCounter, without_memory: bool) -> Iterator[None]:
        nonlocal current
        current = count
        yield

    current: Any = None

    def build() -> str:
        try:
            current.add_numbers(2000)
        except NetworkTooLarge:
            raise ValueError("no width") from None
        return "built"

    with pytest.raises(NetworkTooLarge, match=r"would have 2,000 parameters.*--set engine\.max_parameters=2e3"):
        size_limits.build_within_limit(1000, "generator", build, watch)
    assert size_limits.build_within_limit(2000, "generator", build, watch) == "built"


def test_memory_that_runs_out_is_told_in_a_sentence() -> None:
    def build() -> None:
        raise MemoryError("Unable to allocate 7.28 TiB for an array")

    with pytest.raises(NetworkTooLarge, match=r"takes more memory than there is \(Unable to allocate 7.28 TiB"):
        size_limits.build_within_limit(1000, "generator", build, counting)


def test_other_errors_pass() -> None:
    def build() -> None:
        raise KeyError("width")

    with pytest.raises(KeyError):
        size_limits.build_within_limit(1000, "generator", build, counting)
