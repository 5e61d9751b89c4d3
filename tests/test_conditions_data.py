"""Conditions of a data set: what a source may hold, and that they stay with their images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.data import changes, fingerprint, lazy, memory, summary
from ganzoo_core.data.fingerprint import compute_fingerprint
from ganzoo_core.data.framing import Framing, add_mirrored, apply_framing, choose_framing, prepare
from ganzoo_core.discovery import answers
from ganzoo_core.runs.facts import explain_differences, select_compared_settings
from ganzoo_core.storage import decoding
from ganzoo_core.storage.run_records import DataSummary

COUNT, SIZE = 12, (6, 10)
RNG = np.random.default_rng(4)


def pictures(channels, size=SIZE):
    return RNG.integers(0, 256, (COUNT, *size, channels), dtype=np.uint8)


CONDITIONS = {
    "vector": RNG.normal(size=(COUNT, 5)).astype(np.float32),
    "number": RNG.integers(-9, 9, COUNT),
    **{f"same{channels}": pictures(channels) for channels in (1, 2, 3, 4)},
    **{f"other{channels}": pictures(channels, (3, 4)) for channels in (2, 3)},
}
SOURCE = gz.ImageSource(pictures(3), np.arange(COUNT) % 2, ("a", "b"), conditions=CONDITIONS)


class OnDemand:
    """A plugin's rows, of which only `rows[order]` is promised."""

    def __init__(self, rows):
        self.rows, self.shape, self.dtype, self.ndim = rows, rows.shape, rows.dtype, rows.ndim

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, order):
        assert isinstance(order, np.ndarray)
        assert order.dtype == np.int64
        return self.rows[order]

    def __array__(self):
        raise AssertionError("all are read at once")


@pytest.fixture(params=["memory", "map", "on demand"])
def kept(request, tmp_path):
    """SOURCE, where its rows may lie; images, which may not be in memory, are never larger than what is free."""

    def keep(name, rows):
        if request.param == "map":
            np.save(tmp_path / f"{name}.npy", rows)
            return np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        return OnDemand(rows) if request.param == "on demand" else rows

    conditions = {name: keep(name, rows) for name, rows in CONDITIONS.items()}
    return lazy.make_indexable(replace(SOURCE, images=keep("images", SOURCE.images), conditions=conditions))


@pytest.fixture(params=[True, False], ids=["fits", "too large"])
def room(request, monkeypatch):
    """Whether images fit into memory."""
    if not request.param:
        monkeypatch.setattr(memory, "measure_free_memory", lambda: 10)


def assert_rows(conditions, expected):
    assert conditions.keys() == expected.keys()
    for name, rows in conditions.items():
        assert rows.shape == expected[name].shape
        assert np.array_equal(np.asarray(rows[np.arange(len(expected[name]))]), expected[name]), name


def test_held_out_images_keep_their_conditions(kept, room):
    parts = [gz.hold_out(kept, split, {"holdout": 0.25}) for split in ("train", "test")]
    assert [len(part.images) for part in parts] == [9, 3]
    by_image = {image.tobytes(): row for row, image in enumerate(SOURCE.images)}
    for part in parts:
        rows = [by_image[np.asarray(part.images[index]).tobytes()] for index in range(len(part.images))]
        assert_rows(part.conditions, {name: each[rows] for name, each in CONDITIONS.items()})


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_pictures_of_the_images_size_are_framed_alike(kept, room, fit):
    framing = choose_framing(SIZE, size=8, sizes=[], background=None, fit=fit)
    prepared = prepare(kept, framing, 1)
    assert prepared.images.shape[1:] == (8, 8, 1)
    expected = {
        name: apply_framing(rows, framing, rows.shape[3]) if rows.shape[1:3] == SIZE else rows
        for name, rows in CONDITIONS.items()
    }
    assert_rows(prepared.conditions, expected)
    for name in ("same2", "same4"):  # each channel by itself, as a picture of one
        channels = [apply_framing(CONDITIONS[name][..., [c]], framing, 1) for c in range(expected[name].shape[3])]
        assert np.array_equal(expected[name], np.concatenate(channels, axis=3))


def test_padded_images_have_padded_conditions(kept):
    prepared = prepare(kept, Framing(SIZE, (8, 12), "pad", 9), 3)
    assert_rows(
        {"same2": prepared.conditions["same2"]},
        {"same2": np.pad(CONDITIONS["same2"], ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=9)},
    )


def test_mirrored_images_have_mirrored_conditions(kept, room):
    shown = add_mirrored(kept)
    assert shown.images.shape[0] == 2 * COUNT
    expected = {
        name: np.concatenate([rows, rows[:, :, ::-1] if rows.shape[1:3] == SIZE else rows])
        for name, rows in CONDITIONS.items()
    }
    assert_rows(shown.conditions, expected)


def test_rows_on_demand_can_be_indexed_in_any_way():
    conditions = {name: OnDemand(rows) for name, rows in CONDITIONS.items()}
    found = lazy.make_indexable(replace(SOURCE, conditions=conditions)).conditions
    for name, rows in CONDITIONS.items():
        assert np.array_equal(found[name][3], rows[3])
        assert np.array_equal(found[name][2:5], rows[2:5])
        assert (found[name].dtype, found[name].ndim) == (rows.dtype, rows.ndim)


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_vectors_of_any_length_follow_their_images(count, seed):
    rng = np.random.default_rng(seed)
    marks = rng.permutation(count).astype(np.uint8)
    images = np.broadcast_to(marks[:, None, None, None], (count, 2, 2, 1)).copy()
    conditions = {"v": marks[:, None].astype(np.float32), "n": marks.astype(np.int64)}
    source = gz.ImageSource(images, split_keys=rng.random(count), conditions=conditions)
    for split in ("train", "test"):
        part = gz.hold_out(source, split)
        assert np.array_equal(part.conditions["v"][:, 0], part.images[:, 0, 0, 0])
        assert np.array_equal(part.conditions["n"], part.images[:, 0, 0, 0])


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"labels": np.zeros(COUNT, np.int64)}, "the condition 'labels' needs a name that is a Python identifier"),
        ({"self": np.zeros(COUNT, np.int64)}, "the condition 'self' needs a name that is a Python identifier"),
        *(({name: np.zeros(COUNT, np.int64)}, "needs a name") for name in ("", "a-b", "class", "größe", "x" * 101, 3)),
        ({"s": [1] * COUNT}, "the condition 's' is a list; expected an array, a row for each image"),
        ({"s": np.zeros(COUNT, np.int32)}, r"the condition 's' is int32 \[12\]; expected float32 \[N,F\], int64"),
        ({"s": np.zeros(COUNT, np.float32)}, r"is float32 \[12\]"),
        ({"s": np.zeros((COUNT, 2))}, r"is float64 \[12, 2\]"),
        ({"s": np.zeros((COUNT, 0), np.float32)}, r"is float32 \[12, 0\]"),
        ({"s": np.zeros((COUNT, 4, 4), np.uint8)}, r"is uint8 \[12, 4, 4\]"),
        ({"s": np.zeros((COUNT, 4, 4, 5), np.uint8)}, "with 1 to 4 channels"),
        ({"s": np.zeros((COUNT, 0, 4, 3), np.uint8)}, r"is uint8 \[12, 0, 4, 3\]"),
        ({"s": np.zeros((COUNT, 4, 4, 3), np.float32)}, r"is float32"),
        ({"s": np.zeros((COUNT + 1, 2), np.float32)}, "has 13 rows for 12 images; expected one for each"),
        ({"s": np.full((COUNT, 1), np.nan, np.float32)}, "holds numbers that are not finite"),
        ({"s": OnDemand(np.zeros((COUNT, 2, 2), np.uint8))}, "expected float32"),
    ],
)
def test_what_is_no_condition_is_refused(conditions, words):
    with pytest.raises(gz.DataError, match=words):
        replace(SOURCE, conditions=conditions)


def tell(**changed):
    """What has changed, of SOURCE with these conditions instead."""
    now = replace(
        SOURCE, conditions={name: rows for name, rows in {**CONDITIONS, **changed}.items() if rows is not None}
    )
    return changes.explain_changes(compute_fingerprint(SOURCE), compute_fingerprint(now))


def alter(name, *rows):
    copy = CONDITIONS[name].copy()
    copy[list(rows)] += 1
    return copy


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_changed_row_is_told(name):
    assert tell(**{name: alter(name, 3)}) == [f"1 of 12 rows of the condition {name} differ"]
    assert tell(**{name: CONDITIONS[name][::-1]}) == [f"the order of the rows of the condition {name} differs"]


def test_other_conditions_are_told():
    assert tell() == []
    assert tell(vector=None) == ["the condition vector is gone"]
    assert tell(new=np.zeros(COUNT, np.int64)) == ["the condition new is new"]
    assert tell(same3=CONDITIONS["same4"]) == ["the condition same3 was 6×10×3 and is 6×10×4"]
    assert tell(number=CONDITIONS["vector"]) == ["the condition number was a whole number and is 5 numbers"]
    fewer = replace(
        SOURCE, images=SOURCE.images[:9], labels=None, class_names=(),
        conditions={name: rows[:9] for name, rows in CONDITIONS.items()},
    )  # fmt: skip
    told = changes.explain_changes(compute_fingerprint(SOURCE), compute_fingerprint(fewer))
    assert not [text for text in told if "condition" in text]


def test_a_fingerprint_with_conditions_is_kept(tmp_path, kept):
    whole = compute_fingerprint(SOURCE)
    assert compute_fingerprint(kept).sha256 == whole.sha256
    fingerprint.save(tmp_path / "data", whole)
    loaded = fingerprint.load(tmp_path / "data")
    assert loaded.sha256 == whole.sha256
    assert changes.explain_changes(loaded, whole) == []
    changed = replace(SOURCE, conditions={**CONDITIONS, "same2": alter("same2", 1, 7)})
    assert changes.explain_changes(loaded, compute_fingerprint(changed)) == [
        "2 of 12 rows of the condition same2 differ"
    ]


def test_without_conditions_a_fingerprint_is_as_it_was():
    """A run without them resumes: the digest is that of the same six facts as before there were conditions."""
    images = b"".join(hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in SOURCE.images)
    labels, names = SOURCE.labels.astype("<u8").tobytes(), json.dumps(["a", "b"]).encode()
    digests = [hashlib.sha256(content).hexdigest() for content in (images, labels, names)]
    facts = json.dumps([COUNT, [6, 10, 3], *digests, None]).encode()
    found = compute_fingerprint(replace(SOURCE, conditions={}))
    assert found.sha256 == hashlib.sha256(facts).hexdigest()
    assert found.sha256 != compute_fingerprint(SOURCE).sha256


def test_many_rows_are_digested_in_blocks(monkeypatch, tmp_path):
    monkeypatch.setattr(fingerprint, "MAX_DIGESTS", 4)
    whole = compute_fingerprint(SOURCE)
    assert len(whole.conditions["vector"].digests) == 3
    assert tell(vector=alter("vector", 3)) == ["1 to 4 of 12 rows of the condition vector differ"]
    fingerprint.save(tmp_path / "data", whole)
    assert fingerprint.load(tmp_path / "data").sha256 == whole.sha256


def test_a_summary_names_the_conditions():
    framing = choose_framing(SIZE, size=8, sizes=[], background=None)
    source = replace(SOURCE, conditions={name: CONDITIONS[name] for name in ("vector", "same3")})
    facts = summary.describe_data(source, framing, 3, {"source": (8, 8, 1), "vector": (5,)}, "grey")
    assert [line for line in summary.format_summary(facts) if line.startswith("condition")] == [
        "condition source: 8×8×1, grey of each image",
        "condition vector: 5 numbers",
        "condition same3: 6×10×3, which the networks do not take",
    ]
    decoding.convert(facts, DataSummary, "here")
    for method, words in {
        "mask:0.25": "8×8×4, each image without 0.25 of its area, and where that is",
        "downscale:4": "8×8×4, each image at 1/4 of its size, enlarged",
        "edges": "8×8×4, edges of each image",
    }.items():
        assert summary.describe_data(SOURCE, framing, 3, {"source": (8, 8, 4)}, method)["conditions"]["source"] == words
    grey = summary.describe_data(SOURCE, framing, 1, {"source": (8, 8, 1)}, "grey")["conditions"]["source"]
    assert grey == "8×8×1, grey of each image; the images are grey, so it is the image itself"
    assert "conditions" not in summary.describe_data(replace(SOURCE, conditions={}), framing, 3)


FACTS = {"height": 8, "width": 8, "channels": 3, "classes": 0}


@pytest.mark.parametrize("conditions", [{}, {"source": (8, 8, 4)}, {"source": [8, 8, 1], "age": (), "text": (512,)}])
def test_described_conditions(conditions):
    assert answers.check_image_facts({**FACTS, "conditions": conditions}) == ""


@pytest.mark.parametrize(
    "conditions",
    [None, ["source"], {"source": 8}, {"source": (8, 8)}, {"source": (8, 8, 5)}, {"z": (3,)}, {3: (3,)},
     {"source": (8.0,)}, {"source": "abc"}, {"source": (0,)}, {"source": (True,)}],
)  # fmt: skip
def test_what_describes_no_conditions_is_refused(conditions):
    said = answers.check_image_facts({**FACTS, "conditions": conditions})
    assert said.startswith("conditions = ")
    assert "expected name -> the shape of a row" in said


def test_a_run_whose_conditions_changed_is_not_resumed(tmp_path, capsys):
    """Which condition differs is said, before training and when the run is resumed."""
    rows = "\n".join(f"{number}.png,{number}" for number in range(8))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metadata.csv").write_text(f"file_name,age\n{rows}\n", encoding="utf-8")
    for number in range(8):
        Image.new("L", (16, 16), number).save(tmp_path / "data" / f"{number}.png")
    words = ["run", "dcgan-torch", "--data", f"folder:{tmp_path / 'data'}", "--out", str(tmp_path / "run")]
    words += ["--images", "4", "--batch-size", "4", "--set", "data.size=16", "--set", "data.attributes=age"]
    assert main([*words, "--set", "holdout=0", "--set", "width=4", "--device", "cpu"]) == 0
    said = "".join(capsys.readouterr())
    assert "condition attributes: 1 number, which the networks do not take" in said
    assert "the condition attributes: age, of metadata.csv" in said
    changed = rows.replace("3.png,3", "3.png,4")
    (tmp_path / "data" / "metadata.csv").write_text(f"file_name,age\n{changed}\n", encoding="utf-8")
    assert main(["resume", str(tmp_path / "run"), "--images", "8"]) == 2
    assert "1 of 8 rows of the condition attributes differ" in "".join(capsys.readouterr())


def test_another_derived_condition_is_a_compared_setting(resolve):
    then, now = (
        {"settings": select_compared_settings(resolve("painter", assigned={"data.derive": method}).settings)}
        for method in ("grey", "edges")
    )
    assert explain_differences(then, now, []) == ['data.derive was "grey" and is "edges"']
