"""Load a saved generator, in a child process if this one has loaded the other framework."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.generation import bundled, saved
from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.processes import Child
from ganzoo_core.storage.paths import expand_user

WORKER = "ganzoo_core.generation.drawing_worker"


def load(
    path: str | Path,
    *,
    checkpoint: str | int = "last",
    device: str = "auto",
    network: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> SavedGenerator:
    """Load a saved generator, in a child process if this one has loaded the other framework.

    Args:
        path: a run, its `generator/` or a snapshot; or `MODEL` or `MODEL:NAME` for a generator bundled in a plugin.
        checkpoint: `last`, `best`, a number of images, or `epoch:N`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        network: the native network, if the run was given one as an object.
        settings: of `engine.*`, such as `{"engine.max_parameters": 5e9}`.
    """
    generator = find_saved(path, checkpoint=checkpoint, device=device, network=network, settings=settings)
    generator.open()
    return generator


def find_saved(
    path: str | Path,
    *,
    checkpoint: str | int = "last",
    device: str = "auto",
    network: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> SavedGenerator:
    """As `load`, but the framework is not imported before the first image is drawn."""
    folder = bundled.find_folder(expand_user(path), str(checkpoint))
    in_child = network is None and needs_own_process(saved.read_framework(folder))
    kind = RemoteGenerator if in_child else SavedGenerator
    return kind(folder, device=device, network=network, settings=settings)


def needs_own_process(framework: str) -> bool:
    """Whether this process has loaded the other framework, and not this one."""
    loaded = [entry.name for entry in FRAMEWORKS.values() if entry.is_imported()]
    return bool(loaded) and framework not in loaded


class RemoteGenerator(SavedGenerator):
    """A saved generator whose network runs in a child process."""

    def open(self) -> None:
        self._child  # noqa: B018  (cached)

    @cached_property
    def _child(self) -> Child:
        self._temporary_folder = tempfile.TemporaryDirectory(prefix="ganzoo-elsewhere-")
        child = Child(WORKER, "draws the images")
        weakref.finalize(self, child.close)
        child.ask({"generator": str(self.folder.absolute()), "settings": dict(self._engine_settings)}, print)
        return child

    def draw(
        self,
        z: np.ndarray,
        labels: np.ndarray | None,
        conditions: Mapping[str, np.ndarray] | None = None,
        *,
        noise_seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        labels = self._check_inputs(z, labels, conditions)
        child, path = self._child, Path(self._temporary_folder.name) / "drawn.npz"
        inputs: dict[str, Any] = {**(conditions or {}), "z": z}  # no condition is called z or labels
        np.savez(path, **inputs if labels is None else {**inputs, "labels": labels})
        request = {"draw": str(path), "to": str(path.with_suffix(".npy")), "noise_seed": noise_seed, "first": first}
        child.ask(request, print)
        drawn: np.ndarray = np.load(path.with_suffix(".npy"), allow_pickle=False)
        return drawn
