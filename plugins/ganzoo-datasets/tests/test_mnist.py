"""--data mnist and fashion_mnist on files that lie on the disk."""

from __future__ import annotations

import gzip
import hashlib
import shutil

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_datasets import mnist


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_in_torchvisions_layout(tmp_path, write_set, name, folder, ending):
    made = write_set(tmp_path / folder, ending=ending)
    source = mnist.dataset(name=name, root=tmp_path, split="train")
    assert np.array_equal(source.images[..., 0], made["train-images"])
    assert source.labels.dtype == np.int64
    assert np.array_equal(source.labels, made["train-labels"])
    assert source.background == 0
    assert np.array_equal(mnist.dataset(name=name, root=tmp_path, split="test").images[..., 0], made["t10k-images"])
    assert len(mnist.dataset(name=name, root=tmp_path, split="all").images) == 16


def test_files_that_are_not_the_published_ones_are_noted(tmp_path, write_set):
    write_set(tmp_path / "MNIST/raw")
    source = mnist.dataset(name="mnist", root=tmp_path, split="train")
    found = hashlib.sha256((tmp_path / "MNIST/raw/train-images-idx3-ubyte").read_bytes()).hexdigest()
    published = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    assert "the train part has 12 images instead of 60,000" in source.notes
    assert f"train-images-idx3-ubyte has SHA-256 {found}, the published file {published}" in source.notes
    again = mnist.dataset(name="mnist", root=tmp_path, split="train")
    assert again.notes == source.notes  # from the cache


def test_a_set_without_published_sums_of_unpacked_files_says_so(tmp_path, write_set):
    write_set(tmp_path / "FashionMNIST/raw")
    notes = mnist.dataset(name="fashion_mnist", root=tmp_path, split="train").notes
    assert any("none is published for the unpacked file" in note for note in notes)


def test_class_names():
    assert mnist.SETS["mnist"].class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    expected = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
    assert ", ".join(mnist.SETS["fashion_mnist"].class_names) == expected


def test_another_set_in_its_place(tmp_path, write_set, write_idx):
    write_set(tmp_path / "MNIST/raw", size=32)
    with pytest.raises(gz.DataError, match=r"\b32×32.*--data idx:"):
        mnist.dataset(name="mnist", root=tmp_path, split="train")
    write_set(tmp_path / "MNIST/raw", classes=11)
    with pytest.raises(gz.DataError, match=r"labels up to 10\b"):
        mnist.dataset(name="mnist", root=tmp_path, split="train")


def test_a_file_cut_short_is_an_error(tmp_path, write_set):
    write_set(tmp_path / "MNIST/raw")
    file = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(gz.DataError, match="cut short"):
        mnist.dataset(name="mnist", root=tmp_path, split="train")


def test_the_second_start_reads_the_cache(tmp_path, write_set, monkeypatch):
    write_set(tmp_path / "MNIST/raw", ending=".gz")
    first = mnist.dataset(name="mnist", root=tmp_path, split="train")
    monkeypatch.setattr(mnist, "_build", lambda *a: pytest.fail("decoded again"))
    second = mnist.dataset(name="mnist", root=tmp_path, split="train")
    assert isinstance(second.images, np.memmap)
    assert np.array_equal(first.images, second.images)


def test_real_mnist_is_the_published_one(real_data):
    source = mnist.dataset(name="mnist", root=real_data, split="train")
    assert source.images.shape == (60_000, 28, 28, 1)
    assert source.notes == ()
    # The counts of the digits 0 to 9 that are known of MNIST's training part.
    assert np.bincount(source.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.dataset(name="mnist", root=real_data, split="test").images.shape[0] == 10_000


def test_real_files_gzipped_anew_are_noted(real_data, tmp_path):
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        with (real_data / "MNIST/raw" / name).open("rb") as file, gzip.open(folder / f"{name}.gz", "wb", 1) as packed:
            shutil.copyfileobj(file, packed)
    source = mnist.dataset(name="mnist", root=tmp_path, split="test")
    assert len(source.notes) == 2
    assert np.array_equal(source.images, mnist.dataset(name="mnist", root=real_data, split="test").images)


def test_real_fashion_sample_in_the_place_of_the_whole(real_data, tmp_path):
    shutil.copytree(real_data / "fashion_mnist_sample", tmp_path / "FashionMNIST" / "raw")
    source = mnist.dataset(name="fashion_mnist", root=tmp_path, split="train")
    assert source.images.shape == (810, 28, 28, 1)
    assert any("810 images instead of 60,000" in note for note in source.notes)
    assert any("the published file 3aede38d" in note for note in source.notes)
