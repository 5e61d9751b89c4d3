"""The public names of ganzoo, a zoo of generative adversarial networks, for `import ganzoo_core as gz`.

Each name is imported on first use, so importing `ganzoo_core` imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganzoo_core.api import (
        API,
        Extractor,
        Features,
        Images,
        ImageSource,
        Loss,
        Memory,
        Metric,
        Ops,
        Options,
        Schedule,
        Spec,
        Step,
        TrackedRun,
    )
    from ganzoo_core.data.pixels import deprocess, grid, preprocess
    from ganzoo_core.data.reading.decoding import image_to_pixels
    from ganzoo_core.data.reading.encoded import IMAGE_FACTS, EncodedSet, inspect_image, open_encoded
    from ganzoo_core.data.reading.image_set import ImageSet, ReadImages
    from ganzoo_core.data.reading.scan import ImageFile, ImageScan, scan_images
    from ganzoo_core.data.splits import hold_out
    from ganzoo_core.engines.tensorflow.networks import call_keras_network
    from ganzoo_core.errors import DataError, Diverged, GanzooError, PluginError, UsageError
    from ganzoo_core.evaluation.evaluate import evaluate
    from ganzoo_core.generation.load import load
    from ganzoo_core.generation.saved import SavedGenerator
    from ganzoo_core.hookspecs import hookimpl
    from ganzoo_core.image_source import MAX_CLASS_NAME
    from ganzoo_core.loss_trial import LossTrial
    from ganzoo_core.messages import quote_name
    from ganzoo_core.python_api import Run, build, loss, parts, resume, train
    from ganzoo_core.storage.download import RemoteFile, download, is_offline
    from ganzoo_core.storage.locks import hold_lock
    from ganzoo_core.storage.tensors import read_tensors
    from ganzoo_core.terminal.bars import show_progress
    from ganzoo_core.terminal.text import clean_text

_HOME = {
    "API": "api",
    "MAX_CLASS_NAME": "image_source",
    "DataError": "errors",
    "Diverged": "errors",
    "Extractor": "api",
    "Features": "api",
    "GanzooError": "errors",
    "ImageSource": "api",
    "Images": "api",
    "Loss": "api",
    "Memory": "api",
    "Metric": "api",
    "Ops": "api",
    "Options": "api",
    "PluginError": "errors",
    "Schedule": "api",
    "Spec": "api",
    "Step": "api",
    "TrackedRun": "api",
    "UsageError": "errors",
    "call_keras_network": "engines.tensorflow.networks",
    "hookimpl": "hookspecs",
    "RemoteFile": "storage.download",
    "download": "storage.download",
    "is_offline": "storage.download",
    "hold_lock": "storage.locks",
    "read_tensors": "storage.tensors",
    "clean_text": "terminal.text",
    "quote_name": "messages",
    "hold_out": "data.splits",
    "IMAGE_FACTS": "data.reading.encoded",
    "EncodedSet": "data.reading.encoded",
    "inspect_image": "data.reading.encoded",
    "open_encoded": "data.reading.encoded",
    "ImageFile": "data.reading.scan",
    "ImageScan": "data.reading.scan",
    "ImageSet": "data.reading.image_set",
    "ReadImages": "data.reading.image_set",
    "image_to_pixels": "data.reading.decoding",
    "scan_images": "data.reading.scan",
    "show_progress": "terminal.bars",
    "evaluate": "evaluation.evaluate",
    "deprocess": "data.pixels",
    "grid": "data.pixels",
    "preprocess": "data.pixels",
    "LossTrial": "loss_trial",
    "Run": "python_api",
    "SavedGenerator": "generation.saved",
    "build": "python_api",
    "load": "generation.load",
    "loss": "python_api",
    "parts": "python_api",
    "resume": "python_api",
    "train": "python_api",
}

__all__ = [
    "API",
    "IMAGE_FACTS",
    "MAX_CLASS_NAME",
    "DataError",
    "Diverged",
    "EncodedSet",
    "Extractor",
    "Features",
    "GanzooError",
    "ImageFile",
    "ImageScan",
    "ImageSet",
    "ImageSource",
    "Images",
    "Loss",
    "LossTrial",
    "Memory",
    "Metric",
    "Ops",
    "Options",
    "PluginError",
    "ReadImages",
    "RemoteFile",
    "Run",
    "SavedGenerator",
    "Schedule",
    "Spec",
    "Step",
    "TrackedRun",
    "UsageError",
    "build",
    "call_keras_network",
    "clean_text",
    "deprocess",
    "download",
    "evaluate",
    "grid",
    "hold_lock",
    "hold_out",
    "hookimpl",
    "image_to_pixels",
    "inspect_image",
    "is_offline",
    "load",
    "loss",
    "open_encoded",
    "parts",
    "preprocess",
    "quote_name",
    "read_tensors",
    "resume",
    "scan_images",
    "show_progress",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ganzoo_core' has no attribute {name!r}")
    return getattr(import_module(f"ganzoo_core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
