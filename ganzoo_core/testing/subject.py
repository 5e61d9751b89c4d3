"""A part under test, with what is built for it and kept from check to check."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ganzoo_core import building, engines
from ganzoo_core.api import ImageSource
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.mix import DataFit, Mix, Request, resolve
from ganzoo_core.settings import CORE_SETTINGS

CLASSES = 11  # a number that no layer is likely to have by itself
IMAGES = 64
BATCH = 4


class Subject:
    """One part, or a whole distribution, in one framework.

    Args:
        distribution: the plugin.
        part: the part; None for the distribution.
        framework: in which it is tried; "" for what needs none.
        settings: the author's, laid over the smallest preset.
        argument: of a dataset.
        folder: for runs.
    """

    def __init__(
        self,
        *,
        distribution: str,
        part: Part | None,
        framework: str,
        settings: Mapping[str, Any],
        argument: str,
        folder: Path,
    ) -> None:
        self.distribution, self.framework, self.argument = distribution, framework, argument
        self._part, self.settings, self.folder = part, dict(settings), folder
        self.cache: dict[str, Any] = {}  # of one check, for others

    @property
    def part(self) -> Part:
        """The part; only for checks of parts."""
        assert self._part is not None
        return self._part

    @cached_property
    def engine(self) -> Any:
        """The framework's, on the CPU with one thread."""
        core = {key: setting.default for key, setting in CORE_SETTINGS.items()}
        return engines.create_engine(self.framework, {**core, "engine.device": "cpu", "engine.threads": 1})

    @cached_property
    def native(self) -> ModuleType:
        """What of the contract is written in the framework: its tiny networks, and how others are called."""
        if self.framework == "torch":
            from ganzoo_core.testing import native_torch

            return native_torch
        from ganzoo_core.testing import native_tensorflow

        return native_tensorflow

    @property
    def preset(self) -> str:
        """The smallest of a model's presets: that for the default data, else the laptop's, or `none`."""
        data = catalog.scan().find_default("datasets")
        laptop = [name for name, suits in self.part.suits.items() if suits.machine == "laptop"]
        names = laptop if data is None else [data.name, *laptop]
        return next((name for name in names if name in self.part.presets), "none")

    @property
    def size(self) -> int:
        """Pixels of what is trained: the least of at least 16 that the model takes."""
        if not self._part or self.part.kind != "models":
            return 8
        fitting = [size for size in self.part.image_sizes if size >= 16]
        return min(fitting) if fitting else max(self.part.image_sizes, default=32)

    def choose_picks(self) -> dict[str, Any]:
        """What is put together around the part: the model itself, or the contract's tiny networks."""
        part = self.part
        if part.kind == "models":
            return {"model": part.qualified_name}
        spec = self.make_tiny_spec()
        needs = {need for need in part.needs if not need.startswith("no_")} - {"second_order", "real_in_generator_step"}
        G, D = self.native.make_networks(spec, needs)
        loss = part.qualified_name if part.kind == "losses" else self.native.NonSaturating()
        return {"generator": G, "discriminator": D, "loss": loss, "schedule": constant_schedule}

    def make_tiny_spec(self) -> Any:
        """What the tiny networks are built for: 8 pixels, one channel, with labels where the loss needs classes."""
        from ganzoo_core.api import Spec

        conditional = any("class" in need for need in self.part.needs)
        return Spec(
            height=8,
            width=8,
            channels=1,
            classes=CLASSES if conditional else 0,
            latent_dim=8,
            framework=self.framework,
        )

    def make_source(self, *, size: int | None = None, channels: int = 1) -> ImageSource:
        """Images of noise, with labels: uint8 [64,H,W,C]."""
        side = size or self.size
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (IMAGES, side, side, channels), dtype=np.uint8)
        labels = np.arange(IMAGES, dtype=np.int64) % CLASSES
        return ImageSource(images, labels, tuple(f"class {number}" for number in range(CLASSES)), background=0)

    def make_request(
        self,
        picks: Mapping[str, Any] | None = None,
        *,
        data: ImageSource | None = None,
        modifiers: list[str] | None = None,
        **settings: Any,
    ) -> Request:
        """The user's words for a short run of it."""
        small: dict[str, Any] = {
            "train.batch_size": BATCH,
            "train.length": "20steps",
            "train.report_every": "1steps",
            "train.sample_every": "20steps",
            "train.snapshot_every": "20steps",
            "train.checkpoint_every": "10steps",
            "train.sample_count": 4,
            "engine.device": "cpu",
            "engine.threads": 1,
            "data.size": self.size,
        }
        if self.part.kind != "models":
            small["model.latent_dim"] = 8
        chosen = dict(self.choose_picks() if picks is None else picks)
        chosen["data"] = data or self.make_source()
        if modifiers is None and self.part.kind == "modifiers":
            modifiers = [self.part.qualified_name]
        preset = self.preset if self.part.kind == "models" else None
        own = {key: value for key, value in self.settings.items() if self._is_applicable(key)}
        return Request(picks=chosen, modifiers=modifiers, preset=preset, assigned={**small, **own, **settings})

    def _is_applicable(self, key: str) -> bool:
        """Whether a setting of the author's is about this kind of part; a plugin may hold several."""
        namespace = key.partition(".")[0]
        if namespace in ("model", "generator", "discriminator"):
            return self.part.kind == "models"
        return {"loss": "losses", "with": "modifiers"}.get(namespace, self.part.kind) == self.part.kind

    def resolve_mix(self, **options: Any) -> Mix:
        """The same, resolved."""
        return resolve(catalog.scan(), self.make_request(**options))

    def build_networks(
        self, *, size: int | None = None, channels: int = 1, **settings: Any
    ) -> tuple[Any, Any, Mix, DataFit]:
        """G and D, full-grown, at a size and with a number of channels."""
        side = size or self.size
        source = self.make_source(size=side, channels=channels)
        resolved = self.resolve_mix(data=source, **{"data.size": side, **settings})
        fitted = building.fit_to_data(resolved, source)
        G, D = building.build_networks(self.engine, resolved, fitted, building.make_full_resolution_values(fitted))
        return G, D, resolved, fitted

    @staticmethod
    def list_stages(resolved: Mix, fitted: DataFit) -> list[dict[str, float]]:
        """The values at which a growing model has all of its layers in use at one time or another."""
        if "resolution" not in resolved.parts["generator"].takes:
            return [building.make_full_resolution_values(fitted)]
        side, stages = max(fitted.spec.height, fitted.spec.width), []
        resolution = min(4, side)
        while resolution <= side:
            stages += [{"resolution": float(resolution), "fade": 0.5}]
            resolution *= 2
        return stages


def constant_schedule(images: int) -> dict[str, float]:
    """A schedule that changes nothing."""
    return {}


def read_own_options(subject: Subject, namespace: str) -> dict[str, Any]:
    """The part's own settings, with the author's over them."""
    prefix = f"{namespace}."
    found = {key[len(prefix) :]: value for key, value in subject.part.defaults.items() if key.startswith(prefix)}
    given = {key[len(prefix) :]: value for key, value in subject.settings.items() if key.startswith(prefix)}
    return {**found, **{key: value for key, value in given.items() if key in found}}
