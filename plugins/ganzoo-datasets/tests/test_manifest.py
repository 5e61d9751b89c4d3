"""The manifest, and what its modules import."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import ganzoo_datasets

MANIFEST = tomllib.loads((Path(ganzoo_datasets.__file__).parent / "ganzoo.toml").read_text(encoding="utf-8"))
PARTS = MANIFEST["datasets"]


def test_every_dataset_is_there():
    expected = "digits mnist fashion_mnist stacked-digits stacked-mnist cifar10 folder pairs shards parquet idx npz npy"
    expected += " shapes torchvision"
    assert set(PARTS) == set(expected.split())
    assert [name for name, part in PARTS.items() if part.get("default")] == ["digits"]


@pytest.mark.parametrize("name", PARTS)
def test_hooks_are_marked(name):
    module = import_module(PARTS[name]["hooks"])
    assert hasattr(module.dataset, "ganzoo_impl")


def test_hooks_modules_import_nothing_heavy():
    modules = sorted({part["hooks"] for part in PARTS.values()})
    heavy = ["torch", "torchvision", "tensorflow", "sklearn", "scipy", "PIL", "pooch", "requests", "urllib3", "rich"]
    code = f"import sys, {', '.join(modules)}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
