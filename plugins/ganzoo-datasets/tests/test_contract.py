"""What ganzoo holds every plugin to."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from ganzoo_core.testing import Contract

GREY = np.random.default_rng(0).integers(0, 256, (40, 12, 12), dtype=np.uint8)
LABELS = np.arange(40) % 4


def folder(place: Path) -> str:
    for number, (image, label) in enumerate(zip(GREY, LABELS, strict=True)):
        (place / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image).save(place / str(label) / f"{number}.png")
    return str(place)


def pairs(place: Path) -> str:
    for side in "AB":
        (place / side).mkdir()
        for number, image in enumerate(GREY):
            Image.fromarray(image if side == "B" else 255 - image).save(place / side / f"{number}.png")
    return str(place)


def idx(place: Path) -> str:
    for part, chosen in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        images, labels = GREY[chosen], LABELS[chosen].astype(np.uint8)
        header = struct.pack(">HBBIII", 0, 8, 3, *images.shape)
        (place / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        header = struct.pack(">HBBI", 0, 8, 1, len(labels))
        (place / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))
    return str(place)


def npz(place: Path) -> str:
    np.savez(place / "images.npz", images=GREY, labels=LABELS, class_names=np.array(list("abcd")))
    return str(place / "images.npz")


def npy(place: Path) -> str:
    np.save(place / "images.npy", GREY)
    np.save(place / "labels.npy", LABELS)
    return str(place)


class TestContract(Contract):
    plugin = "ganzoo-datasets"
    arguments = {"folder": folder, "pairs": pairs, "idx": idx, "npz": npz, "npy": npy, "torchvision": "FakeData"}  # noqa: RUF012
