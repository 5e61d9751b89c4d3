"""Runs of models that take conditions: killed and resumed to the same bytes, and held to the contract."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.testing import runner

from .conftest import Site
from .test_resume import Killed, digest, kills  # noqa: F401  (a fixture)

STEPS = 12
SETTINGS: dict[str, Any] = {
    "train.batch_size": 4,
    "train.report_every": "3steps",
    "train.checkpoint_every": "5steps",
    "train.sample_every": "6steps",
    "train.snapshot_every": "6steps",
    "train.sample_count": 3,
    "engine.threads": 1,
    "engine.device": "cpu",
}
MIXES: dict[str, tuple[str, dict[str, Any]]] = {
    "paired": ("painter", {"use.loss": "paired", "data.derive": "mask:0.3", "train.ema_halflife": 40}),
    "several critic steps": ("painter", {"use.loss": "paired", "train.critic_steps": 2, "data.flip": True}),
    "all kinds": ("blender", {"train.updates": "simultaneous"}),
}


def train(out: Path, model: str, settings: dict[str, Any]) -> None:
    data = "squares16" if "data.derive" in settings else "pairs16"
    python_api.train(model, data=data, settings={**SETTINGS, **settings}, steps=STEPS, out=out, quiet=True)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MIXES)
def test_killed_and_resumed_is_the_same_to_the_byte(
    name: str,
    framework: str,
    conditioned: Site,
    tmp_path: Path,
    kills: list[int],  # noqa: F811
) -> None:
    pytest.importorskip({"torch": "torch", "tf": "tensorflow"}[framework])
    model, settings = MIXES[name]
    train(tmp_path / "straight", f"{model}-{framework}", settings)
    kills.append(7)
    with pytest.raises(Killed):
        train(tmp_path / "killed", f"{model}-{framework}", settings)
    kills.append(STEPS - 1)
    resume = partial(python_api.resume, tmp_path / "killed", quiet=True)
    with pytest.raises(Killed):
        resume()
    resume()
    straight = digest(tmp_path / "straight")
    assert digest(tmp_path / "killed") == straight
    assert {"stats.jsonl", "generator/generator.safetensors", "samples/latest.png"} <= set(straight)


@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_a_condition_changes_what_is_drawn(framework: str, conditioned: Site, tmp_path: Path) -> None:
    pytest.importorskip({"torch": "torch", "tf": "tensorflow"}[framework])
    python_api.train(
        f"blender-{framework}", data="pairs16", settings=SETTINGS, steps=2, out=tmp_path / "run", quiet=True
    )
    generator = gz.load(tmp_path / "run")
    given = {
        "source": np.zeros((2, 16, 16, 3), np.uint8),
        "vector": np.zeros((2, 4), np.float32),
        "index": np.array([3, 3]),
    }
    plain = generator.generate(2, on=given)
    assert np.array_equal(plain, generator.generate(2, on=given))
    for name, rows in given.items():
        changed = generator.generate(
            2, on={**given, name: rows + np.ones_like(rows) * (200 if name == "source" else 1)}
        )
        assert not np.array_equal(plain, changed), name


@pytest.mark.slow
def test_the_contract_holds_for_models_and_a_loss_with_conditions(conditioned: Site) -> None:
    results = list(runner.run("conditioned"))
    failed = {
        f"{result.case}": result.detail
        for result in results
        if result.state == "failed" and result.case.part.startswith(("models/", "losses/"))
    }
    assert failed == {}
    assert any(result.case.check == "conditions" for result in results)


def test_a_loss_is_tried_in_the_framework_of_its_model(conditioned: Site) -> None:
    cases = [case for case in runner.cases("conditioned") if case.part == "losses/paired"]
    assert {case.framework for case in cases} == {"", "torch"}
    # It scores an image with another condition than its own.
    found = runner.run("conditioned", only=[case for case in cases if case.check in ("terms", "needs", "decision")])
    assert {result.case.check: (result.state, result.detail) for result in found if result.state != "ok"} == {}


DEAF = {
    "torch": """
from torch import nn
import ganzoo_core as gz
@gz.hookimpl
def build_generator(spec):
    class Deaf(nn.Module):
        def forward(self, z): ...
    return Deaf()
@gz.hookimpl
def build_discriminator(spec): ...
""",
    "tensorflow": """
import keras
import ganzoo_core as gz
@gz.hookimpl
def build_generator(spec):
    z = keras.Input((spec.latent_dim,), name="z")
    return keras.Model(z, keras.layers.Dense(4)(z))
@gz.hookimpl
def build_discriminator(spec): ...
""",
}
REFUSALS = {
    "torch": "a Deaf whose forward is to be called as forward(z, source=…), and which refuses it: got an unexpected "
    "keyword argument 'source'",
    "tensorflow": "a Functional that is to take the keyword source, and has one input; add keras.Input(…, "
    'name="source"), or write it as a subclass of keras.Model whose call takes source',
}


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_a_network_that_cannot_take_a_declared_condition_is_named(framework: str, here: Site, tmp_path: Path) -> None:
    pytest.importorskip(framework)
    manifest = f'api = 1\n[models.deaf]\ntitle = "Deaf"\nframework = "{framework}"\nhooks = "deafs.hooks"\n'
    here.add("deafs", manifest + 'conditions = ["source"]\n', files={"__init__.py": "", "hooks.py": DEAF[framework]})
    settings = {**SETTINGS, "data.derive": "grey"}
    with pytest.raises(gz.PluginError) as caught:
        python_api.train("deaf", data="digits", settings=settings, steps=1, out=tmp_path / "run", quiet=True)
    said = f"deaf (deafs 1.0): build_generator returned {REFUSALS[framework]}; its author must mend it"
    assert str(caught.value) == said
