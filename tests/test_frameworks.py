"""The registry of frameworks: its entries, that nothing else in the core names one, and a third framework."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from ganzoo_core.discovery import catalog
from ganzoo_core.distributed.launchers import Launch, check_launch
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines import create_engine
from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import FRAMEWORKS, Framework, find_framework
from ganzoo_core.runs import layout

from .conftest import Site

ROOT = Path(__file__).parents[1]
TOY = Path(__file__).with_name("toy")
MANIFEST = """
api = 1
[models.toy-gan]
title = "One dense layer each"
framework = "toy"
hooks = "toy_gan.hooks"
[datasets.spots]
title = "Noise that is brighter on the left"
hooks = "toy_gan.hooks"
"""
HOOKS = """
import numpy as np
import ganzoo_core as gz


@gz.hookimpl
def build_generator(spec):
    import toy

    return toy.Generator(spec.latent_dim, (spec.height, spec.width, spec.channels))


@gz.hookimpl
def build_discriminator(spec):
    import toy

    return toy.Discriminator((spec.height, spec.width, spec.channels))


@gz.hookimpl
def dataset():
    noise = np.random.default_rng(0).integers(0, 64, (32, 4, 4, 1), dtype=np.uint8)
    noise[:, :, :2] += 160
    return gz.ImageSource(noise)
"""
RUN = ("toy-gan", "--data", "spots", "--set", "batch_size=8", "--set", "latent_dim=2", "--set", "ema_halflife=0")


@pytest.fixture
def toys(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A folder of distributions with a model of the toy framework, which is in the registry of every process."""
    site.add("toy-gan", MANIFEST, files={"__init__.py": "", "hooks.py": HOOKS})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site.path), str(TOY))))
    return site


def run(site: Site, *words: str | Path) -> str:
    """`ganzoo WORDS` in a process that has the toy framework; its output."""
    done = site.run(*words, env={"PYTHONPATH": os.environ["PYTHONPATH"]})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=list(FRAMEWORKS))
def test_an_entry_names_what_is_there(framework: Framework) -> None:
    for module in (framework.engine, framework.contract):
        assert (ROOT / module.replace(".", "/")).is_dir() or (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert FRAMEWORKS[framework.name] is framework
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    extra = re.fullmatch(r"ganzoo-core\[(\w+)\]", framework.requirement)
    assert extra is not None
    models = [name for name in extras[extra[1]] if name.endswith(f"-{framework.suffix}")]
    assert models
    for model in models:
        manifests = [tomllib.loads(path.read_text()) for path in (ROOT / "plugins" / model).glob("*/ganzoo.toml")]
        assert {card["framework"] for manifest in manifests for card in manifest["models"].values()} == {framework.name}


def test_names_and_suffixes_are_unique() -> None:
    words = [word for framework in FRAMEWORKS.values() for word in {framework.name, framework.suffix}]
    assert len(set(words)) == len(words)


def test_nothing_but_the_registry_and_the_engines_names_a_framework() -> None:
    core = ROOT / "ganzoo_core"
    own = [core / "frameworks.py", *core.glob("engines/*/*.py"), *core.glob("testing/native_*.py")]
    for path in set(core.rglob("*.py")) - set(own):
        words = [node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)]
        assert not set(FRAMEWORKS) & {word for word in words if isinstance(word, str)}, path


def test_networks_and_tensors_are_recognised_by_their_classes() -> None:
    network = type("Network", (), {"__module__": "keras.src.models.model"})
    assert find_framework(type("Mine", (network,), {"__module__": "mine"})) is FRAMEWORKS["tensorflow"]
    assert find_framework(type("Tensor", (), {"__module__": "torch"})) is FRAMEWORKS["torch"]
    assert find_framework(np.ndarray) is None
    assert find_framework(type("Mine", (), {"__module__": "torchlike"})) is None


def test_a_third_framework_is_listed_and_described(toys: Site) -> None:
    rows = {row["name"]: row for row in json.loads(run(toys, "list", "--json"))["parts"]}
    assert (rows["toy-gan"]["state"], rows["toy-gan"]["framework"]) == ("ok", "toy")
    assert rows["hinge"]["framework"] == "any"
    assert '"toy"' in run(toys, "info", "toy-gan", "--json")
    assert "toy is not installed; pip install toy-engine" in run(toys, "--version")
    assert "No problems found" in run(toys, "doctor", "toy-gan", "--quick")


def test_a_third_framework_trains_resumes_and_draws(toys: Site, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run(toys, "run", *RUN, "--images", "64", "--out", whole)
    run(toys, "run", *RUN, "--images", "32", "--out", halves)
    run(toys, "resume", halves, "--images", "64")
    first, second = (safetensors.numpy.load_file(path / "generator" / layout.WEIGHTS) for path in (whole, halves))
    assert set(first) == {"kernel", "bias"}
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    left, right = first["bias"].reshape(4, 4)[:, :2], first["bias"].reshape(4, 4)[:, 2:]
    assert left.mean() > right.mean()  # as in the images
    assert json.loads((whole / "generator" / layout.CARD).read_text())["spec"]["framework"] == "toy"
    run(toys, "generate", whole, "-n", "4", "--out", tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").is_file()


def test_the_contract_takes_its_tiny_networks_from_the_registry(toys: Site) -> None:
    code = (
        "from ganzoo_core.testing import runner\n"
        "only = [case for case in runner.cases('toy-gan') if case.check in ('bounds', 'features')]\n"
        "print(*((result.case.framework, result.state, result.detail) for result in runner.run('toy-gan', only=only)))"
    )
    done = toys.python("-c", code, env={"PYTHONPATH": os.environ["PYTHONPATH"]})
    assert done.stdout.strip() == "('toy', 'ok', '') ('toy', 'ok', '')", done.stdout + done.stderr


def test_a_framework_that_is_missing_is_named_with_what_installs_it(
    toys: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toys.path / "sitecustomize.py").write_text(
        (TOY / "sitecustomize.py").read_text().replace('modules=("toy",)', 'modules=("toy_that_is_not_there",)')
    )
    path = os.environ["PYTHONPATH"]
    done = toys.run("run", *RUN, "--images", "32", env={"PYTHONPATH": path})
    assert done.returncode == 2
    assert "this needs toy, which is not installed; pip install toy-engine" in " ".join(done.stderr.split())
    done = toys.run("doctor", "toy-gan", "--quick", env={"PYTHONPATH": path})
    assert "toy is not installed, so toy-gan cannot run; pip install toy-engine" in " ".join(done.stdout.split())


def test_an_unknown_framework_is_refused_in_a_manifest_and_as_an_engine(here: Site) -> None:
    here.add("toy-gan", MANIFEST)
    problems = {problem.name: problem.reason for problem in catalog.scan().problems}
    assert "expected torch or tensorflow" in problems["toy-gan"]
    with pytest.raises(UsageError, match="there is no framework 'toy'; ganzoo runs torch and tensorflow"):
        create_engine("toy", {})


def test_a_framework_of_one_process_refuses_several(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Framework(
        name="toy", title="Toy", suffix="toy", network_class="toy.Network", modules=("toy",), distributions=("toy",),
        requirement="toy-engine", engine="toy_engine", contract="toy",
    )  # fmt: skip
    monkeypatch.setitem(FRAMEWORKS, "toy", toy)
    with pytest.raises(UsageError, match=r"srun started 2 .* in toy; several .* train in PyTorch or TensorFlow"):
        check_launch(Launch("srun", Rank(0, 2, 0, 2)), framework="toy", batch_size=8)
