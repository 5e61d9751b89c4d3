"""A closed walk through latent space, from key to key and back to the first.

The interpolation stays where z lay in training. Normal z with d dimensions lie near a sphere of radius sqrt(d), those
of `sphere` on it. A straight line between two of them passes through the inside, down to about 0.7 of that radius,
where no z was seen in training and images are blurred or faded; spherical interpolation stays near the sphere (White
2016, arXiv:1609.04468; Shoemake 1985). Uniform z fill a cube: a straight line between two points never leaves it, but
spherical interpolation may.
"""

from __future__ import annotations

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise

DEFAULT_FRAMES, DEFAULT_KEYS = 64, 8  # of a walk


def make_closed_walk(keys: np.ndarray, frames: int, *, straight: bool) -> np.ndarray:
    """The z of each frame: frame f is at key position f·K/F, so that the last frame leads back to the first.

    Args:
        keys: float32 [K,N,latent_dim], the points that N walks go through.
        frames: F.
        straight: interpolate linearly, else spherically.

    Returns:
        float32 [F,N,latent_dim]; contains the keys exactly if F is a multiple of K.
    """
    count = len(keys)
    walk = np.empty((frames, *keys.shape[1:]), np.float32)
    for frame in range(frames):
        key, rest = divmod(frame * count, frames)
        walk[frame] = interpolate(keys[key], keys[(key + 1) % count], rest / frames, straight=straight)
    return walk


def interpolate(start: np.ndarray, end: np.ndarray, fraction: float, *, straight: bool) -> np.ndarray:
    """Interpolate between two z [N,latent_dim], row by row, at a fraction from 0 to 1: float32 [N,latent_dim].

    Linear if `straight`, else spherical: the angle and the length are both interpolated linearly.
    """
    if fraction == 0:
        return start.astype(np.float32)
    if straight:
        return ((1 - fraction) * start + fraction * end).astype(np.float32)
    a, b = start.astype(np.float64), end.astype(np.float64)
    norm_a, norm_b = (np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    a, b = a / norm_a, b / norm_b
    angle = np.arccos(np.clip((a * b).sum(axis=1, keepdims=True), -1, 1))
    # Parallel and opposite vectors define no rotation; fall back to linear interpolation of the directions.
    defined = np.sin(angle) > 1e-6
    sine = np.where(defined, np.sin(angle), 1.0)
    weights = (np.where(defined, np.sin(share * angle) / sine, share) for share in (1 - fraction, fraction))
    turned = next(weights) * a + next(weights) * b
    return (turned * ((1 - fraction) * norm_a + fraction * norm_b)).astype(np.float32)


def check_walk(frames: int, keys: int) -> None:
    """Raise UsageError for fewer than 2 keys, or fewer frames than keys."""
    if keys < 2:
        raise UsageError(f"a walk through {pluralise(keys, 'key')} leads nowhere; ask for 2 or more")
    if frames < keys:
        raise UsageError(
            f"a walk of {pluralise(frames, 'frame')} cannot go through {keys} keys; ask for more frames or fewer keys"
        )
