"""Score images with a run's discriminator, with the probability of being real if the loss defines one.

During training, a discriminator with batch norm sees batches that are all real or all generated, each normalised by its
own statistics. Its running statistics are mostly those of generated images, which are two of the three batches of a
step, and with them D may rate noise as more real than the data. So they are first recomputed from real images: an image
is then scored as in a batch of real ones.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, engines, mix
from ganzoo_core.api import ImageSource
from ganzoo_core.data.classes import Classes
from ganzoo_core.data.framing import Framing, apply_framing, prepare
from ganzoo_core.data.reading.image_set import ImageSet
from ganzoo_core.data.reading.options import read_settings
from ganzoo_core.data.reading.scan import find_images
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.mix.finding import OBJECT
from ganzoo_core.randomness import philox
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.facts import compare_with_run
from ganzoo_core.runs.folder import RunFolder, find_readable_checkpoint, read_card, read_position
from ganzoo_core.settings import read_engine_settings, read_facts, read_run_config
from ganzoo_core.storage import tensors
from ganzoo_core.storage.run_records import RunFacts

BATCH_NORM_IMAGES = 1024  # real images for recomputing batch norm's running statistics


@dataclass(frozen=True)
class Verdict:
    """D's output for one image.

    Attributes:
        path: of the image file; in a zip archive, the archive's path and the name in it.
        size: its original width and height.
        score: D's output without a sigmoid; the mean over patches if D scores patches.
        probability: that the image is real, 0 to 1; None if the loss defines none.
        real: whether D classifies it as real; None if the loss defines no decision threshold.
    """

    path: Path
    size: tuple[int, int]
    score: float
    probability: float | None
    real: bool | None


class Judge:
    """The discriminator of a run's newest checkpoint. The framework is imported for the first picture.

    Args:
        folder: the run's.
        device: as `engine.device`.
        data_root: folder of the data sets; only a discriminator with batch norm needs the data.
        settings: of `engine.*`, and of `data.*` how pictures are read, such as `data.skip_bad`. `engine.max_parameters`
            is never read from the run, which may not be trusted.

    Raises:
        UsageError: if the folder is not a run, has no checkpoint, or its networks were given as Python objects.
        PluginError: if its parts cannot be built.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "auto",
        data_root: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        config = folder / layout.CONFIG
        newest = find_readable_checkpoint(RunFolder.open(folder))
        if newest is None:
            raise UsageError(
                f"{folder} has no checkpoint, and nothing else holds its discriminator; "
                f"`ganzoo resume {shlex.quote(str(folder))}` leaves one"
            )
        self.folder = folder
        facts = read_facts(config)
        reading = read_settings(settings, excluded=("size", "channels", "fit", "frames"))
        others = {key: value for key, value in (settings or {}).items() if not key.startswith("data.")}
        self._fit, self._mix = _restore_fit_and_mix(config, facts, {"engine.device": device, **others})
        _check_inputs(self._mix, folder)
        # Files are read as the training data was.
        shape = {"size": max(self._fit.framing.original_size), "channels": self._fit.spec.channels}
        self._options = {**self._mix.get_options("data"), **reading, **shape, "frames": "first"}
        position = read_position(newest)
        self.images_seen = position.images
        self._values: Mapping[str, float] = position.values
        self._checkpoint, self._facts, self._data_root = newest, facts, data_root
        self._reading_notes: list[str] = []
        loss = self._mix.parts["loss"]
        is_object = facts.parts.get("loss", "").startswith(OBJECT)
        self.loss = "a loss that was given in Python" if is_object else loss.name
        self.probability = None if is_object else loss.probability
        self.decision = None if is_object else loss.decision

    @cached_property
    def _engine(self) -> Engine:
        return engines.create_engine(self._mix.framework, self._mix.settings)

    @cached_property
    def _opened(self) -> tuple[Any, list[str]]:
        """D with its weights, and notes on them. The framework is imported here."""
        _, D = building.build_networks(self._engine, self._mix, self._fit, self._values)
        _load_weights(self._engine, D, self._checkpoint / layout.STATE)
        return D, self._recalibrate_batch_norm(D)

    @property
    def notes(self) -> list[str]:
        """What limits the scores, and how pictures were read, for the user."""
        return [*self._opened[1], *self._reading_notes]

    def _recalibrate_batch_norm(self, D: Any) -> list[str]:
        """Recompute batch norm's running statistics from real images; returns a note if the data cannot be loaded."""
        if not self._engine.find_batch_norms(D):
            return []
        size = self._mix.settings["train.batch_size"] // self._mix.settings["train.accumulate"]  # what D normalised by
        try:
            source = self._load_data()
        except GanzooError as error:
            return [
                f"the discriminator has batch norm, and what it learned from cannot be had ({error}); so scores rest "
                "on the means that it kept, which are mostly of generated images: they tell little"
            ]
        chosen = philox(0, "judge").permutation(len(source.images))[: max(BATCH_NORM_IMAGES // size, 1) * size]
        chosen = np.sort(chosen[: max(len(chosen) // size, 1) * size])
        real = prepare(ImageSource(source.images[chosen]), self._fit.framing, self._fit.spec.channels)
        self._engine.recalibrate_batch_norm(
            D,
            np.asarray(real.images),
            source.labels[chosen] if self.conditional and source.labels is not None else None,
            self._values,
            takes=self._mix.parts["discriminator"].takes,
            batch_size=size,
        )
        return []

    def _load_data(self) -> ImageSource:
        """Load the run's training data; raises UsageError if they have changed."""
        if self._facts.parts.get("data", "").startswith(OBJECT):
            raise UsageError("it was given in Python")
        source = building.load_data(self._mix, building.find_run_data_root(self.folder, self._data_root))
        changes = compare_with_run(self.folder, source)
        if changes:
            raise UsageError(f"{self._mix.parts['data'].name} has changed since: {'; '.join(changes)}")
        return source

    @property
    def conditional(self) -> bool:
        """Whether D takes class labels."""
        return bool(self._fit.spec.classes)

    def find_label(self, name_or_index: str | int | None) -> int | None:
        """The class label for D; None for an unconditional D.

        Raises:
            UsageError: if D is conditional and no class is given, or the reverse, or there is no such class, or it had
                no training images.
        """
        if not self.conditional:
            if name_or_index is not None:
                raise UsageError(f"the discriminator of {self.folder} is told no class; leave --class out")
            return None
        classes = self._read_classes()
        if name_or_index is None:
            raise UsageError(
                f"the discriminator of {self.folder} judges pictures of a class; say --class, one of "
                f"{classes.describe()}"
            )
        try:
            return classes.find(name_or_index)
        except UsageError as error:
            raise UsageError(f"{error}; {self.folder} knows {classes.describe()}") from None

    def __call__(self, paths: Sequence[Path], label: int | None = None) -> list[Verdict]:
        """Score images.

        Args:
            paths: image files of any size and colour mode, or folders and zip archives of them.
            label: see `find_label`.

        Raises:
            DataError: for an image that cannot be read.
        """
        scans = [find_images(path) for path in paths]
        if not scans:
            return []
        files = [
            replace(file, relative=str(file.path / file.relative if file.member else file.path))
            for scan in scans
            for file in scan.files
        ]
        images = ImageSet(files, self._options)
        rows, batch = self._prepare(images)
        self._reading_notes = [*(note for scan in scans for note in scan.notes), *images.notes]
        labels = None if label is None else np.full(len(batch), label, np.int64)
        scores = self._engine.score_images(
            self._opened[0], batch, labels, self._values, takes=self._mix.parts["discriminator"].takes
        ).reshape(len(batch), -1)
        verdicts = []
        for row, score in zip(rows, scores.astype(np.float64), strict=True):
            file, header = images.files[row], images.headers[row]
            mean = float(score.mean())
            # The mean of the patches' probabilities, as in training.
            probability = float(_sigmoid(score).mean()) if self.probability == "sigmoid" else None
            real = None if self.decision is None or isinstance(self.decision, str) else mean > self.decision
            verdicts.append(Verdict(Path(file.relative), (header.width, header.height), mean, probability, real))
        return verdicts

    def _prepare(self, images: ImageSet) -> tuple[list[int], np.ndarray]:
        """Read images as the training images were: uint8 [N,height,width,C], and the index of each one's file.

        An image of the size that G draws is unchanged but for its border; any other is brought to the data's size, then
        framed like the data.
        """
        framing, target = self._fit.framing, self._fit.framing.target_size
        as_drawn = Framing(framing.inner_size, target, "pad", framing.background)
        groups: dict[Framing, list[int]] = {}
        for row, header in enumerate(images.headers):
            size = (header.height, header.width)
            own = Framing(target, target, "none") if size == target else framing
            groups.setdefault(as_drawn if size == framing.inner_size else own, []).append(row)
        framed: dict[int, np.ndarray] = {}
        for how, rows in groups.items():
            read = images.read(rows, size=how.original_size)
            framed |= zip(read.rows.tolist(), apply_framing(read.images, how, self._fit.spec.channels), strict=True)
        kept = sorted(framed)
        return kept, np.stack([framed[row] for row in kept])

    def _read_classes(self) -> Classes:
        try:
            card = read_card(generators.find_generator(self.folder))
        except UsageError:
            return Classes([str(index) for index in range(self._fit.spec.classes)])
        return Classes(card.class_names, card.untrained_classes)


def _restore_fit_and_mix(config: Path, facts: RunFacts, settings: Mapping[str, Any]) -> tuple[DataFit, Mix]:
    """Restore a run's data fit and mix from `config.yaml` alone."""
    if facts.data is None or facts.spec is None or not facts.parts or not facts.framing:
        raise UsageError(f"{config} does not say what the run was; expected data, spec, parts and framing under run")
    height, width, channels = facts.data.size
    classes = facts.spec.classes
    background = (facts.background or 0) if facts.framing == "pad" else facts.background
    for slot in ("generator", "discriminator"):
        if facts.parts.get(slot, "").startswith(OBJECT):
            raise UsageError(
                f"{config.parent} was trained with a {slot} that was given in Python, so it cannot be built"
            )
    engine_settings = read_engine_settings(settings)
    overrides = {
        key: engine_settings[key]
        for key in engine_settings
        if key in settings or key.removeprefix("engine.") in settings
    }
    overrides["engine.max_parameters"] = engine_settings["engine.max_parameters"]
    request = mix.Request(
        trackers=[],
        preset=facts.preset or "none",
        config=read_run_config(config),
        config_name=str(config),
        flags={key: (value, "--set") for key, value in overrides.items()},
    )
    resolved = mix.resolve(catalog.scan(), request)
    fitted = mix.make_data_fit(
        resolved, height=height, width=width, channels=channels, classes=classes, background=background, conditions=None
    )
    return fitted, resolved


def _check_inputs(resolved: Mix, folder: Path) -> None:
    """Raise UsageError for a D that takes more than a picture and its class."""
    part = resolved.parts["discriminator"]
    taken = [*(f"the condition {name}" for name in part.conditions), *("z" for _ in part.discriminator_takes)]
    if taken:
        raise UsageError(
            f"the discriminator of {folder} scores a picture together with {' and '.join(taken)}, so pictures alone "
            f"cannot be judged; ganzoo evaluate {folder} scores what its generator draws"
        )


def _load_weights(engine: Engine, D: Any, path: Path) -> None:
    """Load D's weights and buffers from a checkpoint's state file."""
    weights = {
        name.removeprefix("D/"): array
        for name, array in tensors.read_all_tensors(path).items()
        if name.startswith("D/")
    }
    for name, array in weights.items():
        if not tensors.is_finite(array):
            raise UsageError(f"{path}: D/{name} holds numbers that are not finite, so nothing can be judged")
    expected = engine.describe_weights(D)
    held = {name: (str(array.dtype), array.shape) for name, array in weights.items()}
    for name in sorted({*held, *expected}):
        if held.get(name) != expected.get(name):
            holds, wants = (
                f"{facts[0]} {list(facts[1])}" if (facts := table.get(name)) else "none" for table in (held, expected)
            )
            raise UsageError(
                f"{path}: of D/{name[:100]} it has {holds}, and the discriminator that {layout.CONFIG} asks for "
                f"{wants}; install the version that it names"
            )
    engine.load_weights(D, weights)


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    below = np.exp(-np.abs(scores))
    positive: np.ndarray = np.where(scores >= 0, 1, below) / (1 + below)
    return positive
