"""`ops` of the engines against loops in plain Python, and against each other."""

from __future__ import annotations

import inspect
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core.api import Ops
from ganzoo_core.engines.numpy_ops import NumpyOps
from ganzoo_core.engines.tensorflow.ops import TensorFlowOps
from ganzoo_core.engines.torch.ops import TorchOps
from ganzoo_core.errors import PluginError, UsageError

NUMPY = NumpyOps(np.random.default_rng(0))
TORCH = TorchOps("cpu")
TENSORFLOW = TensorFlowOps()
ALL = pytest.mark.parametrize(
    ("ops", "tensor"),
    [(NUMPY, np.asarray), (TORCH, torch.as_tensor), (TENSORFLOW, tf.constant)],
    ids=["numpy", "torch", "tensorflow"],
)


@ALL
def test_every_function_of_the_contract_is_there(ops, tensor):
    for name, function in inspect.getmembers(Ops, inspect.isfunction):
        if not name.startswith("_"):
            expected = list(inspect.signature(function).parameters)[1:]
            assert list(inspect.signature(getattr(ops, name)).parameters) == expected


@ALL
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("square", lambda x: x * x),
        ("abs", abs),
        ("relu", lambda x: max(x, 0.0)),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
        ("softplus", lambda x: math.log1p(math.exp(x))),
    ],
)
def test_elementwise(ops, tensor, name, formula):
    values = [-30.0, -19.0, -2.5, -1e-3, 0.0, 0.5, 3.0, 19.0, 21.0, 30.0]
    found = getattr(ops, name)(tensor(np.array(values)))
    np.testing.assert_allclose(np.asarray(found), [formula(value) for value in values], rtol=1e-6, atol=1e-8)


@ALL
def test_nothing_overflows_far_from_zero(ops, tensor):
    far = tensor(np.array([-1e4, 1e4], dtype=np.float32))
    assert np.asarray(ops.softplus(far)).tolist() == [0.0, 1e4]
    assert np.asarray(ops.sigmoid(far)).tolist() == [0.0, 1.0]
    assert float(ops.cross_entropy(tensor(np.array([[1e4, -1e4]])), tensor(np.array([1])))) == 2e4


@ALL
def test_reductions(ops, tensor):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    assert float(ops.sum(tensor(x))) == 276.0
    assert float(ops.mean(tensor(x))) == 11.5
    assert (float(ops.min(tensor(x - 7))), float(ops.max(tensor(x - 7)))) == (-7.0, 16.0)
    assert np.asarray(ops.sum_per_sample(tensor(x))).tolist() == [66.0, 210.0]
    assert np.asarray(ops.sum_per_sample(tensor(np.array([1.0, 2.0])))).tolist() == [1.0, 2.0]
    assert np.asarray(ops.mean_over_samples(tensor(np.array([[1.0, 2.0], [3.0, 8.0]])))).tolist() == [2.0, 5.0]


@ALL
def test_half_precision_is_summed_in_float32(ops, tensor):
    x = tensor(np.full((1, 4096), 0.1, dtype=np.float16))
    value = float(np.float16(0.1))
    for found in (ops.sum(x), ops.sum_per_sample(x)[0]):
        assert "float32" in str(found.dtype)
        assert float(found) == pytest.approx(4096 * value, rel=1e-6)
    assert "float32" in str(ops.mean(x).dtype)


@ALL
def test_lerp_reaches_both_ends(ops, tensor):
    start, end, weight = (tensor(np.array(v)) for v in ([1.0, 1.0, 1.0], [3.0, 3.0, 3.0], [0.0, 0.25, 1.0]))
    assert np.asarray(ops.lerp(start, end, weight)).tolist() == [1.0, 1.5, 3.0]


@ALL
def test_cross_entropy(ops, tensor):
    logits, labels = [[1.0, 2.0, -1.0], [0.5, 0.0, 4.0]], [0, 2]
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        expected -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row)) / 2
    assert float(ops.cross_entropy(tensor(np.array(logits)), tensor(np.array(labels)))) == pytest.approx(expected)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8))
def test_all_agree(values):
    x = np.array(values, dtype=np.float32)
    for name in ("square", "abs", "relu", "sigmoid", "softplus", "mean", "sum"):
        ours = getattr(NUMPY, name)(x)
        for theirs in (getattr(TORCH, name)(torch.from_numpy(x)), getattr(TENSORFLOW, name)(tf.constant(x))):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(x).sum())))


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_draws_come_from_the_seed(draw):
    def numpy_draw(seed):
        return getattr(NumpyOps(np.random.default_rng(seed)), draw)([2, 3, 1])

    def torch_draw(seed):
        torch.manual_seed(seed)
        return getattr(TORCH, draw)([2, 3, 1]).numpy()

    def tensorflow_draw(seed):
        return getattr(TensorFlowOps((7, seed)), draw)([2, 3, 1]).numpy()

    for sample in (numpy_draw, torch_draw, tensorflow_draw):
        assert sample(1).shape == (2, 3, 1)
        assert sample(1).dtype == np.float32
        assert (sample(1) == sample(1)).all()
        assert (sample(1) != sample(2)).any()


@ALL
def test_draws_have_the_right_moments(ops, tensor):
    torch.manual_seed(0)
    uniform, normal = np.asarray(ops.uniform([10_000])), np.asarray(ops.normal([10_000]))
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.02)
    assert normal.mean() == pytest.approx(0.0, abs=0.06)
    assert normal.std() == pytest.approx(1.0, abs=0.04)


@ALL
def test_a_comparison_is_a_share(ops, tensor):
    assert float(ops.mean(tensor(np.array([1.0, -2.0, 3.0, 4.0])) > 0)) == 0.75


@ALL
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_whole_numbers_are_reduced_as_float32(ops, tensor, dtype):
    x = tensor(np.array([[0, 1], [1, 255]], dtype))
    for found, expected in [
        (ops.mean(x), 64.25), (ops.sum(x), 257), (ops.min(x), 0), (ops.max(x), 255), (ops.sum_per_sample(x), [1, 256]),
        (ops.mean_over_samples(x), [0.5, 128]),
    ]:  # fmt: skip
        assert np.asarray(found).tolist() == expected
        assert "float" in str(found.dtype)
    chosen = ops.where(tensor(np.array([1.0, -2.0, 3.0, 4.0])) > 0, 1, 0)
    assert float(ops.mean(chosen)) == 0.75


@ALL
def test_a_mask_is_no_list_of_rows(ops, tensor):
    mask = np.array([True, False, True])
    for indices in (mask, tensor(mask), mask.tolist()):
        with pytest.raises(PluginError, match=r"ops\.take gets booleans.*ops\.where"):
            ops.take(tensor(np.arange(3.0)), indices)


@ALL
def test_a_value_may_be_a_number_and_the_point_an_array(ops, tensor):
    value, gradient = ops.value_and_gradient(lambda x: 3.0, tensor(np.ones((2, 3), np.float32)))
    assert (float(value), np.asarray(gradient).shape, np.asarray(gradient).any()) == (3.0, (2, 3), False)
    _, gradient = ops.value_and_gradient(lambda x: x * x, np.full(2, 3.0))
    np.testing.assert_allclose(np.asarray(ops.stop_gradient(gradient)), [6, 6], rtol=1e-6)


def test_numpy_asks_the_discriminator_for_its_gradient():
    class Doubling:
        def score_and_gradient(self, x):
            return 2 * x.sum(axis=1), np.full_like(x, 2)

    x = np.ones((3, 4))
    scores, gradient = NUMPY.score_and_gradient(Doubling(), x)
    assert scores.tolist() == [8, 8, 8]
    assert (gradient == 2).all()


def test_numpy_finds_gradients_by_trying_each_number():
    x = np.array([[0.5, -1.0], [2.0, 0.0]], np.float32)
    value, gradient = NUMPY.value_and_gradient(lambda x: (x**3 + 2 * x).sum(axis=1), x)
    np.testing.assert_allclose(value, [0.125 - 1 + 1 - 2, 8 + 4])
    np.testing.assert_allclose(gradient, 3 * x**2 + 2, rtol=1e-6)
    assert gradient.dtype == np.float32
    with pytest.raises(UsageError, match=r"each of the 10,001 numbers.*at most 10,000: give a D that has a method"):
        NUMPY.score_and_gradient(lambda x: x, np.zeros(10_001))


@ALL
def test_choosing_taking_joining(ops, tensor):
    x, y = tensor(np.array([1.0, 2.0, 3.0], np.float32)), tensor(np.array([-1.0, -2.0, -3.0], np.float32))
    for condition, a, b, expected in [
        (x > 1.5, x, y, [-1, 2, 3]), (x > 1.5, x, 0, [0, 2, 3]), (x > 1.5, 0.5, y, [-1, 0.5, 0.5]),
        (True, x, y, [1, 2, 3]), (tensor(np.array(False)), x, 7.0, [7, 7, 7]), (ops.sum(x) > 0, x, y, [1, 2, 3]),
    ]:  # fmt: skip
        found = ops.where(condition, a, b)
        assert np.asarray(found).tolist() == expected
        assert "float32" in str(found.dtype)
    assert float(ops.where(ops.sum(x) > 0, 1.0, 2.0)) == 1.0
    rows = tensor(np.arange(6, dtype=np.float32).reshape(3, 2))
    for indices in ([2, 0, 2], np.array([2, 0, 2]), tensor(np.array([2, 0, 2])), tensor(np.array([2.9, 0.0, 2.1]))):
        assert np.asarray(ops.take(rows, indices)).tolist() == [[4, 5], [0, 1], [4, 5]]
    assert np.asarray(ops.take(rows, range(2))).tolist() == [[0, 1], [2, 3]]
    assert np.asarray(ops.concat([rows, rows[:1]])).tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert np.asarray(ops.concat((rows, rows), axis=1)).shape == (3, 4)


@ALL
def test_a_type_is_changed(ops, tensor):
    x = tensor(np.array([-1.7, 0.0, 2.9], np.float32))
    assert np.asarray(ops.cast(x, "int64")).tolist() == [-1, 0, 2]
    assert np.asarray(ops.cast(x, "bool")).tolist() == [True, False, True]
    for value in (3, 3.0, np.float64(3), np.array(3), tensor(np.array(3))):
        found = ops.cast(value, "float32")
        assert (float(found), "float32" in str(found.dtype)) == (3.0, True)
    assert np.asarray(ops.cast(np.ones((2, 3)), "int64")).shape == (2, 3)
    far = 2**24 + 1
    assert int(ops.cast(tensor(np.array(far)) % 1000, "float32")) == far % 1000


@ALL
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_a_value_of_any_shape_has_the_gradient_of_its_sum(ops, tensor, shape):
    x = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])

    def f(x):
        cubes = x * x * x
        return cubes if shape == (2, 3) else ops.sum_per_sample(cubes) if shape == (2,) else ops.sum(cubes)

    value, gradient = ops.value_and_gradient(f, tensor(x))
    assert tuple(value.shape) == shape
    np.testing.assert_allclose(np.asarray(ops.stop_gradient(gradient)), 3 * x**2, rtol=1e-6)
    _, gradient = ops.value_and_gradient(lambda x: ops.cast(1.0, "float32"), tensor(x))
    assert not np.asarray(ops.stop_gradient(gradient)).any()


def test_torch_gradient_can_be_differentiated_by_weights_and_by_what_x_came_from():
    """Of w = 2z and f = a·w³ the gradient is 3a·w²; its derivative by a is 3w², by z 3a·2w·2."""
    z, a = torch.tensor([1.5], requires_grad=True), torch.tensor(0.5, requires_grad=True)
    _, gradient = TORCH.value_and_gradient(lambda w: a * w**3, 2 * z)
    by_a, by_z = torch.autograd.grad(gradient.sum(), [a, z], retain_graph=True)
    assert (by_a.item(), by_z.item()) == (3 * 9, 3 * 0.5 * 2 * 3 * 2)
    _, gradient = TORCH.value_and_gradient(lambda w: a * w**3, TORCH.stop_gradient(2 * z))
    assert torch.autograd.grad(gradient.sum(), z, allow_unused=True) == (None,)


def test_tensorflow_gradient_can_be_differentiated_by_weights_and_by_what_x_came_from():
    z, a = tf.constant([1.5]), tf.Variable(0.5)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        _, gradient = TENSORFLOW.value_and_gradient(lambda w: a * w**3, 2 * z)
        _, of_points = TENSORFLOW.value_and_gradient(lambda w: a * w**3, TENSORFLOW.stop_gradient(2 * z))
    assert float(tape.gradient(gradient, a)) == 3 * 9
    assert float(tape.gradient(gradient, z)[0]) == 3 * 0.5 * 2 * 3 * 2
    assert tape.gradient(of_points, z) is None


class CountingDiscriminator(torch.nn.Module):
    """Batch norm and a quadratic score; counts its forwards."""

    def __init__(self, patches=False):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(2)
        self.scale = torch.nn.Parameter(torch.tensor(3.0))
        self.patches, self.forwards = patches, 0

    def forward(self, images):
        self.forwards += 1
        squares = self.scale * self.norm(images) ** 2
        return squares if self.patches else squares.sum(dim=(1, 2, 3))


@pytest.mark.parametrize("patches", [False, True])
def test_torch_scores_and_gradient_take_one_forward(patches):
    D, x = CountingDiscriminator(patches).eval(), torch.randn(4, 2, 3, 3)
    scores, gradient = TORCH.score_and_gradient(D, x)
    assert D.forwards == 1
    torch.testing.assert_close(scores, D(x))
    # In eval the fresh batch norm divides by sqrt(1 + eps), so the score is scale * x² / (1 + eps).
    torch.testing.assert_close(gradient, 2 * 3.0 * x / (1 + 1e-5))
    (by_scale,) = torch.autograd.grad(gradient.sum(), D.scale)
    torch.testing.assert_close(by_scale, (2 * x / (1 + 1e-5)).sum())


def test_torch_batch_norm_moves_once():
    D, once = CountingDiscriminator().train(), CountingDiscriminator().train()
    x = torch.randn(4, 2, 3, 3)
    TORCH.score_and_gradient(D, x)
    once(x)
    assert D.norm.num_batches_tracked == 1
    assert torch.equal(D.norm.running_mean, once.norm.running_mean)
    assert torch.equal(D.norm.running_var, once.norm.running_var)


def test_torch_gradient_stops_at_the_images():
    source = torch.ones(2, 2, 1, 1, requires_grad=True)
    x = source * 2
    _, gradient = TORCH.score_and_gradient(CountingDiscriminator().eval(), x)
    assert torch.autograd.grad(gradient.sum(), source, allow_unused=True) == (None,)
    assert x.grad_fn is not None


def test_torch_works_where_gradients_are_off():
    with torch.no_grad():
        _, gradient = TORCH.score_and_gradient(CountingDiscriminator().eval(), torch.ones(2, 2, 1, 1))
    assert gradient.requires_grad


def test_torch_tells_the_engine_which_images_were_scored():
    class Bound:
        seen = None

        def __call__(self, images):
            raise AssertionError("call_as was offered")

        def call_as(self, images, *, original):
            self.seen = (images, original)
            return (images**2).sum(dim=1)

    D, x = Bound(), torch.tensor([[1.0, 2.0]])
    scores, gradient = TORCH.score_and_gradient(D, x)
    assert D.seen[1] is x
    assert D.seen[0] is not x
    assert D.seen[0].requires_grad
    assert scores.tolist() == [5.0]
    assert gradient.tolist() == [[2.0, 4.0]]


def test_torch_keeps_float64_and_memory_format():
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    _, gradient = TORCH.score_and_gradient(lambda images: (images**3).sum(dim=(1, 2, 3)), x)
    assert gradient.dtype == torch.float64
    torch.testing.assert_close(gradient, 3 * x**2)
    torch.testing.assert_close(TORCH.sum_per_sample(gradient), (3 * x**2).flatten(1).sum(1))


def test_stop_gradient():
    x = torch.ones(2, requires_grad=True)
    assert not TORCH.stop_gradient(x).requires_grad
    assert NUMPY.stop_gradient(3.0) == 3.0


class KerasDiscriminator:
    """Batch norm and a quadratic score, as the one for torch above."""

    def __init__(self, patches=False):
        self.norm = keras.layers.BatchNormalization(epsilon=1e-5)
        self.scale = tf.Variable(3.0)
        self.patches, self.forwards, self.training = patches, 0, False

    def __call__(self, images):
        self.forwards += 1
        squares = self.scale * self.norm(images, training=self.training) ** 2
        return squares if self.patches else tf.reduce_sum(squares, axis=[1, 2, 3])


@pytest.mark.parametrize("patches", [False, True])
def test_tensorflow_scores_and_gradient_take_one_forward(patches):
    D, x = KerasDiscriminator(patches), tf.random.stateless_normal((4, 3, 3, 2), (0, 1))
    with tf.GradientTape() as tape:
        scores, gradient = TENSORFLOW.score_and_gradient(D, x)
        summed = tf.reduce_sum(gradient)
    assert D.forwards == 1
    np.testing.assert_allclose(scores, D(x), rtol=1e-6)
    np.testing.assert_allclose(gradient, 2 * 3.0 * x / (1 + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(summed, D.scale), tf.reduce_sum(2 * x) / (1 + 1e-5), rtol=1e-4)


def test_tensorflow_batch_norm_moves_once():
    D, once = KerasDiscriminator(), KerasDiscriminator()
    D.training = once.training = True
    x = tf.random.stateless_normal((4, 3, 3, 2), (0, 1))
    TENSORFLOW.score_and_gradient(D, x)
    once(x)
    for ours, theirs in zip(D.norm.weights, once.norm.weights, strict=True):
        assert np.array_equal(ours, theirs)


def test_tensorflow_gradient_stops_at_the_images():
    source = tf.ones((2, 1, 1, 2))
    with tf.GradientTape() as tape:
        tape.watch(source)
        _, gradient = TENSORFLOW.score_and_gradient(KerasDiscriminator(), source * 2)
        summed = tf.reduce_sum(gradient)
    assert tape.gradient(summed, source) is None


def test_tensorflow_tells_the_engine_which_images_were_scored():
    class Bound:
        seen = None

        def __call__(self, images):
            raise AssertionError("call_as was offered")

        def call_as(self, images, *, original):
            self.seen = (images, original)
            return tf.reduce_sum(images**2, axis=1)

    D, x = Bound(), tf.constant([[1.0, 2.0]])
    scores, gradient = TENSORFLOW.score_and_gradient(D, x)
    assert D.seen[1] is x
    assert D.seen[0] is not x
    assert scores.numpy().tolist() == [5.0]
    assert gradient.numpy().tolist() == [[2.0, 4.0]]


def test_tensorflow_gradient_of_a_flat_discriminator_is_zero():
    _, gradient = TENSORFLOW.score_and_gradient(lambda images: tf.zeros(2), tf.ones((2, 3)))
    assert gradient.numpy().tolist() == [[0.0] * 3] * 2


def test_tensorflow_stop_gradient():
    x = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * TENSORFLOW.stop_gradient(x)
    assert float(tape.gradient(y, x)) == 2.0
