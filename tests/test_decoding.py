"""One image file of every mode, size and state."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganzoo_core.data.reading.decoding import Task, image_to_pixels, perform
from ganzoo_core.data.reading.formats import BadImage, limit_pillow
from ganzoo_core.data.reading.scan import ImageFile


def saved(path, image, **options):
    image.save(path, **options)
    return path


def decode(path, size=8, channels=3, **task):
    task = Task("decode", **{"height": size, "width": size, "channels": channels, "max_pixels": 16e6, **task})
    with limit_pillow():
        return perform(task, ImageFile(path, path.name))[0]


def read_header(path, **task):
    with limit_pillow():
        return perform(Task("header", **{"max_pixels": 16e6, **task}), ImageFile(path, path.name))


def look(path):
    header = read_header(path)
    return header.height, header.width, header.grey


def flat(mode, value, size=(8, 8)):
    return Image.new(mode, size, value)


@pytest.mark.parametrize(
    ("name", "image", "grey", "expected"),
    [
        ("1.png", flat("1", 1), True, (255, 255, 255)),
        ("l.png", flat("L", 77), True, (77, 77, 77)),
        ("la.png", flat("LA", (77, 255)), True, (77, 77, 77)),
        # A fifth of 100 over white: 100·0.2 + 255·0.8 = 224.
        ("la-clear.png", flat("LA", (100, 51)), True, (224, 224, 224)),
        ("rgb.png", flat("RGB", (10, 20, 30)), False, (10, 20, 30)),
        ("rgba.png", flat("RGBA", (10, 20, 30, 255)), False, (10, 20, 30)),
        ("rgba-clear.png", flat("RGBA", (10, 20, 30, 0)), False, (255, 255, 255)),
        ("p.png", flat("RGB", (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE), False, (10, 20, 30)),
        ("p.gif", flat("RGB", (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE), False, (10, 20, 30)),
        ("i16.png", Image.fromarray(np.full((8, 8), 51 * 257, np.uint16)), True, (51, 51, 51)),
        ("i16.tif", Image.fromarray(np.full((8, 8), 65_535, np.uint16)), True, (255, 255, 255)),
        ("rgb.bmp", flat("RGB", (10, 20, 30)), False, (10, 20, 30)),
        ("rgb.webp", flat("RGB", (0, 0, 0)), False, (0, 0, 0)),
        ("rgb.ppm", flat("RGB", (10, 20, 30)), False, (10, 20, 30)),
        # No ink is white, all of the black ink is black.
        ("cmyk.tif", flat("CMYK", (0, 0, 0, 0)), False, (255, 255, 255)),
        ("cmyk.jpg", flat("CMYK", (0, 0, 0, 255)), False, (0, 0, 0)),
        ("grey.jpg", flat("L", 128), True, (128, 128, 128)),
        ("ycbcr.jpg", flat("YCbCr", (128, 128, 128)), False, (128, 128, 128)),
    ],
)
def test_every_mode(tmp_path, name, image, grey, expected):
    path = saved(tmp_path / name, image)
    assert look(path) == (8, 8, grey)
    found = decode(path)
    assert found.shape == (8, 8, 3)
    assert found.dtype == np.uint8
    assert (found == np.array(expected, np.uint8)).all()
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
    luma = round(float(np.dot(expected, (0.299, 0.587, 0.114))))
    assert (decode(path, channels=1) == luma).all()


def test_a_transparent_colour_of_a_palette(tmp_path):
    image = flat("P", 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((0, 0), 1)
    found = decode(saved(tmp_path / "p.png", image, transparency=0))
    assert found[0, 0].tolist() == [0, 0, 200]
    assert found[4, 4].tolist() == [255, 255, 255]


@given(height=st.integers(1, 20), width=st.integers(1, 20), channels=st.sampled_from([1, 3]), size=st.integers(1, 9))
def test_any_aspect_becomes_a_square(height, width, channels, size):
    values = np.random.default_rng(height * 21 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = image_to_pixels(Image.fromarray(values), height=size, width=size, channels=channels)
    assert found.shape == (size, size, channels)
    if min(height, width) == size and channels == 3:  # cropped and nothing else
        top, left = (height - size) // 2, (width - size) // 2
        assert np.array_equal(found, values[top : top + size, left : left + size])


def test_the_crop_is_in_the_middle(tmp_path):
    values = np.zeros((8, 24, 3), np.uint8)
    values[:, 8:16] = 255
    assert (decode(saved(tmp_path / "wide.png", Image.fromarray(values))) == 255).all()
    assert (decode(saved(tmp_path / "high.png", Image.fromarray(values.transpose(1, 0, 2)))) == 255).all()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_shrinking_is_antialiased(tmp_path, ending):
    """A fine chequerboard becomes even grey; taking every n-th pixel would leave black or white."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    path = saved(tmp_path / f"board.{ending}", Image.fromarray(board.astype(np.uint8)))
    assert np.abs(decode(path, channels=1).astype(int) - 127.5).max() < 8


def test_exif_orientation_is_followed(tmp_path):
    values = np.zeros((8, 16), np.uint8)
    values[:, 8:] = 255  # white on the right; turned by 90° clockwise it lies at the bottom
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "turned.png", Image.fromarray(values), exif=exif)
    assert look(path) == (16, 8, True)
    found = decode(path, height=16, width=8, channels=1)[..., 0]
    assert (found[:8] == 0).all()
    assert (found[8:] == 255).all()


def test_broken_exif_data_does_not_spoil_an_image(tmp_path):
    path = saved(tmp_path / "a.jpg", flat("L", 50), exif=b"Exif\0\0broken beyond repair")
    assert look(path) == (8, 8, True)
    assert (decode(path, channels=1) == 50).all()


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [flat("L", value) for value in (40, 200)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (decode(path, channels=1) == 40).all()


def png_header(width, height):
    """A PNG that claims a size, and holds next to nothing."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(4001, 4000), (10_000, 10_000), (20_000, 20_000)])
def test_huge_images_are_refused_before_decoding(tmp_path, monkeypatch, width, height):
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(width, height))
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for reading in (read_header, decode):
        with pytest.raises(BadImage, match=r"more than (16|200) megapixels"):
            reading(path)


def test_16_megapixels_are_not_too_many(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_header(4000, 4000))
    assert look(path) == (4000, 4000, True)


def test_files_that_are_no_images(tmp_path):
    whole = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    for name, body, words in [
        ("empty.png", b"", "empty"),
        ("notes.txt", b"not an image at all", "not an image"),
        ("figure.eps", eps, "not an image"),  # Pillow could, with Ghostscript
        ("short.png", whole.getvalue()[:3000], "damaged"),
    ]:
        (tmp_path / name).write_bytes(body)
        with pytest.raises(BadImage, match=words) as caught:
            decode(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadImage, match="floating-point"):
        decode(saved(tmp_path / "float.tif", Image.fromarray(np.zeros((8, 8), np.float32))))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadImage, match="not a file"):
        read_header(tmp_path / "pipe.png")


@given(data=st.data())
def test_damaged_files_are_read_or_refused(data):
    """Whatever happens to a file's bytes, it is an image or a BadImage."""
    import tempfile
    from pathlib import Path

    buffer = io.BytesIO()
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, kind)
    body = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(body[: data.draw(st.integers(0, len(body)))])
        try:
            found = decode(path)
        except BadImage:
            return
    assert found.shape == (8, 8, 3)
