"""The condition that `data.derive` makes from images, against plain loops, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import ganzoo_core as gz
from ganzoo_core import building, mix
from ganzoo_core.cli import main
from ganzoo_core.data import derive, lazy
from ganzoo_core.data.derive import DerivedImages

METHODS = ("grey", "edges", "downscale:2", "downscale:4", "downscale:8", "mask:0.25", "mask:0.9")
BATCHES = st.tuples(st.integers(1, 4), st.sampled_from([8, 16]), st.sampled_from([8, 24]), st.sampled_from([1, 3]))
IMAGES = BATCHES.flatmap(lambda shape: arrays.arrays(np.uint8, shape))


@given(IMAGES, st.sampled_from(METHODS), st.integers(0, 2**31))
def test_each_row_depends_on_its_image_and_its_index_alone(images, method, seed):
    whole = DerivedImages(images, method, seed)
    assert whole.shape == (len(images), *derive.describe_shape(method, images.shape[1:]))
    derived = np.asarray(whole)
    assert (derived.shape, derived.dtype) == (whole.shape, np.uint8)
    assert np.array_equal(derived, np.asarray(DerivedImages(images, method, seed)))
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(images)), 2))
    assert np.array_equal(whole[order], derived[order])
    for index in range(len(images)):
        assert np.array_equal(whole[index], derived[index])
    others = images.copy()
    others[1:] ^= 255
    assert np.array_equal(DerivedImages(others, method, seed)[0], derived[0])


@given(IMAGES)
def test_grey_is_pillows(images):
    for image, grey in zip(images, derive.to_grey(images), strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("L")
        assert np.array_equal(grey[..., 0], np.asarray(picture))


def test_grey_is_the_luma_of_bt_601():
    colours = np.random.default_rng(0).integers(0, 256, (200, 1, 1, 3), dtype=np.uint8)
    for (red, green, blue), grey in zip(colours[:, 0, 0].tolist(), derive.to_grey(colours).ravel(), strict=True):
        assert abs(int(grey) - (0.299 * red + 0.587 * green + 0.114 * blue)) <= 1


@given(arrays.arrays(np.uint8, (2, 5, 7, 1)))
def test_edges_are_those_of_a_plain_loop(images):
    kernel = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    for image, edges in zip(images[..., 0].astype(int), derive.find_edges(images)[..., 0], strict=True):
        for row in range(5):
            for column in range(7):
                near = [[image[clip(row + i, 5), clip(column + j, 7)] for j in (-1, 0, 1)] for i in (-1, 0, 1)]
                x = sum(kernel[i][j] * near[i][j] for i in range(3) for j in range(3))
                y = sum(kernel[j][i] * near[i][j] for i in range(3) for j in range(3))
                assert edges[row, column] == min(255, round(math.sqrt(x * x + y * y) / 2))


def clip(place, length):
    return min(max(place, 0), length - 1)


def test_edges_are_white_lines_on_black():
    square = np.zeros((1, 12, 12, 3), np.uint8)
    square[:, 4:8, 4:8] = 255
    edges = derive.find_edges(square)[0, ..., 0]
    assert (edges[4:8, 3:5] == 255).all()
    assert edges[5:7, 5:7].max() == edges[:2].max() == 0


@given(arrays.arrays(np.uint8, (2, 8, 16, 3)), st.sampled_from(derive.FACTORS))
def test_downscaling_takes_means_and_enlarges_bicubically(images, factor):
    for image, derived in zip(images, derive.reduce_and_enlarge(images, factor), strict=True):
        small = np.zeros((8 // factor, 16 // factor, 3), np.uint8)
        for row in range(8 // factor):
            for column in range(16 // factor):
                for channel in range(3):
                    block = image[row * factor :, column * factor :, channel][:factor, :factor]
                    small[row, column, channel] = round(int(block.astype(int).sum()) / factor**2)
        expected = Image.fromarray(small).resize((16, 8), Image.Resampling.BICUBIC)
        assert np.array_equal(derived, np.asarray(expected))


@given(IMAGES, st.floats(0.001, 0.999), st.integers(0, 2**31))
def test_a_mask_takes_its_share_and_hides_what_is_under_it(images, share, seed):
    height, width, channels = images.shape[1:]
    hidden = np.asarray(DerivedImages(images, f"mask:{share}", seed))
    assert set(np.unique(hidden[..., -1])) <= {0, 255}
    for image, row in zip(images, hidden, strict=True):
        is_hidden = row[..., -1] == 255
        rows, columns = is_hidden.any(axis=1).sum(), is_hidden.any(axis=0).sum()
        assert is_hidden.sum() == rows * columns  # a rectangle
        assert abs(is_hidden.sum() - share * height * width) <= max(1, rows / 2)  # whole columns
        assert (row[is_hidden, :channels] == 128).all()
        assert np.array_equal(row[~is_hidden, :channels], image[~is_hidden])
    under = np.where(hidden[..., -1:] == 255, np.uint8(255) - images, images)
    assert np.array_equal(np.asarray(DerivedImages(under, f"mask:{share}", seed)), hidden)


def test_masks_differ_by_seed_and_by_index():
    images = np.zeros((40, 16, 16, 1), np.uint8)
    first, other = (np.asarray(DerivedImages(images, "mask:0.25", seed)) for seed in (1, 2))
    assert len(np.unique(first.reshape(40, -1), axis=0)) > 30
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_images_on_demand_and_mirrored_are_derived_alike(method):
    images = np.random.default_rng(1).integers(0, 256, (9, 16, 8, 3), dtype=np.uint8)
    derived = np.asarray(DerivedImages(images, method, 3))
    on_demand = DerivedImages(lazy.LazyImages(images), method, 3)
    assert np.array_equal(on_demand[np.array([8, 0, 0])], derived[[8, 0, 0]])
    assert np.array_equal(on_demand[2:5], derived[2:5])
    assert np.array_equal(on_demand[-1], derived[-1])


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("gray", "data.derive is 'gray'; expected grey, edges, downscale:2 (or 4, 8) or mask:SHARE"),
        ("gray", "did you mean grey?"),
        ("downscale", "expected grey"),
        ("downscale:3", "expected grey"),
        ("downscale:2.0", "expected grey"),
        ("mask", "expected grey"),
        *((f"mask:{share}", "between 0 and 1") for share in ("0", "1", "-0.5", "nan", "inf", "a", "", "25%")),
        ("grey:1", "expected grey"),
        ("GREY", "expected grey"),
        ("\x1b[31m", "expected grey"),
    ],
)  # fmt: skip
def test_other_methods_are_refused_with_the_mix(resolve, method, words):
    said = resolve.refusal("painter", assigned={"data.derive": method})
    assert words in said
    assert "\x1b" not in said
    assert words in resolve.refusal("dense", assigned={"data.derive": method})


def test_a_size_that_cannot_be_divided_is_refused(resolve):
    found = resolve("painter", assigned={"data.derive": "downscale:4"})
    with pytest.raises(gz.UsageError, match=r"data\.derive is downscale:4, and 30×32 pixels cannot be divided by 4;"):
        fit(found, height=32, width=30)
    with pytest.raises(gz.UsageError, match="cannot be divided by 4"):
        fit(found, height=30, width=30, conditions=None)
    assert fit(found, height=32, width=32).spec.conditions == {"source": (32, 32, 3)}
    assert fit(resolve("dense", assigned={"data.derive": "downscale:4"}), height=32, width=32).spec.conditions == {}


def fit(found, *, height=16, width=16, channels=3, conditions=None):
    conditions = {} if conditions is None and height != 30 else conditions
    facts = {"height": height, "width": width, "channels": channels, "classes": 0, "background": None}
    return mix.make_data_fit(found, **facts, conditions=conditions)


def test_a_model_that_takes_no_source_says_so(resolve):
    (note,) = resolve("dense", assigned={"data.derive": "grey"}).warnings
    assert note == "data.derive=grey (--set) changes nothing: dense takes no condition `source`"
    (note,) = resolve(generator="dense", discriminator="conv", assigned={"data.derive": "grey"}).warnings
    assert note == "data.derive=grey (--set) changes nothing: dense and conv take no condition `source`"
    assert resolve("painter", assigned={"data.derive": "grey"}).warnings == ()


def test_the_length_of_z_changes_nothing_without_z(resolve):
    (note,) = resolve("painter", assigned={"data.derive": "grey", "model.latent_dim": 8}).warnings
    assert note == "model.latent_dim=8 (--set) changes nothing: painter draws without z"


def test_a_condition_that_the_data_lack_is_refused_with_what_to_type(resolve):
    with pytest.raises(gz.UsageError, match=r"painter takes the condition `source`, and .* has none; say --set data"):
        fit(resolve("painter"), conditions={})
    with pytest.raises(gz.UsageError, match=r"has the conditions a, b; pick data that have it"):
        fit(resolve("described"), conditions={"a": (), "b": (3,)})
    found = resolve("described")
    data = replace(found.parts["data"], name="files", defaults={"data.attributes": ""})
    with pytest.raises(gz.UsageError, match=r"files has none; files makes it of what --set data\.attributes=… names"):
        fit(replace(found, parts={**found.parts, "data": data}))
    spec = fit(resolve("described"), conditions={"attributes": (3,), "b": (16, 16, 3)}).spec
    assert spec.conditions == {"attributes": (3,)}


def test_two_sources_are_refused(resolve):
    with pytest.raises(gz.UsageError, match=r"data.derive=grey \(--set\) would make another; say --set data.derive= "):
        fit(resolve("painter", assigned={"data.derive": "grey"}), conditions={"source": (16, 16, 3)})
    spec = fit(resolve("painter", assigned={"data.derive": ""}), conditions={"source": (16, 16, 2)}).spec
    assert spec.conditions == {"source": (16, 16, 2)}


@pytest.mark.parametrize(("channels", "expected"), [(1, (16, 16, 1)), (3, (16, 16, 4))])
def test_the_networks_get_what_the_spec_says(resolve, channels, expected):
    """Derived from the images as the networks see them: resized, and grey with `data.channels=1`."""
    method = "mask:0.5" if channels == 3 else "grey"
    assigned = {"data.derive": method, "data.channels": str(channels), "data.size": "16", "train.seed": "5"}
    found = resolve("painter", assigned=assigned)
    images = np.random.default_rng(2).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
    source = gz.ImageSource(images, conditions={"other": np.zeros(3, np.int64)})
    fitted = building.fit_to_data(found, source)
    prepared = building.prepare_data(found, fitted, source)
    assert fitted.spec.conditions == {"source": expected}
    assert list(prepared.conditions) == ["source"]
    assert np.array_equal(prepared.conditions["source"], DerivedImages(prepared.images, method, 5)[:])
    if channels == 1:
        assert np.array_equal(prepared.conditions["source"], prepared.images)
    plain = resolve("dense", assigned={"data.derive": method})
    assert building.prepare_data(plain, building.fit_to_data(plain, source), source).conditions == {}


def test_a_dry_run_refuses_a_wrong_method(capsys):
    assert main(["run", "dcgan-torch", "--data", "digits", "--dry-run", "--set", "data.derive=gray"]) == 2
    assert "data.derive is 'gray'; expected grey, edges" in capsys.readouterr().err
    assert main(["run", "dcgan-torch", "--data", "digits", "--dry-run", "--set", "data.derive=grey"]) == 0
    assert "data.derive=grey (--set) changes nothing: dcgan-torch takes no condition" in capsys.readouterr().out
