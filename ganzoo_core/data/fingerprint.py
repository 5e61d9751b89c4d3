"""Fingerprint of a data set: a digest of every image, in order, with the labels, the class names and the conditions.

It is saved in a run's folder, so that later commands can say in counts what has changed. The fingerprint of a large
file that stays on the disk is also cached, with the file's size and times, so that the file is read only once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct

from ganzoo_core.api import Images, ImageSource
from ganzoo_core.data.conditions import Rows, is_picture
from ganzoo_core.data.lazy import CHUNK_BYTES, LazyImages
from ganzoo_core.errors import GanzooError
from ganzoo_core.image_source import MAX_CONDITION_CHANNELS
from ganzoo_core.storage import atomic, decoding, files
from ganzoo_core.storage.paths import find_cache_folder
from ganzoo_core.storage.records import MAX_CONDITIONS, ConditionName, ConditionShape, SideLength
from ganzoo_core.storage.tensors import pack_tensors, read_tensors

RECORD_FILE, DIGESTS_FILE = "about.json", "digests.safetensors"
MAX_DIGESTS = 100_000  # digests that are kept: one per image up to this number, one per block of images above
MIN_CACHED_BYTES = 2**26  # bytes: a smaller file is not cached, since it is read quickly
SETTLED_SECONDS = 2.0  # seconds: a file that changed more recently may change again within one tick of its clock
PROGRESS_SECONDS = 5.0  # seconds between progress messages
MAX_NAMES_LENGTH = 400_000  # characters of JSON up to which class names are kept, not only their digest
Say = Callable[[str], None]


class FileStamp(Struct, frozen=True):
    """A file's absolute path, size in bytes, and modification and change times in nanoseconds, when it was read."""

    path: Annotated[str, Meta(max_length=5000)]
    size: Annotated[int, Meta(ge=0)]
    mtime_ns: int
    ctime_ns: int


class RowsRecord(Struct, frozen=True):
    """A condition in `about.json`: the shape of a row, and what `DataRecord` says of the images."""

    shape: ConditionShape
    block: Annotated[int, Meta(ge=1, le=2**40)]
    total: Annotated[str, Meta(max_length=20)]
    sha256: Annotated[str, Meta(max_length=64)]


class DataRecord(Struct, frozen=True):
    """`about.json` of a set's fingerprint; see `fingerprint.Fingerprint`.

    Attributes:
        label_type: the dtype of the saved labels; None without labels.
        file: the file of the images, in a cache entry.
    """

    format: Literal[1]
    images: Annotated[int, Meta(ge=1, le=10**12)]
    size: tuple[SideLength, SideLength, Annotated[int, Meta(ge=1, le=MAX_CONDITION_CHANNELS)]]
    block: Annotated[int, Meta(ge=1, le=2**40)]
    total: Annotated[str, Meta(max_length=20)]
    sha256: Annotated[str, Meta(max_length=64)]
    label_type: Literal["uint8", "uint16", "uint32", "uint64"] | None
    class_names: list[str] | None
    names_sha256: Annotated[str, Meta(max_length=64)]
    background: Annotated[int, Meta(ge=0, le=255)] | None
    file: FileStamp | None = None
    conditions: Annotated[dict[ConditionName, RowsRecord], Meta(max_length=MAX_CONDITIONS)] = {}


@dataclass(frozen=True)
class ImageDigests:
    """Digests of N images of height H, width W and C channels, or of the N rows of a condition.

    Attributes:
        count: N.
        size: H, W, C, or the shape of a row.
        digests: uint64 [ceil(N / block)], the digest of each image, or of each block of images.
        block: images in a block; the last block may be shorter.
        total: the sum of all images' digests modulo 2^64, which does not depend on their order.
        sha256: the SHA-256 of all images' digests, in order.
    """

    count: int
    size: tuple[int, ...]
    digests: np.ndarray
    block: int
    total: int
    sha256: str


@dataclass(frozen=True)
class Fingerprint:
    """Everything about a set that a run depends on.

    Attributes:
        images: the digests of the images.
        labels: [N], in the smallest unsigned type that holds them, or uint64 digests of blocks of labels; None without
            labels.
        class_names: None if they are too long to keep.
        names_sha256: the SHA-256 of the class names.
        background: see `ImageSource`.
        conditions: the digests of each condition's rows.
    """

    images: ImageDigests
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None
    names_sha256: str
    background: int | None
    conditions: Mapping[str, ImageDigests] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the whole fingerprint, equal for two sets only if they are the same."""
        labels = None if self.labels is None else _sha256(self.labels.astype("<u8").tobytes())
        parts = [self.images.count, self.images.size, self.images.sha256, labels, self.names_sha256, self.background]
        if self.conditions:
            parts.append([[name, rows.size, rows.sha256] for name, rows in sorted(self.conditions.items())])
        return _sha256(json.dumps(parts).encode())

    def to_facts(self) -> dict[str, Any]:
        """The summary recorded in `config.yaml`."""
        return {"images": self.images.count, "size": list(self.images.size), "sha256": self.sha256}


def compute_fingerprint(source: ImageSource, say: Say | None = None) -> Fingerprint:
    """Compute a set's fingerprint by reading all of it; for a large, unchanged file the digests come from the cache.

    Args:
        source: the set.
        say: receives progress messages if it takes long.
    """
    images = digest_source(source, say)
    labels = None if source.labels is None else _pack_labels(source.labels, images.block)
    names = tuple(map(str, source.class_names))
    packed = json.dumps(names)
    conditions = {
        name: read_or_digest_images(rows, say) if is_picture(rows) else digest_images(rows, say)
        for name, rows in source.conditions.items()
    }
    kept_names = names if len(packed) <= MAX_NAMES_LENGTH else None
    return Fingerprint(images, labels, kept_names, _sha256(packed.encode()), source.background, conditions)


def digest_source(source: ImageSource, say: Say | None = None) -> ImageDigests:
    """The digests of a set's images: those that it brings itself, else as `read_or_digest_images`."""
    size, known = source.images.shape[1:], source.digests
    if known is None:
        return read_or_digest_images(source.images, say)
    return _join_digests(len(known), size, lambda start, stop: known[start:stop].astype("<u8").tobytes(), say)


def digest_images(images: Rows, say: Say | None = None) -> ImageDigests:
    """Digest images [N,H,W,C] or the rows of a condition, 64 MiB of them at a time."""
    length = math.prod(images.shape[1:]) * images.dtype.itemsize

    def digest_rows(start: int, stop: int) -> bytes:
        rows = np.asarray(images[start:stop])
        content = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
        return b"".join(
            hashlib.blake2b(content[at : at + length], digest_size=16).digest() for at in range(0, len(content), length)
        )

    return _join_digests(len(images), images.shape[1:], digest_rows, say, step=CHUNK_BYTES // length)


def _join_digests(
    count: int, size: Sequence[int], digest_rows: Callable[[int, int], bytes], say: Say | None, step: int = 2**16
) -> ImageDigests:
    """Join digests of rows, 16 bytes each, which a function gives from one row to before another, `step` at a time."""
    block = 1
    while -(-count // block) > MAX_DIGESTS:
        block *= 2
    step = max(1, step // block) * block
    sha256, parts, total = hashlib.sha256(), [], 0
    reported_at = time.monotonic()
    for start in range(0, count, step):
        if say is not None and time.monotonic() - reported_at > PROGRESS_SECONDS:
            say(f"taking the data's fingerprint: {start:,} of {count:,} images")
            reported_at = time.monotonic()
        hashed = digest_rows(start, min(count, start + step))
        sha256.update(hashed)
        each = np.frombuffer(hashed, "<u8")[::2]
        total = (total + int(each.sum(dtype=np.uint64))) % 2**64
        parts.append(each.copy() if block == 1 else _digest_blocks(hashed, block * 16))
    return ImageDigests(count, tuple(map(int, size)), np.concatenate(parts), block, total, sha256.hexdigest())


def save(folder: Path, fingerprint: Fingerprint, stamp: FileStamp | None = None) -> None:
    """Save a fingerprint in its own folder; raises OSError if the disk refuses."""
    images = fingerprint.images
    record = {
        "format": 1,
        "images": images.count,
        "size": list(images.size),
        "block": images.block,
        "total": f"{images.total:016x}",
        "sha256": images.sha256,
        "label_type": None if fingerprint.labels is None else str(fingerprint.labels.dtype),
        "class_names": None if fingerprint.class_names is None else list(fingerprint.class_names),
        "names_sha256": fingerprint.names_sha256,
        "background": fingerprint.background,
        "file": None if stamp is None else {name: getattr(stamp, name) for name in stamp.__struct_fields__},
    }
    if fingerprint.conditions:
        record["conditions"] = {
            name: {"shape": list(rows.size), "block": rows.block, "total": f"{rows.total:016x}", "sha256": rows.sha256}
            for name, rows in fingerprint.conditions.items()
        }
    tensors = {"images": images.digests}
    tensors |= {_name_tensor(name): rows.digests for name, rows in fingerprint.conditions.items()}
    if fingerprint.labels is not None:
        tensors["labels"] = fingerprint.labels
    contents = {RECORD_FILE: json.dumps(record).encode(), DIGESTS_FILE: pack_tensors(tensors)}
    atomic.write_folder(folder, contents)


def load(folder: Path) -> Fingerprint | None:
    """Load the fingerprint in a folder; None if there is none or it is damaged."""
    try:
        return _load(folder)[0]
    except (GanzooError, OSError, ValueError):
        return None


def _load(folder: Path) -> tuple[Fingerprint, FileStamp | None]:
    if not files.is_folder(folder) or not atomic.is_valid(folder):
        raise ValueError("there is none")
    record = decoding.read_record(folder / RECORD_FILE, DataRecord)
    blocks = (-(-record.images // record.block),)
    expected = {"images": ("uint64", blocks)}
    if record.label_type is not None:
        expected["labels"] = (record.label_type, (record.images,) if record.block == 1 else blocks)
    for name, rows in record.conditions.items():
        expected[_name_tensor(name)] = ("uint64", (-(-record.images // rows.block),))
    tensors = read_tensors(folder / DIGESTS_FILE, expected)
    images = ImageDigests(
        record.images, record.size, tensors["images"], record.block, int(record.total, 16), record.sha256
    )
    names = None if record.class_names is None else tuple(record.class_names)
    conditions = {
        name: ImageDigests(
            record.images, tuple(rows.shape), tensors[_name_tensor(name)], rows.block, int(rows.total, 16), rows.sha256
        )
        for name, rows in record.conditions.items()
    }
    labels = tensors.get("labels")
    return Fingerprint(images, labels, names, record.names_sha256, record.background, conditions), record.file


def _name_tensor(condition: str) -> str:
    return f"conditions.{condition}"


def read_or_digest_images(images: Images, say: Say | None) -> ImageDigests:
    """Digest images [N,H,W,C]; for a large, unchanged file the digests come from the cache."""
    key, path = _find_file(images)
    if path is None:
        return digest_images(images, say)
    entry = find_cache_folder() / "fingerprints" / key
    with contextlib.suppress(GanzooError, OSError, ValueError):
        cached, stamp = _load(entry)
        if stamp == _read_stamp(path) and files.is_own(entry) and cached.images.size == images.shape[1:]:
            return cached.images
    before = _read_stamp(path)
    digests = digest_images(images, say)
    is_settled = time.time_ns() - max(before.mtime_ns, before.ctime_ns) > SETTLED_SECONDS * 1e9
    if before == _read_stamp(path) and is_settled:
        with contextlib.suppress(OSError):  # the cache is optional
            save(entry, Fingerprint(digests, None, (), "0" * 64, None), before)
    return digests


def _find_file(images: Images) -> tuple[str, Path | None]:
    """The cache entry's name and the file, if the images are a large read-only memory map; else "" and None."""
    rows: np.ndarray | None = None
    base: Any = images
    if isinstance(base, LazyImages) and base.transform is None:
        base, rows = base.base, base.rows
    if not isinstance(base, np.memmap) or base.nbytes < MIN_CACHED_BYTES:
        return "", None
    root: Any = base
    while isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode != "r":
        return "", None
    path = Path(root.filename).absolute()
    layout = [root.offset, base.ctypes.data - root.ctypes.data, base.shape, base.strides]
    rows_sha256 = None if rows is None else _sha256(np.ascontiguousarray(rows, "<i8").tobytes())
    return _sha256(json.dumps([str(path), layout, rows_sha256]).encode())[:40], path


def _read_stamp(path: Path) -> FileStamp:
    """Stamp that shows whether a file has changed. The ctime reveals changes even if the mtime was set back."""
    status = path.stat()
    return FileStamp(str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _pack_labels(labels: np.ndarray, block: int) -> np.ndarray:
    if block > 1:
        return _digest_blocks(np.ascontiguousarray(labels, "<i8").tobytes(), block * 8)
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))))


def _digest_blocks(content: bytes, length: int) -> np.ndarray:
    """Digest each `length` bytes: uint64 [blocks]."""
    digests = (
        hashlib.blake2b(content[at : at + length], digest_size=8).digest() for at in range(0, len(content), length)
    )
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
