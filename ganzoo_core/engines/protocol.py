"""What every engine and every trainer can do, whatever the framework: all that the core knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ganzoo_core.api import Images, Spec
from ganzoo_core.engines.plan import Plan


class Trainer(Protocol):
    """Trains one generator against one discriminator on one set of images, a step at a time."""

    G: Any
    D: Any
    plan: Plan

    @property
    def inference_generator(self) -> Any:
        """What samples are drawn from and what is saved: the moving average where there is one."""

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """One step, after so many steps and images, with the schedule's values."""

    def grow(self, values: Mapping[str, float]) -> None:
        """Add what growing networks need for the `resolution` among the values."""

    def pop_means(self) -> dict[str, float]:
        """The mean of every term since the last call; empties them."""

    def read_pending_sums(self) -> list[Any]:
        """What `pop_means` would take the means of, as numbers that JSON keeps exactly."""

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Put back what `read_pending_sums` gave."""

    def read_state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on beside its position, by name."""

    def describe_state(self) -> tuple[dict[str, tuple[str, tuple[int, ...]]], set[str]]:
        """Name -> dtype and shape of what `restore_state` takes, and the names that may be missing."""

    def restore_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Put back what `read_state` gave."""

    def reset_ema(self) -> None:
        """After the networks' weights were replaced: the moving average starts from them."""


class Engine(Protocol):
    """One framework on one device with its threads; the classes in `torch/` and `tensorflow/` have the details."""

    framework: str
    notes: tuple[str, ...]
    tell: Callable[[str], None]
    group: Any  # of the processes that train together; None where one trains alone

    def describe(self) -> dict[str, Any]:
        """Facts that belong to a run: framework, version, device, threads, precision."""

    def find_network_problem(self, network: Any) -> str:
        """What is wrong with what a hook built, in words; "" for nothing."""

    def build(
        self, make: Callable[[], Any], *, spec: Spec, slot: str, seed: int, values: Mapping[str, float] | None = None
    ) -> Any:
        """A network on the device, with weights drawn from (seed, slot)."""

    def use_seed(self, seed: int, purpose: str, *indices: int) -> AbstractContextManager[None]:
        """Let the framework's own generators start from (seed, purpose, indices)."""

    def create_trainer(
        self, G: Any, D: Any, loss: Any, plan: Plan, images: Images, labels: np.ndarray | None
    ) -> Trainer:
        """A trainer of these networks on these images (uint8 [N,H,W,C])."""

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
        """What D says of images in evaluation mode: float32 [N], or [N,…] where it scores patches."""

    def find_batch_norms(self, network: Any) -> list[Any]:
        """The layers that normalise by the batch while training, and by running means otherwise."""

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
        """Replace the running means of batch norm by those of these images, a batch at a time."""

    def read_weights(self, network: Any) -> dict[str, np.ndarray]:
        """All weights and buffers by name."""

    def describe_weights(self, network: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> dtype and shape of all that `load_weights` wants."""

    def load_weights(self, network: Any, tensors: Mapping[str, np.ndarray]) -> None:
        """Put saved weights and buffers back."""

    def list_layers(
        self, network: Any, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """Each layer's name, type, output shape and number of parameters."""

    def count_parameters(self, network: Any) -> int:
        """Learnable parameters."""
