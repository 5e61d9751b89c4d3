"""Features of the images of one score, which arrive in parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganzoo_core.api import Features
from ganzoo_core.evaluation.extraction import FeatureExtractor, join_features
from ganzoo_core.evaluation.feature_cache import Extracted
from ganzoo_core.evaluation.protocol import resize_images

PartArrays = dict[str, np.ndarray]  # of a part, by name, as in an .npz file; see `DrawnFeatures.extract`


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

    def extract(self, pictures: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None) -> PartArrays:
        """Extract the features of a part, for `add`.

        Args:
            pictures: uint8 [N,H,W,C].
            labels: int64 [N], of each part or of none.
            targets: of the shape of `pictures`, of each part or of none.

        Returns:
            `features` float32 [N,F] and `logits` [N,K], if there are any; `size` int64 [3], of the pictures; `labels`;
            and with targets `targets`, `target_features`, `target_logits` and the `pictures` themselves.
        """
        of_pictures = self.extractor.extract(resize_images(pictures, self.shape))
        arrays = {**of_pictures._asdict(), "labels": labels, "size": np.asarray(pictures.shape[1:])}
        if targets is not None:
            features, logits = self.extractor.extract(resize_images(targets, self.shape))
            arrays |= {"pictures": pictures, "targets": targets}
            arrays |= {"target_features": features, "target_logits": logits}
        return {name: array for name, array in arrays.items() if array is not None}

    def add(self, arrays: PartArrays) -> None:
        """Add the features of a part, which `extract` returned here or in another process."""
        height, width, channels = map(int, arrays["size"])
        self.count, self.size = self.count + len(arrays["features"]), (height, width, channels)
        self._parts.append(Extracted(arrays["features"], arrays.get("logits")))
        if "labels" in arrays:
            self._labels.append(arrays["labels"])
        if "targets" in arrays:
            self._of_targets.append(Extracted(arrays["target_features"], arrays.get("target_logits")))
            self._pairs.append((arrays["pictures"], arrays["targets"]))

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
