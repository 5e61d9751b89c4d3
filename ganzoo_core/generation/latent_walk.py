"""A closed walk through a latent space: from key to key, and back to the first.

Which way leads from one key to the next depends on where the generator has seen z in training. Normal z of d numbers
lie near a sphere of radius sqrt(d), those of `sphere` on it; a straight line between two of them cuts through the
inside, to about 0.7 of that length, where no z ever lay, and what is drawn there is blurred or faded. Turning from one
to the other, by spherical interpolation, stays where they lie (White 2016, arXiv:1609.04468; Shoemake
1985). Uniform z fill a cube: a straight line between two of its points never leaves it, and a turn may.
"""

from __future__ import annotations

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise

DEFAULT_FRAMES, DEFAULT_KEYS = 64, 8  # of a walk, unless something else is said


def make_closed_walk(keys: np.ndarray, frames: int, *, straight: bool) -> np.ndarray:
    """The z of each frame: frame f is f·K/F of the way, so that the first follows on the last.

    Args:
        keys: float32 [K,N,latent_dim], the points that N walks go through.
        frames: F.
        straight: in straight lines, else turned.

    Returns:
        float32 [F,N,latent_dim]; the keys themselves where F is a multiple of K.
    """
    count = len(keys)
    walk = np.empty((frames, *keys.shape[1:]), np.float32)
    for frame in range(frames):
        key, rest = divmod(frame * count, frames)
        walk[frame] = interpolate(keys[key], keys[(key + 1) % count], rest / frames, straight=straight)
    return walk


def interpolate(start: np.ndarray, end: np.ndarray, fraction: float, *, straight: bool) -> np.ndarray:
    """The point after a part (0 to 1) of the way from one z [N,latent_dim] to another, row by row: float32.

    Turned: by a part of the angle between the two, while the length goes evenly from the one's to the other's.
    """
    if fraction == 0:
        return start.astype(np.float32)
    if straight:
        return ((1 - fraction) * start + fraction * end).astype(np.float32)
    a, b = start.astype(np.float64), end.astype(np.float64)
    of_a, of_b = (np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    a, b = a / of_a, b / of_b
    angle = np.arccos(np.clip((a * b).sum(axis=1, keepdims=True), -1, 1))
    # Of two in one direction, and of two that are opposite, no turn is defined; there the line does as well.
    defined = np.sin(angle) > 1e-6
    sine = np.where(defined, np.sin(angle), 1.0)
    weights = (np.where(defined, np.sin(share * angle) / sine, share) for share in (1 - fraction, fraction))
    turned = next(weights) * a + next(weights) * b
    return (turned * ((1 - fraction) * of_a + fraction * of_b)).astype(np.float32)


def check_walk(frames: int, keys: int) -> None:
    """Raise UsageError for numbers that make no walk."""
    if keys < 2:
        raise UsageError(f"a walk through {pluralise(keys, 'key')} leads nowhere; ask for 2 or more")
    if frames < keys:
        raise UsageError(
            f"a walk of {pluralise(frames, 'frame')} cannot go through {keys} keys; ask for more frames or fewer keys"
        )
