"""Every random number of a run is a pure function of (seed, purpose, indices): no state, so resume is exact."""

from __future__ import annotations

import zlib

import numpy as np


def philox(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """numpy's counter-based generator for one purpose at one point of the run.

    Args:
        seed: the run's seed, 0 or more.
        purpose: what the numbers are for, such as `"z"`.
        indices: where in the run, such as the step and the critic's turn.
    """
    entropy = [seed, zlib.crc32(purpose.encode()), *indices]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def seed_for(seed: int, purpose: str, *indices: int) -> int:
    """A seed below 2**63 for a framework's own generator."""
    return int(philox(seed, purpose, *indices).integers(2**63))


def latents(generator: np.random.Generator, count: int, latent_dim: int, distribution: str) -> np.ndarray:
    """z: float32 [N, latent_dim].

    Args:
        generator: the source of the numbers; the first rows do not depend on `count`.
        count: N.
        latent_dim: the length of each z.
        distribution: `normal`, `uniform` in [-1, 1], or `sphere`: normal, scaled to the length sqrt(latent_dim). With
            `none`, for a generator without noise, z is [N, 0].
    """
    if distribution == "none":
        return np.zeros((count, 0), np.float32)
    if distribution == "uniform":
        return generator.random((count, latent_dim), dtype=np.float32) * np.float32(2) - np.float32(1)
    z = generator.standard_normal((count, latent_dim), dtype=np.float32)
    if distribution == "sphere":
        z *= np.sqrt(latent_dim) / np.linalg.norm(z, axis=1, keepdims=True)
    return z
