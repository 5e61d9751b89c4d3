"""The extractor `bundled`: a small network that never learns from the data it scores, in PyTorch or TensorFlow."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz

WEIGHTS_FILE = Path(__file__).with_name("bundled.safetensors")
WEIGHTS_VERSION = 1  # of the weights: another version gives other figures
WEIGHTS_SHA256 = "0f288729f3d6573b7a70ed46b87ab093c299e892165bd065ab8c0a80f4d0c94b"  # of their file
WIDTHS = (24, 48, 96, 192)  # channels of the four stages, of two 3×3 convolutions each
POOLED = WIDTHS[2] + WIDTHS[3]  # the means of the last two stages
FEATURES = 128
MIN_SIDE, MAX_SIDE = 32, 64  # pixels that the network sees
BATCH = 32  # images per forward
RESIZER = f"bicubic with antialiasing, as Pillow has it, to sides of {MIN_SIDE} to {MAX_SIDE} pixels"
Forward = Callable[[np.ndarray], np.ndarray]


@gz.hookimpl
def extractor() -> gz.Extractor:
    """128 features of any images; no logits.

    Raises:
        DataError: if the weights in the package are damaged.
    """
    return _Extractor(choose_framework())


def choose_framework() -> str:
    """`torch` or `tensorflow`: the one that is loaded, else the first that is installed."""
    loaded = [name for name in ("torch", "tensorflow") if name in sys.modules]
    installed = [name for name in ("torch", "tensorflow") if importlib.util.find_spec(name) is not None]
    return [*loaded, *installed][0]


class _Extractor:
    """The network in one framework; see `gz.Extractor`.

    The framework is no fact, since both compute the same features to one part in ten thousand.
    """

    def __init__(self, framework: str) -> None:
        tensors = load_tensors()
        digest = hashlib.sha256(WEIGHTS_FILE.read_bytes()).hexdigest()
        if digest != WEIGHTS_SHA256:
            raise gz.DataError(f"{WEIGHTS_FILE} is not as it was shipped; reinstall ganzoo-features")
        self.forward, self.batch = make_forward(framework, tensors), BATCH
        self.facts: Mapping[str, Any] = {
            "weights": digest,
            "weights_version": WEIGHTS_VERSION,
            "resizer": RESIZER,
        }

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        """uint8 [N,H,W,C] -> features float32 [N,128], and no logits."""
        return extract_features(self.forward, images, self.batch), None


def make_forward(framework: str, tensors: Mapping[str, np.ndarray]) -> Forward:
    """The network in `torch` or `tensorflow`: images float32 [N,H,W,3] in [-1, 1] -> features float32 [N,F]."""
    if framework == "torch":
        from ganzoo_features import torch_network

        return torch_network.make_forward(tensors)
    from ganzoo_features import tensorflow_network

    return tensorflow_network.make_forward(tensors)


def describe_tensors() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> dtype and shape of each tensor in the weights file. Kernels are [out, in, 3, 3]."""
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    channels = 3
    for stage, width in enumerate(WIDTHS):
        for place in range(2):
            expected[f"stage{stage}.conv{place}.weight"] = ("float16", (width, channels, 3, 3))
            expected[f"stage{stage}.conv{place}.bias"] = ("float32", (width,))
            channels = width
    return expected | {"centre": ("float32", (POOLED,)), "projection": ("float32", (POOLED, FEATURES))}


def load_tensors(path: Path = WEIGHTS_FILE) -> dict[str, np.ndarray]:
    """The weights by name, as float32.

    Raises:
        DataError: if the file is missing, or holds other tensors.
    """
    try:
        tensors = gz.read_tensors(path, describe_tensors())
    except gz.UsageError as error:
        raise gz.DataError(f"{error}; reinstall ganzoo-features") from None
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def extract_features(forward: Forward, images: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """uint8 images [N,H,W,C], C 1 or 3 -> what `forward` returns for them, float32 [N,F].

    The last batch is filled up, so that each has the same shape and an image's features do not depend on how many come
    with it.
    """
    found = [np.zeros((0, FEATURES), np.float32)] if not len(images) else []
    for start in range(0, len(images), batch):
        chunk = np.asarray(images[start : start + batch])
        shown = resize(chunk).astype(np.float32) / np.float32(127.5) - np.float32(1)
        full = np.zeros((batch, *shown.shape[1:3], 3), np.float32)
        full[: len(chunk)] = shown  # grey is repeated to RGB
        found.append(forward(full)[: len(chunk)])
    return np.concatenate(found)


def resize(images: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,C] -> the same with sides of `MIN_SIDE` to `MAX_SIDE` pixels, each side brought there by itself."""
    from PIL import Image

    height, width, channels = images.shape[1:]
    size = tuple(min(MAX_SIDE, max(MIN_SIDE, side)) for side in (width, height))
    if size == (width, height):
        return images
    flat = images[..., 0] if channels == 1 else images
    resized = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in flat]
    return np.stack(resized).reshape(len(images), size[1], size[0], channels)
