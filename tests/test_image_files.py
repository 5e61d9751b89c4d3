"""Image files of every kind through the one reader: storage, ranges, sizes, frames, processes."""

from __future__ import annotations

import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageFile, features

import ganzoo_core as gz
from ganzoo_core.data.reading import decoding, formats, pool, worker
from ganzoo_core.data.reading.options import read_settings
from ganzoo_core.evaluation.image_files import read_images
from ganzoo_core.processes import Child


def read(folder, rows=None, **options):
    images = gz.ImageSet(gz.scan_images(folder).files, options, name=str(folder))
    return images.read(rows).images, images.notes


def smooth(height, width, channels=1):
    """A smooth picture, which JPEG keeps nearly."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / (9 + c)) * np.cos(y / 7) for c in range(channels)]
    return np.rint(np.stack(waves, axis=-1)).astype(np.uint8)


def store(folder, name, image, **how):
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, **how)


TURNS = {  # EXIF orientation -> what must be stored so that the picture is seen upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def stored_in_every_way(folder, grey):
    """The grey picture [H,W,1] in many files; the colours, the transparency and the turns are what differs."""
    level = Image.fromarray(grey[..., 0])
    clear = level.convert("RGBA")
    store(folder, "l.png", level)
    store(folder, "rgb.png", level.convert("RGB"))
    store(folder, "rgba.png", clear)
    store(folder, "la.png", level.convert("LA"))
    store(folder, "p.png", level.convert("P"))
    store(folder, "sixteen.png", Image.fromarray(grey[..., 0].astype(np.uint16) * 257))
    store(folder, "l.tif", level, compression="tiff_lzw")
    store(folder, "rgb.webp", level.convert("RGB"), lossless=True)
    store(folder, "l.bmp", level)
    store(folder, "l.jp2", level)
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = Image.fromarray(np.ascontiguousarray(turn(grey))[..., 0])
        store(folder, f"turned-{orientation}.png", turned, exif=exif)
        store(folder, f"turned-{orientation}.jpg", turned, exif=exif, quality=100)


@pytest.mark.parametrize("size", [0, 16])
def test_the_same_image_is_the_same_however_it_is_stored(tmp_path, size):
    grey = smooth(24, 40)
    stored_in_every_way(tmp_path, grey)
    images, _ = read(tmp_path, size=size)
    names = [file.relative for file in gz.scan_images(tmp_path).files]
    assert len(names) == 10 + 2 * 7
    expected = images[names.index("l.png")]
    if not size:
        assert np.array_equal(expected, np.repeat(grey, 3, axis=2))
    for name, image in zip(names, images, strict=True):
        apart = np.abs(image.astype(int) - expected).max()
        assert apart <= (3 if name.endswith(".jpg") else 0), (name, apart)
    if not size:
        assert np.array_equal(read_images(tmp_path)[0], images)


def test_transparency_lies_on_white_in_every_reader(tmp_path):
    ink = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    ink.paste((10, 20, 30, 255), (0, 0, 4, 8))
    store(tmp_path, "ink.png", ink)
    for images in (read(tmp_path)[0], read_images(tmp_path)[0]):
        assert (images[0, :, :4] == (10, 20, 30)).all()
        assert (images[0, :, 4:] == 255).all()


def test_what_is_passed_over_is_counted(tmp_path):
    store(tmp_path / "deep", "a.png", Image.new("L", (4, 4), 99))
    store(tmp_path, "b", Image.new("L", (4, 4), 99), format="PNG")  # no ending, but an image
    for name in (".DS_Store", "Thumbs.db", "a.txt", "b.txt", "raw.nef", "README", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"II*\0 as cameras' raw files begin")
    scan = gz.scan_images(tmp_path)
    assert [file.relative for file in scan.files] == ["b", "deep/a.png"]
    assert (scan.hidden, scan.others) == (3, {".txt": 2, ".nef": 1, "": 1})
    words = "passed over: 3 hidden files and 4 files that are no image (2 .txt, 1 without ending, 1 .nef)"
    assert scan.notes == (words,)
    said = []
    read_images(tmp_path, say=said.append)
    assert said == [f"{tmp_path}: {words}"]


def sixteen(folder, name, values, **how):
    store(folder, name, Image.fromarray(values), **how)


def test_twelve_bits_in_sixteen_are_not_black(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4000, (2, 8, 8)).astype(np.uint16)
    for number, image in enumerate(values):
        sixteen(tmp_path, f"{number}.png", image)
    images, notes = read(tmp_path)
    assert np.array_equal(images[..., 0], np.rint(values / 4095 * 255))
    assert notes == (
        f"uint16 images with values from {values.min()} to {values.max():,} (the type's end at 65,535): 0 is shown as "
        "black, 4,095 as white; data.range=LO:HI sets this",
    )
    # One range for all: a single bright image makes the others darker.
    sixteen(tmp_path, "2.png", np.full((8, 8), 60_000, np.uint16))
    assert np.array_equal(read(tmp_path)[0][:2, ..., 0], np.rint(values / 65535 * 255))
    assert np.array_equal(read(tmp_path, rows=[0, 1])[0][..., 0], np.rint(values / 65535 * 255))


@pytest.mark.parametrize(
    ("kind", "setting", "low", "high"),
    [
        ("uint16", "full", 0, 65_535),
        ("uint16", "100:2100", 100, 2100),
        ("int32", "auto", -1000, 3000),
        ("int32", "-500:500", -500, 500),
        ("int16", "auto", -1000, 3000),
        ("int16", "full", -32_768, 32_767),
        ("uint32", "auto", 0, 4095),
        ("float32", "auto", -1000, 3000),
        ("float32", "0:10", 0, 10),
    ],
)
def test_ranges_of_every_type(tmp_path, kind, setting, low, high):
    values = np.linspace(-1000 if kind[0] != "u" else 0, 3000, 64).reshape(8, 8).astype(kind)
    write_tiff(tmp_path / "a.tif", values)
    images, _ = read(tmp_path, range=setting)
    expected = np.clip(np.rint((values.astype(float) - low) / (high - low) * 255), 0, 255)
    assert np.abs(images[0, ..., 0] - expected).max() <= (1 if kind == "float32" else 0)


def write_tiff(path, values):
    """A plain TIFF of any type, since Pillow does not write all of them."""
    import struct

    body = values.astype(values.dtype.newbyteorder("<")).tobytes()
    height, width = values.shape
    tags = {
        256: width,
        257: height,
        258: values.dtype.itemsize * 8,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: len(body),
        339: {"u": 1, "i": 2, "f": 3}[values.dtype.kind],
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, (0, 1)), (-1, 1, (-1, 1)), (0, 200, (0, 255)), (0, 3, None), (5, 900, None)]
)
def test_floating_point_values_have_their_usual_ranges(tmp_path, low, high, expected):
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    values[0, 1] = np.nan
    write_tiff(tmp_path / "a.tif", values)
    images, notes = read(tmp_path)
    black, white = expected or (low, high)
    right = np.rint(np.nan_to_num((values - black) / (white - black) * 255, nan=0))
    assert np.abs(images[0, ..., 0] - right).max() <= 1
    assert f"float32 images with values from {low} to {high}: {black} is shown as black, {white} as white" in notes[0]
    with pytest.raises(gz.UsageError, match=r"data\.range=full: floating-point images have no full range"):
        read(tmp_path, range="full")


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_twelve_bits_of_colour_are_not_black(tmp_path, ending, channels):
    """Pillow neither writes nor keeps 16 bits of colour: the file is written by hand."""
    values = np.random.default_rng(1).integers(0, 4096, (6, 5, channels)).astype(np.uint16)
    if channels == 4:
        values[..., 3] = 65_535
    if ending == "png":
        write_png(tmp_path / "a.png", values)
    else:
        write_colour_tiff(tmp_path / "a.tif", values)
    images, notes = read(tmp_path)
    assert np.array_equal(images[0], np.rint(values[..., :3] / 4095 * 255))
    assert "4,095 as white" in notes[0]
    assert np.array_equal(read(tmp_path, range="full")[0][0], values[..., :3] >> 8)


def test_twelve_bits_of_grey_with_transparency_are_not_black(tmp_path):
    values = np.random.default_rng(1).integers(0, 4096, (6, 5, 2)).astype(np.uint16)
    values[..., 1] = 65_535
    values[0, 0] = (4095, 0)  # transparent: on white
    write_png(tmp_path / "a.png", values)
    images, notes = read(tmp_path)
    expected = np.rint(values[..., :1] / 4095 * 255)
    assert images.shape == (1, 6, 5, 1)
    assert np.array_equal(images[0], expected)
    assert "4,095 as white" in notes[0]
    assert np.array_equal(read(tmp_path, range="full")[0][0, 1:], values[1:, :, :1] >> 8)
    with Image.open(tmp_path / "a.png") as image:
        assert gz.image_to_pixels(image, height=6, width=5, channels=0).shape == (6, 5, 1)
    assert np.array_equal(
        read(tmp_path, range="0:2047")[0][0, ..., 0], np.minimum(np.rint(values[..., 0] / 2047 * 255), 255)
    )


def write_png(path, values):
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_colour_tiff(path, values):
    import struct

    body = values.astype("<u2").tobytes()
    height, width, channels = values.shape
    bits_at = 8 + len(body)
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, channels, bits_at), 259: (4, 1, 1), 262: (4, 1, 2)}
    tags |= {273: (4, 1, 8), 277: (4, 1, channels), 278: (4, 1, height), 279: (4, 1, len(body))}
    tags |= {338: (4, 1, 2)} if channels == 4 else {}
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", bits_at + len(bits)) + body + bits + directory)


def test_dark_images_of_eight_bits_are_said_and_can_be_brightened(tmp_path):
    values = np.arange(16, dtype=np.uint8).reshape(4, 4)
    store(tmp_path, "a.png", Image.fromarray(values))
    images, notes = read(tmp_path)
    assert np.array_equal(images[0, ..., 0], values)
    assert notes == ("the images are nearly black: their brightest value is 15 of 255; data.range=0:15 brightens them",)
    images, notes = read(tmp_path, range="0:15")
    assert np.array_equal(images[0, ..., 0], values * 17)
    assert notes == ()


@pytest.mark.parametrize("wrong", ["12", "5:5", "9:1", "a:b", "0:inf", "nan:1", "1:2:3", ""])
def test_a_range_that_is_none_is_refused(wrong):
    with pytest.raises(gz.UsageError, match=r"data\.range is .*expected auto, full, or"):
        gz.ImageSet([], {"range": wrong})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"fit": "cut"}, "data.fit is 'cut'; expected crop, pad, stretch"),
        ({"frames": "two"}, "data.frames is 'two'; expected first, all"),
        ({"max_megapixels": 0.0}, "data.max_megapixels is 0.0; expected a number up to 200"),
        ({"max_megapixels": 1e9}, "expected a number up to 200"),
    ],
)
def test_options_are_checked(option, words):
    with pytest.raises(gz.UsageError, match=words):
        gz.ImageSet([], option)


def test_settings_of_the_command_line_are_typed_and_others_are_left_alone():
    given = {"data.size": "64", "data.skip_bad": "true", "data.max_megapixels": "80", "engine.device": "cpu"}
    assert read_settings(given) == {"size": 64, "skip_bad": True, "max_megapixels": 80.0}
    with pytest.raises(gz.UsageError, match=r"--set data.holdout: of the data, only how pictures are read"):
        read_settings({"data.holdout": 0.1})
    with pytest.raises(gz.UsageError, match=r"data\.range is '3'"):
        read_settings({"data.range": "3"})


def test_images_to_score_of_several_sizes_are_brought_to_one_when_asked(tmp_path):
    store(tmp_path, "a.png", Image.new("L", (20, 10), 90))
    store(tmp_path, "b.png", Image.new("L", (10, 10), 90))
    with pytest.raises(gz.DataError, match=r"a.png is 20×10 pixels and b.png 10×10; .*--set data.size=64"):
        read_images(tmp_path)
    assert read_images(tmp_path, {"size": 8})[0].shape == (2, 8, 8, 1)


def test_fit(tmp_path):
    """A white picture of twice the width, whose outer quarters are grey."""
    values = np.full((8, 16), 255, np.uint8)
    values[:, :4] = values[:, 12:] = 100
    store(tmp_path, "a.png", Image.fromarray(values))
    crop, pad, stretch = (read(tmp_path, size=8, fit=fit)[0][0, ..., 0] for fit in ("crop", "pad", "stretch"))
    assert (crop == 255).all()
    assert (pad[:2] == 0).all()
    assert (pad[6:] == 0).all()
    assert pad[4, 0] == stretch[4, 0] == pytest.approx(100, abs=3)  # bicubic resizing swings a little beyond an edge
    assert stretch[0, 4] == pad[4, 4] == 255
    assert np.ptp(stretch[:, 0]) == 0
    clear = Image.fromarray(values).convert("RGBA")
    clear.putalpha(200)
    store(tmp_path, "a.png", clear)
    assert (read(tmp_path, size=8, fit="pad")[0][0, 0] == 255).all()


def large_jpeg(path, size, **how):
    """A JPEG of few bytes and many pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 150).save(path, "JPEG", quality=30, **how)
    return path


def test_a_baseline_jpeg_is_decoded_small(tmp_path, monkeypatch):
    large_jpeg(tmp_path / "a.jpg", (9000, 8000))
    loaded = []
    real = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: loaded.append(self.size) or real(self))
    images, _ = read(tmp_path, size=32)
    assert np.ptp(images) == 0
    assert abs(int(images[0, 0, 0, 0]) - 150) < 4
    assert set(loaded) == {(1125, 1000)}  # an eighth
    with pytest.raises(gz.DataError, match=r"a.jpg \(9000×8000 pixels, more than 64 megapixels; --set data.max_meg"):
        read(tmp_path)
    assert read(tmp_path, max_megapixels=72.0)[0].shape == (1, 8000, 9000, 1)


def test_a_progressive_jpeg_and_other_formats_have_a_limit(tmp_path):
    large_jpeg(tmp_path / "a.jpg", (1000, 1000), progressive=True)
    with pytest.raises(gz.DataError, match=r"more than 0.9 megapixels; --set data.max_megapixels=1 reads it"):
        read(tmp_path, size=32, max_megapixels=0.9)
    assert read(tmp_path, size=32, max_megapixels=1.0)[0].shape == (1, 32, 32, 1)
    (tmp_path / "a.jpg").unlink()
    store(tmp_path, "a.png", Image.new("L", (1000, 1000)))
    with pytest.raises(gz.DataError, match=r"more than 0\.9 megapixels"):
        read(tmp_path, size=32, max_megapixels=0.9)


def test_more_than_200_megapixels_are_refused_by_their_header(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG")
    body = bytearray(buffer.getvalue())
    frame = body.index(b"\xff\xc0")
    body[frame + 5 : frame + 9] = (20_000).to_bytes(2, "big") + (20_000).to_bytes(2, "big")
    (tmp_path / "a.jpg").write_bytes(body)
    with pytest.raises(gz.DataError, match="more than 200 megapixels"):
        read(tmp_path, size=32)


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_frames_and_pages(tmp_path, ending):
    frames = [Image.new("L", (8, 8), value) for value in (40, 120, 200)]
    store(tmp_path, f"a.{ending}", frames[0], save_all=True, append_images=frames[1:])
    store(tmp_path, "b.png", Image.new("L", (8, 8), 70))
    images, notes = read(tmp_path, channels=1)
    assert np.abs(images[:, 4, 4, 0].astype(int) - [40, 70]).max() <= 2
    assert notes == ("1 file holds more than one frame or page, and the first is used; data.frames=all takes all",)
    found = gz.ImageSet(gz.scan_images(tmp_path).files, {"frames": "all", "channels": 1}).read()
    assert np.abs(found.images[:, 4, 4, 0].astype(int) - [40, 120, 200, 70]).max() <= 2
    assert found.rows.tolist() == [0, 0, 0, 1]
    assert found.sizes.tolist() == [[8, 8]] * 4


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_a_heic_picture_says_what_reads_it(tmp_path, monkeypatch):
    (tmp_path / "a.HEIC").write_bytes(HEIC)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    with pytest.raises(gz.DataError, match=r"a.HEIC \(a HEIC picture; to read it, `pip install pillow-heif`\)"):
        read(tmp_path)


def test_heic(tmp_path):
    from pillow_heif import from_pillow

    picture = smooth(40, 60, 3)
    from_pillow(Image.fromarray(picture)).save(tmp_path / "a.heic", quality=95)
    images, _ = read(tmp_path)
    assert images.shape == (1, 40, 60, 3)
    assert np.abs(images[0].astype(int) - picture).mean() < 4
    assert read(tmp_path, size=16)[0].shape == (1, 16, 16, 3)


def test_avif(tmp_path, monkeypatch):
    if features.check("avif"):
        store(tmp_path, "a.avif", Image.new("RGB", (8, 8), (90, 90, 90)))
        assert np.abs(read(tmp_path)[0].astype(int) - 90).max() <= 3
    else:
        (tmp_path / "a.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")
    monkeypatch.setattr(formats, "_list_known_formats", lambda: ("PNG",))  # as a Pillow before 11.3
    with pytest.raises(gz.DataError, match=r"a.avif \(an AVIF picture, which Pillow reads from 11.3 on"):
        read(tmp_path)


def test_processes_give_what_threads_give(tmp_path, monkeypatch):
    for number in range(6):
        store(tmp_path, f"{number}.png", Image.fromarray(smooth(20, 30, 3) // (number + 1)))
        sixteen(tmp_path, f"{number}.tif", np.full((20, 30), 3000 + number, np.uint16))
    (tmp_path / "bad.png").write_bytes(b"no image")
    whole = tmp_path / "5.png"
    whole.write_bytes(whole.read_bytes()[:-40])  # damage that the header does not show
    threads, told = read(tmp_path, size=16, skip_bad=True, frames="all")
    monkeypatch.setattr(pool, "count_workers", lambda largest: 2)
    monkeypatch.setattr(pool, "MIN_PROCESS_FILES", 1)
    monkeypatch.setattr(pool, "CHUNK_FILES", 3)
    monkeypatch.setattr(pool, "perform", lambda task, file: pytest.fail("in a thread"))
    processes, said = read(tmp_path, size=16, skip_bad=True, frames="all")
    assert len(threads) == 11
    assert np.array_equal(threads, processes)
    assert said == told
    assert "bad.png (not an image" in said[-1]


def test_a_file_that_the_system_refuses_is_named_with_its_reason(tmp_path, monkeypatch):
    store(tmp_path, "a.png", Image.new("L", (4, 4)))

    def refuse(file):
        raise PermissionError(13, "Permission denied", str(file.path))

    monkeypatch.setattr(gz.ImageFile, "open", refuse)
    with pytest.raises(gz.DataError, match=r"a\.png \(cannot be read: Permission denied\)"):
        read(tmp_path)


def test_the_free_memory_bounds_the_workers(monkeypatch):
    monkeypatch.setattr(pool.os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(pool.memory, "measure_free_memory", lambda: 8 * 10**9)
    assert pool.count_workers(0) == pool.MAX_WORKERS
    # Half of 8 GB, and for each 0.1 GB and 16 bytes a pixel: 4 / (0.1 + 64 · 16 / 1000) = 3.6.
    assert pool.count_workers(64_000_000) == 3
    monkeypatch.setattr(pool.memory, "measure_free_memory", lambda: 0)
    assert pool.count_workers(64_000_000) == 1


def zip_folder(folder, archive, **how):
    with zipfile.ZipFile(archive, "w", **how) as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))
    return archive


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_archive_is_read_as_its_folder(tmp_path, compression):
    folder = tmp_path / "pictures"
    stored_in_every_way(folder, smooth(24, 40))
    store(folder / "deep", "sixteen", Image.fromarray(np.full((24, 40), 4000, np.uint16)), format="PNG")
    for name in ("notes.txt", ".hidden.png", "__MACOSX/deep/x.png", "__MACOSX/y.png", "metadata.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image")
    archive = zip_folder(folder, tmp_path / "Packed.ZIP", compression=compression)
    expected, found = gz.scan_images(folder), gz.scan_images(archive)
    assert [file.relative for file in found.files] == [file.relative for file in expected.files]
    assert [file.relative for file in found.label_files] == ["metadata.csv"]
    assert (found.notes, found.hidden, found.others) == (expected.notes, 2, {".txt": 1})
    assert np.array_equal(read(archive)[0], read(folder)[0])
    assert np.array_equal(read_images(archive)[0], read_images(folder)[0])
    with Child(worker.MODULE, "decodes images") as child:
        first = found.files[:3]
        (tmp_path / "own").mkdir()
        results = worker.ask(child, decoding.Task("decode", height=24, width=40), first, tmp_path / "own")
    assert np.array_equal(np.concatenate(results), read(archive, channels=3)[0][:3])


def test_an_archive_that_changes_is_opened_again(tmp_path):
    for number, name in enumerate(("a", "bb")):
        store(tmp_path / name, f"{name}.png", Image.new("L", (4, 4), 99 + number))
        archive = zip_folder(tmp_path / name, tmp_path / "x.zip")
        assert [file.relative for file in gz.scan_images(archive).files] == [f"{name}.png"]
        assert read(archive)[0][0, 0, 0, 0] == 99 + number


def test_paths_in_an_archive_lead_nowhere(tmp_path):
    store(tmp_path, "a.png", Image.new("L", (4, 4), 99))
    content = (tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in ("../up.png", "a/../../b.png", "/abs/x.png", "\\\\server\\x.png", "C:\\drive\\x.png",
                     "c:x.png", ".x.png", "win\\dows.png", "./here.png"):  # fmt: skip
            packed.writestr(name, content)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    scan = gz.scan_images(tmp_path / "x.zip")
    assert [file.relative for file in scan.files] == ["here.png", "win/dows.png"]
    assert scan.notes == (
        "passed over: 1 hidden file and 7 members of the archive (absolute path: 4, link: 1, path with ..: 2)",
    )
    assert len(read(tmp_path / "x.zip")[0]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "x.zip"]


def test_archives_that_cannot_be_read_are_refused_in_a_sentence(tmp_path):
    store(tmp_path / "in", "a.png", Image.new("L", (64, 64), 99))
    archive = zip_folder(tmp_path / "in", tmp_path / "x.zip")
    content = bytearray(archive.read_bytes())

    def scan_changed(changed):
        archive.write_bytes(changed)
        return gz.scan_images(archive)

    for changed in (b"", b"no archive", content[:-30]):
        with pytest.raises(gz.DataError, match=r"x.zip cannot be read as a zip archive: .*; make it anew"):
            scan_changed(changed)
    entry = content.index(b"PK\1\2")
    encrypted = bytearray(content)
    encrypted[entry + 8] |= 1
    with pytest.raises(gz.DataError, match=r"x.zip is encrypted \(1 of 1 file\); unpack it"):
        scan_changed(encrypted)
    for position, value, words in (
        (entry + 10, 99, r"damaged: .*compression"),  # an unknown method
        (entry + 16, content[entry + 16] ^ 1, r"damaged: Bad CRC-32 for file 'a.png'"),
        (entry + 27, 0x7F, r"damaged: it unpacks to 2,\d{3},\d{3},\d{3} bytes; at most"),
    ):
        changed = bytearray(content)
        changed[position] = value
        with pytest.raises(gz.DataError, match=rf"1 of 1 files cannot be read as images: a.png \({words}"):
            gz.ImageSet(scan_changed(changed).files)


def test_a_link_to_a_folder_that_is_read_already_is_said(tmp_path):
    for name in ("zebra", "b/deep"):
        store(tmp_path / "in" / name, "x.png", Image.new("L", (4, 4), 99))
    (tmp_path / "in" / "ant").symlink_to(tmp_path / "in" / "zebra")
    (tmp_path / "in" / "b" / "again").symlink_to(tmp_path / "in")
    scan = gz.scan_images(tmp_path / "in")
    assert [file.relative for file in scan.files] == ["b/deep/x.png", "zebra/x.png"]
    assert scan.notes == (
        "2 links to folders that are read already, whose images count once: ant to zebra, b/again to the folder itself",
    )
