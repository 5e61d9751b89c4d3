"""Parquet files as the Hugging Face Hub stores image sets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_datasets import parquet, parquet_files, shards

from .shard_sets import make_jpegs, write_shards

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
JPEGS = make_jpegs(30)
NAMES = ["ape", "bee", "cat"]
HUB = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    """A parquet file with `datasets`' metadata; columns are pyarrow arrays or values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=7)
    return path


def pictures(jpegs: list[bytes | None]) -> Any:
    return pa.array([{"bytes": jpeg, "path": f"{number}.jpg"} for number, jpeg in enumerate(jpegs)], PICTURE)


def write_hub(path: Path, jpegs: list[bytes], first: int = 0) -> Path:
    labels = [(first + number) % 3 for number in range(len(jpegs))]
    return write(path, {"image": pictures(list(jpegs)), "label": labels}, HUB)


def read(path: Path, split: str = "all", **options: object) -> gz.ImageSource:
    return parquet.dataset("parquet", str(path), split, {"size": 16, "workers": "0", **options})


def refuse(path: Path, match: str, **options: object) -> str:
    with pytest.raises(gz.DataError, match=match) as caught:
        read(path, **options)
    return str(caught.value)


def test_it_reads_as_the_same_pictures_in_shards(tmp_path):
    write_shards(tmp_path / "shards", JPEGS)
    write_hub(tmp_path / "one.parquet", JPEGS)
    for split in ("train", "test", "all"):
        expected = shards.dataset("shards", str(tmp_path / "shards"), split, {"size": 16, "workers": "0"})
        found = read(tmp_path / "one.parquet", split)
        assert np.array_equal(np.asarray(found.images), np.asarray(expected.images))
        assert np.array_equal(found.labels, expected.labels)
        assert np.array_equal(found.digests, expected.digests)
        assert found.class_names == tuple(NAMES)


def test_a_dry_run_of_large_files_unpacks_none(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_DESCRIBED_BYTES", 1000)
    given = ("parquet", str(write_hub(tmp_path / "one.parquet", JPEGS)), "all", {"size": 16, "workers": "0"})
    with monkeypatch.context() as patched:
        patched.setattr(parquet_files, "_unpack", lambda *_: pytest.fail("unpacked"))
        assert parquet.describe_dataset(*given) == {}
    assert len(parquet.dataset(*given).images) == parquet.describe_dataset(*given)["images"] == 30


def test_parts_by_the_names_of_files_and_unpacking_once(tmp_path, monkeypatch):
    write_hub(tmp_path / "data" / "train-00000-of-00002.parquet", JPEGS[:12])
    write_hub(tmp_path / "data" / "train-00001-of-00002.parquet", JPEGS[12:21])
    write_hub(tmp_path / "data" / "test-00000-of-00001.parquet", JPEGS[21:])
    train, test = (read(tmp_path, split) for split in ("train", "test"))
    assert (len(train.images), len(test.images), train.held_out) == (21, 9, 9)
    assert any(note.startswith("unpacked into") for note in train.notes)
    monkeypatch.setattr(parquet_files, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert np.array_equal(np.asarray(read(tmp_path, "train").images), np.asarray(train.images))
    facts = parquet.describe_dataset("parquet", str(tmp_path), "test", {"size": 16, "workers": "0"})
    assert facts == {"height": 16, "width": 16, "channels": 3, "classes": 3, "images": 9}


def test_what_a_killed_unpacking_left_is_removed(tmp_path):
    left = Path(os.environ["GANZOO_CACHE"]) / "shards" / ".killed.tmp"
    left.mkdir(parents=True)
    os.utime(left, (1, 1))
    read(write_hub(tmp_path / "one.parquet", JPEGS[:6]))
    assert not left.exists()


def test_binary_columns_texts_as_classes_and_other_names(tmp_path):
    texts = ["dog" if number % 2 else "ant" for number in range(6)]
    found = read(write(tmp_path / "a.parquet", {"image": pa.array(JPEGS[:6], pa.large_binary()), "label": texts}))
    assert found.class_names == ("ant", "dog")
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1]
    dictionary = pa.array(texts).dictionary_encode()
    found = read(
        write(tmp_path / "b.parquet", {"img": pictures(JPEGS[:6]), "fine": dictionary, "n": [1.0] * 6}), label="fine"
    )
    assert found.class_names == ("ant", "dog")
    found = read(tmp_path / "b.parquet")
    assert (found.labels, found.class_names) == (None, ())
    found = read(write_hub(tmp_path / "c.parquet", JPEGS[:6]), label="-")
    assert found.labels is None
    two = {"left": pictures(JPEGS[:6]), "right": pictures(JPEGS[6:12])}
    refuse(write(tmp_path / "d.parquet", two), "no column image; it has left, right, pictures may be in left, right")
    assert len(read(tmp_path / "d.parquet", image="right").images) == 6


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"text": ["a", "b"]}, r"^x\.parquet has no column image; it has text, none of pictures"),
        ({"image": ["a", "b"]}, r"the column image is string; expected pictures, as struct<bytes"),
        ({"image": pa.array([[1], [2]])}, r"the column image is list<.*; expected pictures"),
        ({"image": pa.array([[b"1"], [b"2"]])}, r"the column image is list<.*binary.*; expected pictures"),
        ({"image": pa.array([{"a": {"bytes": b"1"}}, None])}, r"the column image is struct<a: .*; expected pictures"),
        ({"image": pictures(JPEGS[:2]), "label": [[1], [2]]}, r"the column label is list<.*data\.label=-"),
        ({"image": pictures(JPEGS[:2]), "label": [0.5, 1.5]}, r"the column label is double; expected classes"),
        ({"image": pa.array([], PICTURE)}, "no pictures; the shards hold none"),
        ({}, "has no column image; it has none"),
    ],
)
def test_other_columns_are_refused(tmp_path, columns, match):
    refuse(write(tmp_path / "x.parquet", columns), match)


def test_two_columns_of_one_name(tmp_path):
    table = pa.Table.from_arrays([pictures(JPEGS[:2]), pictures(JPEGS[:2])], names=["image", "image"])
    pq.write_table(table, tmp_path / "x.parquet")
    refuse(tmp_path / "x.parquet", r"^x\.parquet has two columns of one name: image")


def test_rows_without_a_picture_a_class_or_with_one_out_of_range(tmp_path):
    some = write(tmp_path / "null.parquet", {"image": pa.array([JPEGS[0], None, b"", JPEGS[3]], pa.binary())})
    told = refuse(some, "2 of 4 pictures cannot be read")
    assert "null.parquet/00000001.jpg (empty)" in told
    assert read(some, skip_bad=True).skipped == 2
    linked = pa.array([{"bytes": None, "path": "/etc/passwd"}], PICTURE)
    refuse(write(tmp_path / "path.parquet", {"image": linked}), r"row 0 holds only the path /etc/passwd; expected")
    rows = {"image": pictures(JPEGS[:4]), "label": [0, 7, 1, 2]}
    refuse(
        write(tmp_path / "range.parquet", rows, HUB), r"range\.parquet/00000001\.jpg has the class 7; expected 0 to 2"
    )
    rows = {"image": pictures(JPEGS[:4]), "label": pa.array([0, None, -1, 2])}
    refuse(write(tmp_path / "some.parquet", rows, HUB), "2 of 4 pictures have no class")
    assert read(tmp_path / "some.parquet", skip_bad=True).labels.tolist() == [0, 2]
    rows = {"image": pictures(JPEGS[:4]), "label": [-2, 0, 1, 2]}
    refuse(write(tmp_path / "below.parquet", rows, HUB), "has the class -2; expected 0 to 2")


def test_what_is_no_parquet_file(tmp_path):
    whole = write_hub(tmp_path / "whole.parquet", JPEGS).read_bytes()
    for content in (b"", b"hello", JPEGS[0], whole[:-9], whole[100:], b"PAR1" + bytes(100) + b"PAR1"):
        (tmp_path / "x.parquet").write_bytes(content)
        refuse(tmp_path / "x.parquet", r"^x\.parquet cannot be read as a parquet file: ")
    damaged = bytearray(whole)
    damaged[4:3000] = bytes(2996)
    (tmp_path / "x.parquet").write_bytes(damaged)
    with pytest.raises(gz.DataError):
        read(tmp_path / "x.parquet")
    (tmp_path / "none").mkdir()
    refuse(tmp_path / "none", "holds no parquet files; expected files that end in .parquet")


@pytest.mark.parametrize("features", [[], {"label": 3}, {"label": {"names": "abc"}}, {"label": {"names": [1, None]}}])
def test_metadata_of_another_form(tmp_path, features):
    path = write(tmp_path / "x.parquet", {"image": pictures(JPEGS[:3]), "label": [0, 1, 2]}, features)
    if isinstance(features, dict) and isinstance(features["label"], dict):
        refuse(path, "the class names in its metadata are no list of texts")
    else:
        assert read(path).class_names == ("0", "1", "2")


def test_files_of_two_sets_a_full_disk_and_a_missing_library(tmp_path, monkeypatch):
    write_hub(tmp_path / "two" / "a.parquet", JPEGS[:4])
    other = {**HUB, "label": {"names": ["x", "y", "z"], "_type": "ClassLabel"}}
    write(tmp_path / "two" / "b.parquet", {"image": pictures(JPEGS[:3]), "label": [0, 1, 2]}, other)
    refuse(tmp_path / "two", r"a\.parquet and b\.parquet have other class names")
    one = write_hub(tmp_path / "one.parquet", JPEGS)
    with monkeypatch.context() as patched:
        patched.setattr(parquet_files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
        refuse(one, r"the pictures take .* GB, and .* of room; GANZOO_CACHE names another folder")
    (tmp_path / "file").write_text("no folder")
    with monkeypatch.context() as patched:
        patched.setenv("GANZOO_CACHE", str(tmp_path / "file"))
        refuse(one, "cannot be made: .*; GANZOO_CACHE names another folder")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(gz.UsageError, match=r"pip install 'ganzoo-datasets\[parquet\]'"):
        read(one)


def test_the_command_line(tmp_path, capsys):
    pytest.importorskip("ganzoo_dcgan_torch")
    write_hub(tmp_path / "one.parquet", JPEGS)
    words = ["run", "dcgan-torch", "--dry-run", "--data"]
    assert main([*words, f"parquet:{tmp_path / 'one.parquet'}"]) == 0
    (tmp_path / "one.parquet").write_bytes(b"hello")
    assert main([*words, f"parquet:{tmp_path / 'one.parquet'}"]) in (1, 2)
    told = " ".join(capsys.readouterr().err.split())
    assert "one.parquet cannot be read as a parquet file" in told
    assert "Traceback" not in told
