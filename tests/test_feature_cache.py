"""Features of real images are kept: what is read is what was extracted, to the bit, and anything else is extracted."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.discovery import catalog
from ganzoo_core.evaluation import extraction, feature_cache, protocol
from ganzoo_core.evaluation.feature_cache import Extracted, load_or_extract
from ganzoo_core.evaluation.request import make_request
from ganzoo_core.evaluation.worker import ScoringSession
from ganzoo_core.storage import atomic

WAIT = 120.0  # seconds
RANDOM = np.random.default_rng(5)
LARGE = Extracted(RANDOM.normal(size=(20, 3)).astype(np.float32), RANDOM.normal(size=(20, 2)).astype(np.float32))
MANIFEST = """
api = 1
[datasets.specks]
title = "Noise"
hooks = "specks"
[extractors.places]
title = "Features that depend on an image's place in its batch"
hooks = "specks"
default = true
has.logits = true
[extractors.places.defaults]
extractor.places.power = 1
[metrics.sums]
title = "Sums that any bit changes"
hooks = "specks"
default = true
needs = ["training_images"]
lower = ["sums"]
"""
CODE = """
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset(split):
    random = np.random.default_rng(len(split))
    images = random.integers(0, 256, (30, 4, 4, 1), dtype=np.uint8)
    return gz.ImageSource(images, np.arange(30) % 2, ("a", "b"))

class Places:
    batch = 4
    facts = {"weights": "none"}
    calls = []
    def __init__(self, power):
        self.power = power
    def extract(self, images):
        Places.calls.append(len(images))
        rows = np.sin(images.reshape(len(images), -1).astype(np.float32)) ** self.power
        for start in range(0, len(images), 4):
            rows[start : start + 4] += rows[start].mean()
        return rows, rows[:, :2] * 2

@gz.hookimpl
def extractor(options):
    return Places(options["power"])

@gz.hookimpl
def metric():
    def score(real, fake, seed, *, training, held_out):
        sets = [real, fake, training, held_out]
        return {"sums": float(sum((of.features**2).sum() + n * of.logits.sum() for n, of in enumerate(sets)))}
    return score
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, in which everything is kept."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(feature_cache, "MIN_SECONDS", 0.0)
    return tmp_path / "cache" / "features"


@pytest.fixture
def take():
    """Features under a key, and whether they had to be extracted."""

    def take(key="a", extracted=LARGE, count=20):
        calls = []
        found = load_or_extract({"key": key}, count, lambda: calls.append(1) or extracted, lambda words: None)
        np.testing.assert_array_equal(found.features, extracted.features)
        assert (found.logits is None) == (extracted.logits is None)
        return bool(calls)

    return take


def test_what_is_read_is_what_was_extracted(take, cache):
    said = []
    assert take()
    found = load_or_extract({"key": "a"}, 20, lambda: pytest.fail("it is there"), said.append)
    for read, written in zip(found, LARGE, strict=True):
        assert (read.dtype, read.tobytes()) == (written.dtype, written.tobytes())
        assert read.flags.writeable
    assert said == ["features of 20 real images from the cache"]
    assert take("b", Extracted(LARGE.features, None))
    assert not take("b", Extracted(LARGE.features, None))
    assert len(list(cache.iterdir())) == 2


def test_what_is_extracted_at_once_is_not_kept(take, cache, monkeypatch):
    monkeypatch.setattr(feature_cache, "MIN_SECONDS", 60.0)
    assert [take(), take()] == [True, True]
    assert not cache.exists()


def damage_bytes(entry):
    content = bytearray((entry / feature_cache.FEATURES_FILE).read_bytes())
    content[-1] ^= 1
    (entry / feature_cache.FEATURES_FILE).write_bytes(content)


def cut(entry):
    path = entry / feature_cache.FEATURES_FILE
    path.write_bytes(path.read_bytes()[:-9])


def put_link(entry):
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to(entry.with_name("elsewhere"))


def put_file(entry):
    atomic.remove(entry)
    entry.write_bytes(b"no folder")


def put_other_tensors(entry):
    tensors = {"features": LARGE.features[:7], "more": LARGE.features}
    atomic.write_folder(entry, {feature_cache.FEATURES_FILE: feature_cache.pack_tensors(tensors)})


def put_other_type(entry):
    tensors = {"features": LARGE.features.astype(np.float64)}
    atomic.write_folder(entry, {feature_cache.FEATURES_FILE: feature_cache.pack_tensors(tensors)})


def put_nonsense(entry):
    atomic.write_folder(entry, {feature_cache.FEATURES_FILE: b"\xff" * 40})


def put_nothing(entry):
    atomic.write_folder(entry, {})


def forget_manifest(entry):
    (entry / atomic.MANIFEST).unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_bytes, cut, put_link, put_file, put_other_tensors, put_other_type, put_nonsense, put_nothing,
        forget_manifest,
    ],
)  # fmt: skip
def test_a_damaged_entry_is_replaced(take, cache, damage):
    assert take()
    (entry,) = cache.iterdir()
    damage(entry)
    assert [take(), take()] == [True, False]


def test_another_users_entry_is_passed_over(take, monkeypatch):
    assert take()
    monkeypatch.setattr(feature_cache.files, "is_own", lambda entry: False)
    assert take()


def test_an_entry_of_another_format_is_not_read(take, monkeypatch):
    assert take()
    monkeypatch.setattr(feature_cache, "FORMAT", 2)
    assert [take(), take()] == [True, False]


def test_the_oldest_go_where_the_folder_is_full(take, cache, monkeypatch):
    size = sum(array.nbytes for array in LARGE)
    assert take("measured")
    (entry,) = cache.iterdir()
    taken = sum(path.stat().st_size for path in entry.iterdir())
    atomic.remove(entry)
    monkeypatch.setattr(feature_cache, "MAX_BYTES", 2 * taken + size)  # two beside a new one
    for number, name in enumerate("abc"):
        assert take(name)
        newest = max(cache.iterdir(), key=lambda entry: entry.stat().st_mtime)
        os.utime(newest, (number, number))
    assert not take("a")  # it is the newest now
    assert take("d")
    assert [take(name) for name in "adc"] == [False, False, False]
    assert take("b")
    monkeypatch.setattr(feature_cache, "MAX_BYTES", size - 1)
    before = sorted(cache.iterdir())
    assert [take("e"), take("e")] == [True, True]
    assert sorted(cache.iterdir()) == before


def test_leftovers_of_killed_processes_go(take, cache, monkeypatch):
    cache.mkdir(parents=True)
    for name, age in ((".old.00000000.new", 2e5), (".new.00000000.new", 0)):
        (cache / name).mkdir()
        os.utime(cache / name, (cache.stat().st_mtime - age,) * 2)
    assert take()
    assert [entry.name for entry in cache.iterdir() if entry.name.startswith(".")] == [".new.00000000.new"]


def test_a_cache_that_cannot_be_written_is_no_error(take, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file"))
    assert [take(), take()] == [True, True]


@pytest.mark.parametrize("written", [0, 100])
def test_a_full_disk_is_no_error_and_leaves_nothing(take, cache, monkeypatch, written):
    plain = os.write

    def write(handle, content):
        if len(content) <= written:
            return plain(handle, content)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "write", write)
        assert take()
        assert list(cache.iterdir()) == []
    assert [take(), take()] == [True, False]


def test_features_that_no_file_holds_are_not_kept(take, cache):
    odd = Extracted(LARGE.features, LARGE.features.astype(np.longdouble))
    assert [take(extracted=odd), take(extracted=odd)] == [True, True]


def test_of_two_processes_one_extracts(tmp_path, cache):
    code = (
        "import os, sys, pathlib, numpy as np\n"
        "from ganzoo_core.evaluation import feature_cache\n"
        "feature_cache.MIN_SECONDS = 0\n"
        "def extract():\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'by-{{os.getpid()}}').touch()\n"
        "    return feature_cache.Extracted(np.full((9, 2), os.getpid(), np.float32), None)\n"
        "print(feature_cache.load_or_extract({}, 9, extract, lambda words: None).features.sum())\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate(timeout=WAIT)[0] for process in processes}
    assert len(told) == 1
    assert len(list(tmp_path.glob("by-*"))) == 1
    assert [entry.name for entry in cache.iterdir() if entry.name.startswith(".")] == []


@pytest.fixture
def specks(here, monkeypatch):
    """An extractor whose calls are counted, and a session of it."""
    monkeypatch.setenv("GANZOO_PLUGINS", "specks")
    here.add("specks", MANIFEST, files={"__init__.py": CODE})
    catalog.clear_cache()

    def start(**asked):
        said = []
        return ScoringSession(make_request(data="specks", data_settings={}, **asked), said.append), said

    return start


DRAWN = RANDOM.integers(0, 256, (10, 4, 4, 1), dtype=np.uint8)
ENLARGED = RANDOM.integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize(("drawn", "read"), [(DRAWN, 2), (ENLARGED, 3)])
def test_scores_are_equal_to_the_bit_with_and_without_the_cache(specks, drawn, read, monkeypatch):
    session, said = specks()
    first = session.score(drawn, None, 0)
    assert said == []
    session, said = specks()
    second = session.score(drawn, None, 0)
    assert second == first
    assert len(said) == read  # the reference, the training images and, enlarged and back, one half of the reference
    assert said[0] == "features of 30 real images from the cache"
    session.choice.extractor.calls.clear()
    monkeypatch.setattr(feature_cache, "FORMAT", 2)
    session, said = specks()
    assert session.score(drawn, None, 0) == first
    assert said == []
    assert len(session.choice.extractor.calls) == read + 1


def test_images_whose_digests_are_known_are_read_for_their_features_alone(specks, monkeypatch):
    session, said = specks()
    monkeypatch.setattr(extraction, "read_or_digest_images", lambda *_: pytest.fail("their digests are known"))
    digests = np.arange(20, dtype=np.uint64).reshape(10, 2)
    first = session._extract_real(DRAWN, source=gz.ImageSource(DRAWN, digests=digests))
    assert said == []
    assert session._extract_real(DRAWN, source=gz.ImageSource(DRAWN, digests=digests)).features.tolist() == (
        first.features.tolist()
    )
    assert said == ["features of 10 real images from the cache"]
    session._extract_real(DRAWN, source=gz.ImageSource(DRAWN, digests=digests + np.uint64(1)))
    assert len(said) == 1  # other digests are other images


def test_whatever_changes_a_feature_is_part_of_the_key(specks, here, monkeypatch):
    def is_read(**asked):
        return specks(**asked)[1] == ["features of 30 real images from the cache"]

    assert [is_read(), is_read()] == [False, True]
    assert [is_read(reference="train"), is_read(reference="train")] == [False, True]
    assert [is_read(settings={"power": 2}), is_read(settings={"power": 2})] == [False, True]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert [is_read(), is_read()] == [False, True]
    for name, value in (("collect_versions", {"torch": "0"}), ("describe_machine", "another")):
        monkeypatch.setattr(protocol, name, lambda *_, value=value: value)
        assert [is_read(), is_read()] == [False, True]
    extractor = type(specks()[0].choice.extractor)
    monkeypatch.setattr(extractor, "facts", {**extractor.facts, "device": "another GPU"})
    assert [is_read(), is_read()] == [False, True]
    (place,) = here.path.rglob("specks/__init__.py")
    place.write_text(place.read_text() + "\n# the author changed it, under the same version\n")
    assert [is_read(), is_read()] == [False, True]
