"""A process that scores images: data, extractor and metrics are read once, and asked as often as need be."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Features, Images, ImageSource
from ganzoo_core.data import fingerprint, lazy
from ganzoo_core.data.framing import Framing, reframe
from ganzoo_core.discovery import answers, catalog, loading
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import DataError, GanzooError, PluginError, UsageError
from ganzoo_core.evaluation.request import Question
from ganzoo_core.processes import Say, serve
from ganzoo_core.randomness import philox
from ganzoo_core.runs.facts import compare_with_run

RESIZER = "Lanczos with antialiasing, as Pillow has it"


class Scoring:
    """Reference features, extractor and metrics for one request.

    Args:
        question: what is scored by what.
        say: told what takes long.

    Raises:
        UsageError, DataError, PluginError: if the data, the extractor or a metric refuses.
    """

    def __init__(self, question: Question, say: Say) -> None:
        installed = catalog.scan()
        self.question, self.say = question, say
        self.data = installed.find("datasets", question.data)
        self.source = functools.cache(self._read)
        self.of_real = functools.cache(self._of_real)
        self.part = installed.find("extractors", question.extractor)
        self.extractor = loading.call_hook(
            "extractor",
            self.part,
            answers.check_extractor,
            name=self.part.name,
            data=self.data.name,
            source=self.source,
            say=say,
            options=question.extractor_options,
        )
        self.metrics: list[tuple[Part, Any]] = []
        for name, options in question.metrics.items():
            part = installed.find("metrics", name)
            metric = loading.call_hook("metric", part, answers.check_metric, name=part.name, options=options)
            self.metrics.append((part, metric))
        reference = self.source(question.reference)
        _, height, width, channels = reference.images.shape
        self.shape = height, width, channels
        self.real = self._seen(reference.images, reference.labels)
        self.fingerprint = fingerprint.take_fingerprint(reference, say).sha256

    def find_data_changes(self) -> list[str]:
        """What differs between these data and those that the run was trained on, in words."""
        if not self.question.run:
            return []
        try:
            return compare_with_run(Path(self.question.run), self.source(self.question.split), self.say)
        except GanzooError as error:
            return [f"the {self.question.split} part cannot be compared: {error}"]

    def _read(self, split: str) -> ImageSource:
        """A part of the data, at its own size."""
        question = self.question
        return loading.call_hook(
            "dataset",
            self.data,
            answers.check_source,
            name=self.data.name,
            argument=question.argument,
            root=Path(question.data_root),
            split=split,
            options={**question.data_options, "split": split},
        )

    def _seen(self, pictures: Images, labels: np.ndarray | None) -> Features:
        if lazy.is_held(math.prod(pictures.shape), in_file=lazy.in_file(pictures)):
            features, logits = self._extracted(np.ascontiguousarray(pictures))
        else:
            found = []
            for first, some in lazy.pieces(pictures):
                self.say(f"looking at {len(pictures):,} images, of which {first:,} are done")
                found.append(self._extracted(some))
            features = np.concatenate([of_some for of_some, _ in found])
            with_logits = [of_some for _, of_some in found if of_some is not None]
            logits = np.concatenate(with_logits) if len(with_logits) == len(found) else None
        names = self.source(self.question.reference).class_names
        return Features(np.asarray(features, np.float32), logits, labels, tuple(names))

    def _extracted(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        try:
            features, logits = self.extractor.extract(pictures)
        except (GanzooError, KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            raise loading.failure(self.part, "extract raised", error) from error
        shape: tuple[int, ...] = getattr(features, "shape", ())
        if len(shape) != 2 or shape[0] != len(pictures):
            found = f"{type(features).__name__} {list(shape)}"
            raise PluginError(
                f"{self.part.by}: extract returned {found} for {len(pictures)} images; expected an array [N,F]; "
                "its author must mend it"
            )
        return features, logits

    def score(self, pictures: np.ndarray, labels: np.ndarray | None, seed: int) -> dict[str, Any]:
        """Scores of images [N,H,W,C] uint8, at whatever size, with the classes that were asked for or None."""
        _, height, width, channels = pictures.shape
        found = self._scores(self._seen(fit(pictures, self.shape), labels), seed)
        real = self.of_real((height, width, channels), len(pictures), labels is not None, seed)
        return {**found, "real": dict(real), "protocol": self.protocol(pictures, labels, seed)}

    def _of_real(self, size: tuple[int, int, int], count: int, labelled: bool, seed: int) -> Mapping[str, float]:
        """The scores of so many real images of the data's other part, made as large as the drawn ones and back."""
        other = {"test": "train", "train": "test"}.get(self.question.reference)
        if other is None or not self.question.yardstick:
            return {}
        source = self.source(other)
        chosen = np.sort(philox(0, "yardstick").permutation(len(source.images))[:count])
        pictures = np.asarray(source.images[chosen])
        if size != self.shape:
            pictures = fit(fit(pictures, size), self.shape)
        labels = source.labels[chosen] if labelled and source.labels is not None else None
        try:
            found: Mapping[str, float] = self._scores(self._seen(pictures, labels), seed)["scores"]
        except UsageError:  # too few of them
            return {}
        return found

    def _scores(self, fake: Features, seed: int) -> dict[str, Any]:
        found: dict[str, Any] = {"scores": {}, "classes": {}, "better": {}}
        for part, metric in self.metrics:
            for name, value in self._of(part, metric, fake, seed).items():
                if isinstance(value, Mapping):
                    found["classes"][name] = {str(label): float(number) for label, number in value.items()}
                else:
                    found["scores"][name] = float(value)
            found["better"] |= {**dict.fromkeys(part.lower, "lower"), **dict.fromkeys(part.higher, "higher")}
        found["better"] = {name: way for name, way in found["better"].items() if name in found["scores"]}
        return found

    def _of(self, part: Part, metric: Any, fake: Features, seed: int) -> Mapping[str, Any]:
        try:
            values = metric(self.real, fake, seed)
        except (GanzooError, KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            raise loading.failure(part, "it raised", error) from error
        if not isinstance(values, Mapping):
            raise PluginError(f"{part.by}: returned a {type(values).__name__}; expected scores by name")
        return values

    def protocol(self, pictures: np.ndarray, labels: np.ndarray | None, seed: int) -> dict[str, Any]:
        """Everything that the numbers depend on, and what else ought to be known of them."""
        question = self.question
        owners = {self.part.distribution, *(part.distribution for part, _ in self.metrics)}
        return {
            "data": self.data.name + (f":{question.argument}" if question.argument else ""),
            "data_sha256": self.fingerprint,
            "reference": question.reference,
            "reference_count": len(self.real.features),
            "size": list(self.shape),
            "resizer": RESIZER,
            "extractor": {
                "name": self.part.qualified,
                "version": self.part.version,
                "features": self.real.features.shape[1],
                "options": dict(question.extractor_options),
                **self.extractor.facts,
            },
            "metrics": {name: dict(options) for name, options in question.metrics.items()},
            "samples": len(pictures),
            "seed": seed,
            "labels": None if labels is None else "as asked for",
            "drawn_size": list(pictures.shape[1:]),
            "versions": {"ganzoo": importlib.metadata.version("ganzoo-core"), **_versions(owners)},
        }


def fit(pictures: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Images [N,H,W,C] at the size and with the channels of the data's own."""
    natural, target = (pictures.shape[1], pictures.shape[2]), (shape[0], shape[1])
    framing = Framing(natural, target, "none" if natural == target else "resize")
    return reframe(pictures, framing, shape[2])


def _versions(distributions: set[str]) -> dict[str, str]:
    """Of Python, of these distributions, and of what they are built on."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for distribution in sorted(distributions):
        lines: list[str] = []
        with contextlib.suppress(Exception):  # other people's metadata
            lines = importlib.metadata.requires(distribution) or []
            found[distribution] = importlib.metadata.version(distribution)
        for line in lines:
            match = re.match(r"[\w.-]+", line)
            if match and "extra ==" not in line:
                with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                    found[match[0]] = importlib.metadata.version(match[0])
    return found


_open: dict[str, Scoring] = {}


def answer(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Get ready for a question, or score images by it.

    Args:
        request: `question`; or `images` and `labels`, paths to read, with `seed`.
        say: told what takes long.
    """
    if "question" in request:
        _open["it"] = scoring = Scoring(Question(**request["question"]), say)
        features = scoring.real.features
        notes = list(scoring.source(scoring.question.reference).notes)
        changes = scoring.find_data_changes()
        facts = dict(scoring.extractor.facts)
        return {"facts": facts, "reference_count": len(features), "notes": notes, "data_changes": changes}
    try:
        pictures = np.load(request["images"], allow_pickle=False)
        labels = np.load(request["labels"], allow_pickle=False) if request["labels"] else None
    except (OSError, ValueError) as error:
        raise DataError(f"{request['images']} cannot be read: {error}") from None
    if len(pictures) < 2:
        raise UsageError(f"there are {len(pictures)} images to score; give more")
    return _open["it"].score(pictures, labels, request["seed"])


if __name__ == "__main__":
    serve(answer)
