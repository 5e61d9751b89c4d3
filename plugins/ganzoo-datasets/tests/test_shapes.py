"""--data shapes."""

from __future__ import annotations

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_datasets import shapes


def test_any_range_can_be_drawn_alone():
    whole = draw(count=300, channels=3).images
    for first, last in ((0, 1), (7, 40), (123, 300)):
        assert np.array_equal(shapes.draw("train", first, last, size=32, channels=3), whole[first:last])


def draw(split="train", **options):
    return shapes.dataset(split=split, options={"size": 32, "channels": 1, "count": 60, **options})


@pytest.mark.parametrize("size", [4, 7, 32, 65])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_both_channels(size, channels):
    source = draw(size=size, channels=channels, count=12)
    assert source.images.shape == (12, size, size, channels)
    assert source.labels.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert source.class_names == ("circle", "square", "triangle", "cross", "ring", "star")
    assert (source.images.reshape(12, -1).max(axis=1) > 20).all()  # each image shows something


def test_parts():
    train, test, whole = (draw(split, count=60) for split in ("train", "test", "all"))
    assert (len(train.images), len(test.images)) == (60, 12)
    assert np.array_equal(whole.images, np.concatenate([train.images, test.images]))
    assert not np.array_equal(train.images[:12], test.images)


def test_the_same_every_time_and_whatever_the_count():
    assert np.array_equal(draw(count=7).images, draw(count=200).images[:7])


def test_drawing_in_pieces_changes_nothing(monkeypatch):
    whole = draw(count=30).images
    monkeypatch.setattr(shapes, "_CHUNK_PIXELS", 7 * 32 * 32)
    assert np.array_equal(draw(count=30).images, whole)


def test_areas_and_edges():
    """The covered area is that of the figure with the radius drawn for it; only the edge is between black and white."""
    count, size = 30, 128
    chance = np.random.Generator(np.random.Philox(key=[15_110_643, 0])).random((count, 8), dtype=np.float32)
    images = draw(size=size, count=count).images[..., 0].astype(float)
    area_over_r2 = {
        "circle": np.pi,
        "square": 2.0,
        "triangle": 3 * np.sqrt(3) / 4,
        "cross": 4 * 0.95 * 0.3 * 2 - 4 * 0.3**2,
        "ring": np.pi * (1 - 0.5**2),
        "star": np.sqrt(3),
    }
    for index, image in enumerate(images):
        r = size * (0.2 + 0.15 * float(chance[index, 2]))
        brightness = 128 + 127 * float(chance[index, 4])
        expected = area_over_r2[shapes.CLASS_NAMES[index % 6]] * r**2
        assert image.sum() / brightness == pytest.approx(expected, rel=0.02)
        assert image.max() == pytest.approx(brightness, abs=1)
        between = ((image > 0.02 * brightness) & (image < 0.98 * brightness)).mean()
        assert 0 < between < 0.05  # antialiased, and nowhere else


def test_figures_stay_inside():
    """A border of the image is at most touched: the set has a black background that may be padded."""
    source = draw(size=32, count=600)
    assert source.background == 0
    border = np.concatenate(
        [source.images[:, [0, -1]].reshape(600, -1), source.images[:, :, [0, -1]].reshape(600, -1)], 1
    )
    assert (border.mean(axis=1) < 20).all()


def test_colours_are_bright_and_differ():
    images = draw(channels=3, count=60).images
    brightest = images.reshape(60, -1, 3).max(axis=1)
    assert (brightest.max(axis=1) >= 127).all()
    assert len({tuple(colour) for colour in brightest.tolist()}) > 50


@pytest.mark.parametrize("wrong", [{"size": 3}, {"size": 4001}, {"channels": 2}, {"count": 0}, {"count": -5}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(gz.UsageError, match=f"data.{next(iter(wrong))} is"):
        draw(**wrong)
