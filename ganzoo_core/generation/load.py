"""Load a saved generator, in a child process if this one has loaded the other framework."""

from __future__ import annotations

import sys
import tempfile
import weakref
from collections.abc import Mapping
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
) -> saved.SavedGenerator:
    """Load a saved generator, in a child process if this one has loaded the other framework.

    Args:
        path: a run, its `generator/` or a snapshot; or `MODEL` or `MODEL:NAME` for a generator bundled in a plugin.
        checkpoint: `last`, `best`, a number of images, or `epoch:N`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        network: the native network, if the run was given one as an object.
        settings: of `engine.*`, such as `{"engine.max_parameters": 5e9}`.
    """
    folder = bundled.find_folder(expand_user(path), str(checkpoint))
    if network is None and needs_own_process(saved.read_framework(folder)):
        return RemoteGenerator(folder, device=device, settings=settings)
    return saved.SavedGenerator(folder, device=device, network=network, settings=settings)


def needs_own_process(framework: str) -> bool:
    """Whether this process has loaded the other framework, and not this one."""
    loaded = [entry.name for entry in FRAMEWORKS.values() if entry.modules[0] in sys.modules]
    return bool(loaded) and framework not in loaded


class RemoteGenerator(SavedGenerator):
    """A saved generator whose network runs in a child process."""

    def _open(self, device: str, network: Any, settings: Mapping[str, Any]) -> None:
        self._temporary_folder = tempfile.TemporaryDirectory(prefix="ganzoo-elsewhere-")
        self._child = Child(WORKER, "draws the images")
        weakref.finalize(self, self._child.close)
        request = {"generator": str(self.folder.absolute()), "device": device, "settings": dict(settings)}
        self._child.ask(request, print)

    def draw(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        labels = self._check_inputs(z, labels)
        path = Path(self._temporary_folder.name) / "drawn.npz"
        inputs: dict[str, Any] = {"z": z} if labels is None else {"z": z, "labels": labels}
        np.savez(path, **inputs)
        self._child.ask({"draw": str(path), "to": str(path.with_suffix(".npy"))}, print)
        drawn: np.ndarray = np.load(path.with_suffix(".npy"), allow_pickle=False)
        return drawn
