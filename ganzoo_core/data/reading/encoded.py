"""Image files that stay encoded: a batch is decoded when it is indexed, in processes ahead of its use.

What is known of each file without its pixels lies in an array of `IMAGE_FACTS`, 46 bytes an image, so that a million
need no objects. The pixels are those that `ImageSet` would read.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ganzoo_core.data.cores import count_available_cores, measure_busy_cores
from ganzoo_core.data.reading import pool, ranges
from ganzoo_core.data.reading.archives import digest_bytes
from ganzoo_core.data.reading.decoding import Task, perform
from ganzoo_core.data.reading.formats import BadImage, limit_pillow_for_good
from ganzoo_core.data.reading.options import ReadOptions, parse_options
from ganzoo_core.data.reading.scan import ImageFile
from ganzoo_core.errors import DataError, GanzooError, UsageError
from ganzoo_core.messages import format_value, pluralise, quote_name
from ganzoo_core.processes import ChildEnded

SAMPLES = ("uint8", "uint16", "int16", "uint32", "int32", "float32")
IMAGE_FACTS = np.dtype(
    [
        ("height", "<i4"), ("width", "<i4"), ("grey", "?"), ("sample", "u1"), ("frames", "<i4"),
        ("low", "<f8"), ("high", "<f8"), ("digest", "u1", 16),
    ]
)  # fmt: skip
"""What `inspect_image` finds: a `Header`, `sample` being the index in `SAMPLES`, and the least and greatest value of an
image of more than 8 bits, else 0; and the digest of its bytes."""
MAX_DECODERS = 64  # processes
_MAX_NAMED = 5  # images that a message names


def inspect_image(file: ImageFile, *, decode: bool = False) -> tuple[Any, ...]:
    """One row of `IMAGE_FACTS`, of an image file.

    Args:
        file: the image.
        decode: whether to decode it as well, which alone finds damage behind the header.

    Raises:
        DataError: if it cannot be read; the message says why, without naming the file.
    """
    limit_pillow_for_good()
    header, low, high = perform(Task("header"), file), 0.0, 0.0
    if header.sample != "uint8":
        low, high = perform(Task("extremes"), file)
    elif decode:  # at an eighth of its size if it can be: all of its bytes are read
        perform(Task("decode", side=1, height=1, width=1), file)
    try:
        with file.open() as stream:
            digest = np.frombuffer(digest_bytes(stream.read()), np.uint8)
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror or error}") from None
    return header.height, header.width, header.grey, SAMPLES.index(header.sample), header.frames, low, high, digest


class EncodedImages:
    """Images [N,H,W,C] that lie encoded in files; see `api.Images`. Only `images[order]` decodes.

    Args:
        files: one for each image; each is made when it is asked for.
        task: how they are decoded.
        workers: processes that decode, started at the first use; 0 to decode in the calling thread. The images do not
            depend on it.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[ImageFile], task: Task, workers: int) -> None:
        self.files, self.task, self.workers = files, task, workers
        self.shape = (len(files), task.height, task.width, task.channels)
        self._pool: pool.WorkerPool | None = None
        self._pool_lock = threading.Lock()  # a batch may be read ahead in a thread while another reads too

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, order: Any) -> np.ndarray:
        """uint8 [N,H,W,C] of the images at indices int64 [N].

        Raises:
            DataError: if one cannot be decoded, or has changed.
            GanzooError: if a process that decodes ended.
        """
        files = [self.files[row] for row in np.asarray(order).tolist()]
        images = np.empty((len(files), *self.shape[1:]), np.uint8)
        for index, result in enumerate(self._decode(files)):
            if isinstance(result, BadImage):
                raise DataError(
                    f"{files[index].title} cannot be read: {result}; remove it, or say --set data.skip_bad=true, which "
                    "decodes all images once before training, and leaves out those that cannot be"
                )
            images[index] = result[0]
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[np.arange(len(self))]
        return whole if dtype is None else whole.astype(dtype)

    def _decode(self, files: Sequence[ImageFile]) -> Iterator[Any]:
        """The result of `perform`, or its BadImage, for each file in order."""
        if not self.workers:
            limit_pillow_for_good()
            yield from map(self._attempt, files)
            return
        with self._pool_lock:
            workers = self._pool = self._pool or pool.WorkerPool(self.workers)
        size = min(pool.find_chunk_size(self.task), -(-len(files) // self.workers) or 1)
        try:
            for results in workers.perform(self.task, (files[at : at + size] for at in range(0, len(files), size))):
                yield from results
        except ChildEnded as error:
            raise GanzooError(
                f"{error}. The images do not depend on how many processes decode them: --set data.workers=0 goes "
                "without, or try fewer"
            ) from None

    def _attempt(self, file: ImageFile) -> Any:
        try:
            return perform(self.task, file)
        except BadImage as error:
            return error


@dataclass(frozen=True)
class EncodedSet:
    """The images of `open_encoded`, and what a user should know of them.

    Attributes:
        images: [N,H,W,C].
        sizes: int64 [N,2], original height and width of each image.
        digests: uint64 [N,2], of each image's bytes in its file and of how they are decoded.
        notes: ranges of values, frames left out, and the processes that decode.
    """

    images: EncodedImages
    sizes: np.ndarray
    digests: np.ndarray
    notes: tuple[str, ...]


def open_encoded(
    files: Sequence[ImageFile],
    facts: np.ndarray,
    options: Mapping[str, Any],
    *,
    rows: np.ndarray | None = None,
    name: str = "",
) -> EncodedSet:
    """Open image files without decoding them, to be read alike: one size, the same channels, one range of values.

    Args:
        files: of a whole set.
        facts: `IMAGE_FACTS` [N] of them, by which the channels and the ranges are chosen.
        options: of the dataset; those that `ImageSet` uses, but for `frames`, and `workers`, see `count_decoders`.
        rows: indices of the images that are opened; None for all.
        name: the folder, for messages, or "".

    Raises:
        UsageError: for an invalid option.
        DataError: if there are none, if their sizes differ and none is set, or if one is too large to decode.
    """
    read, prefix = parse_options(options), f"{quote_name(name)}: " if name else ""
    channels, (windows, notes) = read.channels or (1 if facts["grey"].all() else 3), _choose_windows(facts, read)
    if rows is not None:
        files, facts = _Chosen(files, rows), facts[rows]
    if not len(files):
        raise DataError(f"{prefix}no image files")
    height, width = _find_size(files, facts, read.size, prefix)
    task = Task(
        "decode",
        side=max(height, width),
        max_pixels=read.max_megapixels * 1e6,
        height=height,
        width=width,
        channels=channels,
        fit=read.fit,
        windows=windows,
    )
    _check_pixels(files, facts, task, prefix)
    if several := int((facts["frames"] > 1).sum()):
        what = f"{several:,} files hold" if several > 1 else "1 file holds"
        notes.append(f"{what} more than one frame or page, and the first is used")
    workers = count_decoders(str(options.get("workers", "auto")), height * width)
    images = EncodedImages(files, task, workers)
    who = f"{workers} processes decode" if workers > 1 else "one process decodes" if workers else "a thread decodes"
    notes.append(f"the images lie encoded in their files, and {who} them; data.workers sets how many processes do")
    sizes = np.stack([facts["height"], facts["width"]], axis=1).astype(np.int64)
    return EncodedSet(images, sizes, _digest_decoded(facts["digest"], task), tuple(notes))


class _Chosen(Sequence[ImageFile]):
    """Some of a sequence of files."""

    def __init__(self, files: Sequence[ImageFile], rows: np.ndarray) -> None:
        self._files, self._rows = files, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._files[int(self._rows[index])]


def count_decoders(setting: str, pixels: int) -> int:
    """How many processes decode ahead, by `data.workers`: a number, or `auto` for the cores that are free.

    `auto` leaves one core to training, counts those that other processes keep busy as taken, and shares the rest among
    the processes of a run on this machine, by torchrun's `LOCAL_WORLD_SIZE`; the memory must suffice.

    Args:
        setting: `data.workers`.
        pixels: of the largest image.

    Raises:
        UsageError: if it is neither.
    """
    if setting.isascii() and setting.isdecimal() and int(setting[:4]) <= MAX_DECODERS:
        return int(setting)
    if setting != "auto":
        raise UsageError(
            f"data.workers is {format_value(setting)}; expected auto, or a number of processes from 0 to {MAX_DECODERS}"
        )
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    ranks = max(1, int(text) if text.isdecimal() else 1)
    free = min(count_available_cores() - round(measure_busy_cores()), pool.count_workers(pixels, most=MAX_DECODERS))
    return max(0, free // ranks - 1)


def _digest_decoded(digests: np.ndarray, task: Task) -> np.ndarray:
    """Digests of files uint8 [N,16] -> digests of what is decoded of them, uint64 [N,2]."""
    of_pixels = {name: value for name, value in asdict(task).items() if name != "max_pixels"}
    how = json.dumps(of_pixels, sort_keys=True).encode()
    content = np.ascontiguousarray(digests).tobytes()
    parts = (content[at : at + 16] + how for at in range(0, len(content), 16))
    return np.frombuffer(b"".join(map(digest_bytes, parts)), "<u8").astype(np.uint64).reshape(-1, 2)


def _find_size(files: Sequence[ImageFile], facts: np.ndarray, size: int, prefix: str) -> tuple[int, int]:
    """The height and width that all are brought to, or have."""
    if size:
        return size, size
    first, differs = facts[0], (facts["height"] != facts["height"][0]) | (facts["width"] != facts["width"][0])
    if differs.any():
        other = int(np.argmax(differs))
        raise DataError(
            f"{prefix}{files[0].title} is {first['width']}×{first['height']} pixels and {files[other].title} "
            f"{facts['width'][other]}×{facts['height'][other]}; data.size=0 keeps images that all have one size: say "
            "--set data.size=64"
        )
    return int(first["height"]), int(first["width"])


def _choose_windows(facts: np.ndarray, read: ReadOptions) -> tuple[dict[str, ranges.Range], list[str]]:
    """One range of values for all images of a type."""
    used = [SAMPLES[code] for code in np.unique(facts["sample"])]
    if read.range == "full":
        ranges.check_full(used)
    extremes = {}
    for sample in used:
        if sample != "uint8":
            ours = facts[facts["sample"] == SAMPLES.index(sample)]
            extremes[sample] = [(float(ours["low"].min()), float(ours["high"].max()))]
    return ranges.choose_windows(read.range, extremes)


def _check_pixels(files: Sequence[ImageFile], facts: np.ndarray, task: Task, prefix: str) -> None:
    """Raise DataError for images that are too large to decode, which few can be: only their headers are read."""
    large = np.flatnonzero(facts["height"].astype(np.int64) * facts["width"] > task.max_pixels)
    bad: list[str] = []
    limit_pillow_for_good()
    for row in large.tolist():
        try:
            perform(Task("header", side=task.side, max_pixels=task.max_pixels), files[row])
        except BadImage as error:
            bad.append(f"{files[row].title} ({error})")
    if bad:
        named = ", ".join(bad[:_MAX_NAMED])
        more = f" and {len(bad) - _MAX_NAMED:,} more" if len(bad) > _MAX_NAMED else ""
        raise DataError(f"{prefix}{pluralise(len(bad), 'image')} cannot be decoded: {named}{more}")
