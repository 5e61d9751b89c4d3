"""Damage files in a thousand ways and read them: each must be read, or refused in a sentence.

    python tests/fuzz.py --count 20000

Files are weights, cards, positions, settings, manifests, images and sets of images as ganzoo or others write them.
Bytes are flipped, cut, doubled or replaced. Whatever raises something else than ganzoo's own error, takes
over ten seconds, or needs more than 2 GiB beyond what is in use at the start is a fault, and is written down.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import json
import os
import random
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganzoo_core import building, catalog, checkpoint, manifest, mix, rundir, session
from ganzoo_core.api import GanzooError
from ganzoo_core.settings import read_config, read_facts
from ganzoo_datasets.archive import unpack

SECONDS, BYTES = 10, 2 * 2**30
TENSORS = {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.array(3, dtype=np.int64)}
EXPECTED = {name: (str(array.dtype), array.shape) for name, array in TENSORS.items()}
GENERATOR: dict[str, bytes] = {}
GREY = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
EVIL = (b"\x00", b"\xff", b"\x80", b"{", b"[" * 500, b'"', b"9" * 40, b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"!!python/")
MANIFEST = """api = 1
[models.a]
title = "A"
framework = "torch"
hooks = "a.hooks"
image_sizes = [16, 32]
has.batchnorm_in_discriminator = { setting = "model.norm", is = "batch" }
[models.a.defaults]
model.width = 8
model.norm = "batch"
[models.a.choices]
model.norm = ["batch", "none"]
[models.a.presets.small]
model.width = 4
"""
CONFIG = 'train.lr: 2e-4\nuse.loss: "hinge"\ntrain: {batch_size: 8, betas: [0.5, 0.999]}\nrun:\n  preset: "digits"\n'
FACTS = b'{"format": 1, "files": {"a": {"bytes": 3, "sha256": "0"}}}'
CARD = {"format": 1, "images": 100, "values": {}, "spec": {"height": 8}, "class_names": ["a"], "crop": None}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY[0]).convert("RGB").save(buffer, format=kind)
    return buffer.getvalue()


def archive() -> bytes:
    """CIFAR-10's binary archive with one record a file."""
    buffer = io.BytesIO()
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = 3073
            tar.addfile(info, io.BytesIO(bytes(3073)))
    return buffer.getvalue()


def dataset(name: str, argument: str, root: Path) -> None:
    """Read a set as a run would, its cache in a place of its own."""
    os.environ["GANZOO_CACHE"] = str(root / "cache")
    request = mix.Request(picks={"model": "dcgan-torch", "data": f"{name}:{argument}"})
    source = building.load_data(mix.resolve(catalog.scan(), request), root)
    np.asarray(source.images[:1])


def make_generator(place: Path) -> None:
    """A small generator, whose files are then damaged."""
    settings = {"model.width": 2, "model.latent_dim": 2, "data.size": 16, "train.batch_size": 2}
    session.train("dcgan-torch", settings=settings, steps=1, out=place / "run", quiet=True)
    for kind, name in (("card", rundir.CARD), ("generator's weights", rundir.WEIGHTS)):
        GENERATOR[name] = (place / "run" / "generator" / name).read_bytes()
        KINDS[kind] = (name, GENERATOR[name], read_generator)


def read_generator(path: Path) -> None:
    """One of its files is damaged; the other is as it was."""
    for name, content in GENERATOR.items():
        if name != path.name:
            (path.parent / name).write_bytes(content)
    session.load(path.parent, device="cpu").generate(1)


def read_folder(path: Path) -> None:
    checkpoint.is_valid(path.parent)
    checkpoint.read_json(path)


def read_manifest(path: Path) -> None:
    """A manifest never raises: it gives parts and problems."""
    manifest.read(path, distribution="a", version="1", package="a")


# kind -> the file's name, good contents, and what reads it
KINDS: dict[str, tuple[str, bytes, Callable[[Path], Any]]] = {
    "safetensors": ("w.safetensors", checkpoint.pack(TENSORS), lambda path: checkpoint.read_tensors(path, EXPECTED)),
    "any safetensors": ("w.safetensors", checkpoint.pack(TENSORS), checkpoint.read_matching),
    "card": (rundir.CARD, b"", read_generator),
    "generator's weights": (rundir.WEIGHTS, b"", read_generator),
    "position": (rundir.POSITION, json.dumps(CARD).encode(), lambda path: rundir.read_position(path.parent)),
    "folder's manifest": (checkpoint.MANIFEST, FACTS, read_folder),
    "config": ("config.yaml", CONFIG.encode(), read_config),
    "facts": ("config.yaml", CONFIG.encode(), read_facts),
    "plugin's manifest": ("ganzoo.toml", MANIFEST.encode(), read_manifest),
    "idx": ("train-images-idx3-ubyte", idx(GREY), lambda path: dataset("idx", str(path.parent), path.parent)),
    "idx.gz": (
        "train-images-idx3-ubyte.gz", gzip.compress(idx(GREY)),
        lambda path: dataset("idx", str(path.parent), path.parent),
    ),
    "npz": (
        "a.npz", npz(images=GREY, labels=np.arange(6), class_names=np.array(list("abcdef"))),
        lambda path: dataset("npz", str(path), path.parent),
    ),
    "png": ("a.png", picture("PNG"), lambda path: dataset("folder", str(path.parent), path.parent)),
    "jpeg": ("a.jpg", picture("JPEG"), lambda path: dataset("folder", str(path.parent), path.parent)),
    "archive": (
        "a.tar.gz", archive(),
        lambda path: unpack(path, path.parent / "cifar-10-batches-bin", wanted=["test_batch.bin"], limit=10**6),
    ),
}  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randint(1, 16))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:end]
        elif kind == 2:
            changed[at:at] = rng.choice(EVIL)
        elif kind == 3:
            changed[at:end] = rng.choice(EVIL)
        elif kind == 4:
            changed[at:at] = changed[at:end] * rng.randint(1, 50)
        else:
            del changed[at:]
    return bytes(changed)


def give_up(number: int, frame: Any) -> None:
    raise TimeoutError(f"over {SECONDS} seconds")


def try_one(kind: str, content: bytes) -> tuple[str, str]:
    """`read`, `refused` or `FAULT`, and the fault's traceback."""
    name, _, reader = KINDS[kind]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        path.write_bytes(content)
        signal.alarm(SECONDS)
        try:
            reader(path)
        except GanzooError as error:
            return ("refused", "") if "\n" not in str(error).strip() or kind == "config" else ("FAULT", str(error))
        except Exception:
            return "FAULT", traceback.format_exc()
        finally:
            signal.alarm(0)
    return "read", ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ["GANZOO_OFFLINE"] = "1"
    signal.signal(signal.SIGALRM, give_up)
    with tempfile.TemporaryDirectory() as place:
        make_generator(Path(place))
    for kind, (_, content, _) in KINDS.items():
        told, fault = try_one(kind, content)
        if told == "FAULT":
            print(f"{kind}, undamaged: {fault}", file=sys.stderr)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
    rng, counts = random.Random(args.seed), collections.Counter[str]()
    for number in range(args.count):
        kind = list(KINDS)[number % len(KINDS)]
        content = damaged(KINDS[kind][1], rng)
        told, fault = try_one(kind, content)
        counts[told] += 1
        if told == "FAULT":
            print(f"{kind}, number {number}: {content[:200]!r}\n{fault}", file=sys.stderr)
    print(json.dumps({"files": args.count, "kinds": len(KINDS), **counts, "faults": counts["FAULT"]}))
    return 1 if counts["FAULT"] else 0


if __name__ == "__main__":
    sys.exit(main())
