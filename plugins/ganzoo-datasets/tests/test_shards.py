"""Tar shards as webdataset writes them: what is read of them, and how."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.data import lazy, memory
from ganzoo_core.data.fingerprint import compute_fingerprint
from ganzoo_core.data.reading import encoded
from ganzoo_core.data.reading.decoding import Task
from ganzoo_datasets import folder, shard_files, shards, tar_index

from .shard_sets import make_jpegs, write_folder, write_shards, write_tar

JPEGS = make_jpegs(30)
OPTIONS = {"size": 16, "holdout": 0, "workers": "0"}


def read(path: Path, split: str = "train", **options: object) -> gz.ImageSource:
    return shards.dataset("shards", str(path), split, {**OPTIONS, **options})


@pytest.mark.parametrize("options", [{}, {"fit": "pad"}, {"fit": "stretch", "size": 20}, {"channels": 1}, {"size": 0}])
def test_the_pixels_labels_and_names_are_those_of_the_folder(tmp_path, options):
    write_folder(tmp_path / "folder", JPEGS)
    write_shards(tmp_path / "shards", JPEGS)
    expected = folder.dataset("folder", str(tmp_path / "folder"), "train", {**OPTIONS, **options})
    found = read(tmp_path / "shards", **options)
    assert np.array_equal(np.asarray(found.images), expected.images)
    assert np.array_equal(found.labels, expected.labels)
    assert found.class_names == expected.class_names == ("0", "1", "2")
    assert np.array_equal(found.sizes, expected.sizes)


def test_what_is_held_out_is_what_a_folder_holds_out_of_pictures_that_are_not_alike(tmp_path):
    write_folder(tmp_path / "folder", JPEGS)
    write_shards(tmp_path / "shards", JPEGS)
    for split in ("train", "test", "all"):
        expected = folder.dataset("folder", str(tmp_path / "folder"), split, {"size": 16, "holdout": 0.4})
        found = read(tmp_path / "shards", split, holdout=0.4)
        assert np.array_equal(np.asarray(found.images), expected.images)
        assert (found.whole, found.held_out) == (expected.whole, expected.held_out)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_processes_decode_the_same_bytes_in_any_order(tmp_path, workers):
    write_shards(tmp_path / "shards", JPEGS)
    order = np.array([29, 0, 7, 7, 13, 2])
    plain, ahead = (read(tmp_path / "shards", "all", workers=count).images for count in ("0", workers))
    assert type(ahead) is encoded.EncodedImages
    assert np.array_equal(ahead[order], plain[order])
    assert ahead[np.arange(0)].shape == (0, 16, 16, 3)


def test_the_number_of_processes_follows_the_cores_that_are_free(monkeypatch):
    monkeypatch.setattr(encoded, "count_available_cores", lambda: 8)
    monkeypatch.setattr(encoded.pool, "count_workers", lambda pixels, most: 8)
    for busy, ranks, expected in ((0.2, "1", 7), (3.0, "1", 4), (8.0, "1", 0), (0.0, "4", 1), (0.0, "8", 0)):
        monkeypatch.setattr(encoded, "measure_busy_cores", lambda busy=busy: busy)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        assert encoded.count_decoders("auto", 65_536) == expected
    monkeypatch.undo()
    monkeypatch.setattr(encoded, "count_available_cores", lambda: 128)
    monkeypatch.setattr(encoded, "measure_busy_cores", lambda: 0.0)
    monkeypatch.setattr(encoded.pool.os, "sched_getaffinity", lambda process: range(128), raising=False)
    monkeypatch.setattr(encoded.pool.memory, "measure_free_memory", lambda: 2**40)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert encoded.count_decoders("auto", 65_536) == 64 // 8 - 1  # not the 8 of a folder that is read once
    assert encoded.count_decoders("3", 65_536) == 3
    for wrong in ("many", "-1", "65", "1.5", "99999", ""):
        with pytest.raises(gz.UsageError, match=r"data\.workers is .*; expected auto, or a number"):
            encoded.count_decoders(wrong, 65_536)


def test_classes_in_json_by_names_and_by_a_file_of_names(tmp_path):
    facts = [{"label": "cat"}, {"label": "dog"}, {"class": "cat"}, {"cls": "ape", "kind": 7}]
    members = [
        (f"a/{number}.{ending}", content)
        for number, fact in enumerate(facts)
        for ending, content in (("json", json.dumps(fact).encode()), ("jpg", JPEGS[number]), ("txt", b"a caption"))
    ]
    write_tar(tmp_path / "json" / "0.tar", members)
    found = read(tmp_path / "json")
    assert found.class_names == ("ape", "cat", "dog")
    assert found.labels.tolist() == [1, 2, 1, 0]
    assert any(".txt: 4" in note for note in found.notes)
    with pytest.raises(gz.DataError, match=r"0\.tar/a/0\.json has no field kind; it has label; see data\.label"):
        read(tmp_path / "json", label="kind")
    write_shards(tmp_path / "named", JPEGS)
    (tmp_path / "named" / "class_names.txt").write_text("ape\nbee\ncat\ndog\n")
    found = read(tmp_path / "named")
    assert found.class_names == ("ape", "bee", "cat", "dog")
    assert found.labels.tolist() == [number % 3 for number in range(30)]
    (tmp_path / "named" / "class_names.txt").write_text("ape\nbee\n")
    with pytest.raises(gz.DataError, match=r"000000\.tar/000002\.jpg has the class 2; expected 0 to 1"):
        read(tmp_path / "named")


def test_parts_are_words_in_the_names_of_shards(tmp_path):
    write_shards(tmp_path / "a" / "train", JPEGS[:20])
    write_shards(tmp_path / "a" / "val", JPEGS[20:])
    for number, path in enumerate(sorted((tmp_path / "a").rglob("*.tar"))):
        flat = tmp_path / "b" / f"imagenet-{path.parent.name}-{number:06d}.tar"
        flat.parent.mkdir(exist_ok=True)
        flat.write_bytes(path.read_bytes())
    for name in "ab":
        train, test, both = (read(tmp_path / name, split) for split in ("train", "test", "all"))
        assert [len(each.images) for each in (train, test, both)] == [20, 10, 30]
        assert (train.held_out, test.held_out) == (10, 20)
        assert train.class_names == test.class_names
    write_tar(tmp_path / "b" / "more.tar", {"0.jpg": JPEGS[0], "0.cls": b"0"})
    with pytest.raises(gz.DataError, match=r"and others: more\.tar; expected `train` or `test`"):
        read(tmp_path / "b")


def test_the_fingerprint_is_that_of_the_digests_whether_the_images_are_in_memory_or_not(tmp_path, monkeypatch):
    write_shards(tmp_path / "shards", JPEGS)
    held = read(tmp_path / "shards", holdout=0.3)
    assert isinstance(held.images, np.ndarray)
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 1000)
    on_demand = read(tmp_path / "shards", holdout=0.3)
    assert isinstance(on_demand.images, lazy.LazyImages)
    monkeypatch.setattr(encoded.EncodedImages, "__getitem__", lambda *_: pytest.fail("an image was read"))
    assert compute_fingerprint(held).sha256 == compute_fingerprint(on_demand).sha256
    first = compute_fingerprint(on_demand).sha256
    assert compute_fingerprint(read(tmp_path / "shards", holdout=0.3, size=20)).sha256 != first
    assert compute_fingerprint(read(tmp_path / "shards", holdout=0.3, max_megapixels=9)).sha256 == first
    write_shards(tmp_path / "shards", [*JPEGS[:29], JPEGS[0]])
    assert compute_fingerprint(read(tmp_path / "shards", holdout=0.3)).sha256 != first


def test_a_shard_is_indexed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    looked, inspect = [], gz.inspect_image
    monkeypatch.setattr(tar_index.gz, "inspect_image", lambda file, **more: looked.append(1) or inspect(file, **more))
    write_shards(tmp_path / "shards", JPEGS)
    for _ in range(2):
        read(tmp_path / "shards")
    assert len(looked) == 30
    write_tar(tmp_path / "shards" / "000001.tar", {"1.jpg": JPEGS[1], "1.cls": b"1"})
    assert len(read(tmp_path / "shards", "all").images) == 21
    assert len(looked) == 31
    for entry in (Path(os.environ["GANZOO_CACHE"]) / "indexes").iterdir():  # damage means: once more
        entry.write_bytes(entry.read_bytes()[:-5])
    assert len(read(tmp_path / "shards", "all").images) == 21
    assert len(looked) == 52


def test_a_shard_that_changes_after_it_was_indexed_is_refused_by_its_digest(tmp_path):
    write_shards(tmp_path / "shards", JPEGS)
    images = read(tmp_path / "shards", "all").images
    path = tmp_path / "shards" / "000001.tar"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(gz.DataError, match=r"000001\.tar/000010\.jpg cannot be read: .*000001\.tar has changed since"):
        images[np.arange(10, 20)]
    path.write_bytes(content[:600])
    with pytest.raises(gz.DataError, match="has changed since it was indexed"):
        images[np.arange(10, 20)]
    path.unlink()
    with pytest.raises(gz.DataError, match=r"000010\.jpg cannot be read"):
        images[np.arange(10, 20)]


def test_images_of_16_bits_and_of_one_channel_are_those_of_the_folder(tmp_path):
    import io

    from PIL import Image

    pictures = []
    for number in range(6):
        buffer = io.BytesIO()
        values = np.random.default_rng(number).integers(0, 4096, (20, 20), dtype=np.uint16)
        Image.fromarray(values).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    (tmp_path / "folder").mkdir()
    for number, content in enumerate(pictures):
        (tmp_path / "folder" / f"{number}.png").write_bytes(content)
    write_tar(tmp_path / "0.tar", {f"{number}.png": content for number, content in enumerate(pictures)})
    expected = folder.dataset("folder", str(tmp_path / "folder"), "all", OPTIONS)
    found = read(tmp_path / "0.tar", "all")
    assert np.array_equal(np.asarray(found.images), expected.images)
    assert found.images.shape[3] == 1
    assert [note for note in found.notes if "uint16" in note] == [note for note in expected.notes if "uint16" in note]


def test_a_dry_run_of_large_shards_indexes_one_of_them(tmp_path, monkeypatch):
    write_shards(tmp_path / "shards", JPEGS)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "shards").glob("*.tar"))]
    assert len(sizes) > 1
    given = ("shards", str(tmp_path / "shards"), "all", OPTIONS)
    indexes = Path(os.environ["GANZOO_CACHE"]) / "indexes"
    monkeypatch.setattr(shards, "MAX_DESCRIBED_BYTES", sizes[0] - 1)
    assert shards.describe_dataset(*given) == {}
    assert not indexes.exists()
    monkeypatch.setattr(shards, "MAX_DESCRIBED_BYTES", sizes[0])
    assert shards.describe_dataset(*given) == {}
    assert len(list(indexes.iterdir())) == 1
    assert len(shards.dataset(*given).images) == shards.describe_dataset(*given)["images"] == 30


def test_dry_run_info_and_doctor(tmp_path, capsys):
    pytest.importorskip("ganzoo_dcgan_torch")
    write_shards(tmp_path / "shards", JPEGS)
    assert main(["run", "dcgan-torch", "--data", f"shards:{tmp_path / 'shards'}", "--dry-run", "--set", "width=4"]) == 0
    assert main(["info", "shards"]) == 0
    told = capsys.readouterr().out
    assert "data.workers" in told
    assert main(["run", "dcgan-torch", "--data", f"shards:{tmp_path / 'shard'}", "--dry-run"]) == 2
    assert "did you mean" in " ".join(capsys.readouterr().err.split())
    assert shards.describe_dataset("shards", str(tmp_path / "shards"), "train", OPTIONS) == {
        "height": 16, "width": 16, "channels": 3, "classes": 3, "images": 30,
    }  # fmt: skip
    assert shard_files.find_shards(tmp_path / "shards")[0].relative == "000000.tar"


def test_two_threads_that_read_first_share_one_pool(monkeypatch):
    class SlowPool:
        def __init__(self, workers):
            started.append(workers)
            time.sleep(0.2)

        def perform(self, task, chunks):
            return ([0] * len(chunk) for chunk in chunks)

    started = []
    monkeypatch.setattr(encoded.pool, "WorkerPool", SlowPool)
    images = encoded.EncodedImages([], Task("decode", side=8, height=8, width=8, channels=3), workers=2)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda files: list(images._decode(files)), ["ab", "cd"]))
    assert started == [2]
