"""What a run says of its data before it trains, and keeps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.data import summary
from ganzoo_core.data.framing import Framing, apply_framing, choose_framing, crop_padding
from ganzoo_core.settings import read_facts


def told(source, *, target=None, channels=None, background=None):
    """The facts and the two lines for a source whose images end at this height and width."""
    height, width = source.images.shape[1:3]
    framing = Framing((height, width), target or (height, width), "none")
    if target is not None:
        framing = Framing((height, width), target, "resize" if background is None else "pad", background or 0)
    facts = summary.describe_data(source, framing, channels or source.images.shape[3])
    return facts, summary.format_summary(facts)


def images(count, height=8, width=8, channels=3):
    return np.zeros((count, height, width, channels), np.uint8)


def labelled(*counts, names=None):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return gz.ImageSource(images(len(labels)), labels, names or tuple(map(str, range(len(counts)))))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((3, 2), "data: 5 images in 2 classes (0: 3, 1: 2)"),
        ((4,), "data: 4 images in 1 class (0: 4)"),
        ((7,) * 6, "data: 42 images in 6 classes of 7 each"),
        ((7, 1, 7, 9, 7, 7), "data: 38 images in 6 classes of 1 (1) to 9 (3)"),
        ((7, 0, 7, 9, 7, 7), "data: 37 images in 6 classes of 0 (1) to 9 (3)"),
    ],
)
def test_classes_are_counted_and_short_where_they_are_many(counts, expected):
    facts, lines = told(labelled(*counts))
    assert lines[0] == expected
    assert facts["classes"]["each"] == [[str(number), count] for number, count in enumerate(counts)]


def test_classes_without_training_images_are_said():
    facts, lines = told(labelled(7, 0, 7, 9, 7, 7))
    assert lines[2] == "1 class has no training images, and a conditional model will not draw it: 1"
    assert (facts["classes"]["empty"], facts["classes"]["first_empty"]) == (1, ["1"])
    _, lines = told(labelled(*[0] * 7, 3))
    assert lines[2] == (
        "7 classes have no training images, and a conditional model will not draw them: 0, 1, 2, 3, 4, …"
    )
    assert len(told(labelled(3, 2))[1]) == 2


def test_a_long_name_is_cut_in_the_line_and_whole_in_the_facts():
    facts, lines = told(labelled(2, 1, names=("x" * 500, "y")))
    assert lines[0] == f"data: 3 images in 2 classes ({'x' * 23}…: 2, y: 1)"
    assert facts["classes"]["largest"] == ["x" * 500, 2]


def test_what_is_held_out_and_skipped_is_told():
    facts, lines = told(gz.ImageSource(images(1200), held_out=300, skipped=2))
    assert lines[0] == "data: 1,200 images without classes, 300 more are held out, 2 files were skipped"
    assert (facts["held_out"], facts["skipped"], "classes" in facts) == (300, 2, False)
    assert told(gz.ImageSource(images(1), held_out=1))[1][0] == "data: 1 image without classes, 1 more is held out"
    assert told(gz.ImageSource(images(5)))[1][0] == "data: 5 images without classes"


@pytest.mark.parametrize(
    ("sizes", "shape", "more", "expected"),
    [
        (None, (28, 28, 1), {}, "28×28"),
        (None, (28, 28, 1), {"target": (32, 32), "background": 0}, "28×28 → padded to 32×32"),
        (None, (8, 8, 1), {"target": (32, 32)}, "8×8 → 32×32"),
        (None, (480, 640, 3), {"target": (64, 64)}, "640×480 → crop 480² → 64×64"),
        (None, (480, 640, 3), {"target": (64, 64), "channels": 1}, "640×480 → crop 480² → 64×64 → grey"),
        (None, (8, 8, 1), {"channels": 3}, "8×8 → RGB"),
        ([(3024, 4032)] * 5, (64, 64, 3), {}, "4,032×3,024 → crop 3,024² → 64×64"),
        ([(64, 64)] * 5, (64, 64, 3), {}, "64×64"),
        ([(128, 128)] * 5, (64, 64, 3), {"target": (32, 32)}, "128×128 → 64×64 → 32×32"),
        (
            [(64, 64), (100, 50), (100, 50), (200, 300), (70, 70)],
            (64, 64, 3),
            {},
            "64×64 to 300×200, most often 50×100 (2 of 5) → crop to a square → 64×64; "
            "2 of 5 are smaller than that and enlarged",
        ),
        (
            [(64, 64), (128, 128), (128, 128), (70, 70), (70, 70)],
            (64, 64, 3),
            {},
            "64×64 to 128×128, most often 70×70 (2 of 5) → 64×64",
        ),
    ],
)
def test_sizes_and_framing_are_told(sizes, shape, more, expected):
    array = None if sizes is None else np.array(sizes, dtype=np.int64)
    facts, lines = told(gz.ImageSource(np.zeros((5, *shape), np.uint8), sizes=array), **more)
    assert lines[1] == f"pictures: {expected}"
    assert facts["framing"] == expected.partition(";")[0]


@pytest.mark.parametrize(
    ("fit", "step"), [("crop", "crop to a square"), ("pad", "pad to a square"), ("stretch", "stretch")]
)
def test_a_dataset_that_brings_its_images_to_the_size_says_how(fit, step):
    sizes = np.array([(300, 400), (90, 200)], np.int64)
    framing = choose_framing((64, 64), size=64, sizes=[], background=None, fit=fit)
    source = gz.ImageSource(np.zeros((2, 64, 64, 3), np.uint8), sizes=sizes)
    facts = summary.describe_data(source, framing, 3)
    assert facts["framing"].split(" → ")[1:] == [step, "64×64"]
    assert (facts["cut"] > 0) == (fit == "crop")


def test_the_facts_of_mixed_sizes_agree_with_counting_by_hand():
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 9, (400, 2))
    facts, _ = told(gz.ImageSource(images(400, 4, 4), sizes=sizes), target=(6, 6))
    counted = {}
    for height, width in sizes.tolist():
        counted[(width, height)] = counted.get((width, height), 0) + 1
    commonest = facts["sizes"]["commonest"]
    assert counted[tuple(commonest[:2])] == commonest[2] == max(counted.values())
    assert facts["sizes"]["count"] == len(counted)
    areas = [width * height for width, height in counted]
    assert np.prod(facts["sizes"]["smallest"]) == min(areas)
    assert np.prod(facts["sizes"]["largest"]) == max(areas)
    assert facts["sizes"]["enlarged"] == sum(min(size) < 6 for size in sizes.tolist())


def test_holding_out_keeps_each_image_beside_its_size():
    numbers = np.arange(1, 51)
    whole = gz.ImageSource(
        np.broadcast_to(numbers[:, None, None, None], (50, 2, 2, 1)).astype(np.uint8),
        sizes=np.stack([numbers, numbers + 1], axis=1),
    )
    parts = {split: gz.hold_out(whole, split) for split in ("train", "test", "all")}
    for part in parts.values():
        assert np.array_equal(part.sizes[:, 0], part.images[:, 0, 0, 0])
    assert {split: (len(part.images), part.held_out) for split, part in parts.items()} == {
        "train": (40, 10),
        "test": (10, 40),
        "all": (50, None),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": np.ones((4, 2), np.int64)},
        {"sizes": np.ones((5, 2), np.float64)},
        {"sizes": np.zeros((5, 2), np.int64)},
        {"sizes": [(1, 1)] * 5},
        {"held_out": -1},
        {"held_out": 0.5},
        {"skipped": "2"},
        {"skipped": -2},
        {"whole": "a"},
        {"whole": -1},
        {"whole": 6.5},
        {"whole": True},
        {"whole": 4},
    ],
    ids=str,
)
def test_what_a_dataset_says_wrongly_is_refused(wrong):
    with pytest.raises(gz.DataError, match=next(iter(wrong))):
        gz.ImageSource(images(5), **wrong)


@pytest.mark.parametrize("labels", [None, np.array([0, 1] * 8)], ids=["unlabelled", "labelled"])
def test_a_run_tells_its_data_and_keeps_what_it_told(tmp_path, capfd, labels):
    array = np.random.default_rng(0).integers(0, 256, (16, 20, 30, 3), dtype=np.uint8)
    settings = {"data.size": 16, "model.width": 4, "train.batch_size": 8}
    run = gz.train("dcgan-torch", data=array, labels=labels, settings=settings, steps=1, out=tmp_path / "run")
    classes = " without classes" if labels is None else " in 2 classes (0: 8, 1: 8)"
    lines = capfd.readouterr().err.splitlines()
    at = lines.index(f"data: 16 images{classes}")
    assert lines[at + 1] == "pictures: 30×20 → crop 20² → 16×16"
    assert any("step 1/1" in line for line in itertools.islice(lines, at, None))
    kept = read_facts(run.folder / "config.yaml").data_summary
    assert (kept.images, kept.framing, kept.held_out) == (16, "30×20 → crop 20² → 16×16", None)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "30×20 → crop 20² → 16×16" in page
    if labels is not None:
        with pytest.raises(gz.UsageError, match="the images had labels and have none"):
            gz.resume(run.folder, data=array, steps=2, quiet=True)
    assert gz.resume(run.folder, data=array, labels=labels, steps=2, quiet=True).stats[-1]["step"] == 2


def test_a_quiet_run_tells_nothing(tmp_path, capfd):
    array = np.zeros((16, 16, 16, 3), np.uint8)
    settings = {"model.width": 4, "train.batch_size": 8}
    gz.train("dcgan-torch", data=array, settings=settings, steps=1, out=tmp_path / "run", quiet=True)
    assert "data:" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (
            "crop",
            "28×56 → crop 28² → 64×64; the crop cuts 50% of the pictures away: --set data.fit=pad or stretch keeps all",
        ),
        ("pad", "28×56 → pad 56² → 64×64"),
        ("stretch", "28×56 → stretch → 64×64"),
    ],
)
def test_a_crop_that_takes_much_is_said_and_fit_keeps_all(fit, expected):
    """Half of a picture of 28×56 is no square."""
    source = gz.ImageSource(np.full((5, 56, 28, 1), 200, np.uint8))
    framing = choose_framing((56, 28), size=0, sizes=[64], background=None, fit=fit)
    facts = summary.describe_data(source, framing, 1)
    assert summary.format_summary(facts)[1] == f"pictures: {expected}"
    assert facts["cut"] == (0.5 if fit == "crop" else 0)
    framed = apply_framing(source.images, framing, 1)
    assert framed.shape == (5, 64, 64, 1)
    border = framed.copy()
    border[:, :, 16:48] = 0
    assert (border == (200 if fit != "pad" else 0)).all() == (fit == "pad")
    assert framing.crop == ((0, 16, 64, 32) if fit == "pad" else None)
    if fit == "pad":  # what is generated is cropped to the picture
        assert (crop_padding(framed, framing.crop, (64, 64)) == 200).all()


def test_the_line_follows_the_dataset_s_own_fit():
    sizes = np.array([(3024, 4032)] * 5)
    source = gz.ImageSource(images(5, 64, 64), sizes=sizes)
    lines = {
        fit: summary.describe_data(source, Framing((64, 64), (64, 64), "none", 0, fit), 3)["framing"]
        for fit in ("crop", "pad", "stretch")
    }
    assert lines == {
        "crop": "4,032×3,024 → crop 3,024² → 64×64",
        "pad": "4,032×3,024 → pad 4,032² → 64×64",
        "stretch": "4,032×3,024 → stretch → 64×64",
    }
