"""Images that are read when they are asked for: the same bytes as those that are held in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.data import framing as data_framing
from ganzoo_core.data import lazy as data_lazy
from ganzoo_core.data import memory
from ganzoo_core.data.fingerprint import compute_fingerprint
from ganzoo_core.data.framing import choose_framing, prepare
from ganzoo_core.data.lazy import LazyImages, gather
from ganzoo_core.data.prefetch import Prefetcher
from ganzoo_core.data.splits import hold_out
from ganzoo_core.evaluation.choice import Choice
from ganzoo_core.evaluation.extraction import FeatureExtractor

IMAGES = np.random.default_rng(3).integers(0, 256, (37, 20, 24, 3), dtype=np.uint8)


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 1000)


@given(order=st.lists(st.integers(0, 36), max_size=80))
def test_rows_of_a_map_in_any_order(tmp_path_factory, order):
    path = tmp_path_factory.mktemp("map") / "images.npy"
    np.save(path, IMAGES)
    numbers = np.array(order, dtype=np.int64)
    found = gather(np.load(path, mmap_mode="r"), numbers)
    assert type(found) is np.ndarray
    assert np.array_equal(found, IMAGES[numbers])


def test_maps_with_an_offset_a_new_axis_or_gaps(tmp_path):
    flat = IMAGES[..., 0].copy()
    (tmp_path / "raw").write_bytes(bytes(16) + flat.tobytes())
    found = np.memmap(tmp_path / "raw", np.uint8, "r", 16, flat.shape)
    order = np.array([36, 0, 5, 5])
    for view, plain in ((found[..., None], flat[..., None]), (found[3:, :, ::2, None], flat[3:, :, ::2, None])):
        assert np.array_equal(gather(view, order - 3 * (len(view) < 37) % 34), plain[order - 3 * (len(view) < 37) % 34])


@pytest.mark.parametrize("rows", [None, np.array([30, 2, 2, 9, 11, 0])])
@pytest.mark.parametrize("change", [None, lambda images: images[:, ::2, ::2, :1]])
def test_every_index_is_that_of_an_array(mapped, rows, change):
    plain = IMAGES if rows is None else IMAGES[rows]
    plain = plain if change is None else change(plain)
    lazy = LazyImages(mapped, rows, change, plain.shape[1:])
    assert (lazy.shape, lazy.dtype, lazy.ndim) == (plain.shape, np.uint8, 4)
    assert (len(lazy), lazy.nbytes) == (len(plain), plain.nbytes)
    mask = np.arange(len(plain)) % 3 == 0
    places = (0, -1, np.int64(3), [3, 1, 1], np.array([-1, 2]), [])
    for index in (*places, slice(None), slice(4, 1, -1), slice(2, 99), mask, np.s_[1:4, 2], np.s_[1, 2, 3]):
        assert np.array_equal(lazy[index], plain[index])
    assert np.array_equal(np.asarray(lazy), plain)
    assert np.asarray(lazy, dtype=np.float32).dtype == np.float32
    for wrong in (len(plain), -len(plain) - 1, [0, len(plain)]):
        with pytest.raises(IndexError):
            lazy[wrong]


FRAMINGS = {
    "pad": choose_framing((20, 24), size=25, sizes=[], background=7),
    "resize": choose_framing((20, 24), size=16, sizes=[], background=None),
    "none": choose_framing((20, 24), size=0, sizes=[], background=None),
}


@pytest.mark.parametrize("method", FRAMINGS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_a_set_that_stays_in_its_file_has_the_bytes_of_one_in_memory(mapped, monkeypatch, method, channels, split):
    framing = FRAMINGS[method]
    labels, names = np.arange(37) % 5, tuple("abcde")
    held = prepare(hold_out(gz.ImageSource(IMAGES, labels, names), split), framing, channels)
    assert isinstance(held.images, np.ndarray)
    read = prepare(hold_out(gz.ImageSource(mapped, labels, names), split), framing, channels)
    assert type(read.images) is np.ndarray
    assert np.array_equal(read.images, held.images)
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 1000)
    said: list[str] = []
    stays = prepare(hold_out(gz.ImageSource(mapped, labels, names), split), framing, channels, say=said.append)
    assert data_lazy.is_in_file(stays.images)
    assert "stay where they are" in said[0]
    assert stays.images.shape == held.images.shape
    order = np.array([5, 0, 3, 3])
    assert np.array_equal(stays.images[order], held.images[order])
    assert np.array_equal(np.asarray(stays.images), held.images)
    assert np.array_equal(stays.labels, held.labels)


def test_a_part_of_a_part(mapped, little_memory):
    source = hold_out(hold_out(gz.ImageSource(mapped), "train"), "test")
    plain = hold_out(hold_out(gz.ImageSource(IMAGES), "train"), "test")
    assert np.array_equal(np.asarray(source.images), plain.images)


class OrderedImages:
    """A dataset's own images on demand: they keep to the contract, and take an order alone."""

    shape, dtype, ndim = IMAGES.shape, IMAGES.dtype, 4

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, order):
        assert isinstance(order, np.ndarray)
        assert order.dtype == np.int64
        assert order.ndim == 1
        assert not order.size or 0 <= order.min() <= order.max() < len(IMAGES)
        return np.stack([IMAGES[number] for number in order]) if order.size else IMAGES[:0]

    def __array__(self, dtype=None, copy=None):
        return IMAGES.copy()


@pytest.mark.parametrize("free", [1000, 2**40])
@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_images_on_demand_of_a_dataset_are_asked_for_an_order_alone(monkeypatch, split, free):
    monkeypatch.setattr(memory, "measure_free_memory", lambda: free)
    plain = hold_out(gz.ImageSource(IMAGES), split)
    source = data_lazy.make_indexable(hold_out(gz.ImageSource(OrderedImages()), split))
    assert np.array_equal(np.asarray(source.images), plain.images)
    for index in (
        2,
        -1,
        slice(1, 5),
        slice(None, None, -2),
        np.arange(len(plain.images)) % 2 == 0,
        [0, -1],
        np.s_[1, 2],
    ):
        assert np.array_equal(source.images[index], plain.images[index])
    chunks = [some for _, some in data_lazy.iterate_chunks(source.images)]
    assert np.array_equal(np.concatenate(chunks), plain.images)
    assert compute_fingerprint(source).images.sha256 == compute_fingerprint(plain).images.sha256
    for framing in FRAMINGS.values():
        framed = prepare(source, framing, 1)
        assert np.array_equal(np.asarray(framed.images), np.asarray(prepare(plain, framing, 1).images))
        mirrored = data_framing.add_mirrored(framed).images
        assert np.array_equal(mirrored[np.array([-1, 0])], mirrored[[len(mirrored) - 1, 0]])


def test_images_on_demand_of_a_dataset_stay_there_if_they_are_large(little_memory):
    held = hold_out(gz.ImageSource(OrderedImages()), "train")
    assert data_lazy.is_in_file(held.images)
    assert np.array_equal(Prefetcher(held.images).take(np.array([3, 0])), np.asarray(held.images)[[3, 0]])


def test_what_stays_in_its_file(monkeypatch):
    monkeypatch.setattr(memory, "measure_free_memory", lambda: 10 * 2**30)
    gib = 2**30
    held = {
        (size, in_file, costly): data_lazy.should_hold_in_memory(int(size * gib), in_file=in_file, costly=costly)
        for size in (1, 1.1, 5, 5.1)
        for in_file in (False, True)
        for costly in (False, True)
    }
    assert {key for key, answer in held.items() if not answer} == {
        (1.1, True, False),
        (5, True, False),
        *((5.1, in_file, costly) for in_file in (False, True) for costly in (False, True)),
    }


def test_batches_are_read_ahead_and_one_that_was_not_foretold_is_right_too(mapped):
    asked: list[list[int]] = []

    def noting(images):
        asked.append(images[:, 0, 0, 0].tolist())
        return images

    ahead = Prefetcher(LazyImages(mapped, transform=noting))
    orders = [np.array(order) for order in ([4, 1], [0, 30], [7, 7], [2, 3], [8, 9])]
    for number, following in ((0, 1), (1, 2), (3, 4), (4, None)):  # 2 is skipped, as after a rollback
        batch = ahead.take(orders[number], None if following is None else orders[following])
        assert np.array_equal(batch, IMAGES[orders[number]])
    assert len(asked) == 5  # each once, the skipped one among them
    # D's and G's batches, taken in turn, do not push each other out.
    asked.clear()
    streams = [orders, [(order + 20) % 37 for order in orders]]
    for number in range(4):
        for stream in streams:
            assert np.array_equal(ahead.take(stream[number], stream[number + 1]), IMAGES[stream[number]])
    for stream in streams:
        ahead.take(stream[4])
    assert len(asked) == 10


def test_what_the_thread_meets_is_raised_where_the_batch_is_taken(mapped):
    def broken(images):
        raise OSError("the disk is gone")

    ahead = Prefetcher(LazyImages(mapped))
    ahead.take(np.array([1]), np.array([2]))
    ahead.images = LazyImages(mapped, transform=broken)
    ahead.take(np.array([2]), np.array([3]))
    with pytest.raises(OSError, match="gone"):
        ahead.take(np.array([3]))


def test_long_reading_says_how_far_it_is(mapped, monkeypatch):
    monkeypatch.setattr(data_lazy, "CHUNK_BYTES", 10 * 20 * 24 * 3)
    monkeypatch.setattr(data_framing, "PROGRESS_SECONDS", 0.0)
    said: list[str] = []
    prepare(gz.ImageSource(mapped), FRAMINGS["resize"], 3, say=said.append)
    at_once = 10 * 20 * 24 // 16**2  # what is counted are the bytes of the framed images
    assert said == [f"{done} of 37 images are read" for done in (at_once, 2 * at_once)]


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 5\ninactive_file 200\n"}, 500),
        ({"memory.max": "max\n", "memory.current": "700\n", "memory.stat": ""}, None),
        (
            {
                "memory/memory.limit_in_bytes": "900",
                "memory/memory.usage_in_bytes": "850",
                "memory/memory.stat": "total_inactive_file 50\n",
            },
            100,
        ),
        ({}, None),
    ],
)
def test_the_memory_of_a_container(tmp_path, files, free):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory._read_container_memory(tmp_path) == free


def test_the_memory_of_this_machine_is_known():
    assert 2**20 < memory.measure_free_memory() < 2**50


def test_an_extractor_sees_a_large_set_in_pieces(mapped, little_memory, monkeypatch):
    monkeypatch.setattr(data_lazy, "CHUNK_BYTES", 10 * 20 * 24 * 3)
    seen: list[int] = []

    class Means:
        def extract(self, images):
            seen.append(len(images))
            return images.mean(axis=(1, 2)), None

    said: list[str] = []
    found = FeatureExtractor(Choice(None, None, Means(), {}), said.append).extract(mapped)
    assert np.array_equal(found.features, IMAGES.mean(axis=(1, 2)).astype(np.float32))
    assert (found.logits, seen) == (None, [10, 10, 10, 7])
    assert said[1] == "looking at 37 images, of which 10 are done"
