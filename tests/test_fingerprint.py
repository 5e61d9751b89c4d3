"""A set's fingerprint notices every byte, and says what changed in counts and names."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.data import changes, fingerprint, lazy
from ganzoo_core.data.fingerprint import compute_fingerprint
from ganzoo_core.storage.run_records import DataFacts

COUNT = 1000
IMAGES = np.random.default_rng(7).integers(0, 256, (COUNT, 4, 4, 1), dtype=np.uint8)
SET = gz.ImageSource(IMAGES, np.arange(COUNT) % 3, ("a", "b", "c"), background=0)


def changed(images: np.ndarray, *places: int) -> np.ndarray:
    """A copy in which the last byte of these images is another one."""
    copy = images.copy()
    copy[list(places), -1, -1, -1] ^= 1
    return copy


def told(now: gz.ImageSource, then: gz.ImageSource = SET) -> list[str]:
    return changes.explain_changes(compute_fingerprint(then), compute_fingerprint(now))


@pytest.mark.parametrize("place", range(0, COUNT, 37))
def test_no_image_goes_unnoticed(place):
    assert told(replace(SET, images=changed(IMAGES, place))) == [f"1 of {COUNT:,} images differ"]


def test_the_same_set_is_the_same():
    assert told(replace(SET, images=IMAGES.copy(), notes=("read elsewhere",))) == []


LABELS = SET.labels
OTHER_ORDER = np.random.default_rng(1).permutation(COUNT)
TWELVE = np.where(np.arange(COUNT) < 12, (LABELS + 1) % 3, LABELS)
CHANGES = {
    "images": (replace(SET, images=changed(IMAGES, 0, 500, 999)), ["3 of 1,000 images differ"]),
    "labels": (replace(SET, labels=TWELVE), ["12 labels differ"]),
    "one label": (replace(SET, labels=np.where(np.arange(COUNT) == 5, 0, LABELS)), ["1 label differs"]),
    "names": (replace(SET, class_names=("a", "c", "c")), ["class names were a, b, c and are a, c, c"]),
    "order": (
        replace(SET, images=IMAGES[OTHER_ORDER], labels=LABELS[OTHER_ORDER]),
        ["the order of the images differs"],
    ),
    "order, and labels of twelve": (
        replace(SET, images=IMAGES[OTHER_ORDER], labels=TWELVE[OTHER_ORDER]),
        ["the order of the images differs", "12 labels differ"],
    ),
    "fewer": (
        replace(SET, images=IMAGES[:990], labels=LABELS[:990]),
        ["1,000 images were there and 990 are"],
    ),
    "fewer, and two new ones": (
        replace(SET, images=changed(IMAGES[:990], 3, 4), labels=LABELS[:990]),
        ["1,000 images were there and 990 are, of which 2 are new"],
    ),
    "one replaced by one that sorts last": (
        replace(SET, images=np.concatenate([IMAGES[:5], IMAGES[6:], changed(IMAGES[5:6], 0)]), labels=None),
        ["1 of 1,000 images differ, and the order of the others", "the images had labels and have none"],
    ),
    "size": (
        replace(SET, images=IMAGES.reshape(COUNT, 2, 8, 1)),
        ["images were 4×4×1 and are 2×8×1"],
    ),
    "background": (replace(SET, background=None), ["the background was 0 and is none"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_said(name):
    now, expected = CHANGES[name]
    found = told(now)
    if name == "size":
        assert found[0] == expected[0]
    else:
        assert found == expected


def test_many_names_are_not_all_listed():
    names = tuple(f"class {number}" for number in range(40))
    then = gz.ImageSource(IMAGES, np.arange(COUNT) % 40, names)
    assert told(replace(then, class_names=("first", *names[1:])), then) == [
        "1 of 40 class names differ: class 0 is first"
    ]
    assert told(replace(then, class_names=(*names, "more")), then) == ["40 classes were there and 41 are"]


def test_of_a_large_set_blocks_are_kept(monkeypatch):
    """Blocks of 16 for a thousand images, where a hundred digests may be kept."""
    monkeypatch.setattr(fingerprint, "MAX_DIGESTS", 100)
    assert compute_fingerprint(SET).images.block == 16
    assert len(compute_fingerprint(SET).images.digests) == 63
    assert told(replace(SET, images=changed(IMAGES, 0, 1, 999))) == ["2 to 32 of 1,000 images differ"]
    assert told(replace(SET, labels=TWELVE)) == ["1 to 16 of 1,000 labels differ"]
    moved = replace(SET, images=IMAGES[OTHER_ORDER], labels=LABELS[OTHER_ORDER])
    assert told(moved) == ["the order of the images differs"]


def test_pieces_do_not_matter(monkeypatch):
    whole = compute_fingerprint(SET)
    monkeypatch.setattr(fingerprint, "CHUNK_BYTES", 16 * 7)
    assert compute_fingerprint(SET).sha256 == whole.sha256
    np.testing.assert_array_equal(compute_fingerprint(SET).images.digests, whole.images.digests)
    monkeypatch.setattr(fingerprint, "MAX_DIGESTS", 100)
    in_blocks = compute_fingerprint(SET)
    monkeypatch.setattr(fingerprint, "CHUNK_BYTES", 2**26)
    np.testing.assert_array_equal(compute_fingerprint(SET).images.digests, in_blocks.images.digests)


def test_images_that_stay_in_a_file_have_the_fingerprint_of_those_in_memory(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.flatnonzero(np.arange(COUNT) % 5)
    held = gz.ImageSource(IMAGES[rows])
    assert compute_fingerprint(gz.ImageSource(lazy.LazyImages(mapped, rows))).sha256 == compute_fingerprint(held).sha256
    assert compute_fingerprint(gz.ImageSource(mapped)).sha256 == compute_fingerprint(gz.ImageSource(IMAGES)).sha256


def test_it_is_kept_and_read_again(tmp_path):
    taken = compute_fingerprint(SET)
    fingerprint.save(tmp_path / "data", taken)
    read = fingerprint.load(tmp_path / "data")
    assert read is not None
    assert read.sha256 == taken.sha256
    assert changes.explain_changes(read, compute_fingerprint(replace(SET, labels=TWELVE))) == ["12 labels differ"]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "link"])
def test_what_is_damaged_is_not_read(damage, tmp_path):
    fingerprint.save(tmp_path / "data", compute_fingerprint(SET))
    file = tmp_path / "data" / fingerprint.DIGESTS_FILE
    content = file.read_bytes()
    file.unlink()
    if damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        file.symlink_to(tmp_path / "elsewhere")
    assert fingerprint.load(tmp_path / "data") is None


def test_sixty_thousand_images_leave_little(tmp_path):
    many = gz.ImageSource(np.zeros((60_000, 2, 2, 1), np.uint8), np.arange(60_000) % 10, tuple("abcdefghij"))
    fingerprint.save(tmp_path / "data", compute_fingerprint(many))
    assert sum(path.stat().st_size for path in (tmp_path / "data").iterdir()) < 600_000


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """A file that was written an hour ago, how often its images were read, and a cache of its own."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprint, "MIN_CACHED_BYTES", 1)
    monkeypatch.setattr(fingerprint, "SETTLED_SECONDS", -3600)
    path = tmp_path / "images.npy"
    np.save(path, IMAGES)
    reads: list[int] = []
    plain = fingerprint.digest_images
    monkeypatch.setattr(fingerprint, "digest_images", lambda *given: reads.append(1) or plain(*given))

    def take() -> tuple[str, int]:
        del reads[:]
        found = compute_fingerprint(gz.ImageSource(np.load(path, mmap_mode="r"))).sha256
        return found, len(reads)

    return path, take


def test_a_file_that_stays_is_read_once(mapped):
    path, take = mapped
    first, reads = take()
    assert reads == 1
    assert take() == (first, 0)
    images = np.load(path, mmap_mode="r")
    assert compute_fingerprint(gz.ImageSource(lazy.LazyImages(images, np.arange(5)))).images.count == 5


def test_a_file_that_changed_is_read_again_even_if_its_clock_was_turned_back(mapped):
    path, take = mapped
    first, _ = take()
    before = path.stat()
    time.sleep(0.05)  # more than a tick of the file system's clock
    np.save(path, changed(IMAGES, 3))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second, reads = take()
    assert second != first
    assert reads == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 50])
def test_a_damaged_cache_is_passed_over(mapped, content, tmp_path):
    _, take = mapped
    first, _ = take()
    for path in (tmp_path / "cache").rglob("about.json"):
        path.write_bytes(content)
    assert take() == (first, 1)
    assert take() == (first, 0)


def test_another_users_cache_is_passed_over(mapped, monkeypatch):
    _, take = mapped
    first, _ = take()
    monkeypatch.setattr(fingerprint.files, "is_own", lambda entry: False)
    assert take() == (first, 1)


def test_a_file_that_has_just_changed_is_not_remembered(mapped, monkeypatch):
    _, take = mapped
    monkeypatch.setattr(fingerprint, "SETTLED_SECONDS", 3600)
    assert [take()[1], take()[1]] == [1, 1]


def test_a_cache_that_cannot_be_written_is_no_error(mapped, monkeypatch, tmp_path):
    _, take = mapped
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file"))
    assert [take()[1], take()[1]] == [1, 1]


def test_a_long_reading_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(fingerprint, "PROGRESS_SECONDS", -1.0)
    monkeypatch.setattr(fingerprint, "CHUNK_BYTES", 16 * 500)
    said: list[str] = []
    compute_fingerprint(SET, said.append)
    assert said[-1] == "taking the data's fingerprint: 500 of 1,000 images"


def test_a_folder_of_an_older_kind_says_what_it_can(tmp_path: Path):
    recorded = DataFacts(images=COUNT, size=(4, 4, 1), sha256="0" * 64)
    assert changes.compare(recorded, None, compute_fingerprint(SET))[0].startswith(
        "the data's fingerprint was 000000000000 and is "
    )
    recorded = DataFacts(images=5, size=(4, 4, 1), sha256="0" * 64)
    assert changes.compare(recorded, None, compute_fingerprint(SET)) == ["5 images were there and 1,000 are"]
