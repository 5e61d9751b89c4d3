"""A slot with one part and modifiers around it, as the loader makes it."""

from __future__ import annotations

import importlib
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

import ganzoo_core as gz
from ganzoo_core import hookspecs

CARDS = tomllib.loads((files("ganzoo_modifiers") / "ganzoo.toml").read_text())["modifiers"]


@dataclass
class FakeStep:
    D: Any
    ops: Any
    real: Any = None
    fake: Any = None
    labels: Any = None
    values: dict[str, Any] = field(default_factory=dict)


def modified(hook: str, part: Any, modifier: str, framework: str = "torch", **settings: Any) -> Any:
    """What the slot `hook` answers for a plugin that returns `part`, wrapped by one modifier."""
    manager = pluggy.PluginManager("ganzoo")
    manager.add_hookspecs(hookspecs)
    manager.register(SimpleNamespace(**{hook: gz.hookimpl(lambda name: part)}), "part")
    manager.register(importlib.import_module(CARDS[modifier]["hooks"]), modifier)
    manager.check_pending()
    options = {**CARDS[modifier]["defaults"]["with"][modifier], **settings}
    spec = gz.Spec(height=8, width=8, channels=1, classes=0, latent_dim=4, framework=framework)
    return getattr(manager.hook, hook)(name="part", spec=spec, options={}, modifiers={modifier: options})


@pytest.fixture(scope="session")
def fake_step():
    return FakeStep


@pytest.fixture(scope="session")
def modify():
    return modified


@pytest.fixture(scope="session")
def cards():
    return CARDS
