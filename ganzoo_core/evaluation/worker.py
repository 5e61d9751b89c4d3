"""Worker process that scores images; data, extractor and metrics are loaded once for any number of requests."""

from __future__ import annotations

import functools
import importlib.metadata
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Features, Images, ImageSource
from ganzoo_core.data import fingerprint
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import DataError, GanzooError, UsageError
from ganzoo_core.evaluation import training_images
from ganzoo_core.evaluation.drawn_features import DrawnFeatures, PartArrays
from ganzoo_core.evaluation.drawn_parts import ARRAYS
from ganzoo_core.evaluation.extraction_session import ExtractionSession
from ganzoo_core.evaluation.feature_cache import Extracted
from ganzoo_core.evaluation.halves import select_features, split_in_halves
from ganzoo_core.evaluation.metrics import (
    LoadedMetric,
    TrainingFeatures,
    compute_scores,
    load_metrics,
    needs_training_images,
)
from ganzoo_core.evaluation.protocol import RESIZER, collect_versions, resize_images
from ganzoo_core.evaluation.request import ScoreRequest, explain_misfit
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import Say, serve
from ganzoo_core.runs.facts import compare_with_run


class ScoringSession(ExtractionSession):
    """Reference features, extractor and metrics for one request.

    Args:
        request: data, extractor, metrics and their settings.
        say: receives progress messages.

    Raises:
        UsageError, DataError, PluginError: if the data, the extractor or a metric cannot be loaded.
    """

    def __init__(self, request: ScoreRequest, say: Say) -> None:
        super().__init__(request, say)
        self.score_halves = functools.cache(self._score_halves)
        self.metrics = self._leave_out_costly(load_metrics(self.choice.candidate.metrics))
        self.misfits = self._explain_misfits(catalog.scan())
        self._said: set[str] = set()
        self._drawn: DrawnFeatures | None = None
        reference = self.read_split(request.reference)
        found = fingerprint.compute_fingerprint(reference, say)
        self.fingerprint = found.sha256
        self.real_features = self._make_features(
            self.extractor.extract_real(reference.images, found.images), reference.labels
        )

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "data_changes": self.find_data_changes()}

    def find_data_changes(self) -> list[str]:
        """Describe the differences between these data and the run's training data."""
        if not self.request.run:
            return []
        try:
            return compare_with_run(Path(self.request.run), self._training_images, self.say)
        except GanzooError as error:
            return [f"the {self.request.split} part cannot be compared: {error}"]

    def _explain_misfits(self, installed: catalog.Catalog) -> dict[str, str]:
        """Why metrics that the user set something of are left out, by the names of their scores."""
        unfit = [name for name in self.request.required_metrics if name not in self.choice.candidate.metrics]
        parts = [installed.find("metrics", name) for name in unfit]
        return {
            name: explain_misfit(part, self.extractor_part) for part in parts for name in (*part.lower, *part.higher)
        }

    def _has_held_out(self) -> bool:
        """Whether the test part has images that were not trained on; for another reference, true."""
        source = self.read_split("test") if self.request.reference == "test" else None
        return source is None or (self.request.split != "all" and len(source.images) != source.whole)

    @functools.cached_property
    def _training_images(self) -> ImageSource:
        return training_images.read_training_images(self.request, self.read_split)

    @functools.cached_property
    def _training_features(self) -> TrainingFeatures:
        """Features of the training images, and of images that were held out, for metrics that need them."""
        source, reference = self._training_images, self.read_split(self.request.reference)
        is_reference = source is reference or len(source.images) == len(reference.images) == reference.whole
        training = self.real_features if is_reference else self._extract_real(source.images, source.labels, source)
        split, rest = training_images.read_held_out(self.request, self.read_split)
        if rest is None:
            return TrainingFeatures(training, None)
        if split == self.request.reference:
            return TrainingFeatures(training, self.real_features)
        return TrainingFeatures(training, self._extract_real(training_images.limit_held_out(rest)))

    def _leave_out_costly(self, metrics: list[LoadedMetric]) -> list[LoadedMetric]:
        """Leave out metrics that would look at more training images than they do by default, unless they were named."""
        if not any(needs_training_images(part) for part, _ in metrics):
            return metrics
        count = len(self._training_images.images)
        kept = [
            (part, metric)
            for part, metric in metrics
            if not part.max_training_images
            or count <= part.max_training_images
            or part.qualified_name in self.request.required_metrics
        ]
        return kept or metrics

    def _extract_real(
        self, pictures: Images, labels: np.ndarray | None = None, source: ImageSource | None = None
    ) -> Features:
        digests = None if source is None else fingerprint.digest_source(source, self.say)
        return self._make_features(self.extractor.extract_real(pictures, digests), labels)

    def _make_features(self, extracted: Extracted, labels: np.ndarray | None) -> Features:
        names = self.read_split(self.request.reference).class_names
        return Features(*extracted, labels, tuple(names))

    def score(
        self, pictures: np.ndarray, labels: np.ndarray | None, seed: int, targets: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Score images; see `add` and `score_added`."""
        self.add(self.extract(pictures, labels, targets), is_first=True)
        return self.score_added(seed)

    def add(self, part: PartArrays | None, *, is_first: bool) -> None:
        """Add what `extract` returned, here or in another rank.

        Args:
            part: the features.
            is_first: whether they are the first of a score; what was added before is forgotten.
        """
        if self._drawn is None or is_first:
            self._drawn = DrawnFeatures(self.extractor, self.shape)
        if part is not None:
            self._drawn.add(part)

    def score_added(self, seed: int) -> dict[str, Any]:
        """Score the images that were added: the fields of `Score`.

        Args:
            seed: of the metrics' random numbers.
        """
        drawn, self._drawn = self._drawn, None
        count = 0 if drawn is None else drawn.count
        if drawn is None or count < 2:
            raise UsageError(f"there {'is' if count == 1 else 'are'} {pluralise(count, 'image')} to score; give more")
        labels = drawn.join_labels()
        known = len(self.real_features.class_names)
        if labels is not None and labels.max() >= known:
            self.say(f"the images have labels up to {labels.max()}, and the data {known} classes: labels are left out")
            labels = None
        fake = drawn.join(labels, tuple(self.real_features.class_names))
        training = self._training_features if any(needs_training_images(part) for part, _ in self.metrics) else None
        required = self.request.required_metrics
        results = compute_scores(self.metrics, self.real_features, fake, seed, required=required, training=training)
        results["doubts"] |= self.misfits
        for words in results["doubts"].values():
            if words not in self._said:
                self._said.add(words)
                self.say(words)
        real = self.score_halves(drawn.size, labels is not None, seed)
        protocol = self.describe_protocol(drawn, labels is not None, seed)
        protocol |= {"real_halves": len(split_in_halves(len(self.real_features.features))[0])} if real else {}
        return {**results, "real": dict(real), "protocol": protocol}

    def _score_halves(self, size: tuple[int, int, int], labelled: bool, seed: int) -> Mapping[str, float]:
        """Scores of one random half of the reference against the other: the floor.

        The first half is resized to the size of the generated images and back, if that differs from the data's.
        """
        if not self.request.score_real_images or len(self.real_features.features) < 4:
            return {}
        first, second = split_in_halves(len(self.real_features.features))
        fake = select_features(self.real_features, first)
        if size != self.shape:
            pictures = np.asarray(self.read_split(self.request.reference).images[first])
            fake = self._extract_real(resize_images(resize_images(pictures, size), self.shape), fake.labels)
        if not labelled:
            fake = replace(fake, labels=None)
        other = select_features(self.real_features, second)
        metrics, training = self.metrics, None
        if any(needs_training_images(part) for part, _ in metrics):
            # Halves of images that were trained on are copies, which no floor is.
            if self._training_features.held_out is self.real_features:
                training = TrainingFeatures(self._training_features.training, other)
            else:
                metrics = [(part, metric) for part, metric in metrics if not needs_training_images(part)]
        if not metrics:
            return {}
        try:
            results = compute_scores(metrics, other, fake, seed, training=training)
        except UsageError:  # too few images for every metric
            return {}
        scores: Mapping[str, float] = results["scores"]
        return scores

    def describe_protocol(self, drawn: DrawnFeatures, has_labels: bool, seed: int) -> dict[str, Any]:
        """Everything that the scores depend on, and further facts to record with them."""
        request = self.request
        owners = {self.extractor_part.distribution, *(part.distribution for part, _ in self.metrics)}
        return {
            "data": self.dataset_part.name + (f":{request.argument}" if request.argument else ""),
            "data_sha256": self.fingerprint,
            "reference": request.reference,
            "reference_count": len(self.real_features.features),
            **({} if self._has_held_out() else {"nothing_held_out": True}),
            "size": list(self.shape),
            "resizer": RESIZER,
            "extractor": {
                "name": self.extractor_part.qualified_name,
                "version": self.extractor_part.version,
                "features": self.real_features.features.shape[1],
                "options": dict(self.choice.candidate.options),
                **self.choice.extractor.facts,
            },
            **({"passed_over": self.choice.passed_over} if self.choice.passed_over else {}),
            "metrics": {
                part.qualified_name: dict(self.choice.candidate.metrics[part.qualified_name])
                for part, _ in self.metrics
            },
            "samples": drawn.count,
            "seed": seed,
            "labels": "as asked for" if has_labels else None,
            "drawn_size": list(drawn.size),
            "versions": {"ganzoo": importlib.metadata.version("ganzoo-core"), **collect_versions(owners)},
        }


_sessions: dict[str, ExtractionSession] = {}


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Start a scoring session, add images to it, or score those that were added.

    Args:
        request: `question`, the fields of a `ScoreRequest`, with `extracts_only` if it is to score nothing; or the
            paths `images`, `labels` and `targets` of some, with `is_first`, and with `save`, the path of an .npz file,
            if their features are for another process; or the path `extracted` of such a file, with `is_first`; or
            `seed`.
        say: receives progress messages.
    """
    if "question" in request:
        kind = ExtractionSession if request.get("extracts_only") else ScoringSession
        _sessions["it"] = scoring = kind(ScoreRequest.from_json(request["question"]), say)
        return scoring.describe()
    session = _sessions["it"]
    if "save" in request:
        arrays: dict[str, Any] = _extract(session, request) or {}
        np.savez(request["save"], **arrays)
        return {}
    assert isinstance(session, ScoringSession)
    if "seed" in request:
        return session.score_added(request["seed"])
    if request.get("extracted"):
        session.add(_read_arrays(request["extracted"]), is_first=request["is_first"])
    else:
        session.add(_extract(session, request), is_first=request["is_first"])
    return {}


def _extract(session: ExtractionSession, request: Mapping[str, Any]) -> PartArrays | None:
    pictures: Any
    pictures, labels, targets = (_read_arrays(request[name]) if request[name] else None for name in ARRAYS)
    return session.extract(pictures, labels, targets)


def _read_arrays(path: str) -> Any:
    """The array of an .npy file, or the arrays of an .npz file by name."""
    try:
        read = np.load(path, allow_pickle=False)
        return read if isinstance(read, np.ndarray) else dict(read)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


if __name__ == "__main__":
    serve(handle_request)
