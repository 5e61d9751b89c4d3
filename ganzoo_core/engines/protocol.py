"""The interface of engines and trainers, the same for all frameworks; the core uses nothing else of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ganzoo_core.api import Images, Spec
from ganzoo_core.engines.plan import Plan


class Trainer(Protocol):
    """Train one generator against one discriminator on one set of images, a step at a time."""

    G: Any
    D: Any
    plan: Plan

    @property
    def inference_generator(self) -> Any:
        """The generator to sample from and to save: the moving average if there is one, else G."""

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Train one step, after `step` steps and `images` real images, with the schedule's values."""

    def grow(self, values: Mapping[str, float]) -> None:
        """Grow both networks to the `resolution` in `values`."""

    def pop_means(self) -> dict[str, float]:
        """Return the mean of every term since the last call, and reset them."""

    def read_pending_sums(self) -> list[Any]:
        """The sums and counts behind `pop_means`, as numbers that JSON represents exactly."""

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Restore the result of `read_pending_sums`."""

    def read_state(self) -> dict[str, np.ndarray]:
        """The full training state except the position in the run, by name."""

    def describe_state(self) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
        """Name -> dtype and shape of the tensors for `restore_state`, and the names that may be missing."""

    def restore_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Restore the result of `read_state`."""

    def reset_ema(self) -> None:
        """Restart the moving average from G's current weights, after they were replaced."""


class Engine(Protocol):
    """One framework on one device; the classes in `torch/` and `tensorflow/` have the details."""

    framework: str
    notes: tuple[str, ...]
    tell: Callable[[str], None]
    group: Any  # the process group of distributed training, or None

    def describe(self) -> dict[str, Any]:
        """Facts to record with a run: framework, version, device, threads, precision."""

    def find_network_problem(self, network: Any) -> str:
        """What is wrong with the network that a hook built, in words; "" if nothing."""

    def build(
        self, make: Callable[[], Any], *, spec: Spec, slot: str, seed: int, values: Mapping[str, float] | None = None
    ) -> Any:
        """Build a network on the device, with weights drawn from (seed, slot)."""

    def use_seed(self, seed: int, purpose: str, *indices: int) -> AbstractContextManager[None]:
        """Seed the framework's own random generators by (seed, purpose, indices) within this context."""

    def create_trainer(
        self, G: Any, D: Any, loss: Any, plan: Plan, images: Images, labels: np.ndarray | None
    ) -> Trainer:
        """Create a trainer of these networks on these images (uint8 [N,H,W,C])."""

    def draw(self, G: Any, z: np.ndarray, labels: np.ndarray | None, values: Mapping[str, float]) -> np.ndarray:
        """Generate images (uint8 [N,H,W,C]) from z (float32 [N,latent_dim])."""

    def score_images(
        self,
        D: Any,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
    ) -> np.ndarray:
        """D's scores of images in evaluation mode: float32 [N], or [N,…] for a patch discriminator."""

    def find_batch_norms(self, network: Any) -> list[Any]:
        """The batch norm layers."""

    def recalibrate_batch_norm(
        self,
        D: Any,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
        batch_size: int,
    ) -> None:
        """Replace the running statistics of batch norm by those of these images, batch by batch."""

    def read_weights(self, network: Any) -> dict[str, np.ndarray]:
        """All weights and buffers by name."""

    def describe_weights(self, network: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> dtype and shape of the tensors that `load_weights` expects."""

    def load_weights(self, network: Any, tensors: Mapping[str, np.ndarray]) -> None:
        """Load saved weights and buffers."""

    def list_layers(
        self, network: Any, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """Each layer's name, type, output shape and number of parameters."""

    def count_parameters(self, network: Any) -> int:
        """The number of learnable parameters."""
