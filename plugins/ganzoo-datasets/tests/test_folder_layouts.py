"""The layouts of --data folder:PATH: the rows of the README's table, from folders and from zip archives."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_datasets import folder

OPTIONS = {"size": 8, "channels": 0, "skip_bad": False}


def read(path, split="all", **options):
    return folder.dataset(name="folder", argument=str(path), split=split, options={**OPTIONS, **options})


def put(root: Path, *names: str, **texts: str) -> Path:
    """Store images of 8×8 pixels, the nth with the value 100 + n in the order of their paths."""
    for value, name in enumerate(sorted(names), 100):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), value).save(root / name, "PNG")
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


def pack(root: Path) -> Path:
    archive = root.with_name(f"{root.name}.zip")
    with zipfile.ZipFile(archive, "w", strict_timestamps=False) as packed:
        for path in sorted(root.rglob("*")):
            packed.write(path, path.relative_to(root))
    return archive


DATASET_JSON = {"dataset.json": json.dumps({"labels": [["0/a.png", 7], ["0/b.png", 10], ["1/c.png", 7]]})}
NULL_JSON = {"dataset.json": '{"labels": null}'}
NAMED_JSON = {
    "dataset.json": json.dumps(
        {"labels": [["0/a.png", 1], ["0/b.png", 0], ["1/c.png", 1]], "class_names": ["zebra", "ant", "bee"]}
    )
}
NESTED = ("0/a.png", "0/b.png", "1/c.png")
CSV = {"metadata.csv": "\ufefffile_name,label\r\na.png,dog\r\n\r\nsub\\b.png,cat\r\n./c.png,dog\r\n"}
NUMBERS = {"metadata.csv": 'file_name,text,species\n"a.png","one, two",10\nsub/b.png,x,9\nc.png,y,10\nd.png,z,9\n'}
JSON_LINES = {
    "metadata.jsonl": '{"file_name": "a.png", "label": 1, "box": [1, 2]}\n{"file_name": "sub/b.png", "label": 0}\n'
    '{"file_name": "c.png", "label": 1, "box": null}\n'
}
METADATA = ("a.png", "sub/b.png", "c.png")

# Names, label files, class names, the class of each image in the order of paths, train part, words of a note.
ROWS = {
    "flat": (("b.png", "a.png"), {}, (), None, None, ""),
    "a folder a class": (("dog/x/1.png", "cat/1.png", "cat/2.png"), {}, ("cat", "dog"), [0, 0, 1], None, ""),
    "train with test": (
        ("Train/cat/1.png", "Train/dog/2.png", "TEST/cat/3.png", "val/dog/4.png", "Valid/dog/5.png"),
        {}, ("cat", "dog"), [0, 0, 1, 1, 1], [101, 102], "",
    ),
    "training with testing": (
        ("Training/cat/1.png", "Training/dog/2.png", "Testing/cat/3.png", "Testing/dog/4.png"),
        {}, ("cat", "dog"), [0, 1, 0, 1], [102, 103], "",
    ),
    "parts in folders of their name": (
        ("train/train/cat/1.png", "train/train/dog/2.png", "test/test/cat/3.png", "test/test/dog/4.png"),
        {}, ("cat", "dog"), [0, 1, 0, 1], [102, 103], "",
    ),
    "train with val, flat": (("train/1.png", "train/2.png", "val/3.png"), {}, (), None, [100, 101], ""),
    "train alone": (("train/cat/1.png", "train/dog/2.png"), {}, ("cat", "dog"), [0, 1], None, "lie in train, which is"),
    "a lone folder": (("photos/cat/1.png", "photos/dog/2.png"), {}, ("cat", "dog"), [0, 1], None, "lie in photos, "),
    "a lone flat folder": (("photos/1.png", "photos/2.png"), {}, (), None, None, "lie in photos, "),
    "two lone folders": (("a/b/cat/1.png", "a/b/dog/2.png"), {}, ("cat", "dog"), [0, 1], None, "lie in a/b, "),
    "parts in a lone folder": (
        ("data/train/cat/1.png", "data/train/dog/2.png", "data/test/dog/3.png"),
        {}, ("cat", "dog"), [1, 0, 1], [101, 102], "lie in data, ",
    ),
    "a lone folder in parts": (
        ("train/images/1.png", "train/images/2.png", "test/images/3.png"), {}, (), None, [101, 102], "",
    ),
    "dataset.json": (NESTED, DATASET_JSON, ("7", "10"), [0, 1, 0], None, "those of dataset.json"),
    "dataset.json with names": (NESTED, NAMED_JSON, ("zebra", "ant"), [1, 0, 1], None, "those of dataset.json"),
    "dataset.json without labels": (NESTED, NULL_JSON, (), None, None, "no classes, as dataset.json says"),
    "another dataset.json": (NESTED, {"dataset.json": "[]"}, ("0", "1"), [0, 0, 1], None, "has no `labels`"),
    "metadata.csv": (METADATA, CSV, ("cat", "dog"), [1, 1, 0], None, "those of metadata.csv, column label"),
    "another column": (
        (*METADATA, "d.png"), NUMBERS, ("9", "10"), [1, 1, 0, 0], None, "those of metadata.csv, column species",
    ),
    "long numbers": (
        ("a.png", "b.png"), {"metadata.csv": f"file_name,label\na.png,{'9' * 1000}\nb.png,{'1' * 1000}\n"},
        ("1" * 1000, "9" * 1000), [1, 0], None, "column label",
    ),
    "a class of the test part alone": (
        ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/emu/4.png"), {}, ("cat", "dog", "emu"),
        [0, 2, 0, 1], [102, 103], "the test part has 1 class of which the train part has no image: emu",
    ),
    "a column of fractions": (
        NESTED, {"metadata.csv": "file_name,score\n0/a.png,0.0\n0/b.png,0.5\n1/c.png,1\n"}, ("0", "1"), [0, 0, 1], None,
        "the column score of metadata.csv holds fractions, such as 0.0, and no classes",
    ),
    "fractions beside classes": (
        METADATA, {"metadata.csv": "file_name,score,kind\na.png,5e-1,x\nsub/b.png,nan,x\nc.png,.5,x\n"}, ("x",),
        [0, 0, 0], None, "those of metadata.csv, column kind",
    ),
    "names like fractions": (
        ("a.png", "b.png"), {"metadata.csv": "file_name,label\na.png,1.5\nb.png,v1.5\n"}, ("1.5", "v1.5"), [0, 1], None,
        "column label",
    ),
    "metadata.jsonl": (METADATA, JSON_LINES, ("0", "1"), [1, 1, 0], None, "those of metadata.jsonl, column label"),
    "metadata.csv with spaces": (
        ("a.png", "b.png"), {"metadata.csv": "file_name, label\na.png, x\nb.png,x \n"}, ("x",), [0, 0], None, "label",
    ),
    "metadata.csv without lines": (
        ("a.png",), {"metadata.csv": "file_name,label\n"}, (), None, None, "metadata.csv names no image and",
    ),
    "metadata without classes": (
        ("a.png", "b.png"), {"metadata.csv": "file_name,text\na.png,one\nb.png,two\n"}, (), None, None,
        "no column of classes (it has text)",
    ),
    "another metadata.csv": (
        ("a.png",), {"metadata.csv": "path,kind\na.png,one\n"}, (), None, None, "no column file_name and is passed",
    ),
    "metadata of each part": (
        ("train/a.png", "train/b.png", "test/c.png"),
        {"train/metadata.csv": "file_name,label\na.png,x\nb.png,y\n",
         "test/metadata.jsonl": '{"file_name": "c.png", "label": "y", "more": 1}'},
        ("x", "y"), [1, 0, 1], [101, 102], "column label",
    ),
    "images without a label": (
        (*METADATA, "d.png"), CSV, ("cat", "dog"), [1, 1, 0], None, "1 of 4 images have no label",
    ),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("row", ROWS)
def test_a_layout(tmp_path, row, packed):
    names, texts, class_names, labels, train, words = ROWS[row]
    path = put(tmp_path / "set", *names, **texts)
    path = pack(path) if packed else path
    source = read(path)
    count = len(labels or names)
    assert source.class_names == class_names
    assert (source.labels.tolist() if source.labels is not None else None) == labels
    without = sorted(set(range(100, 100 + len(names))))
    values = source.images[:, 0, 0, 0].tolist()
    assert values == (without if row != "images without a label" else [100, 101, 103])
    assert len(values) == count
    assert any(words in note for note in source.notes) if words else source.notes == ()
    for split in ("train", "test"):
        if train is not None:
            part = read(path, split)
            expected = [value for value in values if (value in train) == (split == "train")]
            assert part.images[:, 0, 0, 0].tolist() == expected
        told = folder.describe_dataset(name="folder", argument=str(path), split=split, options=OPTIONS)
        images = count if train is None else sum((value in train) == (split == "train") for value in values)
        assert told == {"height": 8, "width": 8, "channels": 1, "classes": len(class_names), "images": images}


REFUSED = {
    "parts beside classes": (("train/1.png", "test/2.png", "dog/3.png"), {}, "train, test beside the folders dog"),
    "parts without train": (("test/1.png", "val/2.png"), {}, "parts test, val and no folder `train`"),
    "flat beside folders": (("a.png", "cat/b.png"), {}, r"both flat \(a.png\) and in sub-folders \(cat/b.png\)"),
    "flat beside parts": (("a.png", "train/b.png", "test/c.png"), {}, r"both flat \(a.png\) and in sub-folders"),
    "two kinds of label files": (NESTED, {**DATASET_JSON, "metadata.csv": "file_name,label\na,b\n"}, "both metadata"),
    "several columns": (
        METADATA, {"metadata.csv": "file_name,sex,age\na.png,m,1\nsub/b.png,m,1\nc.png,m,1\n"},
        "several columns that may hold the classes: sex, age; choose one with --set data.label=sex",
    ),
    "missing images": (
        ("a.png",), {"metadata.csv": "file_name,label\na.png,x\nb.png,y\n../c.png,y\n"},
        "2 of 3 images that have a label are not there: ../c.png, b.png; correct",
    ),
    "two classes": (("a.png",), {"metadata.csv": "file_name,label\na.png,x\na.png,y\n"}, "a.png the class 'y'"),
    "a column twice": (("a.png",), {"metadata.csv": "file_name,label,label\na.png,x,y\n"}, "two columns of one name"),
    "semicolons": (
        ("a.png",), {"metadata.csv": "file_name;label\na.png;x\n"}, "metadata.csv is separated by ';'; expected commas",
    ),
    "tabs": (("a.png",), {"metadata.csv": "label\tfile_name\nx\ta.png\n"}, r"separated by '\\t'; expected commas"),
    "parts of other names": (
        ("training_set/cat/1.png", "training_set/dog/2.png", "test_set/cat/3.png", "test_set/dog/4.png"), {},
        "its folders test_set, training_set are called like parts .*rename them `train` and `test`",
    ),
    "an empty class name": (
        NESTED, {"dataset.json": '{"labels": [["0/a.png", 0]], "class_names": [""]}'}, "class_names are not a list of",
    ),
    "a part beside other folders": (
        ("train/cat/1.png", "train/dog/2.png", "extra/3.png"), {},
        "folder train is called like a part, holds the folders cat, dog, and lies beside extra; expected `train` with",
    ),
    "no class in common": (
        ("train/x/1.png", "test/y/2.png"), {},
        "the train part has the classes x and the test part y, none in common; expected the same classes",
    ),
    "no label in common": (
        ("train/a.png", "test/b.png"),
        {"train/metadata.csv": "file_name,label\na.png,x\n", "test/metadata.csv": "file_name,label\nb.png,y\n"},
        "the train part has the classes x and the test part y, none in common",
    ),
    "fractions as labels": (
        METADATA, {"metadata.csv": "file_name,label\na.png,0\nsub/b.png,0.5\nc.png,0\n"},
        "metadata.csv: the column label holds fractions, such as 0.5, and no classes; expected names or whole numbers",
    ),
    "a long class name": (
        ("a.png",), {"metadata.csv": f"file_name,label\na.png,{'x' * 1001}\n"},
        "the class x{40}… has a name of 1,001 characters; expected at most 1,000",
    ),
    "a line end in a folder's name": (
        ("a\nb/1.png", "2.png"), {}, r"both flat \(2.png\) and in sub-folders \('a\\nb/1.png'\)",
    ),
    "a line end in a name": (
        ("a.png",), {"metadata.csv": 'file_name,label\na.png,x\n"b\nc.png",x\n'}, r"are not there: 'b\\nc.png'; ",
    ),
    "a line end in a column's name": (
        METADATA, {"metadata.jsonl": "".join(f'{{"file_name": "{name}", "a\\nb": 1, "c": 1}}\n' for name in METADATA)},
        r"several columns that may hold the classes: 'a\\nb', c; choose",
    ),
    "an empty label": (("a.png",), {"metadata.csv": "file_name,label\na.png,\n"}, "metadata.csv line 2 has no label"),
    "a short line": (("a.png",), {"metadata.csv": "file_name,label\na.png\n"}, "line 2: 1 values; expected 2"),
    "an open quote": (("a.png",), {"metadata.csv": 'file_name,label\na.png,"x\n'}, "metadata.csv line 2 is damaged"),
    "a damaged line": (
        ("a.png",), {"metadata.jsonl": '{"file_name": "a.png", "label": 1}\n{"file_name"\n'},
        "metadata.jsonl line 2 is damaged",
    ),
    "a list on a line": (("a.png",), {"metadata.jsonl": "[1]"}, "metadata.jsonl line 1 is no object"),
    "a list as label": (
        ("a.png",), {"metadata.jsonl": '{"file_name": "a.png", "label": [1]}'}, r"line 1 has \[1\] as its label",
    ),
    "damaged JSON": (NESTED, {"dataset.json": '{"labels": ['}, "dataset.json is damaged"),
    "deep JSON": (NESTED, {"dataset.json": "[" * 100_000}, "dataset.json is damaged"),
    "vectors": (NESTED, {"dataset.json": '{"labels": [["0/a.png", [0.5]]]}'}, r'a label is \["0/a.png", \[0.5\]\]'),
    "a class that is not named": (
        NESTED, {"dataset.json": '{"labels": [["0/a.png", 1]], "class_names": ["x"]}'}, "is 1; expected 0 to 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_an_ambiguous_or_damaged_layout_is_refused(tmp_path, row):
    names, texts, words = REFUSED[row]
    path = put(tmp_path / "set", *names, **texts)
    for hook in (folder.dataset, folder.describe_dataset):
        with pytest.raises(gz.DataError, match=words) as caught:
            hook(name="folder", argument=str(path), split="all", options=OPTIONS)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_file_of_another_encoding_is_refused(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_bytes("file_name,label\na.png,ä\n".encode("utf-16"))
    with pytest.raises(gz.DataError, match=r"metadata.csv is not UTF-8 .*; save it as UTF-8"):
        read(tmp_path)


def test_a_class_whose_name_is_not_unicode_is_refused(tmp_path):
    for label in ("\\ud800", "ok"):
        put(tmp_path, "a.png", **{"metadata.jsonl": f'{{"file_name": "a.png", "label": "{label}"}}'})
        if label == "ok":
            assert read(tmp_path).class_names == ("ok",)
            continue
        with pytest.raises(gz.DataError, match=r"the class '\\ud800' has a name that is not Unicode text; rename it"):
            read(tmp_path)
    if os.name == "posix":
        folders = put(tmp_path / "set", "a/1.png", "b/2.png")
        (folders / "b").rename(folders / os.fsdecode(b"caf\xe9"))
        with pytest.raises(gz.DataError, match=r"the class 'caf\\udce9' has a name that is not Unicode text"):
            read(folders)


def test_a_column_is_chosen(tmp_path):
    put(tmp_path, "a.png", "b.png", **{"metadata.csv": "file_name,label,kind\na.png,x,2\nb.png,x,1\n"})
    assert read(tmp_path).class_names == ("x",)
    assert read(tmp_path, label="kind").labels.tolist() == [1, 0]
    with pytest.raises(gz.UsageError, match=r"data.label is sort, and .* no such column; it has label, kind"):
        read(tmp_path, label="sort")
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(gz.UsageError, match=r"data.label=kind names a column of metadata.csv or .jsonl"):
        read(tmp_path, label="kind")


def test_missing_images_are_left_out_when_asked(tmp_path):
    put(tmp_path, "a.png", **{"metadata.csv": "file_name,label\na.png,x\nb.png,y\n"})
    source = read(tmp_path, skip_bad=True)
    assert (len(source.images), source.class_names) == (1, ("x",))
    assert "1 of 2 images that have a label are not there: b.png" in source.notes


@pytest.mark.skipif(os.name == "nt", reason="links take rights there")
def test_a_class_that_is_a_link_to_another_is_said(tmp_path):
    path = put(tmp_path / "set", "cat/a.png", "dog/b.png")
    (path / "ant").symlink_to(path / "cat")
    source = read(path)
    assert source.class_names == ("cat", "dog")
    assert source.notes == ("1 link to folders that are read already, whose images count once: ant to cat",)


def test_changed_labels_are_read_again(tmp_path):
    put(tmp_path, *METADATA, **CSV)
    assert read(tmp_path).labels.tolist() == [1, 1, 0]
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,dog\nsub/b.png,dog\nc.png,cat\n")
    assert read(tmp_path).labels.tolist() == [1, 0, 1]


def test_a_changed_archive_is_read_again(tmp_path):
    path = put(tmp_path / "set", "a.png", "b.png")
    assert len(read(pack(path)).images) == 2
    put(path, "a.png", "b.png", "c.png")
    assert len(read(pack(path)).images) == 3


def test_photographs_in_every_layout_give_the_same_bytes(real_data, tmp_path):
    if not (real_data / "cifar10_jpg_10k.tar.gz").is_file():
        pytest.skip("GANZOO_DATA holds no cifar10_jpg_10k.tar.gz")
    with tarfile.open(real_data / "cifar10_jpg_10k.tar.gz") as archive:
        chosen = [member for member in archive if member.name.endswith("0.jpg")]
        archive.extractall(tmp_path, members=chosen, filter="data")
    root = tmp_path / "cifar10_jpg_10k"
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    names = sorted({file.split("/")[0] for file in files})
    sources = [read(root, size=32), read(pack(root), size=32)]
    pairs = [[file, names.index(file.split("/")[0])] for file in files]
    (root / "dataset.json").write_text(json.dumps({"labels": pairs, "class_names": names}))
    sources += [read(root, size=32), read(pack(root), size=32)]
    (root / "dataset.json").unlink()
    rows = [f"{file},{file.split('/')[0]}\n" for file in files]
    (root / "metadata.csv").write_text("".join(["file_name,label\n", *rows]))
    sources += [read(root, size=32), read(pack(root), size=32)]
    for number, source in enumerate(sources):
        assert source.images.shape == (1_000, 32, 32, 3), number
        assert source.images.tobytes() == sources[0].images.tobytes(), number
        assert source.labels.tobytes() == sources[0].labels.tobytes(), number
        assert source.class_names == tuple(names), number
    assert np.array_equal(sources[0].labels, [number for _, number in pairs])
