"""--data cifar10: the binary files, the archive, and archives that mean harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_datasets import cifar10
from ganzoo_datasets.archive import unpack

NAMES = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]


def batches(count=3):
    """Six files of `count` records each, as bytes; written one value after the other, as the format says."""
    rng = np.random.default_rng(11)
    pictures = rng.integers(0, 256, (6 * count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, 6 * count)
    records = [
        bytes([label]) + b"".join(bytes(picture[:, :, channel].reshape(-1).tolist()) for channel in range(3))
        for label, picture in zip(labels.tolist(), pictures, strict=True)
    ]
    files = {name: b"".join(records[i * count : (i + 1) * count]) for i, name in enumerate(NAMES)}
    return files, pictures, labels


def packed(members):
    """A .tar.gz of (name or TarInfo, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def archive(files):
    readme = ("cifar-10-batches-bin/readme.html", b"<html>")
    return packed([readme, *((f"cifar-10-batches-bin/{name}", body) for name, body in files.items())])


def fill(root, files):
    (root / "cifar-10-batches-bin").mkdir(parents=True)
    for name, body in files.items():
        (root / "cifar-10-batches-bin" / name).write_bytes(body)


def test_files_on_the_disk(tmp_path):
    files, pictures, labels = batches()
    fill(tmp_path, files)
    train = cifar10.dataset(name="cifar10", root=tmp_path, split="train")
    assert np.array_equal(train.images, pictures[:15])
    assert np.array_equal(train.labels, labels[:15])
    assert train.background is None
    assert train.class_names[1] == "automobile"
    assert "data_batch_1.bin has 3 images instead of 10,000" in train.notes
    test = cifar10.dataset(name="cifar10", root=tmp_path, split="test")
    assert np.array_equal(test.images, pictures[15:])
    assert np.array_equal(cifar10.dataset(name="cifar10", root=tmp_path, split="all").labels, labels)


def test_files_cut_short_or_with_wrong_labels(tmp_path):
    files, _, _ = batches()
    fill(tmp_path, files)
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"
    file.write_bytes(files["data_batch_2.bin"][:-1])
    with pytest.raises(gz.DataError, match=r"data_batch_2\.bin has 9,218 bytes; expected a multiple of 3,073"):
        cifar10.dataset(name="cifar10", root=tmp_path, split="train")
    file.write_bytes(b"\x0a" + files["data_batch_2.bin"][1:])
    with pytest.raises(gz.DataError, match=r"label 10\b"):
        cifar10.dataset(name="cifar10", root=tmp_path, split="train")
    file.write_bytes(b"")
    with pytest.raises(gz.DataError, match=r"\b0 bytes"):
        cifar10.dataset(name="cifar10", root=tmp_path, split="train")


def test_download_unpack_and_read(tmp_path, server, monkeypatch):
    files, pictures, _ = batches()
    body = archive(files)
    server.files["/cifar-10-binary.tar.gz"] = body
    remote = replace(cifar10.ARCHIVE, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    monkeypatch.setattr(cifar10, "ARCHIVE", remote)
    monkeypatch.setenv("GANZOO_MIRROR_CIFAR10", server.url)
    source = cifar10.dataset(name="cifar10", root=tmp_path / "root", split="train")
    assert np.array_equal(source.images, pictures[:15])
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["cifar-10-batches-bin"]
    cifar10.dataset(name="cifar10", root=tmp_path / "root", split="test")
    assert len(server.asked) == 1


def test_an_archive_in_the_data_root_is_unpacked_and_kept(tmp_path):
    files, pictures, _ = batches()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive(files))
    source = cifar10.dataset(name="cifar10", root=tmp_path, split="test")
    assert np.array_equal(source.images, pictures[15:])
    assert any("the published file c4a38c50" in note for note in source.notes)
    assert (tmp_path / "cifar-10-binary.tar.gz").exists()


@pytest.mark.parametrize("entry", ["cifar-10-batches-py", "cifar-10-python.tar.gz"])
def test_only_the_pickled_version_is_there(tmp_path, entry):
    (tmp_path / entry).mkdir()
    with pytest.raises(gz.DataError, match=r"pickle.*cifar-10-binary\.tar\.gz.*--data torchvision:CIFAR10") as caught:
        cifar10.dataset(name="cifar10", root=tmp_path, split="train")
    assert str(caught.value).count(". ") == 0  # one sentence


def test_nothing_there_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    with pytest.raises(gz.DataError, match=r"GANZOO_OFFLINE.*put cifar-10-binary\.tar\.gz.*--data digits"):
        cifar10.dataset(name="cifar10", root=tmp_path / "none", split="train")
    assert not (tmp_path / "none").exists()


def linked(kind):
    info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    info.type, info.linkname = kind, "../../outside"
    return info


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("../outside", "leaves its folder"),
        ("cifar-10-batches-bin/../../outside", "leaves its folder"),
        ("cifar-10-batches-bin\\..\\..\\outside", "leaves its folder"),
        ("/tmp/outside", "absolute path"),
        ("C:\\outside", "absolute path"),
        (linked(tarfile.SYMTYPE), "a link"),
        (linked(tarfile.LNKTYPE), "a link"),
        (linked(tarfile.FIFOTYPE), "a device"),
        (linked(tarfile.CHRTYPE), "a device"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_evil_archives_are_refused_whole(tmp_path, member, words, last):
    files, _, _ = batches(1)
    good = [(f"cifar-10-batches-bin/{name}", body) for name, body in files.items()]
    (tmp_path / "root").mkdir()
    path = tmp_path / "root" / "cifar-10-binary.tar.gz"
    path.write_bytes(packed([*good, (member, b"")] if last else [(member, b""), *good]))
    with pytest.raises(gz.DataError, match=words) as caught:
        cifar10.dataset(name="cifar10", root=tmp_path / "root", split="train")
    assert "outside" in str(caught.value) or "test_batch" in str(caught.value)
    assert [entry.name for entry in (tmp_path / "root").iterdir()] == [path.name]
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_an_archive_that_unpacks_to_too_much(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed([("a/one", bytes(2_000_000))]))
    with pytest.raises(gz.DataError, match="more than 1,000,000 bytes"):
        unpack(path, tmp_path / "a", file_names=["one"], limit=1_000_000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar.gz"]


def test_a_name_too_long_counts_as_well(tmp_path):
    """A member's name may be as long as it likes, and tarfile reads it into memory."""
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packed([("a/" + "n" * 2_000_000, b"")]))
    with pytest.raises(gz.DataError, match="more than 1,000,000 bytes"):
        unpack(path, tmp_path / "a", file_names=["one"], limit=1_000_000)


def test_archives_cut_short_incomplete_or_no_archives(tmp_path):
    rng = np.random.default_rng(3)
    whole = packed([("a/one", rng.bytes(50_000))])
    path = tmp_path / "a.tar.gz"
    for body in (whole[: len(whole) // 2], whole[:-6] + b"abcdef", b"no archive", gzip.compress(b"no tar" * 999), b""):
        path.write_bytes(body)
        with pytest.raises(gz.DataError, match=r"a\.tar\.gz"):
            unpack(path, tmp_path / "a", file_names=["one", "two"], limit=1_000_000)
    path.write_bytes(whole)
    with pytest.raises(gz.DataError, match="holds no a/two"):
        unpack(path, tmp_path / "a", file_names=["one", "two"], limit=1_000_000)
    assert not (tmp_path / "a").exists()
