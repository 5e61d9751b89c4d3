"""What ganzoo holds every plugin to."""

import gzip
import io
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
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


def shards(place: Path) -> str:
    with tarfile.open(place / "0.tar", "w") as tar:
        for number, (content, label) in enumerate(encode()):
            for ending, each in (("png", content), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(each)
                tar.addfile(member, io.BytesIO(each))
    return str(place)


def parquet(place: Path) -> str:
    pyarrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    contents, labels = zip(*encode(), strict=True)
    writer.write_table(pyarrow.table({"image": contents, "label": labels}), place / "0.parquet")
    return str(place)


def encode() -> Iterator[tuple[bytes, int]]:
    for image, label in zip(GREY, LABELS, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        yield buffer.getvalue(), int(label)


@pytest.mark.slow
class TestContract(Contract):
    plugin = "ganzoo-datasets"
    arguments = {  # noqa: RUF012
        "folder": folder, "pairs": pairs, "shards": shards, "parquet": parquet, "idx": idx, "npz": npz, "npy": npy,
        "torchvision": "FakeData",
    }  # fmt: skip
