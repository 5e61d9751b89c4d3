"""uint8 to [-1, 1] and back, grids and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.data import picture_files
from ganzoo_core.data.pixels import annotate


def test_all_256_values_survive_the_way_there_and_back() -> None:
    values = np.arange(256, dtype=np.uint8)
    floats = gz.preprocess(values)
    assert floats.dtype == np.float32
    assert (floats[0], floats[255]) == (-1.0, 1.0)
    assert np.allclose(floats, values / 127.5 - 1, atol=1e-7)
    assert (gz.deprocess(floats) == values).all()


def test_what_lies_outside_is_clipped() -> None:
    assert gz.deprocess(np.array([-3.0, 3.0], dtype=np.float32)).tolist() == [0, 255]


@given(count=st.integers(1, 12), columns=st.integers(1, 6), channels=st.sampled_from([1, 3]))
def test_a_grid_shows_every_image_in_its_place(count: int, columns: int, channels: int) -> None:
    pictures = np.random.default_rng(count).integers(0, 256, (count, 3, 5, channels), dtype=np.uint8)
    sheet = np.asarray(gz.grid(pictures, columns=columns)).reshape(
        -(-count // columns) * 5 - 2, columns * 7 - 2, channels
    )
    for number, picture in enumerate(pictures):
        top, left = number // columns * 5, number % columns * 7
        assert (sheet[top : top + 3, left : left + 5] == picture).all()


def test_a_long_name_beside_a_grid_is_cut() -> None:
    sheet = gz.grid(np.zeros((2, 8, 8, 1), np.uint8), columns=1)
    widths = [annotate(sheet, rows=[name, "b"]).width for name in ("x" * 39 + "…", "x" * 1000)]
    assert widths[0] == widths[1]
    assert annotate(sheet, rows=["a\nb", "b"]).size == annotate(sheet, rows=["'a\\nb'", "b"]).size


def test_a_grid_of_floats_is_refused() -> None:
    with pytest.raises(gz.UsageError, match="uint8 images"):
        gz.grid(np.zeros((4, 3, 3, 1), dtype=np.float32))


def test_files_hold_the_same_pixels(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3), dtype=np.uint8)
    picture_files.save_images(pictures, tmp_path / "all.npz", np.arange(11))
    with np.load(tmp_path / "all.npz", allow_pickle=False) as archive:
        assert (archive["images"] == pictures).all()
        assert (archive["labels"] == np.arange(11)).all()
    picture_files.save_images(pictures, tmp_path / "folder")
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names[0] == "00.png"
    assert len(names) == 11
    for name, picture in zip(names, pictures, strict=True):
        with Image.open(tmp_path / "folder" / name) as written:
            assert (np.asarray(written) == picture).all()
    with pytest.raises(gz.UsageError, match=r"\.jpg"):
        picture_files.save_images(pictures, tmp_path / "grid.jpg")
