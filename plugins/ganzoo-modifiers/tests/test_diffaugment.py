"""DiffAugment's transforms: against plain loops over pixels, their ranges, and their gradients."""

from __future__ import annotations

import importlib
import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ganzoo_core as gz

FRAMEWORKS = ["torch", "tensorflow"]
SHAPES = [(5, 8, 8, 3), (5, 8, 8, 1), (4, 16, 24, 3), (3, 4, 4, 1), (3, 9, 17, 3), (2, 1, 1, 3)]
ALL = ("color", "translation", "cutout")
BELOW_ONE = np.float32(1 - 2**-24)


def to_native(framework, images):
    """[N,H,W,C] as the framework has images."""
    if framework == "tensorflow":
        return tf.constant(images)
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def to_numpy(framework, images):
    return images.numpy() if framework == "tensorflow" else images.permute(0, 2, 3, 1).numpy()


def augmented(framework, images, draws, policy=ALL):
    module = importlib.import_module(f"ganzoo_modifiers.diffaugment_{framework}")
    given = tf.constant(draws) if framework == "tensorflow" else torch.from_numpy(draws)
    return to_numpy(framework, module.augment(to_native(framework, images), given, policy=policy))


def random(shape, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.uniform(-1, 1, shape).astype(np.float32)
    return images, generator.random((shape[0], 7), dtype=np.float32)


def in_color(image, numbers):
    """Brightness, then saturation, then contrast of one image [H,W,C], a pixel at a time."""
    height, width, channels = image.shape
    offset, factor, stretch = numbers[0] - 0.5, 2 * numbers[1], 0.5 + numbers[2]
    found = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            pixel = [float(value) + offset for value in image[y, x]]
            grey = sum(pixel) / channels
            found[y, x] = [grey + factor * (value - grey) for value in pixel]
    middle = sum(float(value) for value in found.ravel()) / found.size
    return middle + stretch * (found - middle)


def moved(image, numbers):
    """Every shift from -side//8 to side//8 is as likely; 0 comes in."""
    height, width, _ = image.shape
    down = list(range(-(height // 8), height // 8 + 1))[int(numbers[3] * (2 * (height // 8) + 1))]
    right = list(range(-(width // 8), width // 8 + 1))[int(numbers[4] * (2 * (width // 8) + 1))]
    found = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                found[y, x] = image[y - down, x - right]
    return found


def cut(image, numbers):
    """0 where both coordinates are less than a quarter of the side from the centre, which is anywhere."""
    found = np.array(image, dtype=float)
    height, width, _ = image.shape
    centres = []
    for size, number in ((height, numbers[5]), (width, numbers[6])):
        even = (size // 2) % 2 == 0
        places = [float(edge) for edge in range(size + 1)] if even else [pixel + 0.5 for pixel in range(size)]
        centres.append((places[int(number * len(places))], (size // 2) / 2))
    for y in range(height):
        for x in range(width):
            if all(abs(place + 0.5 - centre) < reach for place, (centre, reach) in zip((y, x), centres, strict=True)):
                found[y, x] = 0
    return found


BY_HAND = {"color": in_color, "translation": moved, "cutout": cut}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL, ALL[::-1]], ids=str)
def test_against_a_loop_over_pixels(framework, shape, policy):
    images, draws = random(shape)
    expected = []
    for image, numbers in zip(images, draws.astype(float), strict=True):
        for name in policy:
            image = BY_HAND[name](image, numbers)
        expected.append(image)
    np.testing.assert_allclose(augmented(framework, images, draws, policy), np.stack(expected), atol=2e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 40),
    number=st.one_of(st.floats(0, 1, exclude_max=True, width=32), st.sampled_from([np.float32(0), BELOW_ONE])),
)
def test_ranges(framework, size, number):
    """For every number from [0, 1): the shift at most an eighth, the square half the side, no factor out of bounds."""
    draws = np.full((1, 7), number, np.float32)
    ramp = np.broadcast_to(np.arange(1, size + 1, dtype=np.float32)[None, :, None, None], (1, size, size, 1))
    found = augmented(framework, np.array(ramp), draws, ("translation",))[0, :, :, 0]
    kept = np.flatnonzero(found.any(axis=1))
    shift = kept[0] + 1 - found[kept[0]].max()
    assert abs(shift) <= size / 8
    assert len(kept) == size - abs(shift)
    assert (found[kept].max(axis=1) == kept + 1 - shift).all()

    square = augmented(framework, np.ones((1, size, size, 1), np.float32), draws, ("cutout",))[0, :, :, 0] == 0
    rows, columns = np.flatnonzero(square.any(axis=1)), np.flatnonzero(square.any(axis=0))
    assert np.array_equal(square, np.isin(np.arange(size), rows)[:, None] & np.isin(np.arange(size), columns)[None])
    assert len(rows) == len(columns)
    assert (size // 2) // 2 <= len(rows) <= size // 2
    assert len(rows) == 0 or np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))

    flat = augmented(framework, np.zeros((1, size, size, 1), np.float32), draws, ("color",))
    assert (flat >= -0.5).all()
    assert (flat <= 0.5).all()
    pair = np.zeros((1, 2, 1, 3), np.float32)
    pair[0, 0] = 1, 0, -1  # saturation stretches the first pixel by 0 to 2, contrast both by 0.5 to 1.5
    stretched = augmented(framework, pair, draws, ("color",))[0]
    assert 0 <= stretched[0, 0, 0] - stretched[0, 0, 2] <= 2 * 2 * 1.5


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_saturation_leaves_one_channel_as_it_is(framework):
    images, draws = random((4, 8, 8, 1))
    others = draws.copy()
    others[:, 1] = 1 - others[:, 1]
    assert np.array_equal(augmented(framework, images, draws), augmented(framework, images, others))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_place_is_as_likely(framework):
    """5,000 images: each of the shifts, and each of the squares, as often as the others, within five deviations."""
    count, size = 5000, 16
    draws = np.random.default_rng(1).random((count, 7), dtype=np.float32)
    points = np.zeros((count, size, size, 1), np.float32)
    points[:, 8, 8] = 1
    found = augmented(framework, points, draws, ("translation",))
    shifts = Counter((int(y) - 8, int(x) - 8) for _, y, x, _ in np.argwhere(found))
    assert set(shifts) == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}
    squares = augmented(framework, np.ones((count, size, size, 1), np.float32), draws, ("cutout",)) == 0
    ends = Counter((int(np.flatnonzero(row)[-1]), int(row.sum())) for row in squares[..., 0].any(axis=2))
    assert len(ends) == size + 1
    for counts in (shifts, ends):
        chance = 1 / len(counts)
        deviation = math.sqrt(count * chance * (1 - chance))
        assert max(abs(seen - count * chance) for seen in counts.values()) < 5 * deviation


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_transform_is_applied_to_the_images_that_were_drawn(framework):
    """What is applied to all, one transform after the other, and left where `applied` is false."""
    images, draws = random((8, 8, 8, 3))
    applied = np.array([[bool(row & 1), bool(row & 2), bool(row & 4)] for row in range(8)])
    expected = images
    for column, name in enumerate(ALL):
        changed = augmented(framework, expected, draws, (name,))
        expected = np.where(applied[:, column, None, None, None], changed, expected)
    module = importlib.import_module(f"ganzoo_modifiers.diffaugment_{framework}")
    convert = tf.constant if framework == "tensorflow" else torch.from_numpy
    found = module.augment(to_native(framework, images), convert(draws), policy=ALL, applied=convert(applied))
    np.testing.assert_array_equal(to_numpy(framework, found), expected)
    np.testing.assert_array_equal(expected[0], images[0])
    np.testing.assert_array_equal(expected[7], augmented(framework, images, draws)[7])


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradient_by_the_images(framework, channels):
    """The transforms are affine in the images, A x + b: the gradient of g·(A x + b) by x is Aᵀg, column by column."""
    shape = (2, 8, 8, channels)
    images, draws = random(shape)
    g = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    if framework == "torch":
        from ganzoo_modifiers import diffaugment_torch as module

        leaf = to_native("torch", images).requires_grad_(True)
        out = module.augment(leaf, torch.from_numpy(draws), policy=ALL)
        (out * to_native("torch", g)).sum().backward()
        gradient = to_numpy("torch", leaf.grad)
    else:
        from ganzoo_modifiers import diffaugment_tensorflow as module

        leaf = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            total = tf.reduce_sum(module.augment(leaf, tf.constant(draws), policy=ALL) * g)
        gradient = tape.gradient(total, leaf).numpy()
    nothing = augmented(framework, np.zeros(shape, np.float32), draws).astype(float)
    expected = np.zeros(shape)
    for place in np.ndindex(shape[1:]):
        unit = np.zeros(shape, np.float32)
        unit[(slice(None), *place)] = 1
        column = augmented(framework, unit, draws) - nothing
        expected[(slice(None), *place)] = (column * g).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)
    assert np.abs(gradient).sum() > 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_frameworks_give_the_same(shape):
    images, draws = random(shape, seed=3)
    np.testing.assert_allclose(
        augmented("torch", images, draws), augmented("tensorflow", images, draws), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("chance", [-0.1, 1.5])
def test_what_is_no_probability_is_refused(modify, chance):
    with pytest.raises(gz.UsageError, match=rf"with\.diffaugment\.augment is {chance:g}; expected a probability"):
        modify("build_discriminator", torch.nn.Flatten(), "diffaugment", augment=chance)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (["colour"], r"holds 'colour'; expected some of color, translation and cutout; did you mean color\?"),
        (["color", "flip"], r"with\.diffaugment\.policy holds 'flip'"),
        ([], r"with\.diffaugment\.policy is empty"),
        (["cutout", "cutout"], "is cutout,cutout; expected each name once"),
    ],
)
def test_what_is_no_policy_is_refused(modify, policy, told):
    with pytest.raises(gz.UsageError, match=told):
        modify("build_discriminator", torch.nn.Flatten(), "diffaugment", policy=policy)
