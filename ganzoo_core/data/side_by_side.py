"""Show conditions as pictures, beside what is drawn from them and what was to be drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from ganzoo_core.data.conditions import is_picture
from ganzoo_core.data.pixels import annotate, enlarge, grid, resize

GAP, GROUP_GAP = 2, 10  # pixels between the cells of a row, and between the rows that stand side by side
CELL = 76  # pixels: least width of an enlarged cell, so that its head fits
MID_GREY, PAPER = 128, 48  # grey values: of what a mask hides, and of the gaps


def make_shown(rows: np.ndarray, channels: int) -> np.ndarray:
    """Make pictures of a condition's rows that can be shown.

    One and three channels are shown as they are. One more than the images have is a mask, as `data.derive=mask` makes
    it: where it is white the picture is grey. Other two channels are shown in red and green.

    Args:
        rows: uint8 [N,H,W,C] with 1 to 4 channels.
        channels: of the images, 1 or 3.

    Returns:
        uint8 [N,H,W,1 or 3].
    """
    count = rows.shape[3]
    if count in (1, 3):
        return rows
    if count == channels + 1 or count == 4:
        hidden = rows[..., -1:].astype(np.float32) / 255
        return np.rint(rows[..., :-1] * (1 - hidden) + MID_GREY * hidden).astype(np.uint8)
    return np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=3)


def list_columns(conditions: Mapping[str, np.ndarray], **images: np.ndarray | None) -> dict[str, np.ndarray]:
    """Head -> pictures, side by side: each condition that is a picture, then the images.

    Args:
        conditions: name -> N rows; those that are no pictures are left out.
        images: uint8 [N,H,W,C] of one shape, such as `output` and `target`; None is left out.
    """
    shown = {head: pictures for head, pictures in images.items() if pictures is not None}
    channels = next(iter(shown.values())).shape[3]
    pictures = {name: make_shown(rows, channels) for name, rows in conditions.items() if is_picture(rows)}
    return {**pictures, **shown}


def make_sheet(columns: Mapping[str, np.ndarray], *, groups: int | None = None, caption: str = "") -> Image.Image:
    """Draw a row for each image with a cell for each column, several rows side by side, under the columns' heads.

    Args:
        columns: from `list_columns`; pictures of other sizes are brought to that of the last.
        groups: rows side by side; None to make the sheet about square.
        caption: one line below.
    """
    count, height, width, _ = list(columns.values())[-1].shape
    channels = max(pictures.shape[3] for pictures in columns.values())
    cells = [_fit_cell(pictures, (height, width), channels) for pictures in columns.values()]
    panel = np.full((count, height, len(cells) * (width + GAP) - GAP, channels), PAPER, np.uint8)
    for index, pictures in enumerate(cells):
        panel[:, :, index * (width + GAP) :][:, :, :width] = pictures
    if groups is None:
        groups = max(1, min(count, round((count * height / panel.shape[2]) ** 0.5)))
    rows = np.pad(
        panel, ((0, -count % groups), (GAP, GAP), (GROUP_GAP // 2, GROUP_GAP // 2), (0, 0)), constant_values=PAPER
    )
    sheet = grid(rows, groups, gap=0)
    factor = max(-(-CELL // (width + GAP)), 640 // max(sheet.size))
    return annotate(enlarge(sheet, least=factor * max(sheet.size)), columns=[*columns] * groups, caption=caption)


def _fit_cell(pictures: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """Pictures of a cell's size, enlarged by whole factors where possible, and with the sheet's channels."""
    height, width = pictures.shape[1:3]
    if size[0] % height == 0 and size[1] % width == 0:
        pictures = pictures.repeat(size[0] // height, axis=1).repeat(size[1] // width, axis=2)
    else:
        pictures = resize(pictures, size, crop=False)
    return np.repeat(pictures, channels, axis=3) if pictures.shape[3] < channels else pictures
