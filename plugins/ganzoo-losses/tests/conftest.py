"""A step without an engine, and losses built as the loader builds them: by their manifest, under pluggy."""

from __future__ import annotations

import importlib
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pluggy
import pytest

from ganzoo_core import hookspecs

MANIFEST = tomllib.loads((files("ganzoo_losses") / "ganzoo.toml").read_text())


@dataclass
class FakeStep:
    D: Any
    ops: Any
    real: Any = None
    fake: Any = None
    labels: Any = None
    values: dict[str, Any] = field(default_factory=dict)
    G: Any = None
    z: Any = None


def make(name: str, **options: Any) -> Any:
    card = MANIFEST["losses"][name]
    manager = pluggy.PluginManager("ganzoo")
    manager.add_hookspecs(hookspecs)
    manager.register(importlib.import_module(card["hooks"]))
    manager.check_pending()
    known = card.get("defaults", {}).get("loss", {})
    assert set(options) <= set(known)
    return manager.hook.loss(name=name, spec=None, options={**known, **options}, modifiers={})


@pytest.fixture(scope="session")
def fake_step():
    return FakeStep


@pytest.fixture(scope="session")
def make_loss():
    return make


@pytest.fixture(scope="session")
def manifest():
    return MANIFEST
