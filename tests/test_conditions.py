"""Networks that take conditions: what each phase is given, replacements, and exact resuming, in both frameworks."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.data.derive import DerivedImages
from ganzoo_core.data.stream import Stream
from ganzoo_core.engines import Plan
from ganzoo_core.engines.compile_check import relative_error
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator
from ganzoo_core.engines.network_call import make_network_call
from ganzoo_core.errors import PluginError
from ganzoo_core.randomness import latents, philox
from ganzoo_core.settings import read_engine_settings

from .plans import change, make_plan

BATCH, LATENT, SIZE, COUNT = 4, 3, 8, 21
RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (COUNT, SIZE, SIZE, 1), dtype=np.uint8)
LABELS = np.arange(COUNT, dtype=np.int64) % 3
CONDITIONS = {
    "source": RNG.integers(0, 256, (COUNT, SIZE, SIZE, 2), dtype=np.uint8),
    "traits": RNG.standard_normal((COUNT, 5), dtype=np.float32),
    "camera": np.arange(COUNT, dtype=np.int64) % 2,
}
DROPOUT = 0.5  # of both generators
SHAPES = {"source": (SIZE, SIZE, 2), "traits": (5,), "camera": ()}
PLAN = make_plan(
    seed=3,
    batch_size=BATCH,
    latent_dim=LATENT,
    conditional=True,
    conditions_g=("source", "camera"),
    conditions_d=("source", "traits"),
    latent_in_discriminator=True,
    lr_g=1e-2,
    lr_d=1e-2,
    decision=0.0,
)
G_SPEC = gz.Spec(SIZE, SIZE, 1, 3, LATENT, "", {name: SHAPES[name] for name in PLAN.conditions_g})
D_SPEC = gz.Spec(SIZE, SIZE, 1, 3, LATENT, "", {"source": SHAPES["source"], "traits": (5,), "latent": (LATENT,)})


def make_torch_networks() -> tuple[Any, Any]:
    import torch
    from torch import nn

    class G(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.mix = nn.Linear(LATENT + 2, SIZE * SIZE), nn.Conv2d(3, 1, 1)
            self.dropout = nn.Dropout(DROPOUT)

        def forward(self, z: Any, labels: Any, *, source: Any, camera: Any) -> Any:
            assert source.shape[1:] == (2, SIZE, SIZE)
            numbers = torch.stack([labels.float(), camera.float()], 1)
            drawn = self.dropout(self.linear(torch.cat([z, numbers], 1))).reshape(-1, 1, SIZE, SIZE)
            return torch.tanh(self.mix(torch.cat([drawn, source], 1)))

    class D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(SIZE * SIZE * 3 + 5 + LATENT + 1, 1)

        def forward(self, images: Any, labels: Any, *, source: Any, traits: Any, latent: Any) -> Any:
            parts = [images.flatten(1), source.flatten(1), traits, latent, labels.float()[:, None]]
            return self.linear(torch.cat(parts, 1))[:, 0]

    return G(), D()


def make_tensorflow_networks() -> tuple[Any, Any]:
    """A subclass of keras.Model that takes keywords, and a functional model with named inputs."""
    import keras
    import tensorflow as tf

    class G(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.mix = keras.layers.Dense(SIZE * SIZE), keras.layers.Conv2D(1, 1, activation="tanh")
            self.dropout = keras.layers.Dropout(DROPOUT)

        def call(self, z: Any, labels: Any, source: Any, camera: Any, training: bool = False) -> Any:
            assert tuple(source.shape[1:]) == (SIZE, SIZE, 2)
            numbers = tf.cast(tf.stack([labels, camera], 1), tf.float32)
            drawn = self.dropout(self.linear(tf.concat([z, numbers], 1)), training=training)
            return self.mix(tf.concat([tf.reshape(drawn, (-1, SIZE, SIZE, 1)), source], 3))

    return G(), make_functional_discriminator("source", "traits", "latent")


def make_functional_discriminator(*names: str) -> Any:
    import keras
    from keras import layers

    shapes = {"source": (SIZE, SIZE, 2), "traits": (5,), "latent": (LATENT,)}
    # In another order than the call's, so that only the names can match.
    others = [keras.Input(shapes[name], name=name) for name in names]
    images, labels = keras.Input((SIZE, SIZE, 1), name="images"), keras.Input((), dtype="int64", name="labels")
    flat = [layers.Flatten()(tensor) for tensor in (*others, images)]
    flat.append(layers.Reshape((1,))(keras.ops.cast(labels, "float32")))
    return keras.Model([*others, labels, images], layers.Dense(1)(layers.Concatenate()(flat))[:, 0])


class Watching:
    """A loss of both networks that notes what it is given, as arrays, where the framework computes at once."""

    def __init__(self) -> None:
        self.seen: list[SimpleNamespace] = []

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        self.note(step)
        real, fake = step.D(step.real), step.D(step.fake)
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        self.note(step)
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}

    def note(self, step: gz.Step) -> None:
        pass


class Recording(Watching):
    """For PyTorch: the values themselves."""

    def note(self, step: gz.Step) -> None:
        def copy(tensor: Any) -> Any:
            return None if tensor is None else tensor.detach().numpy().copy()

        conditions = {name: copy(rows) for name, rows in step.conditions.items()}
        self.seen.append(
            SimpleNamespace(
                real=copy(step.real), fake=copy(step.fake), z=copy(step.z), labels=copy(step.labels), **conditions
            )
        )


@pytest.fixture(params=["torch", "tensorflow"])
def framework(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    name: str = request.param
    return name


def make_engine(framework: str, **more: Any) -> Any:
    own = {f"engine.{name}": value for name, value in more.items()}
    return engines.create_engine(framework, read_engine_settings({"engine.device": "cpu", "engine.threads": 1, **own}))


def make_trainer(
    framework: str, plan: Plan = PLAN, loss: Any = None, conditions: Mapping[str, Any] = CONDITIONS, **more: Any
) -> Any:
    engine = make_engine(framework, **more)
    make = make_torch_networks if framework == "torch" else make_tensorflow_networks
    networks = [
        engine.build(lambda index=index: make()[index], spec=spec, slot=slot, seed=0)
        for index, (slot, spec) in enumerate((("generator", G_SPEC), ("discriminator", D_SPEC)))
    ]
    return engine.create_trainer(*networks, loss or Watching(), plan, IMAGES, LABELS, conditions)


def as_seen(rows: np.ndarray) -> np.ndarray:
    """A condition's rows as PyTorch's networks see them."""
    return np.moveaxis(rows.astype(np.float32) / 127.5 - 1, 3, 1) if rows.dtype == np.uint8 else rows


def check_rows(seen: SimpleNamespace, indices: np.ndarray) -> None:
    for name, rows in CONDITIONS.items():
        np.testing.assert_allclose(getattr(seen, name), as_seen(rows[indices]), atol=1e-6)
    assert np.array_equal(seen.labels, LABELS[indices])


def test_both_phases_see_the_rows_of_their_reals() -> None:
    pytest.importorskip("torch")
    loss = Recording()
    trainer = make_trainer("torch", loss=loss)
    trainer.step(0, 0, {})
    first = Stream(COUNT, seed=3, purpose="data").take_indices(0, BATCH)
    d_seen, g_seen = loss.seen
    check_rows(d_seen, first)
    check_rows(g_seen, first)
    assert np.array_equal(d_seen.fake, g_seen.fake)
    assert g_seen.real is None


def test_several_critic_steps_draw_conditions_of_a_stream_of_their_own() -> None:
    pytest.importorskip("torch")
    loss = Recording()
    trainer = make_trainer("torch", change(PLAN, critic_steps=2), loss)
    trainer.step(5, 5 * 2 * BATCH, {})
    data, own = (Stream(COUNT, seed=3, purpose=purpose) for purpose in ("data", "data of the generator"))
    check_rows(loss.seen[0], data.take_indices(40, BATCH))
    check_rows(loss.seen[1], data.take_indices(44, BATCH))
    check_rows(loss.seen[2], own.take_indices(5 * BATCH, BATCH))


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_the_same_pair_in_both_phases(critic_steps: int) -> None:
    pytest.importorskip("torch")
    loss = Recording()
    plan = change(PLAN, critic_steps=critic_steps, real_in_generator_step=True, same_real_in_generator_step=True)
    trainer = make_trainer("torch", plan, loss)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    trainer.G.register_forward_hook(count)
    trainer.step(0, 0, {})
    assert calls == critic_steps  # G's phase draws nothing again
    last, g_seen = loss.seen[-2:]
    for name in ("real", "fake", "z", "labels", *CONDITIONS):
        assert np.array_equal(getattr(last, name), getattr(g_seen, name)), name
    check_rows(g_seen, Stream(COUNT, seed=3, purpose="data").take_indices((critic_steps - 1) * BATCH, BATCH))


class Paired(Watching):
    """G's phase compares with the target, as pix2pix does, and with another source."""

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        other = step.G(step.z, source=-step.conditions["source"])
        return {
            "adversarial": ops.mean(ops.softplus(-step.D(step.fake))),
            "distance": ops.mean(ops.abs(step.real - step.fake)) + ops.mean(ops.abs(other)),
        }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"critic_steps": 3},
        pytest.param({"updates": "simultaneous"}, marks=pytest.mark.slow),
        {"critic_steps": 2, "same_real_in_generator_step": True},
        pytest.param({"halflife": 20, "same_real_in_generator_step": True}, marks=pytest.mark.slow),
    ],
)
def test_resumed_is_the_same_to_the_bit(framework: str, changes: Mapping[str, Any]) -> None:
    plan = change(PLAN, real_in_generator_step=True, **changes)
    straight = make_trainer(framework, plan, Paired())
    for step in range(4):
        straight.step(step, step * plan.images_per_step, {})
    first = make_trainer(framework, plan, Paired())
    for step in range(2):
        first.step(step, step * plan.images_per_step, {})
    resumed = make_trainer(framework, plan, Paired())
    resumed.restore_state(first.read_state())
    resumed.restore_pending_sums(first.read_pending_sums())
    for step in range(2, 4):
        resumed.step(step, step * plan.images_per_step, {})
    expected, actual = straight.read_state(), resumed.read_state()
    assert {name: array.tobytes() for name, array in expected.items()} == {
        name: array.tobytes() for name, array in actual.items()
    }
    assert straight.pop_means() == resumed.pop_means()


def train_alike(framework: str, **more: Any) -> tuple[Any, Any, float]:
    """Three steps in float32, uncompiled, and three with these settings of the engine; the relative error between."""
    plan = change(PLAN, real_in_generator_step=True, same_real_in_generator_step=True, optimizer="sgd", momentum=0.5)
    trainers = make_trainer(framework, plan, Paired()), make_trainer(framework, plan, Paired(), **more)
    for trainer in trainers:
        for step in range(3):
            trainer.step(step, step * BATCH, {})
    states = [list(trainer.read_state().values()) for trainer in trainers]
    return *trainers, relative_error(*states)


def test_conditions_train_nearly_alike_in_bfloat16(framework: str) -> None:
    try:
        plain, half, error = train_alike(framework, precision="bfloat16")
    except gz.UsageError as refused:
        pytest.skip(str(refused))
    assert 0 < error < 0.02
    means, others = plain.pop_means(), half.pop_means()
    for name in ("discriminator/adversarial", "generator/adversarial", "generator/distance"):
        assert others[name] == pytest.approx(means[name], rel=0.02), name


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_conditions_train_alike_in_a_compiled_step(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(framework)
    if framework == "torch":
        import torch

        from ganzoo_core.engines.torch import compiled

        monkeypatch.setattr(compiled, "_compile", lambda function, _: torch.compile(function, backend="aot_eager"))
        monkeypatch.setattr("ganzoo_core.engines.torch.engine.find_compiler_problem", lambda device: "")
    else:  # XLA would draw other numbers for dropout, so such a step is not compiled
        monkeypatch.setitem(globals(), "DROPOUT", 0.0)
    told: list[str] = []
    monkeypatch.setattr(engines, "create_engine", telling(engines.create_engine, told))
    _, _, error = train_alike(framework, compile=True)
    assert told == []  # nothing runs uncompiled
    assert error < 1e-4


def telling(create: Any, told: list[str]) -> Any:
    """`create_engine`, whose engines add their notes to a list."""

    def create_and_listen(*arguments: Any) -> Any:
        engine = create(*arguments)
        engine.tell = told.append
        return engine

    return create_and_listen


def test_conditions_that_are_computed_on_demand_train_the_same(framework: str) -> None:
    lazy = DerivedImages(np.repeat(IMAGES, 3, axis=3), "mask:0.25", seed=1)
    held = np.asarray(lazy)[..., 2:]

    class Half:
        ndim, dtype, shape = 4, np.dtype(np.uint8), held.shape

        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, index: Any) -> np.ndarray:
            return lazy[index][..., 2:]

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return held

    states = []
    for source in (held, Half()):
        trainer = make_trainer(framework, conditions={**CONDITIONS, "source": source})
        for step in range(3):
            trainer.step(step, step * BATCH, {})
        states.append({name: array.tobytes() for name, array in trainer.read_state().items()})
    assert states[0] == states[1]


def test_means_are_over_all_of_d_s_phases() -> None:
    """With the same pair in both phases, TensorFlow runs D's last phase in one graph with G's."""
    pytest.importorskip("tensorflow")
    plan = change(PLAN, critic_steps=3, real_in_generator_step=True, same_real_in_generator_step=True)
    trainer, name = make_trainer("tensorflow", plan), "discriminator/adversarial"
    trainer.step(0, 0, {})
    entries = [(sums[names.index(name)], count) for names, sums, count in trainer.read_pending_sums()]
    assert sorted(count for _, count in entries) == [1, 2]
    assert trainer.pop_means()[name] == pytest.approx(sum(total for total, _ in entries) / 3)


def test_drawing_takes_conditions_and_dropout_when_alone(framework: str) -> None:
    trainer = make_trainer(framework)
    engine, G = trainer.engine, trainer.G
    given = {name: CONDITIONS[name][:5] for name in PLAN.conditions_g}
    z = latents(philox(0, "test"), 5, LATENT, "normal")
    before = {name: array.copy() for name, array in engine.read_weights(G).items()}
    plain = engine.draw(G, z, LABELS[:5], {}, conditions=given)
    assert np.array_equal(plain, engine.draw(G, z, LABELS[:5], {}, conditions=given))
    alone = engine.draw(G, z, LABELS[:5], {}, conditions=given, alone=True, noise_seed=1)
    assert np.array_equal(alone, engine.draw(G, z, LABELS[:5], {}, conditions=given, alone=True, noise_seed=1))
    assert not np.array_equal(alone, plain)  # dropout is on
    other = engine.draw(G, z, LABELS[:5], {}, conditions=given, alone=True, noise_seed=2)
    assert not np.array_equal(alone, other)
    two = {name: rows[:2] for name, rows in given.items()}
    assert np.array_equal(engine.draw(G, z[:2], LABELS[:2], {}, conditions=two, alone=True, noise_seed=1), alone[:2])
    rest, more = {name: rows[2:] for name, rows in given.items()}, {"alone": True, "noise_seed": 1, "first": 2}
    assert np.array_equal(engine.draw(G, z[2:], LABELS[2:5], {}, conditions=rest, **more), alone[2:])
    changed = engine.draw(G, z, LABELS[:5], {}, conditions={**given, "camera": 1 - given["camera"]})
    assert not np.array_equal(changed, plain)
    assert all(np.array_equal(array, before[name]) for name, array in engine.read_weights(G).items())


def test_a_functional_model_without_an_input_for_a_condition_is_refused() -> None:
    pytest.importorskip("tensorflow")
    import keras

    engine, called = make_engine("tensorflow"), make_network_call(D_SPEC, "discriminator", {})
    assert engine.find_network_problem(make_functional_discriminator("source", "traits", "latent"), called) == ""
    for network, has in (
        (make_functional_discriminator("source", "latent"), "has the inputs source, latent, labels, images"),
        (keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)]), "has one input"),
    ):
        said = engine.find_network_problem(network, called)
        assert re.match(rf"a \w+ that is to take the keyword \w+, and {has}; add keras\.Input\(…, name=\"\w+\"\)", said)


@pytest.mark.parametrize("slot", ["generator", "discriminator"])
def test_a_network_that_does_not_take_what_it_is_called_with_is_refused(framework: str, slot: str) -> None:
    engine = make_engine(framework)
    base, method = {"torch": ("nn.Module", "forward"), "tensorflow": ("keras.Model", "call")}[framework]
    module = importlib.import_module("torch" if framework == "torch" else "keras")
    first, spec = ("z", G_SPEC) if slot == "generator" else ("images", D_SPEC)
    called = make_network_call(spec, slot, {"fade": 0.5})
    shown = f"{method}({first}, labels, {', '.join(f'{name}=…' for name in spec.conditions)}, fade=…)"

    def find(body: str) -> str:
        names = {"nn": getattr(module, "nn", None), "keras": module}
        exec(f"class Net({base}):\n    def {method}(self, {body}): ...", names)
        problem: str = engine.find_network_problem(names["Net"](), called)
        return problem

    keywords = ", ".join(spec.conditions)
    assert find(f"x, labels, {keywords}, fade, training=False") == ""
    assert find(f"x, labels=None, *, fade, {keywords}") == ""
    assert find("x, labels, **more") == ""
    for body, why in (
        (f"x, labels, {keywords}", "got an unexpected keyword argument 'fade'"),
        ("x, labels, fade", f"got an unexpected keyword argument '{next(iter(spec.conditions))}'"),
        (f"x, labels, text, {keywords}, fade", "missing a required argument: 'text'"),
        (f"x, *, {keywords}, fade", "too many positional arguments"),
    ):
        assert find(body) == f"a Net whose {method} is to be called as {shown}, and which refuses it: {why}"


def bind() -> tuple[list[Any], Any, Any]:
    calls: list[Any] = []

    def forward(x: Any, arguments: Mapping[str, Any]) -> Any:
        calls.append((x, dict(arguments)))
        return np.zeros(2)

    real, fake = np.ones(2), np.full(2, 2.0)
    D = BoundDiscriminator(forward, {"labels": 1, "source": 2}, real=real, fake=fake)
    return calls, D, BoundGenerator(forward, {"labels": 1, "source": 2})


def test_what_is_given_replaces_what_is_bound() -> None:
    calls, D, G = bind()
    images = np.zeros(2)
    G(3)
    G(3, source=4)
    D(images, source=5)
    D.outputs(images, labels=6)
    D.call_as(images, images, source=7, labels=8)
    assert [arguments for _, arguments in calls] == [
        {"labels": 1, "source": 2},
        {"labels": 1, "source": 4},
        {"labels": 1, "source": 5},
        {"labels": 6, "source": 2},
        {"labels": 8, "source": 7},
    ]


@pytest.mark.parametrize("call", [lambda D, G: G(3, sauce=1), lambda D, G: D(3, sauce=1)])
def test_a_replacement_of_what_is_not_bound_is_named(call: Any) -> None:
    _, D, G = bind()
    with pytest.raises(PluginError, match=r"calls step\.[DG] with sauce; step\.[DG] is called with labels, source"):
        call(D, G)


def test_only_the_batches_themselves_count_as_scores() -> None:
    _, D, _ = bind()
    real, fake = D._watched["real"], D._watched["fake"]
    D(real, source=3)  # the score of another pair
    D(np.zeros(2))
    assert D.get_scores() == {}
    D.call_as(np.zeros(2), fake, source=3)  # stands for the batch, as the caller says
    D(real)
    assert set(D.get_scores()) == {"real", "fake"}
    phase_without_reals = BoundDiscriminator(lambda x, arguments: np.zeros(2), {}, real=None, fake=fake)
    phase_without_reals(np.zeros(2))
    assert phase_without_reals.get_scores() == {}
