"""Good files, from which the damaged ones are made: sets of images, archives, and runs that were trained a little."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.runs import layout
from ganzoo_core.storage import atomic
from ganzoo_datasets import cache
from ganzoo_scores import classifier

TENSORS = {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.array(3, dtype=np.int64)}
EXPECTED = {name: (str(array.dtype), array.shape) for name, array in TENSORS.items()}
GREY = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
LABELS = np.arange(6) % 2
SOURCE = gz.ImageSource(GREY[..., None], LABELS, ("a", "b"))
MODELS = {"torch": ("dcgan-torch", "cgan-torch"), "tensorflow": ("dcgan-tf", "convgan-tf")}
# A run of eight steps: two checkpoints, two snapshots.
SMALL = {
    "model.latent_dim": 2, "train.batch_size": 4, "train.sample_count": 2, "train.report_every": "2steps",
    "train.checkpoint_every": "4steps", "train.snapshot_every": "4steps", "train.sample_every": "4steps",
    "engine.threads": 1, "engine.device": "cpu", "use.schedule": "constant",
}  # fmt: skip
PROTOCOL = {
    "data": "ganzoo-datasets/digits 0.1.0", "reference": "test", "reference_count": 359, "samples": 1000, "seed": 0,
    "extractor": {"name": "classifier", "weights": "ab", "accuracy": 0.99}, "metrics": {"fid": {}}, "ema": False,
}  # fmt: skip
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
MEASURED = {
    "format": 1, "notes": {"walk": "a note."}, "images": 32,
    "walk": {"frames": [PIXEL, PIXEL], "size": [1, 1], "about": "Two frames."},
    "nearest": {
        "shown": [{"uri": PIXEL, "ratio": 0.5, "neighbours": [{"uri": PIXEL, "distance": 1.5, "index": 3}] * 3}],
        "drawn": [1.0, 2.0], "ratios": [0.5, 0.6], "training": [1.0, 1.5], "about": "Looked at: all.",
    },
}  # fmt: skip


def make_idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def make_npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def make_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def make_picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY[0]).convert("RGB").save(buffer, format=kind)
    return buffer.getvalue()


def make_archive() -> bytes:
    """CIFAR-10's binary archive with one record a file."""
    buffer = io.BytesIO()
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = 3073
            tar.addfile(info, io.BytesIO(bytes(3073)))
    return buffer.getvalue()


def make_shard() -> bytes:
    """A tar of two pictures with classes."""
    buffer = io.BytesIO()
    members = {"0.png": make_picture("PNG"), "0.cls": b"1", "1.jpg": make_picture("JPEG"), "1.json": b'{"label": 0}'}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_parquet() -> bytes:
    """Pictures as the Hub stores them."""
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    rows = [{"bytes": make_picture(kind), "path": f"{kind}.x"} for kind in ("PNG", "JPEG", "WEBP")]
    about = {"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"image": rows, "label": [0, 1, 1]}).replace_schema_metadata(
        {"huggingface": json.dumps(about)}
    )
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def seal(contents: Mapping[str, bytes], run: str = "") -> bytes:
    """The manifest of a folder with these files, so that a damaged one is not refused by its digest."""
    facts = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    return json.dumps({"format": 1, "files": facts, "run": run}, indent=1).encode()


def seal_folder(run: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    """A run's files with the manifest of one of its folders written anew."""
    manifest = f"{folder}/{atomic.MANIFEST}"
    inner = {
        name.removeprefix(f"{folder}/"): content
        for name, content in run.items()
        if name.startswith(f"{folder}/") and name != manifest
    }
    return {**run, manifest: seal(inner, str(json.loads(run[manifest]).get("run", "")))}


def make_score(images: int, fid: float) -> dict[str, Any]:
    return {
        "images": images, "scores": {"fid": fid, "accuracy": 0.5}, "real": {"fid": 0.5},
        "classes": {"share": {"0": 0.5, "1": 0.5}}, "better": {"fid": "lower"}, "protocol": PROTOCOL,
        "generator": "ab", "during": "training",
    }  # fmt: skip


def train_runs(place: Path, framework: str) -> dict[str, dict[str, bytes]]:
    """The files of a small run of an unconditional and of a conditional model, as they are at every call."""
    plain, conditional = MODELS[framework]
    asked = {"torch": {"model.width": 2, "data.size": 16}, "tensorflow": {}}[framework]
    found = {}
    for name, model in (("run", plain), ("conditional", conditional)):
        own = asked if name == "run" else {}
        steps = 8 if name == "run" else 1
        python_api.train(model, settings={**SMALL, **own}, steps=steps, out=place / name, quiet=True)
        found[name] = read_files(place / name)
    if framework == "torch":
        found["cache"] = fill_cache(place / "cache")
    run = found["run"]
    run["scores.jsonl"] = b"".join(
        json.dumps(make_score(images, fid)).encode() + b"\n" for images, fid in ((16, 9.0), (32, 4.0))
    )
    run["report/measured.json"] = json.dumps(MEASURED).encode()
    run["trackers/tensorboard/events"] = b"x"
    return {name: contents if name == "cache" else _replace_times(contents) for name, contents in found.items()}


def fill_cache(folder: Path) -> dict[str, bytes]:
    """What the plugins of data sets and of scores keep in the user's cache."""
    os.environ["GANZOO_CACHE"] = str(folder)
    read_cached_set()
    read_classifier()
    return {name: content for name, content in read_files(folder).items() if not name.endswith(".lock")}


def read_cached_set() -> None:
    """A set whose arrays are kept, or else decoded anew."""
    source = cache.load_or_build({"set": "fuzz"}, lambda: SOURCE)
    np.asarray(source.images[:1])
    texts = (*source.class_names, *source.notes)
    if not all(isinstance(text, str) for text in texts) or not isinstance(source.background, int | None):
        raise TypeError(f"what was kept of the arrays has other types: {texts}, {source.background!r}"[:400])


def read_classifier() -> None:
    """A classifier that is kept, or else trained anew."""
    found = classifier.extractor("classifier", "fuzz", lambda part: SOURCE, print, {"least_accuracy": 0.01})
    found.extract(SOURCE.images[:2])
    json.dumps(dict(found.facts), allow_nan=False)


def _replace_times(run: dict[str, bytes]) -> dict[str, bytes]:
    """Times and the run's id, which differ from call to call, replaced: case N must be the same at every call."""
    own = str(read_run_id(run))
    run = {name: content.replace(own.encode(), b"0" * len(own)) if own else content for name, content in run.items()}
    lines = [json.loads(line) for line in run[layout.STATS].splitlines()]
    clock = {"seconds": 1.0, "images_per_second": 4.0}
    stats = [json.dumps({key: clock.get(key, value) for key, value in line.items()}) for line in lines]
    run[layout.STATS] = "".join(f"{line}\n" for line in stats).encode()
    for name in [name for name in run if name.endswith(f"/{layout.POSITION}")]:
        run[name] = json.dumps({**json.loads(run[name]), "seconds": 1.0}, indent=1).encode()
        run = seal_folder(run, name.removesuffix(f"/{layout.POSITION}"))
    run.pop("report.html", None)
    return run


def read_run_id(run: Mapping[str, bytes]) -> str:
    manifests = [json.loads(content) for name, content in run.items() if name.endswith(atomic.MANIFEST)]
    return next((str(manifest["run"]) for manifest in manifests if manifest.get("run")), "")
