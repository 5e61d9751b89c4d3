"""--data npz:FILE."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_datasets import npz

IMAGES = np.random.default_rng(2).integers(0, 256, (10, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def read(tmp_path):
    def save_and_read(split="all", save=np.savez, **arrays):
        path = tmp_path / "set.npz"
        save(path, **arrays)
        return npz.dataset(name="npz", argument=str(path), split=split, options={})

    return save_and_read


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_alone(read, save):
    source = read(save=save, images=IMAGES)
    assert np.array_equal(source.images, IMAGES)
    assert source.labels is None
    assert source.background is None


def test_grey_images_without_an_axis_of_channels(read):
    assert np.array_equal(read(images=IMAGES[..., 0]).images, IMAGES[..., :1])


def test_columns_first(read):
    assert np.array_equal(read(images=np.asfortranarray(IMAGES)).images, IMAGES)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, ">i8"])
def test_labels_are_named_by_their_numbers(read, dtype):
    source = read(images=IMAGES[:4], labels=np.array([10, 2, 10, 7], dtype))
    assert source.class_names == ("2", "7", "10")
    assert source.labels.tolist() == [2, 0, 2, 1]
    assert source.labels.dtype == np.int64


@pytest.mark.parametrize("names", [["cat", "dög"], [b"cat", "dög".encode()]])
def test_class_names(read, names):
    source = read(images=IMAGES[:3], labels=np.array([1, 0, 1]), class_names=np.array(names))
    assert source.class_names == ("cat", "dög")
    assert source.labels.tolist() == [1, 0, 1]


def test_twenty_percent_are_held_out(read):
    train, test = (read(split, images=IMAGES, labels=np.arange(10)) for split in ("train", "test"))
    assert sorted([*train.labels.tolist(), *test.labels.tolist()]) == list(range(10))
    assert len(test.images) == 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": IMAGES}, "no array `images`"),
        ({"images": IMAGES / 255}, "float64.*expected uint8"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, "channels second"),
        ({"images": IMAGES[0, 0]}, r"expected \[N,H,W,C\]"),
        ({"images": IMAGES[..., [0, 1, 2, 0]]}, "4 channels"),
        ({"images": IMAGES[:0]}, "nothing"),
        ({"images": IMAGES, "labels": np.arange(9)}, "one for each image"),
        ({"images": IMAGES, "labels": np.arange(10.0)}, "labels are float64"),
        ({"images": IMAGES, "labels": np.arange(10), "class_names": np.array(["a", "b"])}, "labels run from 0 to 9"),
        ({"images": IMAGES, "labels": np.arange(10), "class_names": np.arange(10)}, "class_names are int64"),
        ({"images": IMAGES, "labels": np.arange(10), "class_names": np.array([b"\xff"])}, "are no text in UTF-8"),
        ({"images": IMAGES, "labels": np.array(["a"] * 10, dtype=object)}, "never unpickled"),
        ({"images": IMAGES, "labels": np.arange(10), "class_names": np.array([""])[:0]}, "nothing"),
    ],
)
def test_arrays_that_do_not_fit(read, tmp_path, arrays, words):
    with pytest.raises(gz.DataError, match=words) as caught:
        read(**arrays)
    assert str(tmp_path / "set.npz") in str(caught.value)


def member(shape, body=b"", descr="|u1"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (member((2**40, 2**20, 3)), "and 0 are there"),  # claims more than any memory
        (member((4, 2, 2), bytes(15)), "takes 16 bytes, and 15"),
        (member((4, 2, 2), bytes(17)), "takes 16 bytes, and 17"),
        (member((-1, -1), b"x"), "nothing"),
        (b"not an array", "no header"),
        (b"", "no header"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "no header"),
        (b"\x93NUMPY\x09\x00", "no header"),
    ],
)
def test_headers_that_lie(tmp_path, body, words):
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", body)
    with pytest.raises(gz.DataError, match=words):
        npz.dataset(name="npz", argument=str(path), split="all", options={})


def test_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 999_999)
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=np.zeros((1, 1000, 1000), np.uint8))
    with pytest.raises(gz.DataError, match="at most 999,999"):
        npz.dataset(name="npz", argument=str(path), split="all", options={})


def test_files_that_are_no_archives(tmp_path):
    for body in (b"", b"PK\x03\x04 cut short"):
        (tmp_path / "set.npz").write_bytes(body)
        with pytest.raises(gz.DataError, match=r"cannot be read as a .npz"):
            npz.dataset(name="npz", argument=str(tmp_path / "set.npz"), split="all", options={})
    with pytest.raises(gz.DataError, match="is no file"):
        npz.dataset(name="npz", argument=str(tmp_path), split="all", options={})
    with pytest.raises(gz.DataError, match=r"did you mean .*set.npz"):
        npz.dataset(name="npz", argument=str(tmp_path / "sett.npz"), split="all", options={})


def test_a_byte_turned_over_is_found(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=IMAGES)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(gz.DataError, match=r"cannot be read|no header"):
        npz.dataset(name="npz", argument=str(path), split="all", options={})
