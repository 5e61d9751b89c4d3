"""Shards from strangers: each is read or refused in a sentence that names it, never in a traceback."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_datasets import shards, tar_index

from .shard_sets import make_jpegs, write_tar

JPEGS = make_jpegs(6)
GOOD = [(f"{number}.{ending}", content) for number in range(4) for ending, content in (("jpg", JPEGS[number]),)]


def read(path: Path, **options: object) -> gz.ImageSource:
    return shards.dataset("shards", str(path), "all", {"size": 16, "workers": "0", **options})


def refuse(path: Path, match: str, **options: object) -> str:
    with pytest.raises(gz.DataError, match=match) as caught:
        read(path, **options)
    return str(caught.value)


def shard(folder: Path, *members: tuple[str, bytes]) -> Path:
    return write_tar(folder / "0.tar", [*GOOD, *members])


def test_a_shard_that_is_cut_short_anywhere(tmp_path):
    content = shard(tmp_path / "whole").read_bytes()
    end = len(content.rstrip(b"\0"))
    between = -(-end // 512) * 512  # after the last member's content, where a header or a block of zeros would be
    for length in (1, 100, 511, 513, 600, 1200, end - 300, between):
        (tmp_path / "cut.tar").write_bytes(content[:length])
        refuse(tmp_path / "cut.tar", r"^cut\.tar is no tar, or is damaged or cut short: .*; fetch it again")
    (tmp_path / "cut.tar").write_bytes(b"")
    refuse(tmp_path / "cut.tar", r"^cut\.tar is empty; fetch it again")


def test_damage_in_the_middle_is_not_taken_for_the_end(tmp_path):
    content = bytearray(shard(tmp_path / "whole").read_bytes())
    second = content.index(b"1.jpg\0")
    content[second] ^= 4
    (tmp_path / "0.tar").write_bytes(content)
    refuse(tmp_path / "0.tar", "there is no header where one should be, at byte")


@pytest.mark.parametrize("content", [b"hello", bytes(range(256)) * 8, JPEGS[0], b"PK\3\4" + bytes(2000)])
def test_what_is_no_tar(tmp_path, content):
    (tmp_path / "0.tar").write_bytes(content)
    refuse(tmp_path, r"^0\.tar is no tar")


def test_a_compressed_shard_says_what_to_type(tmp_path):
    content = shard(tmp_path / "whole").read_bytes()
    for name in ("a.tar", "b.tar.gz", "c.tgz"):
        place = tmp_path / name[0]
        place.mkdir()
        (place / name).write_bytes(gzip.compress(content))
        told = refuse(place, f"^{name} is compressed, so that no picture")
        assert f"type `gunzip {place / name}`" in told
    (tmp_path / "d.tar").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))
    refuse(tmp_path / "d.tar", "type `unzstd ")


def test_links_devices_and_paths_that_lead_out_are_passed_over_and_counted(tmp_path):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in GOOD:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name in ("../../up.jpg", "/etc/x.jpg", "a/../b.jpg", "C:/x.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(JPEGS[5])
            tar.addfile(member, io.BytesIO(JPEGS[5]))
        for name, kind in (
            ("sym.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("dev.jpg", tarfile.CHRTYPE),
            ("disk.jpg", tarfile.BLKTYPE), ("fifo.jpg", tarfile.FIFOTYPE), ("folder.jpg", tarfile.DIRTYPE),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        tar.addfile(tarfile.TarInfo(".hidden.jpg"))
    found = read(path)
    assert len(found.images) == 4
    told = next(note for note in found.notes if note.startswith("passed over"))
    for each in ("link: 2", "device, pipe or sparse file: 3", "absolute path or path with ..: 4", "hidden file: 1"):
        assert each in told
    assert not (tmp_path.parent / "up.jpg").exists()


def test_keys_that_are_there_twice_or_without_a_picture(tmp_path):
    told = refuse(shard(tmp_path / "a", ("2.jpg", JPEGS[5])), "holds the key 2 twice, as 2.jpg and 2.jpg")
    assert "expected one picture and one class a key" in told
    refuse(shard(tmp_path / "b", ("2.png", JPEGS[5])), "holds the key 2 twice, as 2.jpg and 2.png")
    found = read(shard(tmp_path / "c", ("9.cls", b"1"), ("8.json", b"{}"), ("2.seg.png", JPEGS[5])))
    assert (len(found.images), found.labels) == (4, None)
    assert any("class without a picture: 2" in note and ".seg.png: 1" in note for note in found.notes)


def test_some_without_a_class(tmp_path):
    path = shard(tmp_path, *((f"{number}.cls", str(number).encode()) for number in range(3)))
    refuse(path, r"1 of 4 pictures have no class, such as 0\.tar/3\.jpg; give each one, or leave them out with --set")
    found = read(path, skip_bad=True)
    assert found.labels.tolist() == [0, 1, 2]
    assert any("left out, since they have no class: 1" in note for note in found.notes)


def test_numbers_and_texts_as_classes(tmp_path):
    path = shard(tmp_path, *((f"{number}.cls", text) for number, text in enumerate((b"10", b"9", b"cat", b"9"))))
    found = read(path)  # such as digits and letters
    assert found.class_names == ("10", "9", "cat")
    assert found.labels.tolist() == [0, 1, 2, 1]
    (tmp_path / "class_names.txt").write_text("ant\n" * 11)
    refuse(
        path,
        r"0\.tar/0\.jpg has the class 10 and .*0\.tar/2\.jpg the class cat; expected numbers alone, since there are 11 "
        "class names: correct the second, or move class_names.txt away",
    )


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("0.cls", b"\xff\xfe", r"0\.tar/0\.cls is no text in UTF-8"),
        ("0.cls", b"x" * 5000, r"0\.tar/0\.cls takes 5,000 bytes; expected a class, in at most 4,096"),
        ("0.cls", b"x" * 2000, "has a name of 2,000 characters"),
        ("0.json", b"{", r"0\.tar/0\.json is no JSON"),
        ("0.json", b"[" * 100_000, r"0\.tar/0\.json is no JSON"),
        ("0.json", b"[1]", r"0\.tar/0\.json is list; expected an object"),
        ("0.json", b'{"label": [1]}', "the class is list; expected a number or a name"),
        ("0.json", b'{"label": 1.5}', "the class is float"),
    ],
)
def test_a_class_that_cannot_be_read(tmp_path, name, content, match):
    path = write_tar(tmp_path / "0.tar", [("0.jpg", JPEGS[0]), (name, content)])
    refuse(path, match)


def test_pictures_that_cannot_be_read_are_named_with_shard_and_key(tmp_path):
    bomb = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    path = shard(tmp_path, ("a/b.jpg", b"no picture"), ("c.jpg", b""), ("d.png", bomb + _chunk(b"IDAT", b"")))
    told = refuse(path, r"3 of 7 pictures cannot be read")
    for each in ("0.tar/a/b.jpg (not an image of a known format)", "0.tar/c.jpg (empty)", "0.tar/d.png (more than 200"):
        assert each in told
    found = read(path, skip_bad=True)
    assert (len(found.images), found.skipped) == (4, 3)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_an_image_larger_than_is_decoded_is_found_before_training(tmp_path):
    buffer = io.BytesIO()
    from PIL import Image

    Image.fromarray(np.zeros((1100, 1000), np.uint8)).save(buffer, "PNG")
    path = shard(tmp_path, ("large.png", buffer.getvalue()))
    refuse(
        path, r"1 image cannot be decoded: 0\.tar/large\.png \(1000×1100 pixels.*max_megapixels=2", max_megapixels=1.0
    )
    assert len(read(path, max_megapixels=2.0).images) == 5


def test_a_member_that_claims_to_be_huge(tmp_path, monkeypatch):
    monkeypatch.setattr("ganzoo_core.data.reading.archives.MAX_FILE_BYTES", 2000)
    path = shard(tmp_path / "a", ("huge.jpg", JPEGS[0] + bytes(3000)))
    refuse(path, r"0\.tar/huge\.jpg \(cannot be read: it takes [\d,]+ bytes; at most 2,000")
    content = bytearray(shard(tmp_path / "b").read_bytes())
    at = content.index(b"3.jpg\0")
    header = tarfile.TarInfo("3.jpg")
    header.size = 2**50
    content[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "b" / "0.tar").write_bytes(content)
    refuse(tmp_path / "b", "cut short: unexpected end of data")
    header.type, header.size = tarfile.XHDTYPE, 2**33  # attributes of 8 GB, which would be read to memory
    content[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "b" / "0.tar").write_bytes(content)
    refuse(tmp_path / "b", "a member's name or attributes take 8,589,934,")


def test_empty_shards_and_folders(tmp_path):
    (tmp_path / "none").mkdir()
    refuse(tmp_path / "none", r"holds no shards; expected files such as 000000\.tar")
    (tmp_path / "none" / "read.me").write_text("x")
    refuse(tmp_path / "none", "holds no shards; 1 other files lie there")
    write_tar(tmp_path / "empty" / "1.tar", [])
    refuse(tmp_path / "empty", r"no pictures; the shards hold none; expected members such as 0001\.jpg with 0001\.cls")
    shard(tmp_path / "empty")
    found = read(tmp_path / "empty")
    assert len(found.images) == 4
    assert "shards without pictures: 1.tar" in found.notes


def test_names_that_are_long_or_no_text(tmp_path):
    long, odd = "d/" * 200 + "1.jpg", "\udcff\x1b[31m.jpg"
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w", errors="surrogateescape", format=tarfile.GNU_FORMAT) as tar:
        for name in (long, odd):
            member = tarfile.TarInfo(name)
            member.size = len(JPEGS[0])
            tar.addfile(member, io.BytesIO(JPEGS[0]))
    images = read(path).images
    assert images.files[0].relative == f"0.tar/{long}"
    assert "\x1b" not in images.files[1].title
    assert images[np.arange(2)].shape == (2, 16, 16, 3)


def test_sizes_that_differ_need_one(tmp_path):
    write_tar(tmp_path / "0.tar", [("0.jpg", JPEGS[0]), ("1.jpg", make_jpegs(1, height=16)[0])])
    refuse(tmp_path, r"0\.tar/0\.jpg is 40×32 pixels and 0\.tar/1\.jpg 40×16; data\.size=0 keeps", size=0)


def test_the_command_line_says_it_without_a_traceback(tmp_path, capsys):
    pytest.importorskip("ganzoo_dcgan_torch")
    (tmp_path / "0.tar").write_bytes(b"hello")
    for more in ([], ["--dry-run"]):
        assert main(["run", "dcgan-torch", "--data", f"shards:{tmp_path}", "--out", str(tmp_path / "run"), *more]) in (
            1,
            2,
        )
        told = " ".join(capsys.readouterr().err.split())
        assert "0.tar is no tar" in told
        assert "Traceback" not in told


def test_a_cache_that_cannot_be_written_indexes_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file"))
    assert len(read(shard(tmp_path)).images) == 4
    assert tar_index.MAX_NAME_BYTES < 2**21
