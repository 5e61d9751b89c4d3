"""The array cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import filelock
import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.storage import locks
from ganzoo_datasets import cache


def source(value=7, labels=True):
    return gz.ImageSource(
        images=np.full((3, 2, 2, 1), value, np.uint8),
        labels=np.array([0, 1, 0]) if labels else None,
        class_names=("a", "b") if labels else (),
        background=0 if labels else None,
        notes=("one",),
    )


def entry():
    (found,) = cache.find_cache_folder().iterdir()
    return found


@pytest.mark.parametrize("labels", [True, False])
def test_what_is_stored_comes_back(labels):
    first = cache.load_or_build({"set": "x"}, lambda: source(labels=labels))
    second = cache.load_or_build({"set": "x"}, lambda: pytest.fail("built again"))
    for found in (first, second):
        assert isinstance(found.images, np.memmap)
        assert not found.images.flags.writeable
        expected = source(labels=labels)
        assert np.array_equal(found.images, expected.images)
        assert (found.labels is None) is (expected.labels is None)
        assert (found.class_names, found.background, found.notes) == (
            expected.class_names,
            expected.background,
            expected.notes,
        )


def test_another_key_is_another_entry():
    assert cache.load_or_build({"set": "x", "size": 1}, lambda: source(1)).images[0, 0, 0, 0] == 1
    assert cache.load_or_build({"set": "x", "size": 2}, lambda: source(2)).images[0, 0, 0, 0] == 2
    assert cache.load_or_build({"size": 1, "set": "x"}, lambda: pytest.fail("built again")).images[0, 0, 0, 0] == 1


@pytest.mark.parametrize("damage", ["images cut", "images gone", "about cut", "about gone", "labels gone", "no array"])
def test_a_damaged_entry_is_made_anew(damage):
    cache.load_or_build({"set": "x"}, source)
    name, what = damage.split()
    path = entry() / {"images": "images.npy", "about": "about.json", "labels": "labels.npy", "no": "images.npy"}[name]
    if what == "gone":
        path.unlink()
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.write_bytes(b"pickle me")
    assert np.array_equal(cache.load_or_build({"set": "x"}, source).images, source().images)
    assert np.array_equal(cache.load_or_build({"set": "x"}, lambda: pytest.fail("built again")).images, source().images)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("images.npy", b""),
        ("images.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', {" + b" " * 93 + b"\n"),
        ("about.json", b"[" * 10_000),
        ("about.json", b'{"class_names": ["a", 1], "background": null, "notes": [], "labelled": true}'),
        ("about.json", b'{"class_names": "ab", "background": null, "notes": [], "labelled": true}'),
        ("about.json", b'{"class_names": ["a", "b"], "background": "0", "notes": [], "labelled": true}'),
        ("about.json", b'{"class_names": ["a", "b"], "background": 0, "notes": [{}], "labelled": true}'),
    ],
)
def test_an_entry_with_other_contents_is_made_anew(name, content):
    cache.load_or_build({"set": "x"}, source)
    (entry() / name).write_bytes(content)
    found = cache.load_or_build({"set": "x"}, source)
    assert (found.images == 7).all()
    assert (found.class_names, found.background, found.notes) == (("a", "b"), 0, ("one",))
    cache.load_or_build({"set": "x"}, lambda: pytest.fail("built again"))


ABOUT = {"class_names": ["a", "b"], "background": 0, "notes": [], "labelled": True}


@pytest.mark.parametrize(
    "about",
    [b"[" * 100_000, b"[]", b"3", b"\xff", {"class_names": [["a"], "b"]}, {"class_names": 3}, {"background": "x"},
     {"background": -1}, {"background": 10**400}, {"notes": [{}]}, {"notes": None}],
)  # fmt: skip
def test_a_forged_entry_is_made_anew(about):
    cache.load_or_build({"set": "x"}, source)
    content = about if isinstance(about, bytes) else json.dumps({**ABOUT, **about}).encode()
    (entry() / "about.json").write_bytes(content)
    found = cache.load_or_build({"set": "x"}, source)
    assert (found.class_names, found.background, found.notes) == (("a", "b"), 0, ("one",))
    assert json.loads((entry() / "about.json").read_text())["notes"] == ["one"]


@pytest.mark.skipif(os.name == "nt", reason="links and pipes take rights there")
@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "about.json", ""])
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_nothing_is_read_or_removed_through_a_link(tmp_path, name, what):
    cache.load_or_build({"set": "x"}, source)
    other = entry().rename(tmp_path / "other")
    cache.load_or_build({"set": "x"}, source)
    place = entry()
    if name:
        (place / name).unlink()
        (place / name).symlink_to(other / name) if what == "link" else os.mkfifo(place / name)
    else:
        cache._remove(place)
        place.symlink_to(other) if what == "link" else os.mkfifo(place)
    found = cache.load_or_build({"set": "x"}, lambda: source(9))
    assert found.images[0, 0, 0, 0] == 9
    assert not entry().is_symlink()
    assert sorted(path.name for path in other.iterdir()) == ["about.json", "images.npy", "labels.npy"]


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
def test_an_empty_array_is_damage(name):
    cache.load_or_build({"set": "x"}, source)
    (entry() / name).write_bytes(b"")
    assert cache.load_or_build({"set": "x"}, lambda: source(9)).images[0, 0, 0, 0] == 9


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file"))
    assert np.array_equal(cache.load_or_build({"set": "x"}, source).images, source().images)


def test_a_failed_write_leaves_nothing(monkeypatch):
    def full(folder, found):
        (folder / "images.npy").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "save", full)
    assert np.array_equal(cache.load_or_build({"set": "x"}, source).images, source().images)
    assert list(cache.find_cache_folder().iterdir()) == []


def test_an_error_while_building_stores_nothing():
    def build():
        raise gz.DataError("no such file")

    with pytest.raises(gz.DataError, match="no such file"):
        cache.load_or_build({"set": "x"}, build)
    assert not cache.find_cache_folder().exists()


def test_another_process_may_be_first(monkeypatch):
    def store(place, made):
        real(place, source(1))  # what the other process stores meanwhile, without a lock
        real(place, made)

    real = cache._store
    monkeypatch.setattr(cache, "_store", store)
    assert cache.load_or_build({"set": "x"}, lambda: source(9)).images[0, 0, 0, 0] == 1
    assert entry().is_dir()


def test_processes_that_need_the_same_images_decode_once():
    built, inside, may_end = [], threading.Event(), threading.Event()

    def build():
        built.append(1)
        inside.set()
        assert may_end.wait(60)
        return source()

    def load():
        return cache.load_or_build({"set": "x"}, build).images[0, 0, 0, 0]

    with ThreadPoolExecutor(2) as pool:  # each makes a lock of its own, as two processes do
        first = pool.submit(load)
        assert inside.wait(60)
        second = pool.submit(load)
        other = cache.load_or_build({"set": "y"}, lambda: source(8))  # other images need not wait
        may_end.set()
        assert (first.result(60), second.result(60), other.images[0, 0, 0, 0]) == (7, 7, 8)
    assert built == [1]


def test_who_waits_too_long_decodes_too(monkeypatch):
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", 0.1)
    cache.load_or_build({"set": "x"}, source)
    held = filelock.FileLock(next((cache.find_cache_folder().parent / "locks").iterdir()), thread_local=False)
    cache._remove(entry())
    with held:
        assert cache.load_or_build({"set": "x"}, lambda: source(9)).images[0, 0, 0, 0] == 9


def test_lock_files_are_bounded(monkeypatch):
    monkeypatch.setattr(locks, "LOCK_FILES", 2)
    for number in range(6):
        cache.load_or_build({"set": str(number)}, source)
    assert len(list((cache.find_cache_folder().parent / "locks").iterdir())) <= 2
    assert len(list(cache.find_cache_folder().iterdir())) == 6


def size_of(name):
    return sum(path.stat().st_size for path in (cache.find_cache_folder() / name).iterdir())


def test_the_entries_not_used_for_longest_go(monkeypatch):
    def load(name, value=None):
        return cache.load_or_build({"set": name}, lambda: source(value) if value else pytest.fail("built again"))

    def name_entries():
        return {path.name for path in cache.find_cache_folder().iterdir()}

    names = {}
    for value, name in enumerate("abc", 1):
        before = name_entries() if names else set()
        load(name, value)
        (names[name],) = name_entries() - before
        os.utime(cache.find_cache_folder() / names[name], (value, value))
    load("a")  # so that b is the oldest
    taken = sum(map(size_of, names.values()))
    monkeypatch.setenv("GANZOO_CACHE_GB", str((taken - 1) / 1e9))
    load("d", 4)
    assert names["b"] not in name_entries()
    assert len(name_entries()) == 3
    for name in "acd":
        load(name)


def test_images_larger_than_the_cache_are_not_kept(monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE_GB", "0")
    for _ in range(2):
        built = cache.load_or_build({"set": "x"}, lambda: source(9))
        assert built.images[0, 0, 0, 0] == 9
        assert built.notes[1].endswith(", so they are not kept there; GANZOO_CACHE_GB sets its size")
        assert built.notes[1].count("kept") == 1
    assert not cache.find_cache_folder().exists()
    monkeypatch.setenv("GANZOO_CACHE_GB", "many")
    with pytest.raises(gz.UsageError, match="GANZOO_CACHE_GB is 'many'; expected a number of gigabytes"):
        cache.load_or_build({"set": "x"}, source)


def test_the_limit_is_a_share_of_the_disk(monkeypatch):
    assert cache.find_limit() == int(0.1 * shutil.disk_usage(cache.find_cache_folder().parent).total)


def test_a_leftover_of_a_process_that_ended_goes_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from ganzoo_datasets import cache; "
    code += "(cache.make_temporary(Path(sys.argv[1])) / 'images.npy').touch(); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE) as other:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".*.tmp/images.npy")) and time.monotonic() < until:
            time.sleep(0.02)
        own = cache.make_temporary(tmp_path)
        cache.remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2  # both are at work
        other.kill()
    cache.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


def test_leftovers_of_other_machines_go_where_a_day_added_nothing():
    old, new, growing = (cache.find_cache_folder() / f".{name}.tmp" for name in ("old", "new", "growing"))
    for folder in (old, new, growing):
        folder.mkdir(parents=True)
        (folder / "images.npy").write_bytes(b"half")
    for path in (old / "images.npy", old, growing):
        os.utime(path, (time.time() - 90_000,) * 2)
    cache.load_or_build({"set": "x"}, source)
    assert not old.exists()
    assert new.exists()
    assert growing.exists()


def test_a_pickle_in_the_cache_is_not_opened():
    cache.load_or_build({"set": "x"}, source)
    with (entry() / "labels.npy").open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert cache.load_or_build({"set": "x"}, lambda: source(9)).images[0, 0, 0, 0] == 9


def test_the_key_knows_size_and_times(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    before = cache.stamp_files([path])
    os.utime(path, ns=(5, 5))
    assert cache.stamp_files([path]) == [(str(path), 3, 5, path.stat().st_ctime_ns)] != before
    assert json.loads(json.dumps(before))


@pytest.mark.skipif(os.name == "nt", reason="the system keeps no time of a file's last change of any kind")
def test_the_key_knows_a_change_whose_time_was_put_back(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    before, times = cache.stamp_files([path]), path.stat()
    time.sleep(0.05)  # more than a tick of the file system's clock
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache.stamp_files([path]) != before
