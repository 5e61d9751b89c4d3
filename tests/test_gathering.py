"""Images from anywhere: folders of pictures and numpy archives, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ganzoo_core.errors import DataError
from ganzoo_core.evaluation.image_files import read_images


def grey(value, count=10, size=4, channels=1):
    return np.full((count, size, size, channels), value, np.uint8)


def test_a_folder_of_pictures(tmp_path):
    (tmp_path / "deep").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 1), dtype=np.uint8)
    for name, image in zip(("0.png", "1.png", "deep/2.png"), images, strict=True):
        Image.fromarray(image[..., 0]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    found, labels, _ = read_images(tmp_path)
    np.testing.assert_array_equal(found, images)
    assert labels is None
    Image.fromarray(np.zeros((5, 4, 3), np.uint8)).save(tmp_path / "9.png")
    assert read_images(tmp_path)[0].shape == (4, 5, 4, 3)


@pytest.mark.parametrize("names", [("images", None), ("images", "labels")])
def test_an_archive(tmp_path, names):
    images, labels = grey(3, 5), np.arange(5)
    arrays = {"images": images, "labels": labels} if names[1] else {"images": images[..., 0]}
    np.savez(tmp_path / "drawn.npz", **arrays)
    found = read_images(tmp_path / "drawn.npz")
    np.testing.assert_array_equal(found[0], images)
    assert (found[1] is None) == (names[1] is None)


def test_what_holds_no_images_is_refused_in_words(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "sizes").mkdir()
    (tmp_path / "bad").mkdir()
    for name, size in (("a.png", (3, 4)), ("b.png", (4, 3))):
        Image.new("L", size).save(tmp_path / "sizes" / name)
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04no archive")
    (tmp_path / "images.txt").write_text("")
    np.savez(tmp_path / "other.npz", pictures=grey(3))
    np.savez(tmp_path / "float.npz", images=grey(3) / 255)
    np.savez(tmp_path / "labels.npz", images=grey(3), labels=np.zeros(3))
    np.savez(tmp_path / "objects.npz", images=np.array([{}], dtype=object))
    for name, words in {
        "missing": "is not there",
        "empty": "holds no pictures",
        "sizes": r"a.png is 3×4 pixels and b.png 4×3; ",
        "bad": r"1 of 1 files cannot be read as images: a.png \(not an image",
        "bad.npz": "cannot be read as a numpy archive",
        "images.txt": "no folder, .zip or .npz file",
        "other.npz": "holds no array `images`",
        "float.npz": r"images are float64 \[10, 4, 4, 1\]; expected uint8",
        "labels.npz": r"labels are float64 \[3\]; expected whole numbers",
        "objects.npz": "cannot be read as a numpy archive: Object arrays cannot be loaded",
    }.items():
        with pytest.raises(DataError, match=words):
            read_images(tmp_path / name)
