"""Features of the images of one score, which arrive in parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganzoo_core.api import Features
from ganzoo_core.evaluation.extraction import FeatureExtractor, join_features
from ganzoo_core.evaluation.feature_cache import Extracted
from ganzoo_core.evaluation.protocol import resize_images


class DrawnFeatures:
    """Extracts and collects the features of drawn images.

    Args:
        extractor: looks at them.
        shape: height, width and channels of the data, to which images are brought.

    Attributes:
        count: images so far.
        size: their height, width and channels, as they were drawn.
    """

    def __init__(self, extractor: FeatureExtractor, shape: tuple[int, int, int]) -> None:
        self.extractor, self.shape = extractor, shape
        self.count, self.size = 0, shape
        self._parts: list[Extracted] = []
        self._of_targets: list[Extracted] = []
        self._labels: list[np.ndarray] = []
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, pictures: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None) -> None:
        """Add images uint8 [N,H,W,C], with labels int64 [N] and targets of the same shape, of each part or of none."""
        if not len(pictures):
            return
        _, height, width, channels = pictures.shape
        self.count, self.size = self.count + len(pictures), (height, width, channels)
        self._parts.append(self.extractor.extract(resize_images(pictures, self.shape)))
        if labels is not None:
            self._labels.append(labels)
        if targets is not None:
            self._of_targets.append(self.extractor.extract(resize_images(targets, self.shape)))
            self._pairs.append((pictures, targets))

    def join_labels(self) -> np.ndarray | None:
        """The labels of all images, or None."""
        return np.concatenate(self._labels) if self._labels else None

    def join(self, labels: np.ndarray | None, class_names: tuple[str, ...]) -> Features:
        """The features of all images, in order, with these labels."""
        features = Features(*join_features(self._parts), labels, class_names)
        if not self._pairs:
            return features
        pictures, targets = (np.concatenate(of) for of in zip(*self._pairs, strict=True))
        wanted = Features(*join_features(self._of_targets), None, class_names, images=targets)
        return replace(features, images=pictures, targets=wanted)
