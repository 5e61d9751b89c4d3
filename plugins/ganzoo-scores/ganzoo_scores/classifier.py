"""The extractor `classifier`: trained once on the data's train part, and cached in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

import ganzoo_core as gz

if TYPE_CHECKING:
    from ganzoo_scores.classifier_network import Classifier

WEIGHTS_FILE, FACTS_FILE = "classifier.safetensors", "classifier.json"
MIN_ACCURACY = {"digits": 0.97, "mnist": 0.99, "stacked-digits": 0.97, "stacked-mnist": 0.99}
DEFAULT_MIN_ACCURACY = 0.7
MAX_LISTED_CLASSES = 10  # classes named in a message
LAYER_BYTES = 2**23  # of the largest layer of a batch, which the caches should hold
MIN_BATCH, MAX_BATCH = 16, 512  # images per forward
MAX_BYTES = 200_000_000  # maximum size of a cached file
PROGRESS_SECONDS = 5.0  # seconds before hashing a large dataset reports its progress
Say = Callable[[str], None]


@gz.hookimpl
def extractor(
    name: str, data: str, source: Callable[[str], gz.ImageSource], say: Say, options: gz.Options
) -> gz.Extractor:
    """A classifier whose features are the input of its last layer. Its balanced accuracy must suffice.

    Of images whose channels are pictures of their own (`ImageSource.stacked`), it is the classifier of those pictures,
    and looks at one channel at a time.

    The manifest says that it needs labels, so data without them never come here.

    Raises:
        UsageError: for data with training images of one class, or without test images of two of those, and if its
            balanced accuracy on the test images is too low.
    """
    train, test = source("train"), source("test")
    channels = train.images.shape[3] if train.stacked is not None else 1
    classes, train, test = len(train.class_names), train.stacked or train, test.stacked or test
    if len(train.class_names) ** channels != classes:
        raise gz.UsageError(
            f"{data} has {classes:,} classes, and channels of {len(train.class_names)} classes each make "
            f"{len(train.class_names) ** channels:,}; its author must mend it"
        )
    assert train.labels is not None
    assert test.labels is not None
    trained, measured = find_measured_classes(train.labels, test.labels)
    if len(trained) < 2:
        raise gz.UsageError(f"{data} has training images of one class, and {name} needs two or more")
    if len(measured) < 2:
        found = "test images of one of" if len(measured) else "no test images of"
        raise gz.UsageError(
            f"{data} has {found} the classes that it has training images of, so {name} cannot be measured"
        )
    _say_left_out(train, test, say)
    classifier = load_or_train(train, test, say)
    accuracy, least = (
        classifier.facts["balanced_accuracy"],
        options["least_accuracy"] or MIN_ACCURACY.get(data, DEFAULT_MIN_ACCURACY),
    )
    if accuracy < least:
        raise gz.UsageError(
            f"{name} has a balanced accuracy of {accuracy:.1%} on the test images of {data}, and below {least:.1%} its "
            f"scores mean little; say --set extractor.{name}.least_accuracy={int(accuracy * 100) / 100} to go on"
        )
    return classifier if channels == 1 else _ChannelExtractor(classifier, channels)


def find_measured_classes(train_labels: np.ndarray, test_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the classes with training images, and of those of them with test images."""
    trained = np.unique(train_labels)
    return trained, np.intersect1d(trained, test_labels)


def _say_left_out(train: gz.ImageSource, test: gz.ImageSource, say: Say) -> None:
    """Say which classes the balanced accuracy leaves out, if any."""
    assert train.labels is not None
    assert test.labels is not None
    trained, measured = find_measured_classes(train.labels, test.labels)
    untrained = np.setdiff1d(np.arange(len(train.class_names)), trained)
    for part, indices in (("training", untrained), ("test", np.setdiff1d(trained, measured))):
        if len(indices):
            named = ", ".join(train.class_names[index] for index in indices[:MAX_LISTED_CLASSES])
            named += ", …" if len(indices) > MAX_LISTED_CLASSES else ""
            say(f"the classifier's accuracy leaves out {len(indices):,} without {part} images: {named}")


def choose_batch(height: int, width: int) -> int:
    """How many images of this size to look at together: a power of two, by what the largest layer takes."""
    from ganzoo_scores import classifier_network

    fitting = LAYER_BYTES // (4 * classifier_network.WIDTHS[0] * height * width)
    return int(min(MAX_BATCH, max(MIN_BATCH, 2 ** max(0, fitting.bit_length() - 1))))


class _Extractor:
    """A trained classifier; see `gz.Extractor`."""

    def __init__(self, network: Classifier, facts: Mapping[str, Any]) -> None:
        self.network, self.facts, self.batch = network, facts, choose_batch(*network.size)

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N,H,W,C] -> features [N,64] and logits [N,K]."""
        from ganzoo_scores import classifier_network

        return classifier_network.extract_features(self.network, images, self.batch)


class _ChannelExtractor:
    """A classifier of single pictures that looks at each channel of an image; see `gz.Extractor`."""

    def __init__(self, single: _Extractor, channels: int) -> None:
        self.single, self.batch = single, single.batch
        self.facts: Mapping[str, Any] = {**single.facts, "channels": channels}

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N,H,W,C] -> features [N,64 C], one channel after the other, and logits [N,K^C].

        A logit is the logarithm of the product of the channels' probabilities, so its softmax is that product.
        """
        found = [self.single.extract(images[..., channel, None]) for channel in range(images.shape[3])]
        logits = np.zeros((len(images), 1), np.float32)
        for _, of_channel in found:
            highest = of_channel.max(axis=1, keepdims=True)
            probabilities = of_channel - highest - np.log(np.exp(of_channel - highest).sum(axis=1, keepdims=True))
            logits = (logits[:, :, None] + probabilities[:, None, :]).reshape(len(images), -1)
        return np.concatenate([features for features, _ in found], axis=1), logits


def find_cache_folder() -> Path:
    """The folder of cached classifiers; `GANZOO_CACHE` replaces the `ganzoo` folder of the user's caches."""
    override = os.environ.get("GANZOO_CACHE")
    return (Path(override).expanduser() if override else platformdirs.user_cache_path("ganzoo")) / "classifiers"


def load_or_train(train: gz.ImageSource, test: gz.ImageSource, say: Say) -> _Extractor:
    """Load this data's classifier from the cache, or train and cache it.

    A read-only cache is no error. A damaged entry is replaced. If several processes need the same classifier, one
    trains it and the others wait.
    """
    import torch

    from ganzoo_scores import classifier_network

    code = hashlib.sha256(Path(classifier_network.__file__).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    key = {"code": code, "torch": torch.__version__, "data": [_hash_images(part, say) for part in (train, test)]}
    entry = find_cache_folder() / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:40]
    shape = (train.images.shape[1], train.images.shape[2], train.images.shape[3])
    empty = classifier_network.Classifier(shape, len(train.class_names))
    cached = _try_load(entry, empty)
    if cached is not None:
        return cached
    waiting = "another process trains the classifier of this data; waiting for it"
    with gz.hold_lock("classifiers", entry, lambda: say(waiting)):
        cached = _try_load(entry, empty)  # another process may have trained it meanwhile
        if cached is not None:
            return cached
        _remove_entry(entry)  # if it is damaged
        return _train(train, test, entry, say)


def _train(train: gz.ImageSource, test: gz.ImageSource, entry: Path, say: Say) -> _Extractor:
    from ganzoo_scores import classifier_network

    assert train.labels is not None
    assert test.labels is not None
    say(f"training a classifier on {len(train.images):,} images, once; it is kept in {entry.parent}")

    def told(done: int, total: int) -> None:
        if done and done % (100 * classifier_network.BATCH * 8) == 0:
            say(f"  {done / total:.0%} of {total:,} images")

    with _SingleThread():
        learnt = classifier_network.train(train.images, train.labels, len(train.class_names), told)
        _, logits = classifier_network.extract_features(learnt, test.images)
    _, measured = find_measured_classes(train.labels, test.labels)
    is_right = logits.argmax(axis=1) == test.labels
    accuracy = float(np.mean([is_right[test.labels == index].mean() for index in measured]))
    content = classifier_network.pack(learnt)
    about = {
        "balanced_accuracy": accuracy,
        "test_images": len(test.images),
        "train_images": len(train.images),
        "weights": hashlib.sha256(content).hexdigest(),
        "resizer": classifier_network.describe_resizer(*train.images.shape[1:3]),
    }
    say(f"its balanced accuracy on {len(test.images):,} test images is {accuracy:.2%}")
    _store_entry(entry, {WEIGHTS_FILE: content, FACTS_FILE: json.dumps(about, indent=1).encode()})
    return _Extractor(learnt, about)


def _try_load(entry: Path, empty: Classifier) -> _Extractor | None:
    """Load the entry; None if it is missing or damaged."""
    try:
        return _load(entry, empty)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RuntimeError):
        return None


def _load(entry: Path, empty: Classifier) -> _Extractor:
    from ganzoo_scores import classifier_network

    if entry.is_symlink():
        raise ValueError("it is a link")
    facts = json.loads(_read_file(entry / FACTS_FILE))
    about = {name: facts[name] for name in ("balanced_accuracy", "test_images", "train_images", "weights", "resizer")}
    content = _read_file(entry / WEIGHTS_FILE)
    if hashlib.sha256(content).hexdigest() != about["weights"]:
        raise ValueError("its weights are not those that were written")
    counts = (about["test_images"], about["train_images"])
    if type(about["balanced_accuracy"]) is not float or not 0 <= about["balanced_accuracy"] <= 1:
        raise ValueError("its accuracy is none")
    if not all(type(count) is int and count >= 0 for count in counts) or not isinstance(about["resizer"], str):
        raise ValueError("its facts are not those that were written")
    return _Extractor(classifier_network.unpack(content, empty), about)


def _read_file(path: Path) -> bytes:
    """Read a file of an entry; raise ValueError if it is not a regular file or too large."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is none of this extractor's files")
    return path.read_bytes()


def _remove_entry(entry: Path) -> None:
    """Remove an entry; if it is a link, only the link."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:  # not a folder, perhaps a named pipe, on which rmtree would block
        with contextlib.suppress(OSError):
            entry.unlink()


def _store_entry(entry: Path, files: Mapping[str, bytes]) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=entry.parent))
    except OSError:
        return
    try:
        for name, content in files.items():
            (made / name).write_bytes(content)
        made.chmod(0o755)
        made.replace(entry)
    except OSError:  # another process stored the same bytes first, or the disk is full
        pass
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _hash_images(part: gz.ImageSource, say: Say) -> str:
    """The SHA-256 of all images and labels of a part."""
    digest = hashlib.sha256(f"{part.images.shape} {list(part.class_names)}".encode())
    since = time.monotonic()
    for start in range(0, len(part.images), 10_000):
        if time.monotonic() - since > PROGRESS_SECONDS:
            say(f"looking whether a classifier of these {len(part.images):,} images is kept; {start:,} are compared")
            since = time.monotonic()
        digest.update(part.images[start : start + 10_000].tobytes())
    assert part.labels is not None
    digest.update(part.labels.tobytes())
    return digest.hexdigest()


class _SingleThread:
    """Run PyTorch on one thread: the number of threads changes the last bits of sums, and so the weights' hash."""

    def __enter__(self) -> None:
        import torch

        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        import torch

        torch.set_num_threads(self.before)
