"""Three digits as the channels of one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import digits, stacked


def read(split: str, **options) -> gz.ImageSource:
    return stacked.dataset("stacked-digits", Path("nowhere"), split, options)


def test_each_channel_is_a_digit_of_its_part_and_the_label_has_theirs() -> None:
    for split, count in (("train", 128_000), ("test", 26_000)):
        source, single = read(split), digits.dataset(split, {})
        assert source.images.shape == (count, 8, 8, 3)
        assert (source.held_out, source.whole) == (154_000 - count, 154_000)
        assert source.images.triples.shape == (count, 3)
        order = np.array([0, 5, count - 1, 5])
        images = source.images[order]
        for image, row in zip(images, order, strict=True):
            label = 0
            for channel in range(3):
                index = source.images.triples[row, channel]
                np.testing.assert_array_equal(image[:, :, channel], single.images[index, :, :, 0])
                label = 10 * label + int(single.labels[index])
            assert source.labels[row] == label
            assert source.class_names[label] == f"{label:03d}"
        np.testing.assert_array_equal(source.images[3:6], source.images[np.arange(3, 6)])
        np.testing.assert_array_equal(source.stacked.images, single.images)


def test_all_modes_are_there_about_alike() -> None:
    counts = np.bincount(read("train").labels, minlength=1000)
    assert counts.min() > 60  # 128 on average; the digits themselves are not exactly alike
    assert counts.max() < 200


def test_all_is_both_parts_in_order() -> None:
    parts, whole = [read("train"), read("test")], read("all")
    np.testing.assert_array_equal(whole.labels, np.concatenate([part.labels for part in parts]))
    some = np.array([0, 127_999, 128_000, 153_999])
    expected = np.concatenate([parts[0].images[some[:2]], parts[1].images[some[2:] - 128_000]])
    np.testing.assert_array_equal(whole.images[some], expected)
    assert (whole.held_out, whole.whole) == (0, 154_000)


def test_with_nothing_held_out_the_test_part_is_the_train_part() -> None:
    train, test = (read(split, holdout=0.0) for split in ("train", "test"))
    assert len(test.images) == test.whole == 128_000
    np.testing.assert_array_equal(test.images.triples, train.images.triples)
    assert len(test.stacked.images) == 1797


def test_mnist_keeps_its_own_parts(tmp_path: Path, write_set: Callable[..., dict[str, np.ndarray]]) -> None:
    made = write_set(tmp_path / "MNIST/raw")
    sources = {split: stacked.dataset("stacked-mnist", tmp_path, split, {}) for split in ("train", "test", "all")}
    assert [len(source.images) for source in sources.values()] == [128_000, 26_000, 154_000]
    assert {source.whole for source in sources.values()} == {0}  # `data.holdout` changes nothing
    assert [source.held_out for source in sources.values()] == [26_000, 128_000, 0]
    for split, name, row in (("train", "train", 7), ("test", "t10k", 7), ("all", "t10k", 128_007)):
        image, label = sources[split].images[np.array([row])][0], f"{sources[split].labels[row]:03d}"
        for channel in range(3):
            same = (made[f"{name}-images"] == image[:, :, channel]).all(axis=(1, 2))
            assert made[f"{name}-labels"][same].tolist() == [int(label[channel])]
    facts = stacked.describe_dataset("stacked-mnist", tmp_path, "train")
    assert facts == {"height": 28, "width": 28, "channels": 3, "classes": 1000}


def test_triples_are_remainders_of_the_generator_s_own_numbers() -> None:
    raw = np.random.Philox(key=[16_110_216, 0])
    assert stacked.draw_triples("train", 1437)[:2].tolist() == [[raw.random_raw() % 1437 for _ in "rgb"] for _ in "ab"]


def test_a_run_trains_on_them(tmp_path: Path) -> None:
    tiny = {"model.width": 4, "train.batch_size": 8, "train.sample_count": 4, "engine.device": "cpu"}
    run = gz.train("dcgan-torch", data="stacked-digits", out=tmp_path / "run", steps=2, settings=tiny, quiet=True)
    config = (run.folder / "config.yaml").read_text()
    assert "each picture is three of 1,438 digits" in config
    assert run.stats[-1]["images"] == 16
