"""The IDX format, and --data idx:PATH."""

from __future__ import annotations

import gzip
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import ganzoo_core as gz
from ganzoo_datasets import idx, idx_folder

shapes = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6)


@given(values=arrays.arrays(np.uint8, shapes), packed=st.booleans())
def test_what_was_written_is_read(values, packed):
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(gzip.compress(content) if packed else content)
        found = np.array(idx.read(path, axes=values.ndim))
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


@given(content=st.binary(max_size=64), packed=st.booleans())
def test_any_bytes_are_read_or_refused(content, packed):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(gzip.compress(content) if packed else content)
        with suppress(gz.DataError):
            found = np.array(idx.read(path, axes=1))
            assert content == b"\x00\x00\x08\x01" + struct.pack(">I", len(found)) + found.tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "nothing"),
        (b"\x00\x00\x09\x03" + struct.pack(">3I", 1, 1, 1) + b"x", "00 00 09 03"),
        (b"\x00\x00\x08\x01" + struct.pack(">I", 1) + b"x", "expected 3"),
        (b"\x00\x00\x08\x03" + struct.pack(">2I", 2, 2), "within its header"),
        (b"\x00\x00\x08\x03" + struct.pack(">3I", 0, 28, 28), "nothing"),
        (b"\x00\x00\x08\x03" + struct.pack(">3I", 2, 2, 2) + bytes(7), "2×2×2"),
        (b"\x00\x00\x08\x03" + struct.pack(">3I", 2, 2, 2) + bytes(9), "2×2×2"),
        # 2^96 bytes: refused from the header alone, or this test would need more memory than there is.
        (b"\x00\x00\x08\x03" + struct.pack(">3I", *[2**32 - 1] * 3) + bytes(9), "4294967295"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, words, packed):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(gz.DataError, match=words) as caught:
        idx.read(path, axes=3)
    assert str(path) in str(caught.value)


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x03" + struct.pack(">3I", 1, 1000, 1000) + bytes(1_000_000)))
    monkeypatch.setattr(idx, "MAX_UNPACKED", 999_999)
    with pytest.raises(gz.DataError, match="cannot hold"):
        idx.read(path, axes=3)


def test_a_gzipped_file_cut_short_is_named(tmp_path):
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    rng = np.random.default_rng(0)
    whole = gzip.compress(b"\x00\x00\x08\x01" + struct.pack(">I", 5000) + rng.bytes(5000))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(gz.DataError, match="train-labels"):
        idx.read(path, axes=1)


def test_images_above_16_megapixels_are_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    header = b"\x00\x00\x08\x03" + struct.pack(">3I", 1, 4001, 4000)
    with path.open("wb") as file:  # sparse: takes no room on the disk
        file.write(header)
        file.truncate(len(header) + 4001 * 4000)
    with pytest.raises(gz.DataError, match=r"\b16 megapixels"):
        idx.read_images(path)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_folder_with_four_files(tmp_path, write_set, ending):
    made = write_set(tmp_path, size=5, classes=3, ending=ending)
    train = idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})
    assert np.array_equal(train.images[..., 0], made["train-images"])
    assert np.array_equal(train.labels, made["train-labels"])
    assert train.class_names == ("0", "1", "2")
    assert train.background == 0
    test = idx_folder.dataset(name="idx", argument=str(tmp_path), split="test", options={})
    assert np.array_equal(test.images[..., 0], made["t10k-images"])
    whole = idx_folder.dataset(name="idx", argument=str(tmp_path), split="all", options={})
    assert np.array_equal(whole.images[..., 0], np.concatenate([made["train-images"], made["t10k-images"]]))


def test_labels_that_start_at_one_and_miss_one(tmp_path, write_idx):
    write_idx(tmp_path / "train-images.idx3-ubyte", np.zeros((3, 4, 4), np.uint8))
    write_idx(tmp_path / "train-labels.idx1-ubyte", np.array([7, 1, 1], np.uint8))
    write_idx(tmp_path / "test-images-idx3-ubyte", np.zeros((1, 4, 4), np.uint8))
    write_idx(tmp_path / "test-labels-idx1-ubyte", np.array([5], np.uint8))
    source = idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})
    assert source.class_names == ("1", "5", "7")  # of both parts
    assert source.labels.tolist() == [2, 0, 0]


def test_without_labels_and_without_a_test_part(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((10, 4, 4), np.uint8))
    train = idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})
    test = idx_folder.dataset(name="idx", argument=str(tmp_path), split="test", options={})
    assert train.labels is None
    assert train.class_names == ()
    assert (len(train.images), len(test.images)) == (8, 2)  # 20 % held out
    assert "held out" in train.notes[0]


def test_files_that_do_not_belong_together(tmp_path, write_set, write_idx):
    write_set(tmp_path, size=5)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(gz.DataError, match=r"\b3 labels .* 12\b"):
        idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(gz.DataError, match="only the test part has labels"):
        idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})


def test_parts_of_different_size(tmp_path, write_set, write_idx):
    write_set(tmp_path, size=5)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((4, 6, 6), np.uint8))
    with pytest.raises(gz.DataError, match=r"\b5×5 and 6×6"):
        idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})


def test_a_folder_without_such_files(tmp_path):
    with pytest.raises(gz.DataError, match="train-images-idx3-ubyte"):
        idx_folder.dataset(name="idx", argument=str(tmp_path), split="train", options={})


def test_paths_that_are_wrong(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits.tar.gz").write_bytes(b"x")
    with pytest.raises(gz.DataError, match=r"did you mean .*digits\?"):
        idx_folder.dataset(name="idx", argument=str(tmp_path / "digit" / "raw"), split="train", options={})
    with pytest.raises(gz.DataError, match="unpack it"):
        idx_folder.dataset(name="idx", argument=str(tmp_path / "digits.tar.gz"), split="train", options={})
    with pytest.raises(gz.UsageError, match="idx:PATH"):
        idx_folder.dataset(name="idx", argument="", split="train", options={})


def test_relative_paths_and_the_home_folder(tmp_path, monkeypatch, write_set):
    write_set(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for argument in ("set", "./set", "~/set"):
        assert len(idx_folder.dataset(name="idx", argument=argument, split="train", options={}).images) == 12


def test_real_fashion_mnist_sample(real_data):
    source = idx_folder.dataset(name="idx", argument=str(real_data / "fashion_mnist_sample"), split="all", options={})
    assert source.images.shape == (900, 28, 28, 1)
    assert np.bincount(source.labels).tolist() == [90] * 10  # in balance, as its notes say
