"""The adversarial step against loops written by hand, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import ganzoo_core as gz
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.tensorflow import Engine
from ganzoo_core.engines.tensorflow.networks import list_seed_states
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.randomness import latents, philox

from ..plans import change, make_plan

BATCH, LATENT, SIZE = 8, 6, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (37, SIZE, SIZE, 1), dtype=np.uint8)
PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    adam_eps=1e-7,
    lr_g=2e-3,
    lr_d=1e-3,
    decision=0.0,
    probability="sigmoid",
)
Nets = tuple[keras.Model, keras.Model]
Round = Callable[[keras.Model, keras.Model, Any, Any, int], None]


def networks() -> Nets:
    """The same weights at each call; batch norm in both, dropout in D."""
    keras.utils.set_random_seed(0)
    G = keras.Sequential(
        [
            keras.Input((LATENT,)), layers.Dense(64), layers.Reshape((2, 2, 16)), layers.BatchNormalization(),
            layers.ReLU(), layers.Conv2DTranspose(8, 4, 2, "same"), layers.BatchNormalization(), layers.ReLU(),
            layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh"),
        ]
    )  # fmt: skip
    D = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)), layers.Conv2D(8, 4, 2, "same"), layers.LeakyReLU(0.2),
            layers.Conv2D(16, 4, 2, "same"), layers.BatchNormalization(), layers.LeakyReLU(0.2), layers.Flatten(),
            layers.Dropout(0.3), layers.Dense(1),
        ]
    )  # fmt: skip
    return G, D


class BCE:
    """The non-saturating loss, on `ops` as a plugin writes it."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {"adversarial": ops.mean(ops.softplus(-step.D(step.real))) + ops.mean(ops.softplus(step.D(step.fake)))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(device="cpu", threads=2)


def play(
    engine: Engine, plan: Plan, loss: Any, steps: int, nets: Nets | None = None, labels: Any = None, **values: float
) -> Any:
    trainer = engine.create_trainer(*(nets or networks()), loss, plan, IMAGES, labels)
    for step in range(steps):
        trainer.step(step, step * plan.images_per_step, values)
    return trainer


def real_batch(position: int, purpose: str = "data") -> tf.Tensor:
    order = Stream(len(IMAGES), seed=PLAN.seed, purpose=purpose).take_indices(position, BATCH)
    return tf.constant(IMAGES[order].astype(np.float32) / np.float32(127.5) - np.float32(1))


def noise(*indices: Any) -> tf.Tensor:
    return tf.constant(latents(philox(PLAN.seed, *indices), BATCH, LATENT, "normal"))


def sow(nets: Nets, phase: str, *indices: int) -> None:
    """Give dropout the seeds of a phase."""
    states = [state for network in nets for state in list_seed_states(network)]
    numbers = philox(PLAN.seed, phase, *indices).integers(2**31, size=(1 + len(states), 2))
    for state, seed in zip(states, numbers[1:], strict=True):
        state.assign(seed)


def equal(first: keras.Model, second: keras.Model) -> None:
    assert len(first.weights) > 0
    for a, b in zip(first.weights, second.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy()), a.path


def by_hand(steps: int, round_: Round) -> Nets:
    nets = networks()
    optimizers = [keras.optimizers.Adam(rate, 0.5, 0.999, 1e-7) for rate in (PLAN.optimizer_g.lr, PLAN.optimizer_d.lr)]
    for optimizer, network in zip(optimizers, nets, strict=True):
        optimizer.build(network.trainable_variables)
    for step in range(steps):
        round_(*nets, *optimizers, step)
    return nets


def descend(optimizer: Any, tape: tf.GradientTape, loss: tf.Tensor, network: keras.Model) -> None:
    optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)


@tf.function
def d_update(G: Any, D: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    fake = G(z, training=True)
    with tf.GradientTape() as tape:
        scores = D(real, training=True)[:, 0], D(fake, training=True)[:, 0]
        loss = tf.reduce_mean(tf.nn.softplus(-scores[0])) + tf.reduce_mean(tf.nn.softplus(scores[1]))
    descend(opt_d, tape, loss, D)


@tf.function
def g_update(G: Any, D: Any, opt_g: Any, z: tf.Tensor) -> None:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.softplus(-D(G(z, training=True), training=True)[:, 0]))
    descend(opt_g, tape, loss, G)


def test_alternating_steps_equal_a_loop_written_by_hand(engine: Engine) -> None:
    """In one graph for both updates, with G's forward made once, as in the engine."""

    @tf.function
    def update(G: Any, D: Any, opt_g: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor, g_seed: tf.Tensor) -> None:
        with tf.GradientTape() as g_tape:
            fake = G(z, training=True)
            with g_tape.stop_recording(), tf.GradientTape() as d_tape:
                scores = D(real, training=True)[:, 0], D(tf.stop_gradient(fake), training=True)[:, 0]
                loss = tf.reduce_mean(tf.nn.softplus(-scores[0])) + tf.reduce_mean(tf.nn.softplus(scores[1]))
            with g_tape.stop_recording():
                descend(opt_d, d_tape, loss, D)
            list_seed_states(D)[0].assign(g_seed)
            loss = tf.reduce_mean(tf.nn.softplus(-D(fake, training=True)[:, 0]))
        descend(opt_g, g_tape, loss, G)

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        sow((G, D), "discriminator", step, 0)
        g_seed = philox(PLAN.seed, "generator", step).integers(2**31, size=(2, 2))[1]
        update(G, D, opt_g, opt_d, real_batch(step * BATCH), noise("z", step, 0), tf.constant(g_seed))

    nets = by_hand(12, round_)
    trainer = play(engine, PLAN, BCE(), 12)
    equal(trainer.G, nets[0])
    equal(trainer.D, nets[1])


def test_critic_steps_take_fresh_reals_and_noise_each(engine: Engine) -> None:
    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        for turn in range(3):
            sow((G, D), "discriminator", step, turn)
            d_update(G, D, opt_d, real_batch((step * 3 + turn) * BATCH), noise("z", step, turn))
        sow((G, D), "generator", step)
        g_update(G, D, opt_g, noise("z of the generator", step))

    nets = by_hand(4, round_)
    plan = change(PLAN, critic_steps=3)
    assert plan.images_per_step == 3 * BATCH
    trainer = play(engine, plan, BCE(), 4)
    equal(trainer.G, nets[0])
    equal(trainer.D, nets[1])


def test_simultaneous_steps_score_the_fakes_once_with_the_old_weights(engine: Engine) -> None:
    @tf.function
    def update(G: Any, D: Any, opt_g: Any, opt_d: Any, real: tf.Tensor, z: tf.Tensor) -> None:
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fake = G(z, training=True)
            scores = D(real, training=True)[:, 0], D(fake, training=True)[:, 0]
            d_loss = tf.reduce_mean(tf.nn.softplus(-scores[0])) + tf.reduce_mean(tf.nn.softplus(scores[1]))
            g_loss = tf.reduce_mean(tf.nn.softplus(-scores[1]))
        gradients = g_tape.gradient(g_loss, G.trainable_variables)
        descend(opt_d, d_tape, d_loss, D)
        opt_g.apply(gradients, G.trainable_variables)

    def round_(G: Any, D: Any, opt_g: Any, opt_d: Any, step: int) -> None:
        sow((G, D), "discriminator", step, 0)
        update(G, D, opt_g, opt_d, real_batch(step * BATCH), noise("z", step, 0))

    nets = by_hand(12, round_)
    trainer = play(engine, change(PLAN, updates="simultaneous"), BCE(), 12)
    equal(trainer.G, nets[0])
    equal(trainer.D, nets[1])


def test_a_round_depends_on_its_number_and_nothing_before(engine: Engine) -> None:
    """Two trainers with the same weights at step 5, one of which has played the rounds before."""
    nets = networks()
    plan = change(PLAN, optimizer="sgd", critic_steps=2)
    trainer = play(engine, plan, BCE(), 5, nets)
    G, D = networks()
    for ours, theirs in ((trainer.G, G), (trainer.D, D)):
        theirs.set_weights(ours.get_weights())
    fresh = engine.create_trainer(G, D, BCE(), plan, IMAGES, None)
    for each in (trainer, fresh):
        each.step(5, 5 * plan.images_per_step, {})
    equal(trainer.G, fresh.G)
    equal(trainer.D, fresh.D)


def test_seeds_of_the_networks_are_put_back(engine: Engine) -> None:
    nets = networks()
    before = [state.numpy() for state in list_seed_states(nets[1])]
    play(engine, PLAN, BCE(), 2, nets)
    assert len(before) == 1
    assert np.array_equal(before[0], list_seed_states(nets[1])[0].numpy())


def test_one_trace_however_the_values_change(engine: Engine) -> None:
    calls = []

    class Counting(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            calls.append(step.values["gamma"])
            return super().discriminator(step)

    trainer = engine.create_trainer(*networks(), Counting(), PLAN, IMAGES, None)
    for step in range(4):
        trainer.step(step, step * BATCH, {"lr_g": 1e-3 / (step + 1), "gamma": float(step), "beta2": 0.9 + step / 100})
    assert len(calls) == 1
    assert tf.is_tensor(calls[0])


def test_reals_of_the_generator_come_from_their_own_stream(engine: Engine) -> None:
    """The term is the reals' mean: it is told at each step."""

    class Telling(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            return {**super().generator(step), "mean": step.ops.mean(step.real)}

    trainer = engine.create_trainer(*networks(), Telling(), change(PLAN, real_in_generator_step=True), IMAGES, None)
    for step in range(3):
        trainer.step(step, step * BATCH, {})
        expected = real_batch(step * BATCH, "data of the generator").numpy().mean()
        assert trainer.pop_means()["generator/mean"] == pytest.approx(expected, rel=1e-5)


def test_the_generator_sees_no_reals_unless_the_loss_needs_them(engine: Engine) -> None:
    class Watching(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            assert step.real is None
            return super().generator(step)

    play(engine, PLAN, Watching(), 1)


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
@pytest.mark.parametrize("halflife", [4, 1000])
def test_the_moving_average_follows_its_formula(engine: Engine, halflife: int, updates: str) -> None:
    plan = change(PLAN, halflife=halflife, updates=updates)
    trainer = engine.create_trainer(*networks(), BCE(), plan, IMAGES, None)
    expected = [weight.numpy().astype(np.float64) for weight in trainer.G.weights]
    for step in range(6):
        trainer.step(step, step * BATCH, {})
        decay = 0.5 ** (BATCH / min(halflife, 0.05 * (step + 1) * BATCH))
        for place, weight in enumerate(trainer.G.weights):
            value = weight.numpy().astype(np.float64)
            expected[place] = decay * expected[place] + (1 - decay) * value if weight.trainable else value
    found = engine.read_weights(trainer.inference_generator)
    assert list(found) == list(engine.read_weights(trainer.G))
    for value, wanted in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)


def test_a_schedules_values_win(engine: Engine) -> None:
    plan = change(PLAN, lr_g=0.5, lr_d=0.5)
    trainer = play(engine, plan, BCE(), 3, lr_g=PLAN.optimizer_g.lr, lr_d=PLAN.optimizer_d.lr)
    equal(trainer.G, play(engine, PLAN, BCE(), 3).G)


def test_a_schedules_beta2_is_adams(engine: Engine) -> None:
    """To rounding only: 1 - beta2 is then taken in float32."""
    trainer = play(engine, change(PLAN, betas=(0.5, 0.9)), BCE(), 3, beta2=0.75)
    wanted = play(engine, change(PLAN, betas=(0.5, 0.75)), BCE(), 3)
    for a, b in zip(trainer.G.weights, wanted.G.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    assert trainer.phases.g_optimizer.beta_2 == 0.9


def test_clipping_follows_each_update_of_d(engine: Engine) -> None:
    trainer = play(engine, change(PLAN, weight_clip=0.01), BCE(), 2)
    assert all(np.abs(weight.numpy()).max() <= np.float32(0.01) for weight in trainer.D.trainable_weights)
    assert any(np.abs(weight.numpy()).max() > 0.01 for weight in trainer.G.trainable_weights)


def test_statistics_are_means_over_the_steps(engine: Engine) -> None:
    """Each step by itself, then all of them."""

    class Telling(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            real, fake = step.D(step.real), step.D(step.fake)
            told = {f"real_{n}": real[n] for n in range(BATCH)} | {f"fake_{n}": fake[n] for n in range(BATCH)}
            return {**super().discriminator(step), **{name: 0.0 * value + value for name, value in told.items()}}

    plan = change(PLAN, optimizer="sgd", lr_d=0.0)
    trainer, each = engine.create_trainer(*networks(), Telling(), plan, IMAGES, None), []
    for step in range(4):
        trainer.step(step, step * BATCH, {})
        each.append(trainer.pop_means())
    for line in each:
        real, fake = (np.array([line[f"discriminator/{of}_{n}"] for n in range(BATCH)]) for of in ("real", "fake"))
        assert line["discriminator/accuracy_real"] == (real > 0).mean()
        assert line["discriminator/accuracy_fake"] == (fake <= 0).mean()
        assert line["discriminator/probability_real"] == pytest.approx(np.mean(1 / (1 + np.exp(-real))), rel=1e-5)
        assert line["discriminator/probability_fake"] == pytest.approx(np.mean(1 / (1 + np.exp(-fake))), rel=1e-5)
    together = play(engine, plan, Telling(), 4)
    means = together.pop_means()
    assert means == pytest.approx({name: np.mean([line[name] for line in each]) for name in each[0]}, rel=1e-5)
    assert together.pop_means() == {}


def test_a_loss_without_a_decision_reports_no_accuracy(engine: Engine) -> None:
    trainer = play(engine, change(PLAN, decision=None, probability=None), BCE(), 1)
    assert set(trainer.pop_means()) == {"discriminator/adversarial", "discriminator/separated", "generator/adversarial"}


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_other_optimizers_follow_their_formula(engine: Engine, optimizer: str) -> None:
    """One step from the start: v = 0.1·g² for a decay of 0.9, so RMSProp moves by rate·g/(√v); SGD by rate·g."""
    plan = change(PLAN, optimizer=optimizer, rmsprop_decay=0.9, momentum=0.5, lr_d=0.01, updates="simultaneous")
    slow = change(plan, optimizer="sgd", lr_d=1.0, momentum=0.0)
    start = networks()[1]
    gradients = [
        before.numpy() - after.numpy()
        for before, after in zip(start.trainable_weights, play(engine, slow, BCE(), 1).D.trainable_weights, strict=True)
    ]
    moved = play(engine, plan, BCE(), 1).D
    for before, after, gradient in zip(start.trainable_weights, moved.trainable_weights, gradients, strict=True):
        step = 0.01 * gradient
        if optimizer == "rmsprop":
            step = np.where(np.abs(gradient) > 1e-4, step / np.sqrt(0.1 * gradient**2 + 1e-30), np.nan)
        found = before.numpy() - after.numpy()
        known = np.isfinite(step)
        np.testing.assert_allclose(found[known], step[known], rtol=0.01, atol=1e-6)


def test_a_penalty_that_cannot_move_d_is_an_error(engine: Engine) -> None:
    class Cut(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            scores, gradient = step.ops.score_and_gradient(step.D, step.real)
            penalty = step.ops.mean(step.ops.square(step.ops.stop_gradient(gradient)))
            return {"adversarial": step.ops.mean(scores), "gradient_penalty": penalty}

    with pytest.raises(gz.PluginError, match="gradient_penalty has no gradient in the discriminator"):
        play(engine, PLAN, Cut(), 1)


class Penalised(BCE):
    """All that a penalty takes."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        scores, gradient = step.ops.score_and_gradient(step.D, step.fake)
        return {"adversarial": step.ops.mean(scores), "r2_penalty": step.ops.mean(step.ops.square(gradient))}


def test_bilinear_upsampling_loses_the_second_derivative(engine: Engine) -> None:
    G, _ = networks()
    D = keras.Sequential(
        [keras.Input((SIZE, SIZE, 1)), layers.UpSampling2D(interpolation="bilinear"), layers.Flatten(), layers.Dense(1)]
    )
    with pytest.raises(gz.PluginError, match=r"no gradient in the discriminator|no second derivative"):
        play(engine, PLAN, Penalised(), 1, (G, D))


def test_simultaneous_with_penalties_trains_the_generator(engine: Engine) -> None:
    """D's copies for the penalties lead no gradient to G: they must not be handed to its loss."""
    trainer = play(engine, change(PLAN, updates="simultaneous"), Penalised(), 1)
    start = networks()[0]
    for a, b in zip(trainer.G.trainable_weights, start.trainable_weights, strict=True):
        assert not np.array_equal(a.numpy(), b.numpy())


def test_a_loss_that_reaches_no_network_is_named(engine: Engine) -> None:
    class Idle(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            return {"adversarial": step.ops.mean(step.z)}

    with pytest.raises(gz.PluginError, match="adversarial have no gradient in the network"):
        play(engine, PLAN, Idle(), 1)


@pytest.mark.parametrize("answer", [None, {}, {"adversarial": 1.0}, {"adversarial": np.zeros(3)}])
def test_a_loss_that_returns_something_else_is_named(engine: Engine, answer: Any) -> None:
    class Odd(BCE):
        def generator(self, step: gz.Step) -> Mapping[str, Any]:
            return answer

    with pytest.raises(gz.PluginError, match="Odd returned"):
        play(engine, PLAN, Odd(), 1)


class Noisy(layers.Layer):
    """Adds what `draw` draws."""

    def __init__(self, draw: Callable[[Sequence[int]], Any]) -> None:
        super().__init__()
        self.draw = draw

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x + self.draw(tuple(x.shape[1:]))


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda shape: tf.random.normal(shape), "TensorFlow's RandomStandardNormal"),
        (lambda shape: keras.random.normal(shape), "without a seed"),
    ],
    ids=["tensorflow", "keras"],
)
def test_draws_that_cannot_be_repeated_are_refused(engine: Engine, draw: Any, words: str) -> None:
    G, D = networks()
    with pytest.raises(gz.PluginError, match=words):
        play(engine, PLAN, BCE(), 1, (keras.Sequential([G, Noisy(draw)]), D))


def test_a_variable_that_keras_does_not_list_is_refused(engine: Engine) -> None:
    class Hidden(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable(2.0, name="scale")

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x * self.scale

    G, D = networks()
    with pytest.raises(gz.PluginError, match=r"the variable scale:0 \[\].*add_weight"):
        play(engine, PLAN, BCE(), 1, (keras.Sequential([G, Hidden()]), D))


def test_ops_draw_anew_at_each_step_and_never_twice_the_same(engine: Engine) -> None:
    class Drawing(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            first, second = step.ops.uniform([4]), step.ops.normal([4])
            told = {"first": step.ops.mean(first), "again": step.ops.mean(step.ops.uniform([4]))}
            return {**super().discriminator(step), **told, "second": step.ops.mean(second)}

    trainer = engine.create_trainer(*networks(), Drawing(), PLAN, IMAGES, None)
    seen: list[float] = []
    for step in range(3):
        trainer.step(step, step * BATCH, {})
        told = trainer.pop_means()
        seen += [told[f"discriminator/{name}"] for name in ("first", "again", "second")]
        seed = philox(PLAN.seed, "discriminator", step, 0).integers(2**31, size=(2, 2))[0]
        assert seen[-3] == pytest.approx(float(tf.reduce_mean(TensorFlowOps(seed).uniform([4]))), rel=1e-6)
    assert len(set(seen)) == 9


@pytest.mark.parametrize("functional", [False, True], ids=["subclassed", "functional"])
def test_labels_reach_both_networks(engine: Engine, functional: bool) -> None:
    """D's score of a real image is its label, and of a fake the label that G painted."""

    class Painter(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="zeros")

        def call(self, z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            painted = self.dense(z) + tf.cast(labels[:, None], tf.float32)
            return tf.reshape(painted, [-1, 1, 1, 1]) * tf.ones([1, SIZE, SIZE, 1])

    class Judge(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="zeros")

        def call(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            wrong = tf.reduce_mean(images, axis=[1, 2, 3])[:, None] - tf.cast(labels[:, None], tf.float32)
            return self.dense(tf.zeros_like(wrong)) + wrong

    nets: Nets = (Painter(), Judge())
    if functional:
        z, classes = keras.Input((LATENT,)), keras.Input((), dtype="int64")
        image, judged = keras.Input((SIZE, SIZE, 1)), keras.Input((), dtype="int64")
        nets = (
            keras.Model([z, classes], nets[0](z, classes)),
            keras.Model([image, judged], nets[1](image, judged)),
        )
    labels = np.arange(len(IMAGES)) % 5
    told: dict[str, Any] = {}

    class Watching(BCE):
        def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
            scores = step.D(step.fake)
            return {**super().discriminator(step), "wrong": step.ops.mean(step.ops.abs(scores))}

    plan = change(PLAN, conditional=True, optimizer="sgd", lr_g=0.0, lr_d=0.0)
    spec = gz.Spec(SIZE, SIZE, 1, 5, LATENT, "tensorflow")
    nets = tuple(
        engine.build(lambda network=network: network, spec=spec, slot=slot, seed=0)
        for network, slot in zip(nets, ("generator", "discriminator"), strict=True)
    )
    told = play(engine, plan, Watching(), 1, nets, labels).pop_means()
    assert told["discriminator/wrong"] == pytest.approx(0.0, abs=1e-6)
    drawn = engine.draw(nets[0], np.zeros((2, LATENT), np.float32), np.array([0, 1]), {})
    assert drawn[0].min() == drawn[0].max() == 128
    assert drawn[1].min() == 255


class _Strict(keras.Sequential):
    """A network that refuses any keyword of a schedule, as some versions of Keras do."""

    def __call__(self, x: Any, *, training: bool = False) -> Any:
        return super().__call__(x, training=training)


def test_growing_calls_no_network_with_a_value_that_it_does_not_take(engine: Engine) -> None:
    nets = tuple(_Strict(network.layers) for network in networks())
    trainer = engine.create_trainer(*nets, BCE(), PLAN, IMAGES, None)
    trainer.grow({"resolution": SIZE, "fade": 1.0})
    assert trainer.resolution == SIZE
