"""The network of a saved generator: built from its card, with its weights, in its own framework."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from ganzoo_core import building, engines
from ganzoo_core.api import Spec
from ganzoo_core.data.classes import Classes
from ganzoo_core.discovery import loading
from ganzoo_core.engines import size_limits
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.errors import UsageError
from ganzoo_core.generation import bundled
from ganzoo_core.generation.card import mix_from_card
from ganzoo_core.messages import format_value
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.settings import read_engine_settings
from ganzoo_core.storage.tensors import is_finite, read_tensors


class SavedNetwork:
    """A saved generator's card, and its network; see `saved.SavedGenerator` for the arguments.

    Raises:
        UsageError: if the folder is not a generator, or its plugin is not installed.
    """

    license = ""  # of the training data, and so of the generated images

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "auto",
        network: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.card = card = read_card(folder)
        shapes = {name: tuple(shape) for name, shape in card.spec.conditions.items()}
        self.spec = Spec(**{**msgspec.structs.asdict(card.spec), "conditions": shapes})
        self.class_names, self.images_seen, self.latent = card.class_names, card.images, card.latent
        self.classes = Classes(card.class_names, card.untrained_classes)
        self.license = card.license
        self._values: Mapping[str, float] = card.values
        self._mix = None if card.part is None else mix_from_card(card, folder)
        if self._mix is None and network is None:
            raise UsageError(f"{self.folder} was trained from an object; give it again: gz.load(…, network=G)")
        self._given_network = network
        self._engine_settings = read_engine_settings({"engine.device": device, **(settings or {})})

    def open(self) -> None:
        """Import the framework, build the network and load its weights now, rather than for the first image."""
        self._network  # noqa: B018  (cached)

    @cached_property
    def _engine(self) -> Engine:
        return engines.create_engine(self.spec.framework, self._engine_settings)

    @cached_property
    def _network(self) -> Any:
        if self._mix is not None:
            for part in (*self._mix.parts.values(), *self._mix.modifiers):
                loading.import_hooks(part)  # not in the block below: if it fails, the plugin is at fault, not the card
        with self._blame_card("asks for a network that cannot be built"):
            network = self._engine.build(
                lambda: self._given_network or self._build(),
                spec=self.spec,
                slot="generator",
                seed=0,
                values=self._values,
            )
        expected = bundled.apply_kernel_type(self._engine.describe_weights(network), self.card.kernels)
        tensors = read_tensors(self.folder / layout.WEIGHTS, expected)
        for name, tensor in tensors.items():
            if not is_finite(tensor):
                raise UsageError(
                    f"{self.folder / layout.WEIGHTS}: {format_value(name)} holds numbers that are not finite: the run "
                    "diverged, and nothing can be drawn; --checkpoint chooses an earlier snapshot"
                )
        self._engine.load_weights(network, bundled.to_float32(tensors))
        return network

    @contextlib.contextmanager
    def _blame_card(self, what: str) -> Iterator[None]:
        """Turn errors into UsageErrors that blame the card, whose values the plugin was called with."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except size_limits.NetworkTooLarge as error:
            raise UsageError(f"{self.folder / layout.CARD}: {error}") from error
        except BaseException as error:
            if size_limits.is_out_of_memory(error):
                what = "asks for more memory than there is"
            raise UsageError(f"{self.folder / layout.CARD} {what}: {error}") from error

    def _build(self) -> Any:
        assert self._mix is not None
        return building.call_slot(self._mix, "generator", self._engine.find_network_problem, spec=self.spec)
