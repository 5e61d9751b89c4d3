"""`data.attributes`: columns of a metadata.csv that are one condition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_datasets import folder

CSV = """file_name,smiling,age,hair,note
a.png,yes,31,brown,x
b.png,No,-7.5,black,y
c.png,TRUE,1e2,black,z
d.png,false,+.5,brown,
"""


@pytest.fixture
def faces(tmp_path) -> Path:
    for value, name in enumerate("abcd"):
        Image.new("L", (8, 8), value * 10).save(tmp_path / f"{name}.png")
    (tmp_path / "metadata.csv").write_text(CSV, encoding="utf-8")
    return tmp_path


def read(path, split="all", *, hook=folder.dataset, **options):
    options = {"size": 8, "channels": 0, "skip_bad": False, "attributes": "smiling,age", **options}
    return hook(name="folder", argument=str(path), split=split, options=options)


def test_columns_are_numbers_as_they_are_and_words_are_one_and_zero(faces):
    for _ in range(2):  # also from the cache
        source = read(faces)
        assert list(source.conditions) == ["attributes"]
        assert source.conditions["attributes"].dtype == np.float32
        assert source.conditions["attributes"].tolist() == [[1, 31], [0, -7.5], [1, 100], [0, 0.5]]
        assert source.labels is None
        assert "the condition attributes: smiling, age, of metadata.csv" in source.notes
    assert read(faces, hook=folder.describe_dataset)["conditions"] == {"attributes": (2,)}
    assert read(faces, attributes="age").conditions["attributes"].tolist() == [[31], [-7.5], [100], [0.5]]
    assert read(faces, attributes="", label="hair").conditions == {}
    assert "conditions" not in read(faces, hook=folder.describe_dataset, attributes="", label="hair")


def test_an_edited_file_is_read_again(faces):
    read(faces)
    (faces / "metadata.csv").write_text(CSV.replace("31", "32"), encoding="utf-8")
    assert read(faces).conditions["attributes"][0].tolist() == [1, 32]


def test_held_out_images_keep_their_numbers(faces):
    parts = [read(faces, split, holdout=0.5) for split in ("train", "test")]
    found = {
        int(image[0, 0, 0]): row.tolist()
        for part in parts
        for image, row in zip(part.images, part.conditions["attributes"], strict=True)
    }
    assert found == {0: [1, 31], 10: [0, -7.5], 20: [1, 100], 30: [0, 0.5]}


def test_classes_beside_them(faces):
    source = read(faces, label="hair")
    assert source.class_names == ("black", "brown")
    assert source.labels.tolist() == [1, 0, 0, 1]
    assert source.conditions["attributes"].shape == (4, 2)
    (faces / "metadata.csv").write_text(CSV.replace("hair", "label"), encoding="utf-8")
    assert read(faces).class_names == ("black", "brown")
    (faces / "metadata.csv").write_text(CSV.replace("smiling", "label"), encoding="utf-8")
    assert read(faces, attributes="label,age").labels is None


def test_folders_are_classes_and_parts_beside_them(tmp_path):
    rows = []
    for number, name in enumerate(("train/cat/1", "train/dog/2", "test/cat/3")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(tmp_path / f"{name}.png")
        rows.append(json.dumps({"file_name": f"{name}.png", "age": number, "old": number > 1}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    train, test = (read(tmp_path, split, attributes="old,age") for split in ("train", "test"))
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.conditions["attributes"].tolist() == [[0, 0], [0, 1]]
    assert test.conditions["attributes"].tolist() == [[1, 2]]


def test_images_without_a_line_are_left_out_and_missing_ones_refused(faces):
    Image.new("L", (8, 8)).save(faces / "e.png")
    source = read(faces)
    assert len(source.images) == len(source.conditions["attributes"]) == 4
    assert any("1 of 5 images have no label and are left out: e.png" in note for note in source.notes)
    (faces / "a.png").unlink()
    with pytest.raises(gz.DataError, match=r"are not there: a\.png; correct the labels"):
        read(faces)
    assert read(faces, skip_bad=True).conditions["attributes"].tolist() == [[0, -7.5], [1, 100], [0, 0.5]]


@pytest.mark.parametrize(
    ("value", "words"),
    [("brown", "holds 'brown'; expected a number, or yes or no, true or false"), ("", "holds nothing"),
     ("nan", "holds 'nan'"), ("inf", "holds 'inf'"), ("1e39", "holds '1e39'"), ("1_0", "holds '1_0'"),
     ("0x1", "holds '0x1'"), ("٣", "holds '٣'"), ("1 000", "holds '1 000'"), ("31;", "holds '31;'")],
)  # fmt: skip
def test_what_is_no_number_is_refused_with_its_line(faces, value, words):
    (faces / "metadata.csv").write_text(CSV.replace("31", value), encoding="utf-8")
    with pytest.raises(gz.DataError, match=r"metadata\.csv line 2: the column age ") as caught:
        read(faces)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [("null", "nothing"), ("[1]", "'[1]'"), ('{"a": 1}', "{'a': 1}"), ("1e999", "'inf'"), ("NaN", "nan")],
)
def test_json_that_is_no_number_is_refused(faces, value, words):
    (faces / "metadata.csv").unlink()
    (faces / "metadata.jsonl").write_text(f'{{"file_name": "a.png", "age": {value}}}', encoding="utf-8")
    with pytest.raises(gz.DataError, match="line 1: the column age holds") as caught:
        read(faces, attributes="age")
    assert words in str(caught.value)


def test_columns_that_are_not_there_are_refused(faces):
    with pytest.raises(
        gz.UsageError, match=r"names smilling, and metadata\.csv has no such column; it has smiling, age,"
    ):
        read(faces, attributes="smilling")
    with pytest.raises(gz.UsageError, match="did you mean smiling"):
        read(faces, attributes="smilling")
    with pytest.raises(gz.UsageError, match="names file_name, and"):
        read(faces, attributes="file_name")
    with pytest.raises(gz.UsageError, match="names age twice"):
        read(faces, attributes="age,age")
    with pytest.raises(gz.UsageError, match="expected COLUMN,COLUMN"):
        read(faces, attributes="age\nsmiling")
    (faces / "metadata.csv").write_text("file,age\na.png,3\n", encoding="utf-8")
    with pytest.raises(gz.UsageError, match=r"no such file; metadata\.csv has no column file_name and is passed over"):
        read(faces)
    (faces / "metadata.csv").unlink()
    with pytest.raises(
        gz.UsageError, match=r"data\.attributes names columns of metadata\.csv or \.jsonl, and there is no"
    ):
        read(faces)


def test_two_lines_of_one_image_must_agree(faces):
    (faces / "metadata.csv").write_text(CSV + "a.png,yes,31,black,w\n", encoding="utf-8")
    assert len(read(faces).images) == 4
    (faces / "metadata.csv").write_text(CSV + "./a.png,yes,33,black,w\n", encoding="utf-8")
    with pytest.raises(gz.DataError, match=r"line 6 gives a\.png other numbers than a line before it"):
        read(faces)


def test_the_setting_is_a_list_of_words(faces, capsys):
    words = [
        "run",
        "dcgan-torch",
        "--data",
        f"folder:{faces}",
        "--batch-size",
        "2",
        "--dry-run",
        "--set",
        "data.size=32",
    ]
    assert main([*words, "--set", "data.attributes=smiling,age"]) == 0
    assert main([*words, "--set", 'attributes= age , "smiling"', "--json"]) == 0
    capsys.readouterr()
    assert main([*words, "--set", "data.attributes=height"]) == 2
    assert "data.attributes names height, and metadata.csv has no such column" in capsys.readouterr().err
