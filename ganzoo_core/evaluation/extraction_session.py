"""The data and the extractor of a score request: all that it takes to look at generated images."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import ImageSource
from ganzoo_core.data import lazy
from ganzoo_core.discovery import answers, catalog, loading
from ganzoo_core.engines.threads import read_omp_threads
from ganzoo_core.evaluation.choice import choose_extractor
from ganzoo_core.evaluation.drawn_features import DrawnFeatures, PartArrays
from ganzoo_core.evaluation.extraction import FeatureExtractor
from ganzoo_core.evaluation.protocol import describe_arithmetic
from ganzoo_core.evaluation.request import ScoreRequest
from ganzoo_core.processes import Say


class ExtractionSession:
    """The extractor for one request, and the data that it serves.

    Args:
        request: data, extractor and their settings.
        say: receives progress messages.

    Attributes:
        shape: height, width and channels of the data.

    Raises:
        UsageError, DataError, PluginError: if the data or the extractor cannot be loaded.
    """

    def __init__(self, request: ScoreRequest, say: Say) -> None:
        self.request, self.say = request, say
        self.dataset_part = catalog.scan().find("datasets", request.data)
        self.read_split = functools.cache(self._read_split)
        self.choice = choose_extractor(request, self.dataset_part.name, self.read_split, say)
        self.extractor_part, self.extractor = self.choice.part, FeatureExtractor(self.choice, say)
        _, height, width, channels = self.read_split(request.reference).images.shape
        self.shape = height, width, channels

    def _read_split(self, split: str) -> ImageSource:
        """A split of the data, at its original size."""
        request = self.request
        source = loading.call_hook(
            "dataset",
            self.dataset_part,
            answers.check_source,
            name=self.dataset_part.name,
            argument=request.argument,
            root=Path(request.data_root),
            split=split,
            options={**request.data_options, "split": split},
            modifiers={},
        )
        return lazy.make_indexable(source)

    def extract(self, pictures: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None) -> PartArrays | None:
        """Extract the features of a part of the images; None if it is empty.

        Args:
            pictures: uint8 [N,H,W,C] of any size, which is the same for all parts.
            labels: int64 [N], the classes that they were drawn as, or None.
            targets: what each image should be, of the same shape, or None.
        """
        return DrawnFeatures(self.extractor, self.shape).extract(pictures, labels, targets) if len(pictures) else None

    def describe(self) -> dict[str, Any]:
        """What the client is told: see the attributes of `client.Scorer`."""
        reference = self.read_split(self.request.reference)
        return {
            "facts": dict(self.choice.extractor.facts),
            "reference_count": len(reference.images),
            "class_names": list(map(str, reference.class_names)),
            "batch": self.extractor.batch,
            "conditions": self._describe_conditions(),
            "data_changes": [],
        }

    def _describe_conditions(self) -> dict[str, Any]:
        """What the features of generated images depend on, to the last bit: the same in all ranks of a score."""
        part, arithmetic = self.extractor_part, describe_arithmetic(self.extractor_part.distribution)
        return {
            "extractor": [part.qualified_name, dict(self.choice.candidate.options), dict(self.choice.extractor.facts)],
            "batch of the extractor": self.extractor.batch,
            "size of the data": list(self.shape),
            "versions": arithmetic["versions"],
            "processor": arithmetic["machine"],
            "number of threads": read_omp_threads(),
        }
