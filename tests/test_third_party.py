"""Wheels in fresh environments: what CONTRIBUTING.md shows, what examples/ holds, dependency floors, other Pythons."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pluggy
import pytest
from packaging.specifiers import SpecifierSet

from ganzoo_core.frameworks import FRAMEWORKS

ROOT = Path(__file__).parents[1]
PARTS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))
EVERYTHING = ("ganzoo-core[all,testing]", "ganzoo-datasets[torchvision]", "ganzoo-modifiers[torch,tensorflow]")


def command(*words: str | Path, cwd: Path, timeout: float = 900) -> str:
    """Run a command to its end; its stdout."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=clean, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files_of_the_guide(package: str) -> dict[str, str]:
    """The code blocks of CONTRIBUTING.md that are marked with a file's name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\w+\n# file: (\S+)\n(.*?)```", text, flags=re.DOTALL)
    return {name: body for name, body in blocks if name.startswith(f"{package}/") or name == "pyproject.toml"}


def write_plugin(folder: Path, package: str, dependencies: Sequence[str]) -> Path:
    distribution = package.replace("_", "-")
    for name, body in files_of_the_guide(package).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "pyproject.toml":
            body = body.replace("softplus-hinge", distribution).replace("softplus_hinge", package)
            body = body.replace('dependencies = ["ganzoo-core>=0.1"]', f"dependencies = {json.dumps(dependencies)}")
        path.write_text(body, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core, the bundled parts, the examples and the two plugins of the guide as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    loss = write_plugin(folder / "loss", "softplus_hinge", ["ganzoo-core"])
    model = write_plugin(folder / "model", "tiny_gan", ["ganzoo-core", "torch"])
    for source in (ROOT, *PARTS, *EXAMPLES, loss, model):
        words = ("-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "wheels", source)
        command(sys.executable, *words, cwd=folder)
    return folder / "wheels"


def fresh(folder: Path, wheels: Path, *names: str, base: str = sys.executable) -> Path:
    """The Python of a new environment that has these; `base` is the interpreter that it is made from."""
    command(base, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    uv = os.environ.get("UV") or shutil.which("uv")  # links what its cache has, where pip unpacks 5 GB anew
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    command(*install, "-q", "--find-links", wheels, *names, cwd=folder, timeout=1800)
    return python


def read_project(folder: Path) -> dict[str, Any]:
    """The `[project]` table of a distribution."""
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def list_floors() -> dict[str, set[str]]:
    """What the wheels of this repository need of others: name -> the lower bounds that are declared."""
    floors: dict[str, set[str]] = {}
    for project in map(read_project, (ROOT, *PARTS)):
        extras = project.get("optional-dependencies", {}).values()
        for requirement in [*project["dependencies"], *(each for extra in extras for each in extra)]:
            name, _, floor = requirement.partition(">=")
            if not name.startswith("ganzoo-"):
                floors.setdefault(name, set()).add(floor)
    return floors


def list_pythons() -> list[str]:
    """The Python versions that the core's classifiers name, such as 3.11."""
    named = [line.rpartition(" :: ")[2] for line in read_project(ROOT)["classifiers"] if ":: Python :: 3." in line]
    return sorted(named, key=lambda version: int(version.partition(".")[2]))


def find_python(version: str) -> str | None:
    """The interpreter of this version: the running one, or one on the search path."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False, timeout=60).returncode:
        return None  # or a launcher of versions that has none such
    return found


def train_and_check(python: Path, folder: Path, **settings: str) -> None:
    """A short training of a model of each framework, and the contract of everything."""
    for model in ("dcgan-torch", "dcgan-tf"):
        chosen = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        words = ("run", model, "--data", "digits", "--steps", "3", "--json", "--quiet", *chosen)
        run = json.loads(command(python, "-m", "ganzoo_core", *words, cwd=folder))
        command(python, "-m", "ganzoo_core", "generate", run["run"], "-n", "4", "--out", f"{model}.npz", cwd=folder)
    for part in PARTS:
        told = command(python, "-m", "ganzoo_core", "doctor", part.name, cwd=folder, timeout=1800)
        assert "No problems found" in told


def installed(python: Path, cwd: Path) -> dict[str, dict[str, str]]:
    rows = json.loads(command(python, "-m", "ganzoo_core", "list", "--json", cwd=cwd))["parts"]
    assert {row["state"] for row in rows} == {"ok"}
    return {row["name"]: row for row in rows}


def copied_tests(example: Path, folder: Path) -> Path:
    """A copy of an example's tests, away from its source, so that the installed wheel is what is tested."""
    return Path(shutil.copytree(example / "tests", folder / f"tests of {example.name}"))


@pytest.mark.slow
def test_plugins_made_by_the_guide_work_from_wheels_beside_pytorch_alone(wheels: Path, tmp_path: Path) -> None:
    names = [path.name for path in EXAMPLES]
    python = fresh(tmp_path, wheels, "ganzoo-core[torch,testing]", "softplus-hinge", "tiny-gan", "hypothesis", *names)
    found = installed(python, tmp_path)
    assert found["softplus-hinge"]["distribution"] == "softplus-hinge"
    assert found["tiny-gan"]["version"] == "1.0"
    words = ("run", "tiny-gan", "--loss", "softplus-hinge", "--set", "margin=0.5", "--steps", "5", "--json", "--quiet")
    run = json.loads(command(python, "-m", "ganzoo_core", *words, cwd=tmp_path))
    config = (tmp_path / run["run"] / "config.yaml").read_text(encoding="utf-8")
    assert "loss.margin: 0.5  # --set" in config
    command(python, "-m", "ganzoo_core", "generate", run["run"], "-n", "4", "--out", "four.npz", cwd=tmp_path)
    command(python, "-m", "ganzoo_core", "run", "dcgan-torch", "--steps", "2", "--quiet", cwd=tmp_path)
    command(python, "-m", "ganzoo_core", "doctor", "--deep", cwd=tmp_path)
    for example in EXAMPLES:
        place = copied_tests(example, tmp_path)
        command(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", place, cwd=tmp_path)
    words = ("run", "pixelwise-torch", "--loss", "relativistic-hinge-lecam", "--steps", "3", "--json", "--quiet")
    run = json.loads(command(python, "-m", "ganzoo_core", *words, cwd=tmp_path))
    command(python, "-m", "ganzoo_core", "generate", run["run"], "-n", "4", "--out", "pixels.png", cwd=tmp_path)
    command(python, "-c", "import importlib.util as u; assert u.find_spec('tensorflow') is None", cwd=tmp_path)


@pytest.mark.slow
def test_a_third_partys_loss_works_beside_tensorflow_alone(wheels: Path, tmp_path: Path) -> None:
    python = fresh(tmp_path, wheels, "ganzoo-core[tf]", "softplus-hinge", "ganzoo-lecam")
    assert {"dcgan-tf", "softplus-hinge"} <= set(installed(python, tmp_path))
    words = ("run", "dcgan-tf", "--loss", "softplus-hinge", "--steps", "3", "--json", "--quiet")
    run = json.loads(command(python, "-m", "ganzoo_core", *words, cwd=tmp_path))
    command(python, "-m", "ganzoo_core", "generate", run["run"], "-n", "4", "--out", "four.npz", cwd=tmp_path)
    command(python, "-m", "ganzoo_core", "doctor", "--deep", cwd=tmp_path)
    assert "tensorflow\tok" in command(python, "-m", "ganzoo_core", "doctor", "ganzoo-lecam", cwd=tmp_path)
    command(python, "-c", "import importlib.util as u; assert u.find_spec('torch') is None", cwd=tmp_path)


def test_no_text_installs_the_strangers_distribution() -> None:
    """`ganzoo` on the public index is someone else's; ours is `ganzoo-core`."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    files += [*ROOT.glob("plugins/*/README.md"), *ROOT.glob("**/pyproject.toml"), *ROOT.glob("ganzoo_core/**/*.py")]
    strangers = re.compile(r"pip install(?: [^\n&]*?)?[\"' ]ganzoo(?![\w-])|[\"']ganzoo(?:\[[a-z,]+\]|>=[\d.]+)[\"']")
    ours = [path for path in files if ".venv" not in path.parts]
    assert ours
    assert [path for path in ours if strangers.search(path.read_text(encoding="utf-8"))] == []
    listed = re.compile(r"^ *dependencies = \[[^\]]*\"ganzoo\"", re.MULTILINE)
    assert [path for path in ours if path.name == "pyproject.toml" and listed.search(path.read_text())] == []


@pytest.mark.slow
def test_plain_pip_installs_the_repository(tmp_path: Path) -> None:
    """As the README says: each distribution of ours comes from the clone, and none from an index."""
    assert "pip install -r requirements.txt" in (ROOT / "README.md").read_text(encoding="utf-8")
    command(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    command(python, "-m", "pip", "install", "-q", "-r", "requirements.txt", cwd=ROOT)
    code = (
        "import importlib.metadata as m, json\n"
        "found = [d for d in m.distributions() if d.name.startswith('ganzoo')]\n"
        "print(json.dumps({d.name: json.loads(d.read_text('direct_url.json'))['url'] for d in found}))\n"
    )
    places = json.loads(command(python, "-c", code, cwd=tmp_path))
    assert places == {"ganzoo-core": ROOT.as_uri(), **{path.name: path.as_uri() for path in PARTS}}
    package = command(python, "-c", "import ganzoo_core; print(ganzoo_core.__file__)", cwd=tmp_path)
    assert Path(package.strip()) == ROOT / "ganzoo_core" / "__init__.py"
    command(python, "-m", "ganzoo_core", "run", "dcgan-torch", "--steps", "2", "--quiet", cwd=tmp_path)
    assert "No problems found" in command(python, "-m", "ganzoo_core", "doctor", cwd=tmp_path)


def test_requirements_name_every_distribution() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.removeprefix("-e ") for line in lines if line.startswith("-e ")}
    assert listed == {".", *(f"plugins/{path.name}" for path in (ROOT / "plugins").iterdir() if path.is_dir())}


@pytest.mark.slow
def test_every_dependency_at_its_floor(wheels: Path, tmp_path: Path) -> None:
    """Each at its declared lower bound, all of them in one environment."""
    lowest = list_pythons()[0]
    base = find_python(lowest)
    if base is None:
        pytest.skip(f"Python {lowest}, which the floors are for, is not on the search path")
    floors = [f"{name}=={floor}" for name, declared in list_floors().items() for floor in declared]
    python = fresh(tmp_path, wheels, *EVERYTHING, *floors, base=base)
    train_and_check(python, tmp_path)
    words = ("run", "dcgan-torch", "--data", "digits", "--set", "engine.compile=true", "--set", "model.width=8")
    command(python, "-m", "ganzoo_core", *words, "--steps", "2", "--quiet", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("version", list_pythons()[1:])
def test_every_python_that_is_named(wheels: Path, tmp_path: Path, version: str) -> None:
    """The lowest runs all other tests."""
    base = find_python(version)
    if base is None:
        pytest.skip(f"Python {version} is not on the search path")
    train_and_check(fresh(tmp_path, wheels, *EVERYTHING, base=base), tmp_path)


def test_a_dependency_has_one_floor() -> None:
    """And no cap, so that the newest can be had."""
    floors = list_floors()
    assert len(floors) > 20
    for name, declared in floors.items():
        assert len(declared) == 1, f"{name} has the floors {sorted(declared)}"
        assert re.fullmatch(r"\d+(\.\d+)*", *declared), f"{name}>={declared}"


@pytest.mark.parametrize("version", list_pythons())
def test_the_command_line_runs_on_each_python_that_is_named(version: str) -> None:
    """It reads every manifest there, with what is installed here; the slow test trains."""
    base = find_python(version)
    if base is None:
        pytest.skip(f"Python {version} is not on the search path")
    code = (
        "import site, sys\n"
        "assert '.'.join(map(str, sys.version_info[:2])) == sys.argv[1]\n"
        "site.addsitedir(sys.argv[2])\n"
        "from ganzoo_core import cli\n"
        "sys.exit(cli.main(['list', '--json']))\n"
    )
    place = Path(pluggy.__file__).parents[1]
    rows = json.loads(command(base, "-W", "error::SyntaxWarning", "-c", code, version, place, cwd=ROOT))["parts"]
    assert {path.name for path in PARTS} <= {row["distribution"] for row in rows if row["state"] == "ok"}


def test_every_python_that_is_named_can_have_each_framework() -> None:
    """By the versions for which a framework has wheels, and by what its installed distributions ask for."""
    for version in list_pythons():
        for framework in FRAMEWORKS.values():
            assert framework.explain_missing_wheels(tuple(map(int, version.split(".")))) == ""  # type: ignore[arg-type]
            for name in framework.distributions:
                assert version in SpecifierSet(importlib.metadata.metadata(name)["Requires-Python"]), name


def test_the_pythons_that_are_named_stand_in_each_distribution_and_in_the_readme() -> None:
    """None above or between them; the lowest is the one that runs all tests."""
    pythons = list_pythons()
    assert len(pythons) > 1
    for project in map(read_project, (ROOT, *PARTS)):
        classifiers = project["classifiers"]
        named = [line for line in classifiers if line.startswith("Programming Language :: Python :: 3")]
        assert named == [f"Programming Language :: Python :: {version}" for version in pythons], project["name"]
        assert classifiers == sorted(classifiers), project["name"]
        assert project["requires-python"] == f">={pythons[0]}", project["name"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"tried with Python {', '.join(pythons[:-1])} and {pythons[-1]}" in readme
    assert set(re.findall(r"Python (\d\.\d+)", readme)) <= set(pythons)
