"""Place image files in the train and test parts by their content, with nearly equal pictures together.

A file's place is a hash of its bytes, so it depends neither on the other files nor on names, order or settings.
Pictures that are nearly equal, such as a photograph and its copy at another quality, share the place of one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

import ganzoo_core as gz

MAX_COMPARED = 50_000  # files up to which nearly equal pictures are looked for
MAX_DISTANCE = 10  # of two perceptual hashes of 64 bits; JPEG at quality 20 changes 6, a border of a pixel cut off 10
MAX_DIFFERENCE = 0.2  # of two thumbnails, as a share of the smaller contrast; JPEG at quality 50 reaches it in 1 of 100
_SIDE = 8  # pixels of the thumbnails that confirm what the hashes suggest
_BLOCK = 256  # pictures that are compared with all others at a time
_THREADS, _READ_BYTES = 4, 2**20  # that read files, and what each reads at a time


@dataclass(frozen=True)
class _Pictures:
    """What pictures are compared by.

    Attributes:
        bits: float32 [N,64], the perceptual hashes, as -1 and 1.
        thumbnails: float32 [N,192], small RGB pictures.
        contrasts: float32 [N], the root mean square of each thumbnail about its mean colour.
    """

    bits: np.ndarray
    thumbnails: np.ndarray
    contrasts: np.ndarray


def make_split_keys(
    files: Sequence[gz.ImageFile], images: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """The `split_keys` of images, and notes for the user.

    Args:
        files: the image files.
        images: uint8 [N,H,W,C], as they are trained on.
        rows: int64 [N], the index into `files` of each image's file. Frames of one file have one key.
    """
    present, first, places = np.unique(rows, return_index=True, return_inverse=True)
    digests = digest_files([files[row] for row in present])
    leaders = _find_equal(digests)
    notes = []
    if len(present) <= MAX_COMPARED:
        leaders = _find_leaders(digests, _look_at(images[row] for row in first))
    else:
        notes.append(
            f"nearly equal images are not looked for among {len(present):,} files, more than {MAX_COMPARED:,}: edited "
            "copies of training images may be in the test part"
        )
    following = int((leaders != np.arange(len(leaders))).sum())
    if following:
        what = "images are equal or nearly equal to others and go with them" if following > 1 else ""
        what = what or "image is equal or nearly equal to another and goes with it"
        notes.append(f"{following:,} {what} into the train or the test part")
    return digests_to_keys(digests[leaders])[places], notes


def digests_to_keys(digests: np.ndarray) -> np.ndarray:
    """Digests of files, uint64 [F,2] -> float64 [F] from 0 to below 1."""
    return (digests[:, 0] >> np.uint64(11)).astype(np.float64) / 2**53


def digest_files(files: Sequence[gz.ImageFile]) -> np.ndarray:
    """The BLAKE2b digests of the files' bytes, uint64 [F,2]."""
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = b"".join(pool.map(_digest, files))
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)


def _digest(file: gz.ImageFile) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with file.open() as stream:
            while content := stream.read(_READ_BYTES):
                digest.update(content)
    except Exception as error:  # it was decoded just before, but may end in damage, or be gone
        raise gz.DataError(f"{file.title} cannot be read: {error}") from None
    return digest.digest()


def _find_equal(digests: np.ndarray) -> np.ndarray:
    """For each file the first with the same digest, int64 [F]."""
    _, first, places = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    return first[places.reshape(-1)]


def _look_at(images: Iterable[np.ndarray]) -> _Pictures:
    """Compute perceptual hashes and thumbnails of images [H,W,C]."""
    import imagehash
    from PIL import Image

    bits, thumbnails = [], []
    for image in images:
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        bits.append(imagehash.phash(picture).hash.reshape(-1))
        small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
        thumbnails.append(np.asarray(small, np.float32).reshape(-1))
    stacked = np.stack(thumbnails)
    contrasts = np.sqrt(stacked.reshape(len(stacked), -1, 3).var(axis=1).mean(axis=1))
    return _Pictures(np.where(np.stack(bits), 1, -1).astype(np.float32), stacked, contrasts)


def _find_leaders(digests: np.ndarray, pictures: _Pictures) -> np.ndarray:
    """For each file the one that it follows, int64 [F]; itself if there is none.

    Two pictures are near if their hashes are, and if their thumbnails differ by little of their contrast: the hashes
    ignore colour, and those of all pictures of a single colour are equal.

    In the order of the second half of their digests, each file follows the first leader that it is near to, or becomes
    a leader. So a long row of pictures, each near to the next, as from a film, is not one group. The first half is the
    key, so a large group is in the test part as often as a single picture.
    """
    count = len(digests)
    order = np.lexsort((digests[:, 0], digests[:, 1]))
    bits, thumbnails, contrasts = pictures.bits[order], pictures.thumbnails[order], pictures.contrasts[order]
    means = thumbnails.mean(axis=1)
    least = bits.shape[1] - 2 * MAX_DISTANCE  # agreeing bits less differing ones
    leaders = np.full(count, -1)
    for start in range(0, count, _BLOCK):
        waiting = np.flatnonzero(leaders[start : start + _BLOCK] < 0) + start
        others = np.flatnonzero(leaders[start:] < 0) + start
        candidates = bits[waiting] @ bits[others].T >= least
        for row, is_candidate in zip(waiting, candidates, strict=True):
            if leaders[row] >= 0:
                continue
            near = others[is_candidate]
            near = near[(near > row) & (leaders[near] < 0)]
            allowed = MAX_DIFFERENCE * np.minimum(contrasts[near], contrasts[row])
            is_near = np.abs(means[near] - means[row]) <= allowed  # which is necessary, and quick
            near, allowed = near[is_near], allowed[is_near]
            differences = np.sqrt(((thumbnails[near] - thumbnails[row]) ** 2).mean(axis=1))
            leaders[near[differences <= allowed]] = row
            leaders[row] = row
    found = np.empty(count, np.int64)
    found[order] = order[leaders]
    return found
