"""The TensorFlow engine: build networks, generate images, score images, read and load weights."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo_core.api import Images, Loss, Spec
from ganzoo_core.data import pixels
from ganzoo_core.data.conditions import Conditions, Rows
from ganzoo_core.data.framing import count_halvings, shrink_spec
from ganzoo_core.distributed.launchers import Launch, note_unused_gpus
from ganzoo_core.engines import protocol, size_limits
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.engines.network_call import NetworkCall
from ganzoo_core.engines.plan import DRAW_BATCH_SIZE, Plan
from ganzoo_core.engines.tensorflow import import_tensorflow, network_size
from ganzoo_core.engines.tensorflow.data import TrainingImages, to_resolution
from ganzoo_core.engines.tensorflow.device import choose_rank_device, count_threads, pick_device, set_threads
from ganzoo_core.engines.tensorflow.layer_table import make_layer_rows
from ganzoo_core.engines.tensorflow.networks import (
    EmaNetwork,
    Network,
    as_keywords,
    assign_seeds,
    call_keras_network,
    find_call_problem,
    make_zero_arguments,
    name_weights,
)
from ganzoo_core.engines.tensorflow.precision import check_precision
from ganzoo_core.engines.tensorflow.process_group import TensorFlowProcessGroup
from ganzoo_core.engines.tensorflow.trainer import Trainer
from ganzoo_core.messages import pluralise
from ganzoo_core.randomness import philox, seed_for


class Engine:
    """TensorFlow on one device. `protocol.Engine` documents the methods, `protocol.EngineFactory` the arguments.

    `precision` is that of convolutions and matrix products in training. `compile` compiles each phase's graph by XLA,
    see `compiling`. `channels_last` is ignored, since Keras' images are always [N,H,W,C].
    """

    framework = "tensorflow"
    keeps_memory = False

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int = 1,
        channels_last: bool = True,
        precision: str = "float32",
        compile: bool = False,
        max_parameters: int = size_limits.DEFAULT_MAX_PARAMETERS,
        launch: Launch | None = None,
        timeout: float = 0.0,
    ) -> None:
        self.precision, self.compile, self.max_parameters = precision, compile, max_parameters
        self.tell: Callable[[str], None] = lambda note: None
        self.group: TensorFlowProcessGroup | None = None
        notes = list(import_tensorflow.list_notes())
        with import_tensorflow.hide_noise():
            if not set_threads(threads):
                notes.append(
                    "TensorFlow was in use before, so it keeps "
                    f"{pluralise(count_threads(), 'thread') if count_threads() else 'its own number of threads'} "
                    f"instead of {threads}"
                )
            self.device_type = pick_device(device)
            if launch is not None:
                self.device_type = choose_rank_device(self.device_type, launch)
            # Whether TensorFlow's remapper fuses operations, or fails with a message, depends on the layers' names.
            # These are numbered within a process, so the same run could give other bits in another process.
            tf.config.optimizer.set_experimental_options({"remapping": False})
            self.device = "/CPU:0" if self.device_type == "cpu" else "/GPU:0"
            if launch is not None:
                self.group = TensorFlowProcessGroup(launch, device=self.device, timeout=timeout)
            tf.zeros(1)  # starts TensorFlow's runtime while its messages are hidden
        if self.device_type != "cpu" and launch is None:
            notes += note_unused_gpus(self.framework, len(tf.config.list_physical_devices("GPU")))
        self.notes = tuple(notes)

    def describe(self) -> dict[str, Any]:
        """Facts to record with a run: framework, versions, device, threads, oneDNN, precision, compile."""
        facts = {"framework": self.framework, "version": tf.__version__, "keras": keras.__version__}
        facts |= {
            "device": self.device_type,
            "threads": count_threads(),
            "onednn": import_tensorflow.find_onednn_state(),
        }
        return {**facts, "precision": self.precision, "compile": self.compile}

    def find_network_problem(self, network: object, call: NetworkCall | None = None) -> str:
        """What is wrong with the network that a hook built, in words; "" if nothing."""
        if not isinstance(network, keras.Model):
            return f"a {type(network).__name__}; expected a keras.Model"
        problem = "" if call is None else find_call_problem(network, call)
        return problem and f"a {type(network).__name__} {problem}"

    def build(
        self, make: Callable[[], Any], *, spec: Spec, slot: str, seed: int, values: Mapping[str, float] | None = None
    ) -> Network:
        """Call `make`, then the network once to create its variables, with weights drawn from (seed, slot)."""

        def build(values: Mapping[str, float], known: Network = None) -> Network:
            with self.use_seed(seed, f"weights of the {slot}"):
                network = make()
                if "resolution" not in values:
                    self._call_once(network, spec, slot, values)
            if "resolution" in values and network is not known:
                self.grow(network, values, spec=spec, slot=slot, seed=seed)
            return network

        values, full = dict(values or {}), max(spec.height, spec.width)
        network = size_limits.build_within_limit(
            self.max_parameters, slot, lambda: build(values), network_size.watch_construction
        )
        if hasattr(network, "grow") and 0 < values.get("resolution", 0) < full:
            whole = {**values, "resolution": full}
            counted = size_limits.count_without_memory(
                self.max_parameters, lambda: build(whole, network), network_size.watch_construction
            )
            if counted is not None:
                size_limits.check_count(counted, self.max_parameters, f"{slot}, fully grown,")
            with self.use_seed(seed, f"weights of the {slot}", int(values["resolution"])):
                pass  # reset the global seed: Keras' unseeded draws must not use state from inside the counting graph
        return network

    def grow(self, network: Network, values: Mapping[str, float], *, spec: Spec, slot: str, seed: int) -> None:
        """Grow a network to `resolution`, with new weights drawn from (seed, slot, resolution)."""
        resolution = int(values["resolution"])
        with self.use_seed(seed, f"weights of the {slot}", resolution):
            if hasattr(network, "grow"):
                network.grow(resolution)
            self._call_once(network, spec, slot, values)

    def _call_once(self, network: Network, spec: Spec, slot: str, values: Mapping[str, float]) -> None:
        """Call a network once on zeros, since most Keras networks create their variables on the first call."""
        size = spec.height, spec.width
        scale = 1 << count_halvings(size, int(values.get("resolution", max(size))))
        image = (2, spec.height // scale, spec.width // scale, spec.channels)
        x = tf.zeros((2, spec.latent_dim) if slot == "generator" else image)
        call_keras_network(
            network, x, {**make_zero_arguments(shrink_spec(spec, values), 2), **as_keywords(values)}, training=False
        )

    @contextlib.contextmanager
    def use_seed(self, seed: int, purpose: str, *indices: int) -> Iterator[None]:
        """Seed initialisers by (seed, purpose, indices), on this device and with Keras' default conventions.

        Keras draws the seeds of initialisers and dropout layers from Python's generator. On exit Python's and numpy's
        states are restored; TensorFlow's global seed cannot be read, so it stays changed.
        """
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the ones that Keras seeds)
        conventions = keras.config.image_data_format(), keras.config.floatx()
        try:
            keras.utils.set_random_seed(seed_for(seed, purpose, *indices) % 2**32)
            keras.config.set_image_data_format("channels_last")
            keras.config.set_floatx("float32")
            with tf.device(self.device):
                yield
        finally:
            keras.config.set_image_data_format(conventions[0])
            keras.config.set_floatx(conventions[1])
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002

    def create_trainer(
        self,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        images: Images,
        labels: np.ndarray | None,
        conditions: Mapping[str, Rows] | None = None,
    ) -> protocol.Trainer:
        """Create a trainer of these networks on these images (uint8 [N,H,W,C])."""
        if self.compile and self.group:
            self.tell(
                "engine.compile is on, and nothing can be compiled here (several processes train together, and what "
                "one compiled another might not have); training runs without"
            )
            self.compile = False
        check_precision(self.precision, device_type=self.device_type, compile=self.compile)
        return Trainer(self, G, D, loss, plan, images, labels, conditions)

    def draw(
        self,
        G: Any,
        z: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        conditions: Conditions | None = None,
        alone: bool = False,
        noise_seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """Generate images, in evaluation mode unless `alone`."""
        data = TrainingImages(np.zeros((len(z), 1, 1, 1), np.uint8), labels, "CPU", conditions)
        is_average, size = isinstance(G, EmaNetwork), 1 if alone else DRAW_BATCH_SIZE
        network, chunks = G.network if is_average else G, []
        for start in range(0, len(z), size):
            indices = np.arange(start, min(start + size, len(z)))
            # In a stateless scope what training mode assigns, such as batch norm's statistics, is dropped.
            plain = keras.StatelessScope() if alone else contextlib.nullcontext()
            with tf.device(self.device), G.use_averages() if is_average else plain:
                if alone:
                    assign_seeds(network, philox(noise_seed, "drawing", first + start))
                arguments = {**data.gather_given(indices), **as_keywords(values)}
                out = call_keras_network(network, tf.constant(z[indices]), arguments, training=alone)
            chunks.append(pixels.deprocess(out.numpy().astype(np.float32)))
        return np.concatenate(chunks)

    def score_images(
        self,
        D: Network,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
    ) -> np.ndarray:
        """D's scores of images in evaluation mode, where batch norm uses its running statistics."""
        batches = self._score_batches(D, images, labels, values, takes, DRAW_BATCH_SIZE, training=False)
        return np.concatenate([scores.numpy().astype(np.float32) for scores in batches])

    def find_batch_norms(self, network: Network) -> list[Any]:
        """The batch norm layers."""
        return [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]

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
        """Replace the running statistics of batch norm by those of these images, batch by batch."""
        norms = self.find_batch_norms(D)
        former = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0  # for the first batch; then a cumulative average with equal weights
        for batch, _ in enumerate(
            self._score_batches(D, images, labels, values, takes, batch_size, training=True), start=1
        ):
            for norm in norms:
                norm.momentum = batch / (batch + 1)
        for norm, momentum in zip(norms, former, strict=True):
            norm.momentum = momentum

    def _score_batches(
        self,
        D: Network,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        takes: Sequence[str],
        batch_size: int,
        *,
        training: bool,
    ) -> Iterator[Any]:
        keywords = as_keywords({name: values[name] for name in takes if name in values})
        stage = {name: int(value) if name == "resolution" else value for name, value in values.items()}
        data = TrainingImages(images, labels, self.device)
        for first in range(0, len(images), batch_size):
            with tf.device(self.device):
                encoded, given = data.gather_encoded(np.arange(first, min(first + batch_size, len(images))))
                batch = to_resolution(data.decode(encoded), stage)
                scores = as_outputs(call_keras_network(D, batch, {**given, **keywords}, training=training))["scores"]
            yield scores

    def read_weights(self, network: Any) -> dict[str, np.ndarray]:
        """All weights by position and name, as numpy arrays."""
        return {name: weight.numpy() for name, weight in name_weights(network).items()}

    def describe_weights(self, network: Network) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> dtype and shape of the tensors that `load_weights` expects."""
        return {name: (weight.dtype, tuple(weight.shape)) for name, weight in name_weights(network).items()}

    def load_weights(self, network: Network, tensors: Mapping[str, np.ndarray]) -> None:
        """Load saved weights, whose names and shapes match `describe_weights`."""
        for name, weight in name_weights(network).items():
            weight.assign(tensors[name])

    def list_layers(
        self, network: Network, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """See `layer_table.make_layer_rows`."""
        slot = "generator" if is_generator else "discriminator"
        return make_layer_rows(lambda: self._call_once(network, spec, slot, values))

    def count_parameters(self, network: Network) -> int:
        """The number of learnable parameters."""
        return sum(math.prod(weight.shape) for weight in network.trainable_weights)
