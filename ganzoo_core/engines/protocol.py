"""The interface of engines and trainers, the same for all frameworks; the core uses nothing else of them.

An engine's package exports `Engine`, which mypy checks against `EngineFactory`, and `make_ops_like`. Axes: N images,
H height, W width, C channels (1 or 3). Images cross this interface as uint8 [N,H,W,C]; the networks get the layout and
the type that are usual in the framework. An engine names the weights as it likes, but those of the same network always
in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ganzoo_core.api import Images, Loss, Memory, Spec
from ganzoo_core.data.conditions import Conditions, Rows
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import ProcessGroup
from ganzoo_core.engines.network_call import NetworkCall
from ganzoo_core.engines.plan import Plan

Network = Any
"""A native network, such as a `torch.nn.Module`; only its engine looks inside."""
TensorShapes = dict[str, tuple[str, tuple[int, ...]]]
"""Name -> numpy's name of the dtype, and the shape."""


class Trainer(Protocol):
    """Train one generator against one discriminator on one set of images, a step at a time.

    Features that the plan asks for and every trainer has: alternating and simultaneous updates, several updates of D
    for one of G, batches in parts, the optimizers of `train.optimizer`, clipping of gradients and of weights, a moving
    average of G's weights (EMA), labels, networks that grow with the schedule's `resolution`, losses with memory and
    with penalties that are differentiated twice, and a state that resumes exactly: a run that was stopped and resumed
    gives the same bits as one that was not, on the same machine. The random numbers of a step depend on the seed, the
    step, D's turn within it and the part of the batch alone.

    Attributes:
        G, D: the networks that are trained.
        plan: what the trainer was created with.
        declared_memory: what the loss keeps from step to step, by name.

    Raises:
        DataError: when created, if there are no images.
        UsageError: when created, and in `grow`, if a network has no learnable parameters.
        PluginError: when created, if the loss's `memory` is not made of names, numbers and arrays. In `step`, if D
            returns a mapping without `scores`; if the loss does what `api.Step` and `api.Loss` do not allow; and, the
            first time that it is computed, if a penalty has no gradient in D.
        RankError: see the methods; only in distributed training.
        TypeError, ValueError, IndexError: in `restore_pending_sums`, for what `read_pending_sums` did not return.

    Errors of the networks' own code, and the framework's when memory runs out, are passed on as they are.
    """

    G: Network
    D: Network
    plan: Plan
    declared_memory: Mapping[str, Memory]

    @property
    def inference_generator(self) -> Network:
        """The generator to sample from and to save: the moving average if there is one, else G."""

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        """Make `plan.critic_steps` updates of D, then one of G; it counts `plan.images_per_step` images.

        Values that are not finite do not raise: the runner sees them in `pop_means` and in the weights.

        Args:
            step: the number of steps before this one.
            images: the number of real images seen before this step.
            values: the schedule's values at this point. `lr_g`, `lr_d`, `beta2`, `ema_halflife` override the plan; a
                higher `resolution` grows the networks first.

        Raises:
            PluginError: see above.
            RankError: if the other processes of distributed training do not answer.
        """

    def grow(self, values: Mapping[str, float]) -> None:
        """Grow both networks to the `resolution` in `values`, and restart both optimizers with empty state.

        Does nothing if they have that resolution already. Layers that are kept keep their weights; new ones are drawn
        from the seed, the network and the resolution.
        """

    def pop_means(self) -> dict[str, float]:
        """The mean of every term since the last call, which resets them: `discriminator/NAME` and `generator/NAME`.

        The only method of a training loop that waits for the device. Empty if there was no step since.
        """

    def read_pending_sums(self) -> list[Any]:
        """The sums and counts behind `pop_means`, in lists of text and of numbers that JSON represents exactly."""

    def restore_pending_sums(self, pending: list[Any]) -> None:
        """Restore the result of `read_pending_sums`."""

    def read_state(self) -> dict[str, np.ndarray]:
        """The state by name, copied: weights, buffers, EMA, optimizers and the loss's memory, but no position.

        Raises:
            RankError: if weights differ between the processes of distributed training.
        """

    def describe_state(self) -> tuple[TensorShapes, set[str]]:
        """The tensors that `restore_state` takes, and the names of those that may be missing."""

    def restore_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Restore the result of `read_state`, of networks that were grown to the same resolution.

        The names and shapes are those of `describe_state`; the caller has checked them.
        """

    def reset_ema(self) -> None:
        """Restart the moving average from G's current weights, after they were replaced; without one, do nothing."""


class Engine(Protocol):
    """One framework on one device.

    Attributes:
        framework: its name in `frameworks.FRAMEWORKS`.
        notes: notes for the user, shown before a run.
        tell: called with notes for the user during training; the caller sets it.
        group: the process group of distributed training; None if this process trains alone.
        keeps_memory: whether the process keeps freed memory, which is recorded with a run.
    """

    tell: Callable[[str], None]

    @property
    def framework(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def group(self) -> ProcessGroup | None: ...
    @property
    def keeps_memory(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """Facts to record with a run, as JSON values: at least `framework`, `version`, `device` (`cpu`, `cuda` or
        `mps`), `threads`, `precision` and `compile`. Resuming warns of those that changed."""

    def find_network_problem(self, network: object, call: NetworkCall | None = None) -> str:
        """What is wrong with what a hook built, or why it cannot be called so, in words; "" if nothing."""

    def build(
        self,
        make: Callable[[], Network],
        *,
        spec: Spec,
        slot: str,
        seed: int,
        values: Mapping[str, float] | None = None,
    ) -> Network:
        """Build a network on the device, with all weights drawn from (seed, slot).

        Args:
            make: returns the network; it may be called several times, and must return the same one each time.
            spec: the shapes it is built for.
            slot: `generator` or `discriminator`.
            seed: for the weights.
            values: the schedule's values that the network takes; a growing network is grown to their `resolution`.

        Raises:
            NetworkTooLarge: if it has more than `max_parameters`, now or when grown to the size of `spec`, or if memory
                does not suffice.
        """

    def use_seed(self, seed: int, purpose: str, *indices: int) -> AbstractContextManager[None]:
        """Seed the framework's own random generators by (seed, purpose, indices) within this context."""

    def create_trainer(
        self,
        G: Network,
        D: Network,
        loss: Loss,
        plan: Plan,
        images: Images,
        labels: np.ndarray | None,
        conditions: Mapping[str, Rows] | None = None,
    ) -> Trainer:
        """Create a trainer, which changes these networks.

        Args:
            G, D: networks that `build` returned.
            loss: its terms are summed and differentiated; see `api.Loss`.
            plan: see `Plan`.
            images: uint8 [N,H,W,C], framed to the networks' size; they may be read from a file on demand.
            labels: int64 [N]; None, or ignored, for a plan that is not `conditional`.
            conditions: name -> rows aligned with the images, of at least those that the plan names.

        Raises:
            UsageError: if this device cannot train in the requested precision; and what `Trainer` raises when created.
        """

    def draw(
        self,
        G: Network,
        z: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        conditions: Conditions | None = None,
        alone: bool = False,
        noise_seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """Generate images in evaluation mode and float32, in chunks of `DRAW_BATCH_SIZE`; G is left as it was.

        Args:
            G: a generator, or a trainer's `inference_generator`.
            z: float32 [N, latent_dim], with N of at least 1.
            labels: int64 [N], or None for an unconditional G.
            values: exactly the schedule's values that G takes.
            conditions: name -> N rows, of exactly the conditions that G takes.
            alone: draw each image by itself in training mode, so with dropout and its own batch statistics; G's buffers
                stay as they were.
            noise_seed: of what the framework draws then, together with the image's index.
            first: the index of the first image, where these are a part of those that are drawn.

        Returns:
            uint8 [N,H,W,C], at the resolution that G has grown to; the same arguments give the same bytes.
        """

    def score_images(
        self,
        D: Network,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
    ) -> np.ndarray:
        """D's scores of images in evaluation mode, where batch norm uses its running statistics.

        Args:
            D: the discriminator.
            images: uint8 [N,H,W,C], framed by `framing.prepare`.
            labels: int64 [N], or None.
            values: the schedule's; for a growing D the images are reduced to its `resolution`.
            takes: names of the values that D is called with.

        Returns:
            float32 [N], or [N,…] for a patch discriminator.

        Raises:
            PluginError: if D returns a mapping without `scores`.
        """

    def find_batch_norms(self, network: Network) -> list[Any]:
        """The network's batch norm layers; empty if it has none."""

    def recalibrate_batch_norm(
        self,
        D: Network,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
        batch_size: int,
    ) -> None:
        """Replace D's running statistics of batch norm by the means over these images, batch by batch.

        Arguments, and what is raised, as in `score_images`; every batch counts alike.
        """

    def read_weights(self, network: Network) -> dict[str, np.ndarray]:
        """All weights and buffers by name: contiguous copies, which later training does not change."""

    def describe_weights(self, network: Network) -> TensorShapes:
        """The tensors that `load_weights` takes."""

    def load_weights(self, network: Network, tensors: Mapping[str, np.ndarray]) -> None:
        """Load weights and buffers; the caller has checked names and shapes against `describe_weights`."""

    def list_layers(
        self, network: Network, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """A row per layer, in the order of a forward pass: `layer` (its name), `type`, `output` (its shape, beginning
        with "N") and `parameters` (their number). `values` are those that the network takes."""

    def count_parameters(self, network: Network) -> int:
        """The number of learnable parameters."""


class EngineFactory(Protocol):
    """What an engine's package exports as `Engine`."""

    def __call__(
        self,
        *,
        device: str,
        threads: int,
        channels_last: bool,
        precision: str,
        compile: bool,
        max_parameters: int,
        launch: Launch | None,
        timeout: float,
    ) -> Engine:
        """Create the engine; settings of the same names in `engine.*` have the details.

        Args:
            device: `auto`, `cpu`, `cuda` or `mps`.
            threads: CPU threads, at least 1.
            channels_last: whether to use the layout that convolutions prefer, if the framework has several.
            precision: `float32` or `bfloat16`, of training; checked by `create_trainer`.
            compile: whether to compile the training step. Where that fails, training runs uncompiled, and says so.
            max_parameters: limit per network.
            launch: how this process of several was started, which are joined here. None if it trains alone, and
                always for a framework that has one process per run.
            timeout: seconds to wait for other processes.

        Raises:
            UsageError: if the device is not available.
            RankError: if the other processes cannot be reached.
        """
