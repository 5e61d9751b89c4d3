"""CONTRIBUTING.md is true: its files, built to wheels, work in a fresh environment that has only wheels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("ganzoo-losses", "ganzoo-schedules", "ganzoo-modifiers", "ganzoo-datasets", "ganzoo-dcgan-torch")


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
            body = body.replace('dependencies = ["ganzoo"]', f"dependencies = {json.dumps(dependencies)}")
        path.write_text(body, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the core, the bundled parts and two third-party plugins, all from wheels, by pip."""
    folder = tmp_path_factory.mktemp("fresh")
    loss = write_plugin(folder / "loss", "softplus_hinge", ["ganzoo"])
    model = write_plugin(folder / "model", "tiny_gan", ["ganzoo", "torch"])
    wheels = folder / "wheels"
    for source in (ROOT, *(ROOT / "plugins" / name for name in PARTS), loss, model):
        command(sys.executable, "-m", "build", "--wheel", "--outdir", wheels, source, cwd=folder)
    command(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    names = ("ganzoo[torch]", "softplus-hinge", "tiny-gan")
    command(python, "-m", "pip", "install", "-q", "--find-links", wheels, *names, cwd=folder)
    return python


@pytest.mark.slow
def test_a_plugin_made_by_the_guide_works_from_wheels(fresh: Path, tmp_path: Path) -> None:
    listed = json.loads(command(fresh, "-m", "ganzoo_core", "list", "--json", cwd=tmp_path))["parts"]
    found = {row["name"]: row for row in listed}
    assert {row["state"] for row in listed} == {"ok"}
    assert found["softplus-hinge"]["distribution"] == "softplus-hinge"
    assert found["tiny-gan"]["version"] == "1.0"
    words = ("run", "tiny-gan", "--loss", "softplus-hinge", "--set", "margin=0.5", "--steps", "5", "--json", "--quiet")
    run = json.loads(command(fresh, "-m", "ganzoo_core", *words, cwd=tmp_path))
    config = (tmp_path / run["run"] / "config.yaml").read_text(encoding="utf-8")
    assert "loss.margin: 0.5  # --set" in config
    command(fresh, "-m", "ganzoo_core", "generate", run["run"], "-n", "4", "--out", "four.npz", cwd=tmp_path)
    command(fresh, "-m", "ganzoo_core", "run", "dcgan-torch", "--steps", "2", "--quiet", cwd=tmp_path)
    command(fresh, "-m", "ganzoo_core", "doctor", "--deep", cwd=tmp_path)


@pytest.mark.slow
def test_plain_pip_installs_the_repository(tmp_path: Path) -> None:
    command(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    command(python, "-m", "pip", "install", "-q", "-r", "requirements.txt", cwd=ROOT)
    command(python, "-m", "ganzoo_core", "run", "dcgan-torch", "--steps", "2", "--quiet", cwd=tmp_path)
    assert "everything is well" in command(python, "-m", "ganzoo_core", "doctor", cwd=tmp_path)


def test_requirements_name_every_distribution() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.removeprefix("-e ") for line in lines if line.startswith("-e ")}
    assert listed == {".", *(f"plugins/{path.name}" for path in (ROOT / "plugins").iterdir() if path.is_dir())}
