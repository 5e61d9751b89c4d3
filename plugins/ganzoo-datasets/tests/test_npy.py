"""--data npy:PATH."""

from __future__ import annotations

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_datasets import npy

IMAGES = np.random.default_rng(2).integers(0, 256, (10, 4, 6, 3), dtype=np.uint8)


def read(path, split="all"):
    return npy.dataset(name="npy", argument=str(path), split=split, options={})


@pytest.mark.parametrize(("shown", "shape"), [(IMAGES, (10, 4, 6, 3)), (IMAGES[..., 0], (10, 4, 6, 1))])
def test_a_file_is_mapped(tmp_path, shown, shape):
    np.save(tmp_path / "cats.npy", shown)
    source = read(tmp_path / "cats.npy")
    assert isinstance(source.images, np.memmap)
    assert not source.images.flags.writeable
    assert np.array_equal(source.images, shown.reshape(shape))
    assert (source.labels, source.class_names, source.background) == (None, (), None)


def test_a_folder_has_labels_and_names(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    assert read(tmp_path).labels is None
    np.save(tmp_path / "labels.npy", np.array([7, 9] * 5, dtype=np.uint8))
    source = read(tmp_path)
    assert (source.labels.tolist(), source.class_names) == ([0, 1] * 5, ("7", "9"))
    np.save(tmp_path / "labels.npy", np.array([1, 0] * 5))
    (tmp_path / "class_names.txt").write_text("tabby\ndöner\n", encoding="utf-8")
    source = read(tmp_path)
    assert (source.labels.tolist(), source.class_names) == ([1, 0] * 5, ("tabby", "döner"))


def test_twenty_percent_are_held_out(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    parts = [read(tmp_path, split) for split in ("train", "test")]
    assert [len(part.images) for part in parts] == [8, 2]
    shown = {part.images[number].tobytes() for part in parts for number in range(len(part.images))}
    assert shown == {image.tobytes() for image in IMAGES}


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (IMAGES / 255, "float64.*expected uint8"),
        (IMAGES.transpose(0, 3, 1, 2), "channels second"),
        (IMAGES[0, 0], r"expected \[N,H,W,C\]"),
        (np.asfortranarray(IMAGES), "column by column"),
        (np.array(["a", None], dtype=object), "cannot be read as a .npy file"),
        (IMAGES[:0], "nothing to train on"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, words):
    np.save(tmp_path / "images.npy", array, allow_pickle=True)
    with pytest.raises(gz.DataError, match=words) as caught:
        read(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "names", "words"),
    [
        (np.arange(9), None, "one for each image"),
        (np.arange(10.0), None, "labels are float64"),
        (np.arange(10), "a\nb", "labels run from 0 to 9"),
        (np.arange(10), b"\xff\xfe\x00", "in UTF-8"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, labels, names, words):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", labels)
    if names is not None:
        (tmp_path / "class_names.txt").write_bytes(names if isinstance(names, bytes) else names.encode())
    with pytest.raises(gz.DataError, match=words) as caught:
        read(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_files_that_are_no_arrays(tmp_path):
    path = tmp_path / "images.npy"
    for body in (b"", b"\x93NUMPY\x01", b"not an array"):
        path.write_bytes(body)
        with pytest.raises(gz.DataError, match=r"cannot be read as a .npy file"):
            read(path)
    np.save(path, IMAGES)
    whole = path.read_bytes()
    for body in (whole[:-1], whole.replace(b" " * 20, b"{" * 20), whole.replace(b"(10,", b"(9" + b"9" * 30 + b",", 1)):
        path.write_bytes(body)
        with pytest.raises(gz.DataError, match=r"cannot be read as a .npy file"):
            read(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(gz.DataError, match=r"cannot be read as a .npy file"):
        read(path)
    np.savez(tmp_path / "set.npz", images=IMAGES)
    with pytest.raises(gz.DataError, match=r"write --data npz:"):
        read(tmp_path / "set.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(gz.DataError, match=r"holds no images.npy"):
        read(tmp_path / "empty")
