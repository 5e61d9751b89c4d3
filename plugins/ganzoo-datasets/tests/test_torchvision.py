"""--data torchvision:NAME. Most tests call the child's functions here; a few start it as a process."""

from __future__ import annotations

import ast
import importlib.util
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_datasets import cache, torchvision_child, torchvision_sets

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)

FAKE = '{"size": 10, "image_size": [3, 6, 6], "num_classes": 4}'


def through_a_process(root, name="FakeData", split="all", **options):
    return torchvision_sets.dataset(
        name="torchvision", argument=name, root=root, split=split, options={"size": 0, "channels": 0, **options}
    )


def read(root, name, split="train", arguments=None, size=0, channels=0, download=False, fit="crop"):
    return torchvision_child.read(
        {
            "set": name,
            "arguments": arguments or {},
            "root": str(root),
            "split": split,
            "size": size,
            "channels": channels,
            "fit": fit,
            "download": download,
        }
    )


def test_a_set_through_its_own_process(tmp_path, monkeypatch):
    source = through_a_process(tmp_path, arguments=FAKE)
    assert source.images.shape == (10, 6, 6, 3)
    assert source.labels.shape == (10,)
    assert isinstance(source.images, np.memmap)
    # As torchvision itself gives them.
    from torchvision.datasets import FakeData

    for index, (image, target) in enumerate(FakeData(size=10, image_size=(3, 6, 6), num_classes=4)):
        if index == 10:
            break
        assert np.array_equal(source.images[index], np.asarray(image))
        assert source.labels[index] == target
    monkeypatch.setattr(torchvision_sets.subprocess, "run", lambda *a, **k: pytest.fail("read again"))
    assert np.array_equal(through_a_process(tmp_path, arguments=FAKE).images, source.images)


def test_problems_come_back_as_sentences(tmp_path):
    with pytest.raises(gz.DataError, match="torchvision:CIFAR100 cannot be read from"):
        through_a_process(tmp_path, "CIFAR100")
    assert not any(cache.find_cache_folder().glob("*"))


def test_a_name_is_checked_before_torchvision_is_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_sets.subprocess, "run", lambda *a, **k: pytest.fail("a process was started"))
    with pytest.raises(gz.UsageError, match="no set 'FakeDate'; did you mean FakeData"):
        through_a_process(tmp_path, "FakeDate")


def test_a_process_that_dies_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false" if os.name == "posix" else sys.executable)
    with pytest.raises(gz.DataError, match="torchvision:FakeData could not be read: its process ended with 1"):
        through_a_process(tmp_path)


def test_without_torchvision(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_sets, "find_spec", lambda name: None)
    with pytest.raises(gz.DataError, match=r"pip install 'ganzoo-datasets\[torchvision\]'"):
        through_a_process(tmp_path)


def test_arguments_must_be_json(tmp_path):
    for wrong in ("split=letters", "[1]", "{"):
        with pytest.raises(gz.UsageError, match=r"data.arguments is .*expected a JSON object"):
            through_a_process(tmp_path, arguments=wrong)
    with pytest.raises(gz.UsageError, match="needs the name of a set"):
        through_a_process(tmp_path, name="")


def test_a_set_without_parts_has_some_held_out(tmp_path):
    arguments = {"size": 10, "image_size": [1, 4, 4]}
    train, test, whole = (read(tmp_path, "FakeData", split, arguments) for split in ("train", "test", "all"))
    assert (len(train.images), len(test.images), len(whole.images)) == (8, 2, 10)
    assert whole.images.shape[3] == 1  # grey images stay so
    assert "held out" in train.notes[0]


def test_size_and_channels(tmp_path):
    source = read(tmp_path, "FakeData", "all", {"size": 3, "image_size": [3, 4, 9]}, size=5, channels=1)
    assert source.images.shape == (3, 5, 5, 1)


@pytest.mark.parametrize("name", ["MNIST", "KMNIST"])
def test_sets_with_train(tmp_path, write_set, name):
    made = write_set(tmp_path / name / "raw")
    train, test, whole = (read(tmp_path, name, split) for split in ("train", "test", "all"))
    assert np.array_equal(train.images[..., 0], made["train-images"])
    assert np.array_equal(test.labels, made["t10k-labels"])
    assert len(whole.images) == 16
    assert len(train.class_names) == 10
    assert train.notes == ()


def test_a_set_that_needs_an_argument(tmp_path, write_idx):
    with pytest.raises(gz.UsageError, match=r"EMNIST needs 'split'.*data.arguments"):
        read(tmp_path, "EMNIST")
    folder = tmp_path / "EMNIST" / "raw"
    for part, count in (("train", 5), ("test", 2)):
        write_idx(folder / f"emnist-letters-{part}-images-idx3-ubyte", np.zeros((count, 28, 28), np.uint8))
        write_idx(folder / f"emnist-letters-{part}-labels-idx1-ubyte", np.full(count, 26, np.uint8))
    source = read(tmp_path, "EMNIST", "test", {"split": "letters"})
    assert len(source.images) == 2
    assert source.class_names[26] == "z"


def test_cifar10_is_read_from_its_pickles(tmp_path, monkeypatch):
    """The version that the child may open, since torchvision compares its checksums first."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(4)
    data = rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    for name, _ in CIFAR10.train_list + CIFAR10.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": data.reshape(2, -1), "labels": [3, 9]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with pytest.raises(gz.DataError, match="--data cifar10 downloads it"):
        read(tmp_path, "CIFAR10", "test")
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    source = read(tmp_path, "CIFAR10", "test")
    assert np.array_equal(source.images, data.transpose(0, 2, 3, 1))
    assert source.labels.tolist() == [3, 9]
    assert source.class_names == tuple("abcdefghij")


def photographs(folder, names, size=(6, 6)):
    for value, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (value, 0, 0)).save(folder / name)


def test_sets_with_split(tmp_path):
    photographs(tmp_path / "imagenette2", ["train/n01440764/a.JPEG", "val/n01440764/b.JPEG", "val/n03888257/c.JPEG"])
    for wnid in (
        "n02102040",
        "n02979186",
        "n03000684",
        "n03028079",
        "n03394916",
        "n03417042",
        "n03425413",
        "n03445777",
    ):
        photographs(tmp_path / "imagenette2", [f"{part}/{wnid}/x.JPEG" for part in ("train", "val")])
    photographs(tmp_path / "imagenette2", ["train/n03888257/y.JPEG"])
    train, test = read(tmp_path, "Imagenette"), read(tmp_path, "Imagenette", "test")  # whose test part is called val
    assert (len(train.images), len(test.images)) == (10, 10)
    assert train.class_names[0].startswith("tench")  # several names in one tuple
    assert test.labels.max() == 9


def test_a_part_given_as_an_argument_is_the_whole(tmp_path):
    photographs(tmp_path / "eurosat" / "2750", [f"Forest/{number}.jpg" for number in range(5)])
    source = read(tmp_path, "EuroSAT")
    assert len(source.images) == 4
    assert source.class_names == ("Forest",)


def test_images_of_several_sizes(tmp_path):
    photographs(tmp_path / "eurosat" / "2750", ["Forest/a.jpg"])
    photographs(tmp_path / "eurosat" / "2750", ["River/b.jpg"], size=(9, 5))
    with pytest.raises(gz.DataError, match=r"image 1 is 5×9 and the first 6×6.*data.size=64"):
        read(tmp_path, "EuroSAT", "all")
    assert read(tmp_path, "EuroSAT", "all", size=4).images.shape == (2, 4, 4, 3)
    Image.new("RGB", (9, 5), "white").save(tmp_path / "eurosat" / "2750" / "River" / "b.jpg")
    padded = read(tmp_path, "EuroSAT", "all", size=9, fit="pad").images[1]
    assert (padded[[0, 1, 7, 8]] == 0).all()  # a border above and below the picture of 9×5
    assert (padded[2:7] == 255).all()


@pytest.mark.parametrize("first", [0, 1])
def test_grey_and_colour_together(tmp_path, monkeypatch, first):
    from torchvision import datasets

    pair = [(Image.new("L", (2, 2), 9), 0), (Image.new("RGB", (2, 2), (1, 2, 3)), 1)]
    items = [pair[first], pair[1 - first]]
    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, index: items[index])
    images = read(tmp_path, "FakeData", "all", {"size": 2}).images
    assert images[:, 0, 0].tolist() == [[[9, 9, 9], [1, 2, 3]][first], [[9, 9, 9], [1, 2, 3]][1 - first]]


@pytest.mark.parametrize("target", [(1, 2), "cat", None, {"boxes": []}, 0.5])
def test_targets_that_are_no_classes(tmp_path, monkeypatch, target):
    from torchvision import datasets

    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, index: (Image.new("L", (2, 2)), target))
    source = read(tmp_path, "FakeData", "all", {"size": 2})
    assert source.labels is None
    assert "no labels" in source.notes[0]


def test_sets_that_do_not_consist_of_images(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, index: ([1, 2], 0))
    with pytest.raises(gz.DataError, match="gives list; only sets of single images"):
        read(tmp_path, "FakeData", "all", {"size": 2})


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("ImageFolder", {}, "--data folder:PATH"),
        ("cifar100", {}, "did you mean CIFAR100"),
        ("os", {}, "no set 'os'"),
        ("wrap_dataset_for_transforms_v2", {}, "no set"),
        ("FakeData", {"sizes": 3}, "takes no 'sizes'; it takes size, "),
        ("FakeData", {"download": True}, "must not hold 'download'"),
        ("SVHN", {"split": "nope"}, "nope"),
    ],
)
def test_names_and_arguments_that_are_wrong(tmp_path, name, arguments, words):
    with pytest.raises(gz.UsageError, match=words):
        read(tmp_path, name, arguments=arguments)


def test_nothing_is_downloaded_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("tried"))
    for name in ("SEMEION", "KMNIST", "SVHN"):  # SEMEION would, by itself
        with pytest.raises(gz.DataError, match=r"--set data.download=true"):
            read(tmp_path, name)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10"])
def test_torchvision_never_downloads_what_ganzoo_pins(tmp_path, monkeypatch, name):
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("tried"))
    with pytest.raises(gz.DataError, match=f"--data {torchvision_child.OWN_DATASETS[name]} downloads it"):
        read(tmp_path, name, download=True)


def test_torchvision_may_not_fall_back_to_http(tmp_path, server, monkeypatch):
    """KMNIST's own address is http; here it is replaced by the test's server."""
    from torchvision.datasets import KMNIST

    monkeypatch.setattr("urllib.request._opener", None)
    monkeypatch.setattr(KMNIST, "mirrors", [f"{server.url}/"])
    with pytest.raises(gz.DataError, match="could not be downloaded"):
        read(tmp_path, "KMNIST", download=True)
    assert server.asked == []


def test_offline_overrides_the_wish_to_download(tmp_path, monkeypatch):
    asked = []

    def instead_of_the_child(request):
        asked.append(request["download"])
        return gz.ImageSource(images=np.zeros((1, 2, 2, 1), np.uint8))

    monkeypatch.setattr(torchvision_sets, "_read_in_child", instead_of_the_child)
    through_a_process(tmp_path, "SVHN", split="train", download=True)
    monkeypatch.setenv("GANZOO_OFFLINE", "1")
    through_a_process(tmp_path, "SVHN", split="test", download=True)
    assert asked == [True, False]


def test_huge_images_are_refused_in_the_child(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, index: (Image.new("1", (8001, 8000)), 0))
    with pytest.raises(gz.DataError, match=r"image 0 cannot be used: 8001×8000 pixels, more than 64 megapixels$"):
        read(tmp_path, "FakeData", "all", {"size": 1})


def test_real_mnist_in_both_ways(real_data):
    from ganzoo_datasets import mnist

    one = mnist.dataset(name="mnist", root=real_data, split="test")
    two = read(real_data, "MNIST", "test")
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.labels, two.labels)


def test_a_set_that_unpickles_unchecked_files_is_refused(tmp_path):
    with pytest.raises(gz.UsageError, match="LSUN opens pickles, which could run code; use --data folder:PATH"):
        read(tmp_path, "LSUN", arguments={"classes": ["bedroom_train"]})


def test_arguments_lead_to_no_other_folder(tmp_path):
    outside = tmp_path / "outside"
    with pytest.raises(gz.UsageError, match="must not hold 'root'; say --data-root FOLDER"):
        read(tmp_path, "Caltech101", arguments={"root": str(outside)})
    assert not outside.exists()


def test_the_process_works_in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Where a set looks for files in the current folder, a stranger's are not there."""

    class StartedError(Exception):
        """Instead of a process, whose import of torchvision takes long."""

    def start(*words, cwd, **more):
        raise StartedError(cwd)

    monkeypatch.setattr(torchvision_sets.subprocess, "run", start)
    with pytest.raises(StartedError, match="ganzoo-torchvision-"):
        through_a_process(tmp_path, arguments=FAKE.replace("10", "11"))


def test_no_set_that_is_read_opens_a_pickle_that_nothing_checked():
    """Of all readers, CIFAR's pickles are compared with published sums, and LSUN is refused; others would be new."""
    import torchvision

    folder = Path(torchvision.datasets.__file__).parent
    opens = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            call, words = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            unpickles = call in ("pickle.load", "pickle.loads") or words.get("allow_pickle") == "True"
            if unpickles or (call == "torch.load" and words.get("weights_only") != "True"):
                opens.add(path.stem)
    assert opens == {"cifar", "lsun"}
    assert torchvision_sets._PICKLE_SETS == ("LSUN",)
    with pytest.raises(gz.UsageError, match="opens pickles, which could run code"):
        torchvision_sets.check_set_name("LSUN", ["LSUN"])


def test_a_changed_pickle_of_cifar10_is_not_opened(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(gz.DataError):
        read(tmp_path, "CIFAR10")
    assert not (tmp_path / "ran").exists()
