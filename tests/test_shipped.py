"""Trained generators that plugins carry: `ganzoo ship`, and drawing by a model's name."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.generation import bundling, load
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import tensors

from .conftest import Site, run_here

pytest.importorskip("torch")

MANIFEST = """api = 1
[models.tiny]
title = "One layer"
framework = "torch"
hooks = "tiny_gan.hooks"
image_sizes = [8]
{more}
[models.tiny.defaults]
use.loss = "hinge"
model.latent_dim = 5
"""
HOOKS = """import ganzoo_core as gz

@gz.hookimpl
def build_generator(spec):
    import torch
    return torch.nn.Sequential(torch.nn.Linear(5, 64), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 8, 8)))

@gz.hookimpl
def build_discriminator(spec):
    import torch
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0))
"""


@pytest.fixture
def tiny(here: Site) -> Path:
    """The folder of an installed package with a model that carries nothing yet."""
    folder = here.add("tiny-gan", MANIFEST.format(more=""), files={"__init__.py": "", "hooks.py": HOOKS})
    catalog.clear_cache()
    return folder


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Path:
    """A short run of it."""
    data = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
    asked = {"batch_size": 8, "settings": {"engine.threads": 1}}
    return gz.train("tiny", data=data, images=320, out=tmp_path / "run", quiet=True, **asked).folder


def lists(folder: Path, *names: str) -> None:
    """The manifest names the generators."""
    (folder / "ganzoo.toml").write_text(MANIFEST.format(more=f"generators = {json.dumps(names)}"), encoding="utf-8")
    catalog.clear_cache()


def test_what_is_shipped_draws_by_the_models_name_what_the_run_draws(
    tiny: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["ship", str(run), "--name", "noise"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tiny / "generators" / "noise")
    assert 'generators = ["noise"]' in told.err
    assert "kernels in half precision" in told.err
    lists(tiny, "noise")
    trained, carried = load.load(run).generate(64, seed=3), load.load("tiny").generate(64, seed=3)
    off = np.abs(trained.astype(int) - carried.astype(int))
    assert off.max() <= 1  # grey value, of 255: half precision has 11 bits
    assert trained.std() > 10
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "tiny:noise", "-n", "4", "--seed", "3"]) == 0
    with Image.open(tmp_path / capsys.readouterr().out.strip()) as grid:
        assert grid.size[0] > 8
    assert main(["ship", str(run), "--name", "noise"]) == 0
    assert capsys.readouterr().err.count("ganzoo.toml") == 0


def test_kernels_take_half_the_bytes_and_the_rest_is_as_it_was(tiny: Path, run: Path) -> None:
    size = bundling.write_bundle(run / "generator", tiny / "generators" / "noise")
    before = tensors.read_all_tensors(run / "generator" / layout.WEIGHTS)
    after = tensors.read_all_tensors(tiny / "generators" / "noise" / layout.WEIGHTS)
    assert after["0.weight"].dtype == np.float16
    assert after["0.weight"].tobytes() == before["0.weight"].astype(np.float16).tobytes()
    assert after["0.bias"].tobytes() == before["0.bias"].tobytes()
    assert size == (tiny / "generators" / "noise" / layout.WEIGHTS).stat().st_size
    assert size < (run / "generator" / layout.WEIGHTS).stat().st_size


def test_another_version_of_the_same_plugin_draws_in_silence(
    tiny: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists(tiny, "noise")
    bundling.write_bundle(run / "generator", tiny / "generators" / "noise")
    card = tiny / "generators" / "noise" / layout.CARD
    card.write_text(card.read_text(encoding="utf-8").replace('"version": "1.0"', '"version": "0.9"'), encoding="utf-8")
    load.load("tiny")
    assert capsys.readouterr().err == ""
    shutil.copytree(card.parent, run / "elsewhere")
    load.load(run / "elsewhere")
    assert re.search(r"(?<![\d.])0\.9(?![\d.])", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("word", "checkpoint_", "reason"),
    [
        ("nowhere/to/be/found", "last", "no model of this name is installed"),
        ("dcgan-torc", "last", "is not there"),
        ("tiny:other", "last", "no generator called 'other'; it has noise"),
        ("tiny", "best", "--checkpoint chooses among those of a run"),
    ],
)
def test_what_is_not_carried_is_refused_in_a_sentence(tiny: Path, word: str, checkpoint_: str, reason: str) -> None:
    lists(tiny, "noise")
    with pytest.raises(UsageError, match=reason):
        load.load(word, checkpoint=checkpoint_)


def test_a_model_without_one_says_how_to_get_one(tiny: Path) -> None:
    with pytest.raises(UsageError, match="carries no trained generator; train one with `ganzoo run tiny`"):
        load.load("tiny")


def test_what_is_too_large_is_not_shipped(tiny: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "MAX_WEIGHT_BYTES", 100)
    with pytest.raises(UsageError, match="should carry at most 100"):
        bundling.write_bundle(run / "generator", tiny / "generators" / "noise")
    assert not (tiny / "generators").exists()


@pytest.mark.parametrize("reason", ["too large for half precision", "it draws otherwise"])
def test_where_half_precision_would_change_it_all_is_kept(
    tiny: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    weights = tensors.read_all_tensors(run / "generator" / layout.WEIGHTS)
    if reason == "it draws otherwise":
        monkeypatch.setattr(bundling, "MAX_MEAN_DIFFERENCE", -1.0)
    else:
        weights["0.weight"][0, 0] = 1e6  # half precision ends at 65,504
        (run / "generator" / layout.WEIGHTS).write_bytes(tensors.pack_tensors(weights))
    assert main(["ship", str(run / "generator"), "--name", "noise"]) == 0
    assert "single precision" in capsys.readouterr().err
    target = tiny / "generators" / "noise"
    assert read_card(target).kernels == "float32"
    kept = tensors.read_all_tensors(target / layout.WEIGHTS)
    assert {name: tensor.dtype for name, tensor in kept.items()} == dict.fromkeys(weights, np.float32)
    assert all(np.array_equal(kept[name], weights[name]) for name in weights)


def test_the_precisions_are_told_apart_by_what_is_drawn(run: Path, tmp_path: Path) -> None:
    """A generator draws as itself, and not as one whose weights are twice as large."""
    other = tmp_path / "other"
    shutil.copytree(run / "generator", other)
    assert bundling.is_equivalent(run / "generator", other)
    weights = tensors.read_all_tensors(other / layout.WEIGHTS)
    (other / layout.WEIGHTS).write_bytes(tensors.pack_tensors({name: 2 * tensor for name, tensor in weights.items()}))
    (other / "manifest.json").unlink(missing_ok=True)
    assert not bundling.is_equivalent(run / "generator", other)


def test_a_card_that_names_another_type_is_refused(tiny: Path, run: Path) -> None:
    card = run / "generator" / layout.CARD
    facts = json.loads(card.read_text(encoding="utf-8"))
    card.write_text(json.dumps({**facts, "kernels": "float8"}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"kernels is 'float8'; expected another value"):
        load.load(run / "generator")


def test_every_model_of_the_zoo_carries_one(tmp_path: Path) -> None:
    zoo = Path(__file__).parents[1] / "plugins"
    bundled = [part for part in gz.parts("models") if Path(part.location).is_relative_to(zoo)]
    assert len(bundled) >= 6
    others = {part.name: part.generators for part in bundled if part.generators[:1] != ("digits",)}
    # pix2pix colours emoji.
    assert others == {"pix2pix-torch": ("emoji",), "sngan-torch": ("emoji",), "r3gan-torch": ("emoji",)}
    for name in ("dcgan-torch", "cgan-torch"):
        assert run_here("generate", name, "-n", "9", "--out", f"{name}.npz", cwd=tmp_path).stderr == ""
        drawn = np.load(tmp_path / f"{name}.npz")["images"]
        assert (drawn.shape[0], drawn.shape[3], drawn.dtype) == (9, 1, np.uint8)
        assert drawn.std() > 50  # ink on paper, not grey


def test_the_licence_goes_with_the_generator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"model.width": 4, "train.batch_size": 8, "train.sample_count": 4, "data.size": 16}
    trained = gz.train(
        "dcgan-torch", data="emoji", preset="none", settings=settings, steps=1, out=tmp_path / "run", quiet=True
    )
    bundling.write_bundle(trained.folder / "generator", tmp_path / "carried")
    for folder in (trained.folder / "generator", tmp_path / "carried"):
        assert "CC BY-SA 4.0" in read_card(folder).license
    assert main(["generate", str(tmp_path / "carried"), "-n", "1", "--out", str(tmp_path / "one.png")]) == 0
    assert "under the licence of what it learnt from, CC BY-SA 4.0: the emoji are designed by OpenMoji" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_the_wheel_and_the_readme_name_the_licence_of_what_is_carried() -> None:
    zoo = Path(__file__).parents[1] / "plugins"
    covered = []
    for path in sorted(zoo.glob("*/*/generators/*")):
        licence = read_card(path).license
        if not licence:
            continue
        covered.append(path.name)
        plugin = zoo / path.relative_to(zoo).parts[0]
        named, spdx = re.match(r"(CC BY-SA) (4\.0)", licence).group(0), "CC-BY-SA-4.0"
        assert named in (plugin / "README.md").read_text(encoding="utf-8"), plugin
        project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["license"] == f"MIT AND {spdx}", plugin
    assert set(covered) == {"emoji"}
