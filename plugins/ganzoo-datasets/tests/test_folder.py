"""--data folder:PATH."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.data.reading import pool, scan
from ganzoo_datasets import folder


def read(path, split="all", **options):
    return folder.dataset(
        name="folder", argument=str(path), split=split, options={"size": 8, "channels": 0, "skip_bad": False, **options}
    )


def put(path: Path, value=0, mode="L", size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, "PNG")
    return path


@pytest.fixture
def classes(tmp_path):
    """Three classes, one of them with deeper folders."""
    for value, name in enumerate(["cat/b.png", "cat/a.png", "dog/2024/may/x.png", "ant/y.png"]):
        put(tmp_path / "pets" / name, value * 10)
    return tmp_path / "pets"


def test_one_folder_a_class(classes):
    source = read(classes)
    assert source.class_names == ("ant", "cat", "dog")
    assert source.labels.tolist() == [0, 1, 1, 2]
    # In the order of their paths: ant/y, cat/a, cat/b, dog/2024/may/x.
    assert source.images[:, 0, 0, 0].tolist() == [30, 10, 0, 20]
    assert source.images.shape == (4, 8, 8, 1)
    assert source.background is None


def test_flat(tmp_path):
    for value in (3, 1, 2):
        put(tmp_path / "flat" / f"{value}.png", value)
    source = read(tmp_path / "flat")
    assert source.labels is None
    assert source.class_names == ()
    assert source.images[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_a_folder_with_official_parts(tmp_path):
    for value, name in enumerate(["train/cat/a", "train/dog/b", "test/cat/c", "val/eel/d"]):
        put(tmp_path / f"{name}.png", value + 100)
    train, test, whole = (read(tmp_path, split) for split in ("train", "test", "all"))
    assert train.class_names == test.class_names == ("cat", "dog", "eel")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [0, 2])
    assert test.images[:, 0, 0, 0].tolist() == [102, 103]
    assert len(whole.images) == 4
    assert train.notes == ("the test part has 1 class of which the train part has no image: eel",)


def test_classes_that_are_called_like_parts(tmp_path):
    for name in ("train", "bus"):
        put(tmp_path / name / "a.png")
    assert read(tmp_path).class_names == ("bus", "train")


def test_hidden_files_are_not_seen(classes):
    for name in (".DS_Store", "cat/.hidden.png", ".git/config", "Thumbs.db", "__MACOSX/x.txt"):
        path = classes / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not an image")
    assert len(read(classes).images) == 4


def test_a_missing_folder_whose_name_has_a_line_end_is_quoted(tmp_path):
    with pytest.raises(gz.DataError, match=r"^folder:'.*a\\nb': '.*a\\nb' does not exist$"):
        read(tmp_path / "a\nb")


def test_images_both_flat_and_in_folders(classes):
    put(classes / "stray.png")
    with pytest.raises(gz.DataError, match=r"both flat \(stray.png\) and in sub-folders \(ant/y.png\)"):
        read(classes)


def test_a_flat_image_beside_official_parts(tmp_path):
    for name in ("train/a", "test/b", "stray"):
        put(tmp_path / f"{name}.png")
    with pytest.raises(gz.DataError, match=r"flat \(stray.png\)"):
        read(tmp_path)


def test_grey_images_have_one_channel_and_any_colour_makes_three(classes):
    assert read(classes).images.shape[3] == 1
    assert read(classes, channels=3).images.shape[3] == 3
    put(classes / "cat" / "c.png", (10, 20, 30), "RGB")
    assert read(classes).images.shape[3] == 3
    assert read(classes, channels=1).images.shape[3] == 1


def test_sizes(tmp_path):
    put(tmp_path / "wide.png", size=(20, 10))
    put(tmp_path / "high.png", size=(3, 5))
    assert read(tmp_path, size=6).images.shape == (2, 6, 6, 1)
    with pytest.raises(gz.DataError, match=r"high.png is 3×5 pixels and wide.png 20×10.*data.size=64"):
        read(tmp_path, size=0)
    (tmp_path / "high.png").unlink()
    assert read(tmp_path, size=0).images.shape == (1, 10, 20, 1)
    for wrong in ({"size": -1}, {"size": 4001}, {"channels": 2}):
        with pytest.raises(gz.UsageError, match=f"data.{next(iter(wrong))} is"):
            read(tmp_path, **wrong)


@pytest.fixture
def with_bad_files(classes):
    (classes / "cat" / "empty.png").write_bytes(b"")
    (classes / "notes.txt").write_text("about these images")
    (classes / "dog" / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    whole = put(classes / "dog" / "short.png", size=(300, 300))
    whole.write_bytes(whole.read_bytes()[:60])
    (classes / "dog" / "gone.png").symlink_to(classes / "nothing.png")
    return classes


def test_bad_files_are_named(with_bad_files):
    with pytest.raises(gz.DataError) as caught:
        read(with_bad_files)
    message = str(caught.value)
    for words in (
        "cat/empty.png (empty)",
        "dog/gone.png (a link to nothing)",
    ):
        assert words in message
    assert "--set data.skip_bad=true" in message
    assert "\n" not in message


def test_bad_files_are_skipped_and_counted_when_asked(with_bad_files):
    source = read(with_bad_files, skip_bad=True)
    assert source.labels.tolist() == [0, 1, 1, 2]
    passed, _dark, skipped = source.notes
    assert passed == "passed over: 2 files that are no image (1 .mp4, 1 .txt)"
    assert skipped.startswith("skipped 3 of 7 files that cannot be read: ")
    assert "dog/short.png (damaged" in skipped
    assert read(with_bad_files, skip_bad=True).notes == source.notes


def test_damage_that_only_decoding_shows_is_named(classes):
    rng = np.random.default_rng(0)
    path = classes / "cat" / "short.png"
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert gz.ImageSet([gz.ImageFile(path, "short.png")]).headers[0].height == 64
    with pytest.raises(gz.DataError, match=r"\b1 of 5 files .*cat/short.png \(damaged"):
        read(classes)
    assert read(classes, skip_bad=True).labels.tolist() == [0, 1, 1, 2]


def test_many_bad_files_are_not_all_listed(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.png").write_text("x")
    with pytest.raises(gz.DataError, match=r"\b9 of 9 .* and 4 more"):
        read(tmp_path)
    with pytest.raises(gz.DataError, match=r"no image can be read: .*0\.png"):
        read(tmp_path, skip_bad=True)


def test_empty_and_missing_folders(tmp_path, classes):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(gz.DataError, match="holds no images;"):
        read(tmp_path / "empty")
    with pytest.raises(gz.DataError, match=r"does not exist; did you mean .*pets\?"):
        read(tmp_path / "pet")
    with pytest.raises(gz.DataError, match="is a file"):
        read(classes / "cat" / "a.png")


def test_links_into_circles_end(classes):
    (classes / "cat" / "again").symlink_to(classes)
    (classes / "dog" / "more").symlink_to(put(classes.parent / "elsewhere" / "z.png", 99).parent)
    source = read(classes)
    assert len(source.images) == 5  # the folder linked in counts to the class that links it
    assert source.labels.tolist().count(2) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(classes):
    (classes / "dog").chmod(0)
    try:
        with pytest.raises(gz.DataError, match="dog cannot be read"):
            read(classes)
    finally:
        (classes / "dog").chmod(0o755)


def test_a_link_to_where_one_may_not_look_is_named(classes, monkeypatch):
    """Such as those in `/proc/self`; root, as whom the tests may run, may look everywhere else."""

    class Entry:
        name = "cwd"

        def is_dir(self):
            raise PermissionError(errno.EACCES, "Permission denied", "/somebody/else")

    monkeypatch.setattr(scan.os, "scandir", lambda path: contextlib.nullcontext([Entry()]))
    with pytest.raises(gz.DataError, match="/somebody/else cannot be read: Permission denied"):
        read(classes)


def test_the_second_start_decodes_nothing(classes, monkeypatch):
    first = read(classes)
    monkeypatch.setattr(pool, "perform", lambda task, file: pytest.fail("read again"))
    second = read(classes)
    assert isinstance(second.images, np.memmap)
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)


def test_what_changes_is_decoded_again(classes):
    before = read(classes).images[0, 0, 0, 0]
    path = put(classes / "ant" / "y.png", 200)
    os.utime(path, ns=(1, 1))
    assert (before, read(classes).images[0, 0, 0, 0]) == (30, 200)
    assert read(classes, size=4).images.shape[1] == 4
    put(classes / "bee" / "new.png")
    assert read(classes).class_names == ("ant", "bee", "cat", "dog")


@pytest.mark.skipif(os.name == "nt", reason="the system keeps no time of a file's last change of any kind")
def test_an_image_of_the_same_size_and_time_is_decoded_again(tmp_path):
    path = tmp_path / "flat" / "x.bmp"
    path.parent.mkdir()
    Image.new("L", (8, 8), 30).save(path)
    assert read(tmp_path / "flat").images[0, 0, 0, 0] == 30
    times = path.stat()
    time.sleep(0.05)  # more than a tick of the file system's clock
    Image.new("L", (8, 8), 200).save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert read(tmp_path / "flat").images[0, 0, 0, 0] == 200


def test_nothing_is_shown_where_stderr_is_no_terminal(classes, capsys):
    read(classes)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_shown_on_a_terminal(classes, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    read(classes)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading pets" in err


def test_both_parts_share_the_range_of_all_images(tmp_path):
    for name, value in (("train/a", 1000), ("train/b", 500), ("test/c", 4000)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(path)
    for _ in range(2):  # read, and from the cache
        train, test = read(tmp_path, "train"), read(tmp_path, "test")
        expected = np.rint(np.array([1000, 500, 4000]) / 4095 * 255)
        assert np.array_equal([*train.images[:, 0, 0, 0], *test.images[:, 0, 0, 0]], expected)
        assert any("0 is shown as black, 4,095 as white" in note for note in train.notes)
    assert read(tmp_path, "train", range="0:1000").images[:, 0, 0, 0].tolist() == [255, 128]


def test_every_page_is_an_image_of_its_file_s_class(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        pages = [Image.new("L", (8, 8), value) for value in (100, 150, 200)]
        pages[0].save(tmp_path / name / "pages.tif", save_all=True, append_images=pages[1:])
    assert len(read(tmp_path).images) == 2
    source = read(tmp_path, frames="all")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.images[:, 0, 0, 0].tolist() == [100, 150, 200] * 2


def test_real_photographs(real_data, tmp_path):
    with tarfile.open(real_data / "cifar10_jpg_10k.tar.gz") as archive:
        chosen = [member for member in archive if member.name.endswith(("0.jpg", "5.jpg"))][:400]
        archive.extractall(tmp_path, members=chosen, filter="data")
    source = read(tmp_path / "cifar10_jpg_10k", size=32)
    assert source.images.shape == (400, 32, 32, 3)
    assert "airplane" in source.class_names
    first = sorted(member.name for member in chosen)[0]
    with Image.open(tmp_path / first) as image:
        assert np.array_equal(source.images[0], np.asarray(image.convert("RGB")))


def test_what_was_found_is_said(tmp_path):
    for value in range(10):
        put(tmp_path / "mixed" / f"{value}.png", value, size=(20 + value, 10))
    (tmp_path / "mixed" / "0.png").write_bytes(b"no image")
    put(tmp_path / "parts" / "train" / "a.png")
    put(tmp_path / "parts" / "test" / "b.png", size=(9, 8))
    for _ in range(2):  # read, and from the cache
        source = read(tmp_path / "mixed", "train", skip_bad=True)
        values = source.images[:, 0, 0, 0]
        held = int((read(tmp_path / "mixed", skip_bad=True).split_keys < 0.2).sum())  # by the bytes that Pillow wrote
        assert np.array_equal(source.sizes, np.stack([np.full(9 - held, 10), 20 + values.astype(int)], axis=1))
        assert (source.skipped, source.held_out, len(source.images)) == (1, held, 9 - held)
        train, whole = (read(tmp_path / "parts", split) for split in ("train", "all"))
        assert (train.held_out, train.sizes.tolist(), train.skipped) == (1, [[8, 8]], 0)
        assert (whole.held_out, whole.sizes.tolist()) == (0, [[8, 9], [8, 8]])


@pytest.mark.parametrize("size", [0, 8, 16])
@pytest.mark.parametrize("split", ["train", "test", "all"])
@pytest.mark.parametrize(
    ("names", "mode"),
    [
        (["cat/b", "cat/a", "dog/2024/x", "ant/y", "ant/z"], "L"),
        (["1", "2", "3", "4", "5"], "RGB"),
        (["train/cat/a", "train/dog/b", "test/cat/c", "val/eel/d"], "L"),
        (["train/a", "train/b", "test/c"], "L"),
    ],
)
def test_a_description_is_what_is_read(tmp_path, names, mode, split, size):
    for name in names:
        put(tmp_path / "set" / f"{name}.png", mode=mode)
    options = {"size": size, "channels": 0, "skip_bad": False}
    told = folder.describe_dataset(name="folder", argument=str(tmp_path / "set"), split=split, options=options)
    source = read(tmp_path / "set", split, size=size)
    count, height, width, channels = source.images.shape
    assert told.pop("images") == (source.whole or count)  # before any are held out
    assert told == {"height": height, "width": width, "channels": channels, "classes": len(source.class_names)}


def test_a_description_refuses_what_reading_refuses(tmp_path):
    put(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "b.png").write_bytes(b"no picture")
    for hook in (folder.describe_dataset, folder.dataset):
        for size, words in ((-1, "data.size is -1"), (8, "1 of 2 files cannot be read as images: b.png")):
            with pytest.raises((gz.UsageError, gz.DataError), match=words):
                hook(
                    name="folder",
                    argument=str(tmp_path / "set"),
                    split="all",
                    options={"size": size, "channels": 0, "skip_bad": False},
                )
