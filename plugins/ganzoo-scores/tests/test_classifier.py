"""The classifier: good enough, the same bytes each time, kept, and refused in words where it cannot judge."""

from __future__ import annotations

import json
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import ganzoo_core as gz
from ganzoo_core.storage import locks
from ganzoo_scores import classifier, classifier_network


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    monkeypatch.setattr(classifier_network, "EPOCHS", 2)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def squares(count=120, shape=(8, 8, 1), classes=3):
    """A bright patch whose place is the class."""
    labels = np.arange(count) % classes
    images = np.random.default_rng(count).integers(0, 60, (count, *shape), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, label * shape[1] // classes : (label + 1) * shape[1] // classes] += 150
    return gz.ImageSource(images, labels.astype(np.int64), tuple("abc"[:classes]))


def entries(tmp_path):
    """All that is kept; locks lie beside it, hidden."""
    return [path for path in (tmp_path / "cache" / "classifiers").iterdir() if not path.name.startswith(".")]


def make(train, test, data="squares", least=0.0, say=lambda text: None):
    parts = {"train": train, "test": test}
    return classifier.extractor("classifier", data, parts.__getitem__, say, {"least_accuracy": least})


def test_it_learns_is_kept_and_is_found_again(monkeypatch, tmp_path):
    said = []
    first = make(squares(), squares(60), say=said.append)
    assert "training a classifier on 120 images, once" in said[0]
    assert first.facts["balanced_accuracy"] == 1.0
    features, logits = first.extract(squares(60).images)
    assert (features.shape, features.dtype, logits.shape, logits.dtype) == ((60, 64), np.float32, (60, 3), np.float32)
    assert (logits.argmax(axis=1) == squares(60).labels).all()

    monkeypatch.setattr(classifier_network, "train", None)  # it must not be needed
    again = make(squares(), squares(60))
    assert again.facts == first.facts
    np.testing.assert_array_equal(again.extract(squares(60).images)[0], features)
    kept = {path.name for path in entries(tmp_path)[0].iterdir()}
    assert kept == {"classifier.safetensors", "classifier.json"}


@pytest.mark.parametrize(
    ("height", "width", "batch"), [(8, 8, 512), (28, 28, 64), (32, 32, 64), (64, 64, 16), (64, 48, 16), (1, 1, 512)]
)
def test_the_largest_layer_of_a_batch_fits_into_the_caches(height, width, batch):
    assert classifier.choose_batch(height, width) == batch


@pytest.mark.parametrize("channels", [1, 3])
def test_whole_batches_have_the_features_of_all_images_at_once(channels):
    torch.manual_seed(0)
    network = classifier_network.Classifier((28, 28, 1), 5).eval()
    single = classifier._Extractor(network, {})
    extractor = single if channels == 1 else classifier._ChannelExtractor(single, channels)
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28, channels), dtype=np.uint8)
    assert extractor.batch == 64
    parts = [extractor.extract(images[first : first + 128]) for first in (0, 128, 256)]
    for part, whole in zip(zip(*parts, strict=True), extractor.extract(images), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), whole)


def test_it_is_the_same_bytes_each_time_on_any_number_of_threads(monkeypatch, tmp_path):
    weights = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / str(threads)))
        torch.manual_seed(threads)
        torch.set_num_threads(threads)
        weights.append(make(squares(), squares(60)).facts["weights"])
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert weights[0] == weights[1]


def test_other_data_has_another_classifier(tmp_path):
    make(squares(), squares(60))
    changed = squares()
    changed.images[0, 0, 0] += 1
    make(changed, squares(60))
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize("name", ["classifier.safetensors", "classifier.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, None])
def test_a_damaged_one_is_trained_anew(tmp_path, name, content):
    facts = make(squares(), squares(60)).facts
    (kept,) = (tmp_path / "cache").rglob(name)
    kept.write_bytes(kept.read_bytes()[:-1] if content is None else content)
    assert make(squares(), squares(60)).facts == facts
    (entry,) = entries(tmp_path)
    assert json.loads((entry / "classifier.json").read_text()) == facts


@pytest.mark.parametrize(
    "other",
    [{"balanced_accuracy": "inf"}, {"balanced_accuracy": float("inf")}, {"balanced_accuracy": -3},
     {"resizer": float("nan")}, {"test_images": [1]}, {"more": 1}],
)  # fmt: skip
def test_one_with_other_facts_is_trained_anew(tmp_path, other):
    facts = make(squares(), squares(60)).facts
    (kept,) = (tmp_path / "cache").rglob("classifier.json")
    kept.write_text(json.dumps({**facts, **other}))
    assert make(squares(), squares(60)).facts == facts
    kept.write_text('{"a":' * 10_000)
    assert make(squares(), squares(60)).facts == facts


@pytest.mark.parametrize(
    "forged",
    [*({"balanced_accuracy": odd} for odd in ("1", 7.0, -1.0, math.nan, 10**400, True)),
     {"test_images": -3}, {"train_images": "x"}, {"resizer": ["x"]}, {"weights": None}, "deep"],
    ids=range(11),
)  # fmt: skip
def test_a_forged_one_is_trained_anew(tmp_path, forged):
    facts = make(squares(), squares(60)).facts
    (kept,) = (tmp_path / "cache").rglob("classifier.json")
    kept.write_text("[" * 100_000 if forged == "deep" else json.dumps({**facts, **forged}))
    assert make(squares(), squares(60)).facts == facts


def test_what_was_added_to_its_facts_goes_nowhere(tmp_path):
    facts = make(squares(), squares(60)).facts
    (kept,) = (tmp_path / "cache").rglob("classifier.json")
    kept.write_text(json.dumps({**facts, "name": "another", "x": "\x1b[2J"}))
    assert make(squares(), squares(60)).facts == facts


@pytest.mark.skipif(os.name == "nt", reason="links and pipes take rights there")
@pytest.mark.parametrize("name", ["", "classifier.json", "classifier.safetensors"])
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_one_behind_a_link_is_trained_anew(tmp_path, name, what):
    facts = make(squares(), squares(60)).facts
    (entry,) = entries(tmp_path)
    other = tmp_path / "other"
    (entry / name).rename(other)
    (entry / name).symlink_to(other) if what == "link" else os.mkfifo(entry / name)
    assert make(squares(), squares(60)).facts == facts
    assert not entries(tmp_path)[0].is_symlink()
    assert other.exists()


def test_of_two_that_need_the_same_one_trains_and_one_waits(monkeypatch):
    learn, calls, said = classifier_network.train, [], []
    waiting = threading.Event()

    def train(*given):
        calls.append(given)
        assert waiting.wait(60)  # until the second has found the first at work
        return learn(*given)

    def say(text):
        said.append(text)
        if text.startswith("another process"):
            waiting.set()

    monkeypatch.setattr(classifier_network, "train", train)
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(make, squares(), squares(60), say=say) for _ in range(2))
        assert first.result(60).facts == second.result(60).facts
    assert len(calls) == 1
    assert [text for text in said if "another" in text] == [
        "another process trains the classifier of this data; waiting for it"
    ]


def test_one_that_another_process_has_just_finished_is_taken(monkeypatch):
    """It was not there at the first look, and is when the lock is free."""
    alone = locks.hold_lock

    def late(*given):
        monkeypatch.setattr(locks, "hold_lock", alone)
        make(squares(), squares(60))  # the other process, from its beginning to its end
        monkeypatch.setattr(classifier_network, "train", None)
        return alone(*given)

    monkeypatch.setattr(locks, "hold_lock", late)
    assert make(squares(), squares(60)).facts["balanced_accuracy"] == 1.0
    assert classifier_network.train is None, "the other process was not there"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions mean nothing to this user")
def test_a_cache_that_is_read_only_is_no_error(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    assert make(squares(), squares(60)).facts["balanced_accuracy"] == 1.0


def test_a_cache_that_cannot_be_made_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file"))
    assert make(squares(), squares(60)).facts["balanced_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("shape", "resizer"),
    [
        ((28, 28, 1), "none"),
        ((3, 5, 1), "none"),
        ((64, 64, 3), "none"),
        ((100, 50, 3), "bilinear with antialiasing, as PyTorch has it, to 32×64"),
    ],
)
def test_any_size_and_colour(monkeypatch, shape, resizer):
    monkeypatch.setattr(classifier_network, "EPOCHS", 1)
    found = make(squares(64, shape), squares(64, shape), least=0.01)
    assert found.facts["resizer"] == resizer
    assert found.extract(squares(10, shape).images)[0].shape == (10, 64)


@pytest.mark.parametrize("steps", range(1, 12))
def test_any_number_of_steps(monkeypatch, steps):
    monkeypatch.setattr(classifier_network, "EPOCHS", steps)
    source = squares(64, (4, 4, 1))
    network = classifier_network.train(source.images, source.labels, 3, lambda shown, total: None)
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def test_images_of_one_class_are_refused_in_words():
    one = gz.ImageSource(squares().images, np.zeros(120, np.int64), ("a",))
    with pytest.raises(gz.UsageError, match="squares has training images of one class, and classifier needs two"):
        make(one, one)


@pytest.mark.parametrize(("data", "least"), [("digits", "97.0%"), ("mnist", "99.0%"), ("squares", "70.0%")])
def test_one_that_does_not_know_its_classes_is_refused_in_words(data, least):
    source = squares()
    random = gz.ImageSource(source.images, np.random.default_rng(0).integers(0, 3, 120), source.class_names)
    with pytest.raises(
        gz.UsageError, match=rf"accuracy of \d+.\d% on the test images of {data}, and below {least}"
    ) as error:
        make(source, random, data)
    accuracy = float(str(error.value).rpartition("least_accuracy=")[2].split()[0])
    assert make(source, random, data, least=accuracy).facts["balanced_accuracy"] >= accuracy


def label(counts):
    """Images of which `squares` shows class i of three, so many of each, in six classes named a to f."""
    labels = np.repeat(np.arange(6), counts)
    shown = squares(60)
    chosen = [np.flatnonzero(shown.labels == each % 3)[place % 20] for place, each in enumerate(labels)]
    return gz.ImageSource(shown.images[chosen], labels.astype(np.int64), tuple("abcdef"))


def test_each_class_that_it_saw_counts_alike_and_the_others_are_left_out_and_said(monkeypatch):
    """Of 4 images of a all right, of 1 of b none, none there of c: (1 + 0) / 2. It never saw e and f."""
    train, test = label([80, 80, 80, 0, 0, 0]), label([4, 1, 0, 0, 9, 9])
    assert test.labels.tolist()[:5] == [0] * 4 + [1]
    wrong = gz.ImageSource(test.images[[0] * len(test.images)], test.labels, test.class_names)  # all show an a
    said = []
    assert make(train, wrong, least=0.5, say=said.append).facts["balanced_accuracy"] == 0.5
    assert [line for line in said if "leaves out" in line] == [
        "the classifier's accuracy leaves out 3 without training images: d, e, f",
        "the classifier's accuracy leaves out 1 without test images: c",
    ]
    said.clear()
    make(train, wrong, least=0.5, say=said.append)  # from the cache
    assert len(said) == 2
    with pytest.raises(gz.UsageError, match=r"accuracy of 50\.0% on the test images of squares, and below 70\.0%"):
        make(train, wrong)


@pytest.mark.parametrize(
    ("tested", "words"), [([0, 0, 0, 6, 0, 0], "no test images of"), ([6, 0, 0, 6, 0, 0], "one of")]
)
def test_without_test_images_of_two_that_it_saw_it_is_refused_before_it_is_trained(monkeypatch, tested, words):
    """Whatever it answers is right where there is one class to tell from nothing."""
    monkeypatch.setattr(classifier_network, "train", None)
    with pytest.raises(gz.UsageError) as error:
        make(label([6, 6, 0, 0, 0, 0]), label(tested))
    assert words in str(error.value)
    assert str(error.value).endswith("the classes that it has training images of, so classifier cannot be measured")


def test_images_are_moved_by_whole_pixels():
    images = torch.arange(2 * 36.0).reshape(2, 1, 6, 6)
    moved = classifier_network._shift_randomly(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    for image, before in zip(moved, images, strict=True):
        wide = np.pad(before[0].numpy(), 1, mode="edge")
        shifts = [wide[y : y + 6, x : x + 6] for y in range(3) for x in range(3)]
        assert any(np.array_equal(image[0], shift) for shift in shifts)


@pytest.mark.slow
def test_it_knows_mnist(monkeypatch, tmp_path):
    root = os.environ.get("GANZOO_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("GANZOO_DATA names no folder with MNIST/raw")
    monkeypatch.undo()
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    from ganzoo_core.evaluation import Scorer, make_request

    with Scorer(make_request(data="mnist", data_settings={}, data_root=root, score_real_images=False)) as scorer:
        assert scorer.facts["balanced_accuracy"] >= 0.99
        assert scorer.reference_count == 10_000
        noise = np.random.default_rng(0).integers(0, 256, (2000, 28, 28, 1), dtype=np.uint8)
        assert scorer.score(noise).scores["fid"] > 50
