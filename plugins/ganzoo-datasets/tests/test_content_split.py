"""Folders of images are split by each file's content."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import ganzoo_core as gz
from ganzoo_datasets import content_split, folder


def draw(seed: int, size: int = 48) -> Image.Image:
    """A picture of its own for each seed: coarse random colours."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC)


def save(path: Path, picture: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def read(path: Path, split: str = "all", **options) -> gz.ImageSource:
    given = {"size": 32, "channels": 3, "skip_bad": False, **options}
    return folder.dataset(name="folder", argument=str(path), split=split, options=given)


def find_parts(path: Path, **options) -> dict[str, str]:
    """The part of each file: `train` or `test`, found by the bytes of the images."""
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*.*"))
    whole = read(path, "all", **options).images
    parts = {split: {image.tobytes() for image in read(path, split, **options).images} for split in ("train", "test")}
    assert not parts["train"] & parts["test"]
    return {
        name: "test" if image.tobytes() in parts["test"] else "train" for name, image in zip(names, whole, strict=True)
    }


def key_of(path: Path) -> float:
    """By hand: the first 53 bits of the file's BLAKE2b digest of 16 bytes, as a fraction."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return int(f"{int.from_bytes(digest, 'big'):0128b}"[:53], 2) / 2**53


@pytest.fixture
def pictures(tmp_path):
    for seed in range(40):
        save(tmp_path / "set" / f"{seed:02}.png", draw(seed))
    return tmp_path / "set"


def test_a_file_is_held_out_if_the_hash_of_its_bytes_is_below_the_share(pictures):
    for share in (0.2, 0.5):
        expected = {file.name: "test" if key_of(file) < share else "train" for file in sorted(pictures.iterdir())}
        assert find_parts(pictures, holdout=share) == expected
        held = sum(part == "test" for part in expected.values())
        train = read(pictures, "train", holdout=share)
        assert (train.whole, train.held_out, len(train.images)) == (40, held, 40 - held)
        assert train.notes[-1] == (
            f"no official test part: {100 * share:.0f}% is held out, chosen by each file's content; this is train, "
            f"{40 - held} of 40 images"
        )


def test_a_file_added_removed_or_renamed_moves_no_other(pictures):
    before = find_parts(pictures)
    save(pictures / "00a.png", draw(100))
    save(pictures / "zz.jpg", draw(101))
    (pictures / "17.png").unlink()
    (pictures / "03.png").rename(pictures / "moved.png")
    after = find_parts(pictures)
    assert after["moved.png"] == before.pop("03.png")
    del before["17.png"]
    assert {name: after[name] for name in before} == before


def test_the_parts_depend_neither_on_the_size_nor_on_the_classes(pictures):
    before = find_parts(pictures)
    assert find_parts(pictures, size=16) == before
    for number, name in enumerate(before):
        (pictures / "ab"[number % 2]).mkdir(exist_ok=True)
        (pictures / name).rename(pictures / "ab"[number % 2] / name)
    assert {Path(name).name: part for name, part in find_parts(pictures).items()} == before


@pytest.mark.parametrize("kind", ["copy", "quality", "half", "edited"])
def test_nearly_equal_pictures_are_in_one_part(tmp_path, kind):
    path = tmp_path / "set"
    for seed in range(30):
        picture = draw(seed)
        original = save(path / f"{seed:02}a.png", picture)
        if kind == "copy":
            shutil.copy(original, path / f"{seed:02}b.png")
        elif kind == "quality":
            save(path / f"{seed:02}b.jpg", picture, quality=50)
        elif kind == "half":
            save(path / f"{seed:02}b.png", picture.resize((24, 24), Image.Resampling.BICUBIC))
        else:
            ImageDraw.Draw(picture).rectangle((0, 0, 3, 3), fill="white")
            save(path / f"{seed:02}b.png", picture)
    train, test = read(path, "train"), read(path, "test")
    assert (
        "30 images are equal or nearly equal to others and go with them into the train or the test part" in train.notes
    )
    whole = [image.tobytes() for image in read(path, "all").images]
    held = {image.tobytes() for image in test.images}
    is_test = [image in held for image in whole]
    assert is_test[::2] == is_test[1::2]
    assert 0 < sum(is_test) < 30
    assert len(train.images) + len(test.images) == 60


def test_pictures_of_a_single_colour_are_near_only_if_they_are_equal(tmp_path):
    """Their perceptual hashes are all the same."""
    for value in range(100):
        save(tmp_path / "set" / f"{value}.png", Image.new("RGB", (8, 8), (value, 2 * value, 200 - value)))
    save(tmp_path / "set" / "again.bmp", Image.new("RGB", (8, 8), (7, 14, 193)))
    source = read(tmp_path / "set", "train")
    assert source.notes[0].startswith("1 image is equal or nearly equal to another and goes with it")
    assert 5 <= source.held_out <= 40  # 20 of 100, and five standard deviations of 4


def test_shapes_of_other_colours_are_other_pictures(tmp_path):
    for number, colour in enumerate(["red", "lime", "blue", "yellow", "cyan", "magenta", "black"]):
        picture = Image.new("RGB", (32, 32), "white")
        ImageDraw.Draw(picture).ellipse((8, 8, 24, 24), fill=colour)
        save(tmp_path / "set" / f"{number}.png", picture)
    assert not any("nearly equal" in note for note in read(tmp_path / "set").notes)


def test_a_film_is_not_one_group(tmp_path):
    """Each picture is near to the next; the last is another than the first."""
    first, last = (np.asarray(draw(seed), float) for seed in (1, 2))
    for number in range(100):
        frame = Image.fromarray(np.uint8(first + (last - first) * number / 99))
        save(tmp_path / "set" / f"{number:03}.png", frame)
    keys = read(tmp_path / "set").split_keys
    assert 2 <= len(np.unique(keys)) <= 50


def test_frames_of_one_file_are_in_one_part(tmp_path):
    for number in range(12):
        frames = [draw(3 * number + frame) for frame in range(3)]
        save(tmp_path / "set" / f"{number:02}.gif", frames[0], save_all=True, append_images=frames[1:])
    source = read(tmp_path / "set", frames="all")
    assert len(source.images) == 36
    keys = source.split_keys.reshape(12, 3)
    assert (keys == keys[:, :1]).all()
    assert len(np.unique(keys)) == 12


def test_beyond_a_limit_copies_are_not_looked_for_and_that_is_said(pictures, monkeypatch):
    monkeypatch.setattr(content_split, "MAX_COMPARED", 20)
    shutil.copy(pictures / "05.png", pictures / "copy.png")
    source = read(pictures)
    assert source.notes[0].startswith("nearly equal images are not looked for among 41 files, more than 20")
    assert source.notes[1].startswith("1 image is equal")  # files that are the same are known by their hash
    assert source.split_keys[5] == source.split_keys[-1]


def test_a_class_left_without_training_images_keeps_one(tmp_path):
    """At a share of 0.999 nearly all are held out; the one of the greatest hash stays."""
    for seed in range(12):
        save(tmp_path / "set" / "abc"[seed % 3] / f"{seed:02}.png", draw(seed))
    train = read(tmp_path / "set", "train", holdout=0.999)
    assert sorted(train.labels.tolist()) == [0, 1, 2]
    assert "3 classes keep one, without other training images" in train.notes[-1]
    expected = {max(key_of(file) for file in (tmp_path / "set" / name).iterdir()) for name in "abc"}
    assert set(train.split_keys) == expected


def test_where_nothing_is_held_out_train_and_test_are_the_same_and_that_is_said(pictures):
    save(pictures.parent / "one" / "a.png", draw(1))
    for path, options in ((pictures, {"holdout": 0}), (pictures.parent / "one", {"holdout": 0.9})):
        train, test = read(path, "train", **options), read(path, "test", **options)
        np.testing.assert_array_equal(train.images, test.images)
        assert train.held_out == test.held_out == 0
        assert train.notes[-1].startswith("nothing is held out")
        assert "a score cannot tell copies" in test.notes[-1]


def test_official_parts_stay(pictures):
    names = sorted(file.name for file in pictures.iterdir())
    for number, name in enumerate(names):
        part = pictures / ("train" if number % 2 else "test")
        part.mkdir(exist_ok=True)
        (pictures / name).rename(part / name)
    train = read(pictures, "train")
    assert (len(train.images), train.held_out, train.whole, train.split_keys) == (20, 20, 0, None)


class Bytes(gz.ImageFile):
    """An image file that is in memory, as the member of an archive is."""

    content = b""

    def open(self):
        return io.BytesIO(self.content)


def in_memory(content: bytes) -> Bytes:
    file = Bytes(Path("archive.zip"), "picture")
    object.__setattr__(file, "content", content)
    return file


def test_a_file_and_the_member_of_an_archive_have_one_key(pictures):
    files = gz.scan_images(pictures).files
    members = [in_memory(file.path.read_bytes()) for file in files]
    np.testing.assert_array_equal(content_split.digest_files(files), content_split.digest_files(members))


def test_an_archive_is_split_as_its_folder(pictures):
    for seed in range(0, 40, 4):
        save(pictures / "copies" / f"{seed:02}.jpg", draw(seed), quality=50)
    pictures.rename(pictures.parent / "flat")
    root = pictures.parent / "flat"
    (root / "copies").rename(pictures)
    for copy in sorted(pictures.iterdir()):
        copy.rename(root / copy.name)
    with zipfile.ZipFile(pictures.parent / "set.zip", "w") as archive:
        for file in sorted(root.iterdir(), reverse=True):  # the order in the archive tells nothing
            archive.write(file, file.name)
    for split in ("train", "test"):
        expected, found = read(root, split), read(pictures.parent / "set.zip", split)
        np.testing.assert_array_equal(found.images, expected.images)
        np.testing.assert_array_equal(found.split_keys, expected.split_keys)
        assert 0 < found.held_out == expected.held_out
        assert "10 images are equal or nearly equal to others and go with them into the train or the test part" in (
            found.notes
        )
        assert found.notes == expected.notes
    held = {file.name for file in root.iterdir() if key_of(file) < 0.2 and int(file.stem) % 4}
    parts = find_parts(root)
    assert {name for name, part in parts.items() if part == "test" and int(name[:2]) % 4} == held


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(gz.DataError, match=r"a\.png cannot be read"):
        content_split.digest_files([gz.ImageFile(tmp_path / "a.png", "a.png")])


POOL = [
    np.asarray(draw(seed // 2).point(lambda value, shift=seed % 2: min(255, value + 2 * shift))) for seed in range(40)
]


def make_keys(chosen: list[int]) -> dict[int, float]:
    """The keys of some pictures of the pool, of which 2i and 2i + 1 are nearly equal."""
    images = np.stack([POOL[number] for number in chosen])
    files = [in_memory(POOL[number].tobytes()) for number in chosen]
    keys, _ = content_split.make_split_keys(files, images, np.arange(len(chosen)))
    return dict(zip(chosen, keys.tolist(), strict=True))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 39), min_size=2, max_size=25, unique=True), st.randoms(use_true_random=False))
def test_only_copies_of_the_changed_file_move(chosen: list[int], order: random.Random):
    before = make_keys(chosen)
    shuffled = list(chosen)
    order.shuffle(shuffled)
    assert make_keys(shuffled) == before
    removed = shuffled.pop()
    after = make_keys(shuffled)
    moved = {number for number in after if after[number] != before[number]}
    assert moved <= {removed ^ 1}
    for number in before:
        if number ^ 1 in before:
            assert before[number] == before[number ^ 1]


def test_large_groups_are_held_out_no_more_often_than_single_pictures():
    """Sixty groups of eight: were the smallest of the eight keys theirs, 1 - 0.8^8 = 83 % would be held out."""
    images = np.repeat(np.stack([np.asarray(draw(seed)) for seed in range(60)]), 8, axis=0)
    files = [in_memory(b"%d" % number) for number in range(480)]
    keys, notes = content_split.make_split_keys(files, images, np.arange(480))
    groups = keys.reshape(60, 8)
    assert (groups == groups[:, :1]).all()
    assert notes[0].startswith("420 images are")
    assert 1 <= (groups[:, 0] < 0.2).sum() <= 27  # 12, and five standard deviations of 3.1


def test_the_share_is_met():
    files = [in_memory(b"%d" % number) for number in range(20_000)]
    keys = content_split.digest_files(files)[:, 0] / 2.0**64
    for share in (0.1, 0.2, 0.5):  # five standard deviations are at most 0.018
        assert abs((keys < share).mean() - share) < 0.018
