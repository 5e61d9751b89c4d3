"""ganzoo: a zoo of generative adversarial networks.

The public names, found when they are first used: importing `ganzoo_core` imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganzoo_core.api import (
        API,
        DataError,
        Diverged,
        Extractor,
        Features,
        GanzooError,
        ImageSource,
        Loss,
        Metric,
        Ops,
        Options,
        PluginError,
        Schedule,
        Spec,
        Step,
        TrackedRun,
        UsageError,
    )
    from ganzoo_core.checkpoint import read_tensors
    from ganzoo_core.data import hold_out
    from ganzoo_core.evaluation import evaluate
    from ganzoo_core.hookspecs import hookimpl
    from ganzoo_core.images import deprocess, grid, preprocess
    from ganzoo_core.saved import SavedGenerator
    from ganzoo_core.session import Run, build, load, loss, parts, resume, train
    from ganzoo_core.terminal import clean_text
    from ganzoo_core.trial import LossTrial

_HOME = {
    "API": "api",
    "DataError": "api",
    "Diverged": "api",
    "Extractor": "api",
    "Features": "api",
    "GanzooError": "api",
    "ImageSource": "api",
    "Loss": "api",
    "Metric": "api",
    "Ops": "api",
    "Options": "api",
    "PluginError": "api",
    "Schedule": "api",
    "Spec": "api",
    "Step": "api",
    "TrackedRun": "api",
    "UsageError": "api",
    "hookimpl": "hookspecs",
    "read_tensors": "checkpoint",
    "clean_text": "terminal",
    "hold_out": "data",
    "evaluate": "evaluation",
    "deprocess": "images",
    "grid": "images",
    "preprocess": "images",
    "LossTrial": "trial",
    "Run": "session",
    "SavedGenerator": "saved",
    "build": "session",
    "load": "session",
    "loss": "session",
    "parts": "session",
    "resume": "session",
    "train": "session",
}

__all__ = [
    "API",
    "DataError",
    "Diverged",
    "Extractor",
    "Features",
    "GanzooError",
    "ImageSource",
    "Loss",
    "LossTrial",
    "Metric",
    "Ops",
    "Options",
    "PluginError",
    "Run",
    "SavedGenerator",
    "Schedule",
    "Spec",
    "Step",
    "TrackedRun",
    "UsageError",
    "build",
    "clean_text",
    "deprocess",
    "evaluate",
    "grid",
    "hold_out",
    "hookimpl",
    "load",
    "loss",
    "parts",
    "preprocess",
    "read_tensors",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ganzoo_core' has no attribute {name!r}")
    return getattr(import_module(f"ganzoo_core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
