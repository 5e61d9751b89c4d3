"""The engine of the toy framework. It differentiates by finite differences, and trains by gradient descent alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import toy

from ganzoo_core.api import Images, Loss, Memory, Spec, Step
from ganzoo_core.data import pixels
from ganzoo_core.data.stream import Stream
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator, check_terms, sum_terms
from ganzoo_core.engines.network_call import NetworkCall
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.plan import Plan
from ganzoo_core.engines.protocol import EngineFactory, TensorShapes
from ganzoo_core.randomness import latents, philox

RATE, STEP_SIZE = 0.1, 1e-2


def make_ops_like(x: object) -> NumpyOps:
    return NumpyOps(philox(0, "toy"))


def describe(tensors: Mapping[str, np.ndarray]) -> TensorShapes:
    return {name: (str(array.dtype), array.shape) for name, array in tensors.items()}


class Trainer:
    """See `protocol.Trainer`; without EMA, labels, growing or any optimizer but plain gradient descent."""

    def __init__(self, G: Any, D: Any, loss: Loss, plan: Plan, images: Images) -> None:
        self.G, self.D, self.loss, self.plan, self.images = G, D, loss, plan, images
        self.reals = Stream(len(images), seed=plan.seed, purpose="data")
        self.pending: list[Any] = []
        self.declared_memory: Mapping[str, Memory] = {}

    @property
    def inference_generator(self) -> Any:
        return self.G

    def step(self, step: int, images: int, values: Mapping[str, float]) -> None:
        batch = self.images[self.reals.take_indices(images, self.plan.batch_size)]
        real = pixels.preprocess(batch)
        z = latents(philox(self.plan.seed, "z", step), len(real), self.plan.latent_dim, self.plan.latent)
        for phase, network in (("discriminator", self.D), ("generator", self.G)):
            self._descend(phase, network, real, z, values)

    def _descend(
        self, phase: str, network: toy.Network, real: np.ndarray, z: np.ndarray, values: Mapping[str, float]
    ) -> None:
        def compute_terms() -> Mapping[str, Any]:
            fake = self.G(z)
            D = BoundDiscriminator(lambda x, arguments: self.D(x), {}, real=real, fake=fake)
            view = Step(
                D, BoundGenerator(lambda z, arguments: self.G(z), {}), real, fake, None, z, values, make_ops_like(real)
            )
            return check_terms(getattr(self.loss, phase)(view), self.loss, phase)

        self.pending += [[f"{phase}/{name}", float(term)] for name, term in compute_terms().items()]
        gradients = {name: np.zeros_like(array) for name, array in network.weights.items()}
        for name, array in network.weights.items():
            for index in np.ndindex(array.shape):
                former = array[index]
                array[index] = former + STEP_SIZE
                above = sum_terms(compute_terms())
                array[index] = former - STEP_SIZE
                gradients[name][index] = (above - sum_terms(compute_terms())) / (2 * STEP_SIZE)
                array[index] = former
        for name, gradient in gradients.items():
            network.weights[name] -= RATE * gradient

    def grow(self, values: Mapping[str, float]) -> None:
        raise NotImplementedError("the toy's networks do not grow")

    def pop_means(self) -> dict[str, float]:
        names = dict.fromkeys(name for name, _ in self.pending)
        means = {name: float(np.mean([value for other, value in self.pending if other == name])) for name in names}
        self.pending = []
        return means

    def read_pending_sums(self) -> list[Any]:
        return list(self.pending)

    def restore_pending_sums(self, pending: list[Any]) -> None:
        self.pending = [[name, value] for name, value in pending]

    def read_state(self) -> dict[str, np.ndarray]:
        return {
            f"{label}/{name}": array.copy()
            for label, network in (("G", self.G), ("D", self.D))
            for name, array in network.weights.items()
        }

    def describe_state(self) -> tuple[TensorShapes, set[str]]:
        return describe(self.read_state()), set()

    def restore_state(self, tensors: Mapping[str, np.ndarray]) -> None:
        for label, network in (("G", self.G), ("D", self.D)):
            network.weights = {name: tensors[f"{label}/{name}"].copy() for name in network.weights}

    def reset_ema(self) -> None:
        pass


class Engine:
    """See `protocol.Engine`."""

    framework, group, keeps_memory = "toy", None, False
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int = 1,
        channels_last: bool = True,
        precision: str = "float32",
        compile: bool = False,
        max_parameters: int = 10**9,
        launch: Launch | None = None,
        timeout: float = 0.0,
    ) -> None:
        self.precision, self.compile = precision, compile
        self.tell: Callable[[str], None] = lambda note: None

    def describe(self) -> dict[str, Any]:
        facts = {"framework": self.framework, "version": "1.0", "device": "cpu", "threads": 1}
        return {**facts, "precision": self.precision, "compile": self.compile}

    def find_network_problem(self, network: object, call: NetworkCall | None = None) -> str:
        return "" if isinstance(network, toy.Network) else f"a {type(network).__name__}; expected a toy.Network"

    def build(
        self, make: Callable[[], Any], *, spec: Spec, slot: str, seed: int, values: Mapping[str, float] | None = None
    ) -> Any:
        with self.use_seed(seed, f"weights of the {slot}"):
            return make()

    @contextlib.contextmanager
    def use_seed(self, seed: int, purpose: str, *indices: int) -> Iterator[None]:
        former, toy.random = toy.random, philox(seed, purpose, *indices)
        try:
            yield
        finally:
            toy.random = former

    def create_trainer(
        self,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        images: Images,
        labels: np.ndarray | None,
        conditions: Mapping[str, Any] | None = None,
    ) -> Trainer:
        return Trainer(G, D, loss, plan, images)

    def draw(
        self,
        G: Any,
        z: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        conditions: Mapping[str, Any] | None = None,
        alone: bool = False,
        noise_seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        return pixels.deprocess(G(z).astype(np.float32))

    def score_images(
        self,
        D: Any,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
    ) -> np.ndarray:
        scores: np.ndarray = D(pixels.preprocess(images))
        return scores

    def find_batch_norms(self, network: Any) -> list[Any]:
        return []

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
        pass

    def read_weights(self, network: Any) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in network.weights.items()}

    def describe_weights(self, network: Any) -> TensorShapes:
        return describe(network.weights)

    def load_weights(self, network: Any, tensors: Mapping[str, np.ndarray]) -> None:
        network.weights = {name: np.array(tensors[name]) for name in network.weights}

    def list_layers(
        self, network: Any, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        output = ["N", *network.shape] if is_generator else ["N"]
        count = self.count_parameters(network)
        return [{"layer": "dense", "type": "Network", "output": output, "parameters": count}]

    def count_parameters(self, network: Any) -> int:
        return sum(array.size for array in network.weights.values())


_checked: EngineFactory = Engine
