"""`--data pairs:PATH`: every layout, what belongs together, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.data.fingerprint import compute_fingerprint
from ganzoo_datasets import pairs
from ganzoo_datasets.cache import find_cache_folder


def read(path, split="all", *, hook=pairs.dataset, **options):
    options = {"size": 8, "channels": 0, "skip_bad": False, "direction": "AtoB", **options}
    return hook(name="pairs", argument=str(path), split=split, options=options)


def describe(path, split="all", **options):
    return read(path, split, hook=pairs.describe_dataset, **options)


def put(path: Path, value=0, mode="L", size=(8, 8), kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, kind)


def put_pairs(folder: Path, names, first="A", second="B"):
    """A picture of 10, 20, … in the first folder of each name, and of one more in the second; `{}` is the side."""
    for number, name in enumerate(names, 1):
        for side, more in ((first, 0), (second, 1)):
            put(folder / (name.format(side) if "{" in name else f"{side}/{name}"), number * 10 + more)
    return folder


def values(source):
    """The first values of source and target of each pair."""
    found = zip(source.conditions["source"][:, 0, 0, 0].tolist(), source.images[:, 0, 0, 0].tolist(), strict=True)
    return [tuple(map(int, pair)) for pair in found]


def halves(left, right, size=(8, 8)):
    """A picture of two uniform halves of this width and height."""
    pixels = np.empty((size[1], 2 * size[0], 3), np.uint8)
    pixels[:, : size[0]], pixels[:, size[0] :] = left, right
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("first", "second"),
    [("A", "B"), ("a", "b"), ("source", "target"), ("input", "target"), ("Input", "Output"), ("cats", "dogs")],
)
def test_two_folders_of_equal_names(tmp_path, first, second):
    put_pairs(tmp_path, ["1.png", "deep/1.png", "2.png"], first, second)
    source = read(tmp_path)
    assert values(source) == [(10, 11), (30, 31), (20, 21)]
    assert source.images.shape == source.conditions["source"].shape == (3, 8, 8, 1)
    assert (source.labels, source.skipped) == (None, 0)
    assert values(read(tmp_path, direction="BtoA")) == [(11, 10), (31, 30), (21, 20)]
    assert describe(tmp_path) == {
        "height": 8, "width": 8, "channels": 1, "classes": 0, "images": 3, "conditions": {"source": (8, 8, 1)},
    }  # fmt: skip
    assert ("by the order of their names" in " ".join(source.notes)) is (first == "cats")


def test_known_names_decide_and_not_their_order(tmp_path):
    put_pairs(tmp_path, ["1.png"], "target", "source")  # the source has the second values
    assert values(read(tmp_path)) == [(11, 10)]


@pytest.mark.parametrize(
    "names",
    [
        ["train/{}/1.png", "train/{}/2.png", "test/{}/1.png"],
        ["{}/train/1.png", "{}/train/2.png", "{}/test/1.png"],
        ["Train/{}/1.png", "Train/{}/2.png", "val/{}/1.png"],
        ["train{}/1.png", "train{}/2.png", "test{}/1.png"],
        ["train_{}/1.png", "train_{}/2.png", "val_{}/1.png"],
        ["data/train/{}/1.png", "data/train/{}/2.png", "data/test/{}/1.png"],
    ],
)
def test_parts(tmp_path, names):
    put_pairs(tmp_path, names)
    train, test = read(tmp_path, "train"), read(tmp_path, "test")
    assert values(train) == [(10, 11), (20, 21)]
    assert values(test) == [(30, 31)]
    assert (train.held_out, test.held_out) == (1, 2)
    assert len(read(tmp_path, "all").images) == 3
    assert describe(tmp_path, "train")["images"] == 2


def test_one_part_of_trainA_and_trainB_alone(tmp_path):
    put_pairs(tmp_path, [f"train{{}}/{number}.png" for number in range(4)])
    assert len(read(tmp_path, "train", holdout=0.3).images) + len(read(tmp_path, "test", holdout=0.3).images) == 4


def test_pictures_side_by_side(tmp_path):
    for number in (1, 2):
        halves(number, 100 + number).save(tmp_path / f"{number}.png")
    source = read(tmp_path)
    assert values(source) == [(1, 101), (2, 102)]
    assert values(read(tmp_path, direction="BtoA")) == [(101, 1), (102, 2)]
    assert source.sizes.tolist() == [[8, 8], [8, 8]]
    assert any("side by side" in note for note in source.notes)
    assert describe(tmp_path)["conditions"] == {"source": (8, 8, 3)}


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("facades/train", "facades/val")])
def test_side_by_side_in_parts(tmp_path, parts):
    for part, count in zip(parts, (3, 2), strict=True):
        (tmp_path / part).mkdir(parents=True)
        for number in range(count):
            halves(number, 100 + number).save(tmp_path / part / f"{number}.jpg", quality=100)
    assert len(read(tmp_path, "train").images) == 3
    assert len(read(tmp_path, "test").images) == 2


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["PNG", "JPEG", "TIFF"]))
def test_each_half_is_cut_in_the_middle(tmp_path_factory, width, height, kind):
    """Of any width, also where a JPEG could be decoded at a fraction of its size."""
    path = tmp_path_factory.mktemp("halves")
    scale = 40 if kind == "JPEG" else 1
    halves(0, 255, (width * scale, height * scale)).save(path / f"1.{kind.lower()}", kind, quality=100)
    source = read(path, size=4)
    assert source.conditions["source"].max() <= 2
    assert source.images.min() >= 253


def test_a_turned_photograph_is_cut_after_it_is_turned(tmp_path):
    picture = halves(10, 20).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    picture.save(tmp_path / "1.png", exif=exif)
    assert values(read(tmp_path)) == [(10, 20)]


def test_endings_may_differ_and_channels_are_each_sides_own(tmp_path):
    put(tmp_path / "A/1.png", 7)
    put(tmp_path / "B/1.JPG", (200, 0, 0), "RGB", kind="JPEG")
    put(tmp_path / "A/2.b.png", 8)
    put(tmp_path / "B/2.b.bmp", (0, 0, 9), "RGB", kind="BMP")
    source = read(tmp_path)
    assert source.images.shape == (2, 8, 8, 3)
    assert source.conditions["source"].shape == (2, 8, 8, 1)
    assert read(tmp_path, channels=1).images.shape == (2, 8, 8, 1)
    assert describe(tmp_path, channels=1, direction="BtoA")["conditions"] == {"source": (8, 8, 3)}


def test_an_archive_and_the_cache(tmp_path):
    put_pairs(tmp_path / "set", ["1.png", "2.png"])
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path))
    found = [read(path) for path in (tmp_path / "set.zip", tmp_path / "set", tmp_path / "set.zip")]
    assert {compute_fingerprint(source).sha256 for source in found} == {compute_fingerprint(found[0]).sha256}
    assert isinstance(found[2].conditions["source"], np.memmap)
    assert compute_fingerprint(read(tmp_path / "set", direction="BtoA")).sha256 != compute_fingerprint(found[0]).sha256


def test_settings_that_change_no_picture_share_one_cache_entry(tmp_path):
    put_pairs(tmp_path, ["1.png", "2.png"])
    asked = {"split": "train", "holdout": 0.5, "share": 0.5, "flip": True, "derive": "grey"}
    for name, value in asked.items():
        read(tmp_path, **{name: value})
    read(tmp_path)
    assert len(list(find_cache_folder().iterdir())) == 1


def test_a_pair_stays_together_in_its_part(tmp_path):
    names = [f"{number}.png" for number in range(1, 25)]
    put_pairs(tmp_path, names)
    for direction in ("AtoB", "BtoA"):
        parts = [values(read(tmp_path, split, holdout=0.3, direction=direction)) for split in ("train", "test")]
        assert parts[1]
        assert sorted(abs(a - b) for part in parts for a, b in part) == [1] * 24
        assert len({min(pair) for part in parts for pair in part}) == 24
        chosen = {min(pair) for pair in parts[1]}
        assert chosen == {min(pair) for pair in values(read(tmp_path, "test", holdout=0.3))}


def test_what_has_no_partner_is_refused_or_counted(tmp_path):
    put_pairs(tmp_path, ["1.png", "2.png"])
    put(tmp_path / "B/3.png")
    put(tmp_path / "A/x/1.png")
    for hook in (pairs.dataset, pairs.describe_dataset):
        with pytest.raises(
            gz.DataError,
            match=r"2 of 6 pictures have no partner of their name: A/x/1\.png, B/3\.png; add what is missing",
        ):
            read(tmp_path, hook=hook)
    source = read(tmp_path, skip_bad=True)
    assert (values(source), source.skipped) == ([(10, 11), (20, 21)], 2)
    assert describe(tmp_path, skip_bad=True)["images"] == 2
    (tmp_path / "B/3.png").unlink()
    with pytest.raises(gz.DataError) as caught:
        read(tmp_path)
    assert str(caught.value).endswith(
        "1 of 5 pictures has no partner of its name: A/x/1.png; add what is missing, or leave it out with --set "
        "data.skip_bad=true"
    )


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("is_late", [False, True])
def test_damaged_files_take_their_partner_along(tmp_path, side, is_late):
    put_pairs(tmp_path, ["1.png", "2.png", "3.png"])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for each in "AB":
        Image.fromarray(noise).save(tmp_path / each / "2.png")
    content = (tmp_path / side / "2.png").read_bytes()
    (tmp_path / side / "2.png").write_bytes(content[: len(content) // 2] if is_late else b"nothing")
    with pytest.raises(gz.DataError, match=f"1 of 3 files cannot be read as images: {side}/2.png"):
        read(tmp_path)
    source = read(tmp_path, skip_bad=True)
    assert (values(source), source.skipped) == ([(10, 11), (30, 31)], 1)
    assert source.conditions["source"].shape == source.images.shape


def test_two_aspects_are_refused_left_out_or_stretched(tmp_path):
    put_pairs(tmp_path, ["1.png", "2.png"])
    put(tmp_path / "B/2.png", size=(16, 8))
    with pytest.raises(
        gz.DataError, match=r"1 pair is of two aspects, such as A/2\.png \(8×8 and 16×8 pixels\); expected"
    ):
        read(tmp_path)
    source = read(tmp_path, skip_bad=True)
    assert (values(source), source.skipped) == ([(10, 11)], 1)
    assert any("1 pair is of two aspects" in note for note in source.notes)
    assert len(read(tmp_path, fit="stretch").images) == 2
    put(tmp_path / "B/1.png", size=(16, 8))
    with pytest.raises(gz.DataError, match="2 pairs are of two aspects"):
        read(tmp_path, skip_bad=True)


def test_sizes_may_differ_where_one_is_set(tmp_path):
    put(tmp_path / "A/1.png", size=(15, 10))
    put(tmp_path / "B/1.png", size=(30, 20))
    assert read(tmp_path).conditions["source"].shape == (1, 8, 8, 1)
    for hook in (pairs.dataset, pairs.describe_dataset):
        with pytest.raises(gz.DataError, match=r"the sources are 15×10 pixels and the targets 30×20; data\.size=0"):
            read(tmp_path, size=0, hook=hook)
    put(tmp_path / "B/1.png", size=(15, 10))
    assert read(tmp_path, size=0).images.shape == (1, 10, 15, 1)
    assert describe(tmp_path, size=0)["conditions"] == {"source": (10, 15, 1)}


def test_both_are_cut_alike(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 33), dtype=np.uint8)
    for side in "AB":
        (tmp_path / side).mkdir()
        Image.fromarray(pixels).save(tmp_path / side / "1.png")
    for fit in ("crop", "pad", "stretch"):
        source = read(tmp_path, fit=fit)
        assert np.array_equal(source.images, source.conditions["source"])


def test_depths_of_sixteen_bits_have_a_range_of_their_own(tmp_path):
    for number, depth in enumerate((0, 4095)):
        (tmp_path / "A").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), depth, np.uint16)).save(tmp_path / f"A/{number}.png")
        put(tmp_path / f"B/{number}.png", 50 + number)
    assert values(read(tmp_path)) == [(0, 50), (255, 51)]


LAYOUTS = {
    "nothing": ([], "holds no images; expected pairs of pictures, in two folders or side by side"),
    "no equal names": (
        ["A/1.png", "B/2.png"],
        r"no picture of either folder has a partner of its name in the other: A/1",
    ),
    "three folders": (["x/1.png", "y/1.png", "z/1.png"], "it holds the folders x, y, z; expected two folders"),
    "one side": (["A/1.png", "A/2.png"], "it holds the folder A alone; expected two folders"),
    "flat and deep": (["1.png", "A/1.png", "B/1.png"], r"both flat \(1\.png\) and in the folders A, B"),
    "flat and parts": (["1.png", "train/1.png", "test/1.png"], "flat beside the parts test, train"),
    "parts and others": (
        ["train/A/1.png", "test/A/1.png", "C/1.png"],
        "beside the folders C; expected only parts, or ",
    ),
    "no train": (["test/A/1.png", "val/A/1.png"], "no folder `train`; expected `train` beside them, or two folders"),
    "two endings": (["A/1.png", "A/1.bmp", "B/1.png"], r"A/1\.bmp and A/1\.png have one name apart from the ending"),
    "two known pairs": (["a/1.png", "b/1.png", "source/1.png", "target/1.png"], "it holds the folders a, b, source, t"),
    "differ in case": (["A/1.png", "a/1.png"], "A, a differ only in case"),
    "parts as sides": (["train_set/1.png", "test_set/1.png"], "are called like parts"),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("hook", [pairs.dataset, pairs.describe_dataset])
def test_what_is_ambiguous_is_refused(tmp_path, name, hook):
    files, words = LAYOUTS[name]
    for file in files:
        put(tmp_path / file)
    with pytest.raises(gz.DataError, match=words):
        read(tmp_path, hook=hook)


def test_other_folders_beside_a_known_pair_are_told(tmp_path):
    put_pairs(tmp_path, ["1.png"])
    put(tmp_path / "AB/1.png", size=(16, 8))
    source = read(tmp_path)
    assert values(source) == [(10, 11)]
    assert "passed over: the folders AB beside A and B" in source.notes


def test_an_odd_width_has_no_halves(tmp_path):
    put(tmp_path / "1.png", size=(15, 8))
    put(tmp_path / "2.png", size=(16, 8))
    with pytest.raises(
        gz.DataError, match=r"1\.png \(15 pixels wide; expected two pictures of one width side by side\)"
    ):
        read(tmp_path)
    source = read(tmp_path, skip_bad=True)
    assert (len(source.images), source.skipped) == (1, 1)


def test_the_path_is_needed_and_suggested(tmp_path):
    with pytest.raises(gz.UsageError, match="pairs needs a path: write --data pairs:PATH"):
        read("")
    put_pairs(tmp_path / "maps", ["1.png"])
    with pytest.raises(gz.DataError, match=r"did you mean .*maps"):
        read(tmp_path / "map")


def test_a_model_without_the_condition_trains_on_the_targets(tmp_path, capsys):
    put_pairs(tmp_path, ["1.png", "2.png"])
    words = [
        "run",
        "dcgan-torch",
        "--data",
        f"pairs:{tmp_path}",
        "--batch-size",
        "2",
        "--dry-run",
        "--set",
        "data.size=32",
    ]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--set", "data.direction=both"]) == 2
    assert "data.direction is 'both'; expected AtoB or BtoA" in capsys.readouterr().err
