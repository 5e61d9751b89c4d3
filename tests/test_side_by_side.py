"""Conditions, outputs and targets on one sheet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.data import side_by_side

from .conftest import Site


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_hides_what_it_covers(channels: int) -> None:
    rows = noise(2, 4, 5, channels + 1)
    rows[0, ..., -1], rows[1, ..., -1] = 0, 255
    shown = side_by_side.make_shown(rows, channels)
    assert np.array_equal(shown[0], rows[0, ..., :-1])
    assert (shown[1] == 128).all()


def test_other_channels_are_shown_in_colour_or_as_they_are() -> None:
    two = noise(2, 4, 4, 2)
    shown = side_by_side.make_shown(two, 3)
    assert np.array_equal(shown[..., :2], two)
    assert not shown[..., 2].any()
    for channels in (1, 3):
        assert side_by_side.make_shown(noise(2, 4, 4, channels), 3).shape[3] == channels


def read_cells(sheet: Image.Image, size: tuple[int, int], columns: int, groups: int) -> np.ndarray:
    """The cells of a sheet without caption, [row, group, column, H, W, 3], cut out by the gaps that the docs state."""
    height, width = size
    line, group = height + 2 * 2, columns * (width + 2) - 2 + 10  # 2 pixels around a row, 2 between cells, 10 a group
    factor = sheet.width // (groups * group)
    assert sheet.width == factor * groups * group
    small = np.asarray(sheet.convert("RGB"))[(sheet.height % (factor * line)) :][factor // 2 :: factor]
    small = small[:, factor // 2 :: factor].reshape(-1, line, groups, group, 3).transpose(0, 2, 1, 3, 4)
    cells = [small[:, :, 2 : 2 + height, 5 + (width + 2) * index :][:, :, :, :width] for index in range(columns)]
    return np.stack(cells, axis=2)


@pytest.mark.parametrize(("count", "groups"), [(3, 1), (5, 2)])
def test_each_row_shows_what_belongs_together(count: int, groups: int) -> None:
    conditions = {"sketch": noise(count, 8, 8, 1), "vector": np.zeros((count, 3), np.float32)}
    output, target = noise(count, 16, 16, 3), 255 - noise(count, 16, 16, 3)
    columns = side_by_side.list_columns(conditions, output=output, target=target)
    assert list(columns) == ["sketch", "output", "target"]
    cells = read_cells(side_by_side.make_sheet(columns, groups=groups), (16, 16), 3, groups)
    cells = cells.reshape(-1, *cells.shape[2:])[:count]
    assert np.array_equal(cells[:, 0], conditions["sketch"].repeat(2, axis=1).repeat(2, axis=2).repeat(3, axis=3))
    assert np.array_equal(cells[:, 1], output)
    assert np.array_equal(cells[:, 2], target)


def test_without_pictures_among_the_conditions_outputs_stand_beside_targets() -> None:
    columns = side_by_side.list_columns({"vector": np.zeros((2, 3), np.float32)}, output=noise(2, 4, 4, 1), target=None)
    assert list(columns) == ["output"]


def test_a_runs_grids_show_the_test_part(conditioned: Site, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from conditioned import data  # type: ignore[import-not-found]

    settings = {"train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1, "data.derive": "grey"}
    run = gz.train("painter-torch", data="pairs16", images=16, out=tmp_path / "run", quiet=True, device="cpu",
                   settings=settings).folder  # fmt: skip
    rows = gz.load(run).read_given("test", 4)
    drawn = gz.load(run).generate(on=rows, seed=0)  # the run's seed
    whole = data.make_set().images
    assert all(any(np.array_equal(target, image) for image in whole) for target in rows.targets)
    sources = rows.conditions["source"].repeat(3, axis=3)

    for name, columns in {"real.png": [sources, rows.targets], "16.png": [sources, drawn, rows.targets]}.items():
        sheet = Image.open(io.BytesIO((run / "samples" / name).read_bytes()))
        groups = {2: 1, 3: 1}[len(columns)]
        if name == "16.png":
            sheet = sheet.crop((0, 0, sheet.width, sheet.height - 26))  # its caption
        cells = read_cells(sheet, (16, 16), len(columns), groups)
        for index, expected in enumerate(columns):
            assert np.array_equal(cells[:, 0, index], expected), (name, index)
