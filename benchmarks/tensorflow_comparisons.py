"""TensorFlow's rows: the step of each model's plain.py beside the runner.

The tutorials run with TensorFlow as it comes: without oneDNN on a CPU without AVX-512, and with it on others, where a
second process has it switched off to show what the former have.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from comparisons import Comparison, Row, RowSetup, find_package, iterate_batches
from pairs import Loop
from remote import RemoteLoop

STAGES = (4, 8, 16, 32)
UNKNOWN_WORK = ("BatchMatMulV2", "Einsum", "DepthwiseConv2dNative", "PartitionedCall", "StatefulPartitionedCall")


def make_comparisons(row: Row, device: str) -> Iterator[Comparison]:
    """dcgan-tf: simultaneous, then alternating updates. progan-tf: each stage, without a fade. Others as they are."""
    if not row.tutorial:
        yield make_comparison(row, device)
        return
    with ExitStack() as stack:
        slow = {"TF_ENABLE_ONEDNN_OPTS": "0"}
        as_it_comes = stack.enter_context(RemoteLoop.start(row, device))
        if row.model == "dcgan-tf":
            tutorials = {
                "tutorial": as_it_comes,
                "tutorial, oneDNN off": stack.enter_context(RemoteLoop.start(row, device, slow)),
            }
            yield from _compare_dcgan(row, device, tutorials)
        else:
            yield from _compare_progan(row, device, as_it_comes)


def _compare_dcgan(row: Row, device: str, tutorials: dict[str, RemoteLoop]) -> Iterator[Comparison]:
    for updates in ("simultaneous", "alternating"):
        found = _compare_fixed(row, device, updates)
        yield replace(found, others=partial(_join, found.others, tutorials))


def _compare_progan(row: Row, device: str, tutorial: RemoteLoop) -> Iterator[Comparison]:
    ours = RowSetup(row, device)
    trainer = ours.build_trainer({"resolution": STAGES[0], "fade": 1.0})
    for stage in STAGES:
        found = _compare_stage(ours, trainer, stage)
        yield replace(found, others=partial(_join, found.others, {"tutorial": tutorial.at_resolution(stage)}))


def _join(make: Callable[[], dict[str, Loop]], tutorials: Mapping[str, RemoteLoop]) -> dict[str, Loop]:
    return {**make(), **tutorials}


def make_comparison(row: Row, device: str) -> Comparison:
    """The runner beside the loop of plain.py; a model that grows is measured at its full size."""
    if row.model != "progan-tf":
        return _compare_fixed(row, device)
    ours = RowSetup(row, device)
    return _compare_stage(ours, ours.build_trainer({"resolution": row.size, "fade": 1.0}), row.size)


def _compare_fixed(row: Row, device: str, updates: str = "") -> Comparison:
    """With other `updates` than the model's own dcgan-tf's loop is the one that is written out below."""
    ours = RowSetup(row, device, **({"train.updates": updates} if updates else {}))
    trainer = ours.build_trainer()
    plain = plain_alternating if updates == "alternating" else plain_step
    counted = FlopCounter()
    return Comparison(
        updates or f"{row.size} px",
        ours.make_runner_loop(trainer),
        lambda: {"plain": plain(ours, counted)},
        counted.make_counter(row.batch),
        partial(ours.count_parameters, trainer),
    )


def _compare_stage(ours: RowSetup, trainer: Any, stage: int) -> Comparison:
    values, counted = {"resolution": float(stage), "fade": 1.0}, FlopCounter()
    return Comparison(
        f"{stage} px",
        ours.make_runner_loop(trainer, values),
        lambda: {"plain": plain_growing(ours, values, counted)},
        counted.make_counter(ours.row.batch),
        partial(ours.count_parameters, trainer),
    )


def collect_facts() -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from ganzoo_core.engines.tensorflow import import_tensorflow

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "threads": threads,
        "oneDNN": import_tensorflow.find_onednn_state(),
    }


class FlopCounter:
    """The graph of a step, once it was traced, and the work in it."""

    def __init__(self) -> None:
        self.graph: Any = None

    def make_counter(self, batch: int) -> Callable[[], float]:
        """GFLOP an image, once the graph is there."""
        return lambda: count_flop(self.graph) / batch / 1e9


def plain_step(ours: RowSetup, counted: FlopCounter) -> Loop:
    """`train_step` of plain.py, of a model that does not grow; that of dcgan-tf is simultaneous."""
    plain = importlib.import_module(f"{find_package(ours.row)}.plain")
    G, D, opt_g, opt_d = _make_networks(ours)
    draw = _make_sampler(ours)
    counted.graph = plain.train_step.get_concrete_function(G, D, opt_g, opt_d, *draw()).graph

    def loop(steps: int) -> None:
        for _ in range(steps):
            losses = plain.train_step(G, D, opt_g, opt_d, *draw())
        [float(loss) for loss in losses]

    return loop


def plain_alternating(ours: RowSetup, counted: FlopCounter) -> Loop:
    """The same networks and losses; G's step against the new D, with the images of D's step."""
    import tensorflow as tf

    G, D, opt_g, opt_d = _make_networks(ours)
    draw = _make_sampler(ours)

    @tf.function(autograph=False)
    def train_step(real: Any, z: Any) -> Any:
        with tf.GradientTape() as g_tape:
            fake = G(z, training=True)
            with g_tape.stop_recording():
                with tf.GradientTape() as d_tape:
                    d_loss = tf.reduce_mean(tf.nn.softplus(-D(real, training=True)))
                    d_loss += tf.reduce_mean(tf.nn.softplus(D(fake, training=True)))
                opt_d.apply(d_tape.gradient(d_loss, D.trainable_variables), D.trainable_variables)
            g_loss = tf.reduce_mean(tf.nn.softplus(-D(fake, training=True)))
        opt_g.apply(g_tape.gradient(g_loss, G.trainable_variables), G.trainable_variables)
        return d_loss, g_loss

    counted.graph = train_step.get_concrete_function(*draw()).graph

    def loop(steps: int) -> None:
        for _ in range(steps):
            losses = train_step(*draw())
        [float(loss) for loss in losses]

    return loop


class FixedResolution:
    """A growing network as progan-tf's plain.py calls it: without a resolution, which is given here."""

    def __init__(self, network: Any, resolution: int) -> None:
        self.network, self.resolution, self.weights = network, resolution, network.trainable_weights

    def __call__(self, given: Any, fade: Any) -> Any:
        return self.network(given, resolution=self.resolution, fade=fade, training=True)


def plain_growing(ours: RowSetup, values: dict[str, float], counted: FlopCounter) -> Loop:
    """`train_step` of progan-tf's plain.py: WGAN-GP, alternating, with a moving average of G."""
    import keras
    import tensorflow as tf

    from ganzoo_progan_tf import plain

    G, D = (FixedResolution(network, int(values["resolution"])) for network in ours.build_networks(values))
    plan, own = ours.plan, ours.plan.optimizer_g
    rates = {"beta_1": own.betas[0], "beta_2": own.betas[1], "epsilon": own.adam_eps}
    opts = [keras.optimizers.Adam(own.lr, **rates) for _ in "GD"]
    for optimizer, network in zip(opts, (G, D), strict=True):
        optimizer.build(network.weights)
    mean = [tf.Variable(weight.value) for weight in G.weights]
    numbers, orders = np.random.default_rng(0), iterate_batches(len(ours.images), plan.batch_size)

    def draw() -> tuple[Any, ...]:
        z = numbers.standard_normal((plan.batch_size, plan.latent_dim), dtype=np.float32)
        z *= np.sqrt(plan.latent_dim) / np.linalg.norm(z, axis=1, keepdims=True)
        epsilon = numbers.random((plan.batch_size, 1, 1, 1), dtype=np.float32)
        fade, decay = tf.constant(values["fade"]), tf.constant(0.999)
        return tf.constant(ours.images[next(orders)]), tf.constant(z), tf.constant(epsilon), fade, decay

    counted.graph = plain.train_step.get_concrete_function(G, D, opts, mean, *draw()).graph

    def loop(steps: int) -> None:
        for _ in range(steps):
            losses = plain.train_step(G, D, opts, mean, *draw())
        [float(loss) for loss in losses]

    return loop


def _make_networks(ours: RowSetup) -> tuple[Any, Any, Any, Any]:
    """G, D and an Adam for each, as the runner has them."""
    import keras

    G, D = ours.build_networks()
    own = ours.plan.optimizer_g
    rates = {"beta_1": own.betas[0], "beta_2": own.betas[1], "epsilon": own.adam_eps}
    opts = [keras.optimizers.Adam(own.lr, **rates) for _ in "GD"]
    for optimizer, network in zip(opts, (G, D), strict=True):
        optimizer.build(network.trainable_variables)
    return G, D, *opts


def _make_sampler(ours: RowSetup) -> Callable[[], tuple[Any, Any]]:
    """Real images and z of one step after the other, as plain.py makes them."""
    import tensorflow as tf

    plan, numbers = ours.plan, np.random.default_rng(0)
    orders = iterate_batches(len(ours.images), plan.batch_size)

    def draw() -> tuple[Any, Any]:
        real = tf.constant(ours.images[next(orders)].astype(np.float32) / 127.5 - 1)
        return real, tf.constant(numbers.standard_normal((plan.batch_size, plan.latent_dim), dtype=np.float32))

    return draw


def count_flop(graph: Any) -> float:
    """FLOP of a graph's matrix products and convolutions: two for each multiplication and addition.

    A convolution does one for each number of its kernel and each pixel of its smaller image, and each of its two
    gradients as many. A tape writes down gradients that nobody asked for; TensorFlow leaves them out, and so does this.
    """
    flop = 0
    for operation in _find_needed(graph):
        shapes = [tuple(given.shape) for given in operation.inputs]
        if operation.type == "MatMul":
            inner = shapes[0][0 if operation.get_attr("transpose_a") else 1]
            flop += 2 * math.prod(operation.outputs[0].shape) * inner
        elif operation.type == "Conv2D":
            flop += 2 * math.prod(operation.outputs[0].shape[:3]) * math.prod(shapes[1])
        elif operation.type == "Conv2DBackpropInput":
            flop += 2 * math.prod(shapes[2][:3]) * math.prod(shapes[1])
        elif operation.type == "Conv2DBackpropFilter":
            flop += 2 * math.prod(shapes[2][:3]) * math.prod(operation.outputs[0].shape)
        elif operation.type in UNKNOWN_WORK:
            raise ValueError(f"the work of {operation.type} is not counted; teach it to `work`")
    return float(flop)


def count_model(row: Row) -> dict[str, Any]:
    """What `counts.py` keeps of a row, counted in the graphs of its step and of a forward of G."""
    import tensorflow as tf

    ours, counted = RowSetup(row, "cpu"), FlopCounter()
    values = {"resolution": float(row.size), "fade": 1.0} if row.model == "progan-tf" else {}
    if values:
        plain_growing(ours, values, counted)
    else:
        plain_step(ours, counted)
    G, D = ours.build_networks(values)
    taken = {"resolution": row.size, "fade": tf.constant(1.0)} if values else {}
    draw = tf.function(lambda z: G(z, training=False, **taken), autograph=False)
    drawing = draw.get_concrete_function(tf.TensorSpec((row.batch, ours.plan.latent_dim))).graph
    made = (tensor for operation in _find_needed(counted.graph) for tensor in operation.outputs)
    made_bytes = sum(math.prod(tensor.shape) * tensor.dtype.size for tensor in made if tensor.shape.is_fully_defined())
    return {
        "gflop": count_flop(counted.graph) / row.batch / 1e9,
        "drawing_gflop": count_flop(drawing) / row.batch / 1e9,
        "memory_mb": made_bytes / row.batch / 1e6,
        "parameters": {
            name: ours.engine.count_parameters(net) for name, net in (("generator", G), ("discriminator", D))
        },
        "batch_norm": {"generator": list_batch_norms(G), "discriminator": list_batch_norms(D)},
    }


def list_batch_norms(network: Any) -> list[int]:
    """The channels of each layer of batch norm: only these have moving means."""
    return [weight.shape[0] for weight in network.non_trainable_variables if weight.path.endswith("/moving_mean")]


def _find_needed(graph: Any) -> set[Any]:
    """The operations that a graph's results and changes of variables take."""
    left, found = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs], set()
    while left:
        operation = left.pop()
        if operation not in found:
            found.add(operation)
            left += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return found


def measure_roof(size: int, device: str) -> float:
    """GFLOP/s of the product of two float32 matrices [size, size], the best of ten."""
    import tensorflow as tf

    with tf.device("/CPU:0" if device == "cpu" else "/GPU:0"):
        a = tf.random.stateless_normal((size, size), (0, 1))
        times = []
        for _ in range(10):
            start = time.perf_counter()
            tf.matmul(a, a)[0, 0].numpy()
            times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9
