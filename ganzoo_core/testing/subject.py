"""The part under test, with a cache that its checks share."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ganzoo_core import building, engines
from ganzoo_core.api import ImageSource, Spec, Step
from ganzoo_core.data.conditions import make_random_rows
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.frameworks import get_framework
from ganzoo_core.mix import DataFit, Mix, Request, make_network_spec, resolve
from ganzoo_core.mix.mix import CONDITIONS
from ganzoo_core.settings import CORE_SETTINGS, find_kind, find_matches, read_engine_settings, read_value

CLASSES = 11  # a number that is unlikely as the width of a layer
IMAGES = 64
BATCH = 4
VECTOR = 5  # numbers of a condition that is no picture
OF_STEPS = {"second_order", "real_in_generator_step", "same_real_in_generator_step"}  # needs that networks cannot meet
KINDS_TRIED = ("picture", "vector", "number")  # of conditions


class Subject:
    """One part, or a whole distribution, under test in one framework.

    Args:
        distribution: the plugin.
        part: the part; None for the distribution.
        framework: to test it in; "" if it needs none.
        settings: the plugin author's, which override the smallest preset.
        argument: of a dataset, as in `--data NAME:ARGUMENT`.
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
        self.cache: dict[str, Any] = {}  # results that several checks use

    @property
    def part(self) -> Part:
        """The part; only for checks of parts."""
        assert self._part is not None
        return self._part

    @cached_property
    def engine(self) -> Engine:
        """The framework's engine, on the CPU with one thread."""
        settings = read_engine_settings({"engine.device": "cpu", "engine.threads": 1})
        return engines.create_engine(self.framework, settings)

    @cached_property
    def native(self) -> ModuleType:
        """The contract's module for the framework, such as `native_torch`."""
        return importlib.import_module(get_framework(self.framework).contract)

    @cached_property
    def model(self) -> Part | None:
        """The model that is trained: the part itself, or the one that a loss names; None for tiny networks.

        Raises:
            UsageError: if a loss names a model that is not installed.
        """
        if self._part is None or self._part.kind == "models":
            return self._part
        if not self._part.contract:
            return None
        return catalog.scan().find("models", self._part.contract)

    @property
    def preset(self) -> str:
        """The model's smallest preset: the one for the default data, else the one for laptops, or `none`."""
        if self.model is None:
            return "none"
        data = catalog.scan().find_default("datasets")
        laptop = [name for name, suits in self.model.suits.items() if suits.machine == "laptop"]
        names = laptop if data is None else [data.name, *laptop]
        return next((name for name in names if name in self.model.presets), "none")

    @property
    def size(self) -> int:
        """Image size in pixels: the smallest of at least 16 that the model accepts."""
        if self.model is None:
            return 8
        fitting = [size for size in self.model.image_sizes if size >= 16]
        return min(fitting) if fitting else max(self.model.image_sizes, default=32)

    def choose_picks(self) -> dict[str, Any]:
        """The picks to train the part with: the model itself, or the contract's tiny networks."""
        part = self.part
        if self.model is not None:
            own = {"loss": part.qualified_name} if part.kind == "losses" else {}
            return {"model": self.model.qualified_name, **own}
        spec = self.make_tiny_spec()
        needs = {need for need in part.needs if not need.startswith("no_")} - OF_STEPS - {CONDITIONS}
        G, D = self.native.make_networks(spec, needs)
        loss = part.qualified_name if part.kind == "losses" else NonSaturating()
        schedule = constant_rates if part.kind == "modifiers" else constant_schedule
        return {"generator": G, "discriminator": D, "loss": loss, "schedule": schedule}

    def make_tiny_spec(self) -> Spec:
        """The tiny networks' Spec: 8 pixels, one channel, labels if the loss needs classes, and pictures `source` if
        it needs conditions."""
        classes = CLASSES if any("class" in need for need in self.part.needs) else 0
        conditions = {DERIVED: (8, 8, 1)} if CONDITIONS in self.part.needs else {}
        return Spec(8, 8, 1, classes, latent_dim=8, framework=self.framework, conditions=conditions)

    def make_source(self, *, size: int | None = None, channels: int = 1) -> ImageSource:
        """Noise images uint8 [64,H,W,C], with labels."""
        side = size or self.size
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (IMAGES, side, side, channels), dtype=np.uint8)
        labels = np.arange(IMAGES, dtype=np.int64) % CLASSES
        shapes = {"picture": (side, side, channels), "vector": (VECTOR,), "number": ()}
        own = {name: shapes[kind] for name, kind in self.condition_kinds.items()}
        conditions = make_random_rows(own, IMAGES, seed=1)
        names = tuple(f"class {number}" for number in range(CLASSES))
        return ImageSource(images, labels, names, background=0, conditions=conditions)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """The conditions of the model, or of the tiny networks."""
        return tuple(self.make_tiny_spec().conditions) if self.model is None else self.model.conditions

    @property
    def condition_kinds(self) -> dict[str, str]:
        """The kind of each condition: the first for which the model's networks can be built and called.

        A manifest gives only names: the model itself says, by failing, what it cannot take.
        """
        names = self.condition_names
        if self.model is None:
            return dict.fromkeys(names, "picture")
        if "condition kinds" not in self.cache:
            kinds = [dict(zip(names, each, strict=True)) for each in itertools.product(KINDS_TRIED, repeat=len(names))]
            self.cache["condition kinds"] = kinds[0]
            if names:
                self.cache["condition kinds"] = self._find_kinds(kinds)
        found: dict[str, str] = self.cache["condition kinds"]
        return found

    def _find_kinds(self, candidates: Sequence[dict[str, str]]) -> dict[str, str]:
        for kinds in candidates:
            self.cache["condition kinds"] = kinds
            with contextlib.suppress(Exception):  # whatever the model raises for a shape that it cannot take
                G, D, resolved, fitted = self.build_networks()
                for slot, network in (("generator", G), ("discriminator", D)):
                    spec = make_network_spec(resolved, fitted.spec, slot)
                    values = building.network_kwargs(resolved, slot, building.make_full_resolution_values(fitted))
                    is_generator = slot == "generator"
                    self.engine.list_layers(network, spec, is_generator=is_generator, values=values)
                return kinds
        return candidates[0]  # the checks report the error

    def make_request(
        self,
        picks: Mapping[str, Any] | None = None,
        *,
        data: ImageSource | None = None,
        modifiers: list[str] | None = None,
        **settings: Any,
    ) -> Request:
        """The request for a short run with the part."""
        small: dict[str, Any] = {
            "train.batch_size": BATCH,
            "train.accumulate": 1,  # the model's own number of parts may not divide it
            "train.length": "20steps",
            "train.report_every": "1steps",
            "train.sample_every": "20steps",
            "train.snapshot_every": "20steps",
            "train.checkpoint_every": "10steps",
            "train.sample_count": 4,
            "engine.device": "cpu",
            "engine.threads": 1,
            "data.size": self.size,
            "data.derive": "",  # by a preset; the source of noise brings the conditions
        }
        if self.model is None:
            small["model.latent_dim"] = 8
        chosen = dict(self.choose_picks() if picks is None else picks)
        chosen["data"] = data or self.make_source()
        if modifiers is None and self.part.kind == "modifiers":
            modifiers = [self.part.qualified_name]
        preset = self.preset if self.model is not None else None
        left_out = self.part.defaults if modifiers == [] else ()  # the settings of a modifier that is not picked
        own = {key: value for key, value in self.own_settings.items() if key not in left_out}
        return Request(picks=chosen, modifiers=modifiers, preset=preset, assigned={**small, **own, **settings})

    @cached_property
    def own_settings(self) -> dict[str, Any]:
        """The author's settings, without those that only other parts of the plugin have; by their full names."""
        parts = [part for part in catalog.scan().parts if part.distribution == self.part.distribution]
        known = _list_settings(self.part) | CORE_SETTINGS.keys()
        elsewhere = {key for part in parts for key in _list_settings(part)}
        own = {}
        for key, value in self.settings.items():
            matches = find_matches(key, known)
            if matches or not find_matches(key, elsewhere):  # one that no part has is refused when it is resolved
                own[matches[0] if len(matches) == 1 else key] = value
        return own

    def resolve_mix(self, **options: Any) -> Mix:
        """Resolve `make_request` to a mix."""
        return resolve(catalog.scan(), self.make_request(**options))

    def build_networks(
        self, *, size: int | None = None, channels: int = 1, **settings: Any
    ) -> tuple[Any, Any, Mix, DataFit]:
        """Build G and D at full resolution, for a size in pixels and a number of channels; also return mix and fit."""
        side = size or self.size
        source = self.make_source(size=side, channels=channels)
        resolved = self.resolve_mix(data=source, **{"data.size": side, **settings})
        fitted = building.fit_to_data(resolved, source)
        G, D = building.build_networks(self.engine, resolved, fitted, building.make_full_resolution_values(fitted))
        return G, D, resolved, fitted

    @staticmethod
    def list_stages(resolved: Mix, fitted: DataFit) -> list[dict[str, float]]:
        """Schedule values that together use every layer of a growing model."""
        if "resolution" not in resolved.parts["generator"].takes:
            return [building.make_full_resolution_values(fitted)]
        side, stages = max(fitted.spec.height, fitted.spec.width), []
        resolution = min(4, side)
        while resolution <= side:
            stages += [{"resolution": float(resolution), "fade": 0.5}]
            resolution *= 2
        return stages


def _list_settings(part: Part) -> set[str]:
    """The keys that a part's manifest declares, and `generator.*` and `discriminator.*` for each `model.*`."""
    keys = {*part.defaults, *(key for preset in part.presets.values() for key in preset)}
    networks = ("generator.", "discriminator.")
    return keys | {network + key[6:] for key in keys if key.startswith("model.") for network in networks}


class NonSaturating:
    """The loss of the contract's runs: E sp(-D(x)) + E sp(D(g)) and E sp(-D(g))."""

    def discriminator(self, step: Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))}

    def generator(self, step: Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


def constant_schedule(images: int) -> dict[str, float]:
    """A schedule without values."""
    return {}


def constant_rates(images: int) -> dict[str, float]:
    """The usual schedule, which gives a modifier of schedules learning rates to change."""
    lr = CORE_SETTINGS["train.lr"].default
    return {"lr_g": lr, "lr_d": lr}


def read_own_options(subject: Subject, namespace: str) -> dict[str, Any]:
    """The part's own settings, overridden by the author's."""
    prefix = f"{namespace}."
    defaults = {key: value for key, value in subject.part.defaults.items() if key.startswith(prefix)}
    own = {
        key: read_value(key, find_kind(key, defaults[key]), value)
        for key, value in subject.own_settings.items()
        if key in defaults
    }
    return {key.removeprefix(prefix): value for key, value in {**defaults, **own}.items()}
