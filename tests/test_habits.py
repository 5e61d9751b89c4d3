"""The habits of the house: ruff and mypy find nothing, and the core stays ignorant of what it runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "ganzoo_core").rglob("*.py"))


@pytest.mark.parametrize("words", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join)
def test_checkers_find_nothing(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pickle_is_opened_in_one_line() -> None:
    """The lint rule for pickle has one exemption: Inception's published weights, whose SHA-256 is pinned."""
    rules = re.compile(r"#\s*(?:ruff|flake8)?:?\s*noqa(?!:)|#.*noqa:.*\b(?:TID251|S3\d\d|S506|S614)\b")
    exempt = [
        (path.name, line.strip())
        for path in [*CORE, *ROOT.glob("plugins/*/*/**/*.py"), *ROOT.glob("examples/*/*/**/*.py")]
        if "tests" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if rules.search(line)
    ]
    assert [name for name, _ in exempt] == ["inception.py"], exempt
    assert "weights_only=True" in exempt[0][1]


def test_the_core_names_no_part() -> None:
    names = set()
    for manifest in ROOT.glob("plugins/*/*/ganzoo.toml"):
        text = manifest.read_text(encoding="utf-8")
        names |= set(re.findall(r"^\[(?:models|datasets)\.([a-z0-9_-]+)\]", text, re.MULTILINE))
    assert names
    names -= {"folder", "torchvision"}  # an ordinary word, and a library, as well
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path}:{node.lineno} names {node.value}"


def test_only_engines_import_a_framework() -> None:
    for path in CORE:
        if "engines" in path.parts or "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {module.split(".")[0] for module in modules}
            assert not roots & {"torch", "torchvision", "tensorflow", "keras", "sklearn"}, path


def test_plugins_import_public_names_only() -> None:
    for path in ROOT.glob("plugins/*/ganzoo_*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganzoo_core"):
                assert node.module == "ganzoo_core", f"{path}:{node.lineno} reaches into {node.module}"
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("ganzoo_core.") for alias in node.names), f"{path}:{node.lineno}"
