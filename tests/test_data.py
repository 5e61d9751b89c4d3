"""The held-out part, the size of the images, the endless stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.data import framing as data_framing
from ganzoo_core.data.framing import choose_framing, prepare
from ganzoo_core.data.splits import hold_out
from ganzoo_core.data.stream import Stream

SPLIT_OF_20 = [1, 11, 14, 16]


def source_of(count: int, height: int = 4, width: int = 4, channels: int = 1, **more: object) -> gz.ImageSource:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((height, width, channels), dtype=np.uint8)
    return gz.ImageSource(images, **more)  # type: ignore[arg-type]


@given(count=st.integers(1, 50), seed=st.integers(0, 2**32), start=st.integers(0, 500), length=st.integers(1, 120))
def test_every_image_comes_once_an_epoch_and_position_alone_decides(
    count: int, seed: int, start: int, length: int
) -> None:
    stream = Stream(count, seed=seed, purpose="data")
    whole = stream.take_indices(0, (start + length) // count * count + count)
    for epoch in whole.reshape(-1, count):
        assert sorted(epoch) == list(range(count))
    fresh = Stream(count, seed=seed, purpose="data")  # as after a resume
    assert list(fresh.take_indices(start, length)) == list(whole[start : start + length])


def test_epochs_and_purposes_differ_in_their_order() -> None:
    first, second = Stream(100, seed=0, purpose="data"), Stream(100, seed=0, purpose="other")
    assert list(first.take_indices(0, 100)) != list(first.take_indices(100, 100))
    assert list(first.take_indices(0, 100)) != list(second.take_indices(0, 100))


@given(count=st.integers(2, 200))
def test_held_out_images_are_a_fifth_and_never_in_training(count: int) -> None:
    source = source_of(count)
    train, test = hold_out(source, "train"), hold_out(source, "test")
    values = {int(image[0, 0, 0]) for image in train.images}, {int(image[0, 0, 0]) for image in test.images}
    assert not values[0] & values[1]
    assert len(train.images) + len(test.images) == count
    assert len(test.images) == max(1, count // 5)
    assert hold_out(source, "all").images is source.images
    assert "held out" in test.notes[-1]


def test_held_out_labels_stay_with_their_images() -> None:
    labels = np.arange(20, dtype=np.int64)
    part = hold_out(source_of(20, labels=labels, class_names=[str(n) for n in labels]), "test")
    assert part.labels is not None
    assert [int(image[0, 0, 0]) for image in part.images] == list(part.labels)


def test_28_pixels_are_padded_to_32_with_the_background() -> None:
    framing = choose_framing((28, 28), size=0, sizes=[16, 32, 64], background=0)
    assert (framing.method, framing.target_size, framing.crop) == ("pad", (32, 32), (2, 2, 28, 28))
    images = np.full((3, 28, 28, 1), 200, dtype=np.uint8)
    padded = prepare(gz.ImageSource(images), framing, 1).images
    assert padded.shape == (3, 32, 32, 1)
    assert (padded[:, 2:30, 2:30] == 200).all()
    assert padded.sum() == images.sum()  # the border is 0, which is -1 for the networks


@pytest.mark.parametrize(
    ("natural", "size", "background", "method"),
    [
        ((28, 28), 64, 0, "resize"),  # more than a quarter larger
        ((28, 28), 32, None, "resize"),  # photographs have no background
        ((32, 32), 32, None, "none"),
        ((28, 28), 16, 0, "resize"),
        ((20, 30), 32, 0, "resize"),
    ],
)
def test_everything_else_is_resized(natural: tuple[int, int], size: int, background: int | None, method: str) -> None:
    framing = choose_framing(natural, size=size, sizes=[], background=background)
    assert (framing.method, framing.target_size, framing.crop) == (method, (size, size), None)


def test_sizes_that_do_not_fit_name_the_setting() -> None:
    with pytest.raises(gz.UsageError, match=r"data\.size is 48; this model takes 32, 64"):
        choose_framing((28, 28), size=48, sizes=[64, 32], background=None)
    with pytest.raises(gz.UsageError, match=r"--set data\.size=64"):
        choose_framing((300, 200), size=0, sizes=[32, 64], background=None)


def test_resizing_keeps_the_aspect_and_antialiases() -> None:
    stripes = np.zeros((1, 60, 120, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255  # one pixel wide: without antialiasing they would stay black and white
    stripes[:, :, :25] = 77  # lies in the part that is cropped
    small = prepare(gz.ImageSource(stripes), choose_framing((60, 120), size=15, sizes=[], background=None), 3).images
    assert small.shape == (1, 15, 15, 3)
    assert np.abs(small[:, :, 2:-2].astype(int) - 127).max() < 16


def test_channels_follow_luma_and_repeat() -> None:
    pixel = np.array([200, 100, 50], dtype=np.uint8).reshape(1, 1, 1, 3)
    grey = prepare(gz.ImageSource(pixel), choose_framing((1, 1), size=0, sizes=[], background=None), 1).images
    assert grey.item() == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    colour = prepare(gz.ImageSource(grey), choose_framing((1, 1), size=0, sizes=[], background=None), 3).images
    assert colour.flatten().tolist() == [grey.item()] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": np.zeros((2, 4, 4), dtype=np.uint8)}, r"expected a uint8 array \[N,H,W,C\]"),
        ({"images": np.zeros((2, 4, 4, 1), dtype=np.float32)}, "found|float32"),
        ({"images": np.zeros((2, 4, 4, 4), dtype=np.uint8)}, "4 channels"),
        ({"images": np.zeros((0, 4, 4, 1), dtype=np.uint8)}, "nothing to train on"),
        ({"images": np.zeros((2, 4, 4, 1), dtype=np.uint8), "labels": np.array([0, 1], dtype=np.int32)}, "int64"),
        (
            {"images": np.zeros((2, 4, 4, 1), dtype=np.uint8), "labels": np.array([0, 2]), "class_names": ["a", "b"]},
            "labels must be 0 to 1",
        ),
        (
            {"images": np.zeros((1, 4, 4, 1), dtype=np.uint8), "labels": np.array([0]), "class_names": ["x" * 1001]},
            "the class x{40}… has a name of 1,001 characters; expected at most 1,000",
        ),
    ],
)
def test_a_bad_source_is_refused_in_words(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(gz.DataError, match=words):
        gz.ImageSource(**arguments)  # type: ignore[arg-type]


def test_the_split_is_the_same_for_ever() -> None:
    """The numbers that `np.random.Generator(np.random.Philox(20140610)).permutation(20)[:4]` gave once."""
    part = hold_out(source_of(20), "test")
    assert [int(image[0, 0, 0]) for image in part.images] == SPLIT_OF_20
    assert part.notes == ("no official test part: a fixed 20% is held out; this is test, 4 of 20 images",)
    rest = hold_out(source_of(20, notes=("read",)), "train")
    assert [int(image[0, 0, 0]) for image in rest.images] == [n for n in range(20) if n not in SPLIT_OF_20]
    assert rest.notes == ("read", "no official test part: a fixed 20% is held out; this is train, 16 of 20 images")


def test_keys_choose_where_the_images_have_them() -> None:
    keys = np.array([0.3, 0.1, 0.9, 0.19, 0.2, 0.15])
    whole = source_of(6, labels=np.array([0, 0, 1, 0, 2, 1]), class_names=["a", "b", "c"], split_keys=keys)
    parts = {split: hold_out(whole, split) for split in ("train", "test", "all")}
    chosen = {split: [int(image[0, 0, 0]) for image in part.images] for split, part in parts.items()}
    assert chosen == {"train": [0, 2, 4], "test": [1, 3, 5], "all": [0, 1, 2, 3, 4, 5]}
    assert {part.whole for part in parts.values()} == {6}
    assert (parts["train"].held_out, parts["test"].labels.tolist()) == (3, [0, 0, 1])


def test_a_class_whose_keys_are_all_below_the_share_keeps_the_greatest() -> None:
    keys = np.array([0.15, 0.1, 0.15, 0.05, 0.9, 0.01])
    labels = np.array([0, 0, 1, 1, 2, 2])
    train = hold_out(source_of(6, labels=labels, class_names=["a", "b", "c"], split_keys=keys), "train")
    assert [int(image[0, 0, 0]) for image in train.images] == [0, 2, 4]  # images of one key are in one part
    assert "; 2 classes keep one, without other training images; this is train, 3 of 6" in train.notes[-1]


def test_where_no_key_is_below_the_share_nothing_is_held_out() -> None:
    for keys in (
        np.array([0.5, 0.3, 0.2]),
        np.array([0.1, 0.1, 0.1]),
    ):  # of the latter one must stay, and all are alike
        train, test = (hold_out(source_of(3, split_keys=keys), split) for split in ("train", "test"))
        assert (len(train.images), len(test.images), train.held_out, test.whole) == (3, 3, 0, 3)
        assert test.notes == (
            "nothing is held out, since a choice of 20% by each file's content takes none: train and test are the same "
            "3 images, so a score cannot tell copies",
        )


@pytest.mark.parametrize(
    "keys", [[0.1], np.zeros(2), np.zeros(3, np.float32), np.array([0, 0.5, 1]), np.full(3, np.nan)]
)
def test_keys_that_are_none_are_refused(keys) -> None:
    with pytest.raises(gz.DataError, match="split_keys must be a float64 array"):
        source_of(3, split_keys=keys)


def test_an_only_image_is_trained_with_and_leaves_nothing_to_test() -> None:
    assert len(hold_out(source_of(1), "train").images) == 1
    with pytest.raises(gz.DataError, match="nothing to train on"):
        hold_out(source_of(1), "test")


def test_a_stream_of_no_images_is_refused_and_one_image_comes_again_and_again() -> None:
    with pytest.raises(gz.DataError, match=r"^there are no images to train on$"):
        Stream(0, seed=0, purpose="data")
    assert Stream(1, seed=0, purpose="data").take_indices(5, 3).tolist() == [0, 0, 0]


def test_a_stream_holds_the_orders_of_the_epochs_that_it_needs_alone() -> None:
    stream = Stream(10, seed=0, purpose="data")
    stream.take_indices(5, 10)
    assert sorted(stream._orders) == [0, 1]
    stream.take_indices(15, 3)
    assert sorted(stream._orders) == [1]
    stream.take_indices(42, 1)
    assert sorted(stream._orders) == [4]


@pytest.mark.parametrize(
    ("natural", "target", "method"),
    [(16, 20, "pad"), (16, 21, "resize"), (16, 16, "none"), (16, 15, "resize"), (16, 17, "pad")],
)
def test_a_border_makes_images_at_most_a_quarter_larger(natural: int, target: int, method: str) -> None:
    framing = choose_framing((natural, natural), size=target, sizes=[], background=9)
    assert (framing.method, framing.background) == (method, 9 if method == "pad" else 0)


def test_a_border_is_laid_around_the_middle_in_the_background_s_grey() -> None:
    """An odd border has its larger half below and to the right; both sides must be within the quarter."""
    images = np.random.default_rng(0).integers(0, 256, (2, 27, 29, 3), dtype=np.uint8)
    framing = choose_framing((27, 29), size=32, sizes=[], background=7)
    assert framing.crop == (2, 1, 27, 29)
    expected = np.full((2, 32, 32, 3), 7, dtype=np.uint8)
    expected[:, 2:29, 1:30] = images
    np.testing.assert_array_equal(prepare(gz.ImageSource(images), framing, 3).images, expected)
    assert choose_framing((25, 32), size=32, sizes=[], background=7).method == "resize"
    assert choose_framing((32, 25), size=32, sizes=[], background=7).method == "resize"


def test_the_least_size_that_holds_the_images_is_taken() -> None:
    for natural, target in (((20, 33), 64), ((32, 32), 32), ((33, 20), 64), ((5, 5), 16)):
        assert choose_framing(natural, size=0, sizes=[64, 16, 32], background=None).target_size == (target, target)
    assert choose_framing((20, 33), size=0, sizes=[], background=None).target_size == (20, 33)
    assert choose_framing((20, 33), size=32, sizes=[32, 64], background=None).target_size == (32, 32)


def test_sizes_that_do_not_fit_are_told_in_a_sentence() -> None:
    with pytest.raises(gz.UsageError) as caught:
        choose_framing((28, 28), size=48, sizes=[64, 32], background=None)
    assert str(caught.value) == "data.size is 48; this model takes 32, 64 pixels"
    with pytest.raises(gz.UsageError) as caught:
        choose_framing((20, 65), size=0, sizes=[64, 32], background=None)
    assert str(caught.value) == (
        "the images are 20×65 and the model takes at most 64 pixels; choose one with --set data.size=64"
    )


def test_each_channel_has_its_weight_in_grey() -> None:
    """ITU-R BT.601: 0.299, 0.587, 0.114 of 255."""
    pixels = np.eye(3, dtype=np.uint8).reshape(3, 1, 1, 3) * 255
    framing = choose_framing((1, 1), size=0, sizes=[], background=None)
    assert prepare(gz.ImageSource(pixels), framing, 1).images.flatten().tolist() == [76, 150, 29]


def test_what_takes_long_says_every_few_seconds_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [100.0], list[str]()
    monkeypatch.setattr(data_framing.time, "monotonic", lambda: now[0])
    tell = data_framing._make_progress(2000, said.append)
    assert tell is not None
    for at, done in ((105.0, 500), (105.1, 1000), (110.0, 1200), (110.2, 1500), (120.0, 2000)):
        now[0] = at
        tell(done)
    assert said == ["1,000 of 2,000 images are read", "1,500 of 2,000 images are read"]
    assert data_framing._make_progress(2000, None) is None
