"""What a run's discriminator says of pictures: its score, and the probability where the loss defines one.

While training, a discriminator with batch norm sees batches that are all real or all generated, and normalises each by
itself. The running means that it keeps beside that are mostly those of generated images, since two of the three batches
of a step are, and with them it may find noise more real than the data. So before it judges, they are taken anew from
real images: a picture is then scored as it would be in a batch of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, engines, mix
from ganzoo_core.api import ImageSource
from ganzoo_core.data import pixels
from ganzoo_core.data.framing import Framing, prepare
from ganzoo_core.data.picture_files import READABLE_SUFFIXES, read_picture
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.protocol import Engine
from ganzoo_core.errors import DataError, GanzooError, UsageError
from ganzoo_core.generation import saved
from ganzoo_core.generation.classes import find_class
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.randomness import philox
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.facts import compare_with_run
from ganzoo_core.runs.folder import RunFolder, find_readable_checkpoint, read_card, read_position
from ganzoo_core.settings import read_engine_settings, read_facts, read_run_config
from ganzoo_core.storage import tensors
from ganzoo_core.storage.run_records import RunFacts

OBJECT_PREFIX = "(object)"  # how a part's name in config.yaml begins where it was given in Python
BATCH_NORM_IMAGES = 1024  # real images that batch norm's means are taken from


@dataclass(frozen=True)
class Verdict:
    """What D says of one picture.

    Attributes:
        path: the picture.
        size: its width and height before it was brought to the run's.
        score: D's, without a sigmoid; the mean over its patches where it scores patches.
        probability: that the picture is real, 0 to 1; None where the loss defines none.
        real: whether D calls it real; None where the loss says not where D decides.
    """

    path: Path
    size: tuple[int, int]
    score: float
    probability: float | None
    real: bool | None


class Judge:
    """The discriminator of a run's newest checkpoint.

    Args:
        folder: the run's.
        device: as `engine.device`.
        data_root: where data sets lie; only a discriminator with batch norm needs the data.
        settings: of `engine.*`. `engine.max_parameters` is not taken from the run, which may be a stranger's.

    Raises:
        UsageError: if the folder is no run, holds no checkpoint, or was trained with networks given in Python.
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
                f"{folder} has no checkpoint, and nothing else holds its discriminator; `ganzoo resume {folder}` "
                "leaves one"
            )
        self.folder = folder
        facts = read_facts(config)
        self._fit, self._mix = _restore_fit_and_mix(config, facts, {"engine.device": device, **(settings or {})})
        position = read_position(newest)
        self.images_seen = position.images
        self._values: Mapping[str, float] = position.values
        self._engine = engines.create_engine(self._mix.framework, self._mix.settings)
        _, self._D = building.build_networks(self._engine, self._mix, self._fit, self._values)
        _load_weights(self._engine, self._D, newest / layout.STATE)
        self.notes = self._recalibrate_batch_norm(facts, data_root)
        loss = self._mix.parts["loss"]
        given = facts.parts.get("loss", "").startswith(OBJECT_PREFIX)
        self.loss = "a loss that was given in Python" if given else loss.name
        self.probability = None if given else loss.probability
        self.decision = None if given else loss.decision

    def _recalibrate_batch_norm(self, facts: RunFacts, data_root: str | Path | None) -> list[str]:
        """Take batch norm's means from real images; a note where there are none."""
        if not self._engine.find_batch_norms(self._D):
            return []
        size = self._mix.settings["train.batch_size"]
        try:
            source = self._load_data(facts, data_root)
        except GanzooError as error:
            return [
                f"the discriminator has batch norm, and what it learned from cannot be had ({error}); so scores rest "
                "on the means that it kept, which are mostly of generated images: they tell little"
            ]
        chosen = philox(0, "judge").permutation(len(source.images))[: max(BATCH_NORM_IMAGES // size, 1) * size]
        chosen = np.sort(chosen[: max(len(chosen) // size, 1) * size])
        real = prepare(ImageSource(source.images[chosen]), self._fit.framing, self._fit.spec.channels)
        self._engine.recalibrate_batch_norm(
            self._D,
            np.asarray(real.images),
            source.labels[chosen] if self.conditional and source.labels is not None else None,
            self._values,
            takes=self._mix.parts["discriminator"].takes,
            batch_size=size,
        )
        return []

    def _load_data(self, facts: RunFacts, data_root: str | Path | None) -> ImageSource:
        """What the run learned from."""
        if facts.parts.get("data", "").startswith(OBJECT_PREFIX):
            raise UsageError("it was given in Python")
        source = building.load_data(self._mix, building.find_run_data_root(self.folder, data_root))
        changes = compare_with_run(self.folder, source)
        if changes:
            raise UsageError(f"{self._mix.parts['data'].name} has changed since: {'; '.join(changes)}")
        return source

    @property
    def conditional(self) -> bool:
        """Whether D is told a class."""
        return bool(self._fit.spec.classes)

    def find_label(self, name_or_number: str | int | None) -> int | None:
        """The class that pictures are judged as; None for a D that is told none.

        Raises:
            UsageError: where one is wanted and not said, said and not wanted, or not known.
        """
        if not self.conditional:
            if name_or_number is not None:
                raise UsageError(f"the discriminator of {self.folder} is told no class; leave --class out")
            return None
        names = self._list_class_names()
        listed = ", ".join(names[: saved.MAX_LISTED_CLASSES])
        if name_or_number is None:
            raise UsageError(
                f"the discriminator of {self.folder} judges pictures of a class; say --class, one of {listed}"
            )
        try:
            return find_class(name_or_number, names)
        except UsageError as error:
            raise UsageError(f"{error}; {self.folder} knows {listed}") from None

    def __call__(self, paths: Sequence[Path], label: int | None = None) -> list[Verdict]:
        """Judge pictures.

        Args:
            paths: pictures, of whatever size and colours; of a folder those in it.
            label: see `find_label`.

        Raises:
            DataError: for one that cannot be read.
        """
        files = [file for path in paths for file in _list_pictures(path)]
        pictures = [read_picture(file) for file in files]
        if not pictures:
            return []
        seen = np.concatenate([self._prepare_picture(picture) for picture in pictures])
        labels = None if label is None else np.full(len(seen), label, np.int64)
        scores = self._engine.score_images(
            self._D, seen, labels, self._values, takes=self._mix.parts["discriminator"].takes
        ).reshape(len(seen), -1)
        verdicts = []
        for file, picture, score in zip(files, pictures, scores.astype(np.float64), strict=True):
            mean = float(score.mean())
            # Of patches each has its probability, as while training.
            probability = float(_sigmoid(score).mean()) if self.probability == "sigmoid" else None
            real = None if self.decision is None or isinstance(self.decision, str) else mean > self.decision
            verdicts.append(Verdict(file, (picture.shape[1], picture.shape[0]), mean, probability, real))
        return verdicts

    def _prepare_picture(self, picture: np.ndarray) -> np.ndarray:
        """A picture [H,W,C] as D saw those that it learned from: uint8 [1,height,width,C].

        One of the size that the networks see, as G draws it, stays as it is; any other becomes as large as the data's
        were, and then what they became.
        """
        one, framing = picture[None], self._fit.framing
        if one.shape[1:3] == framing.target_size:
            framing = Framing(framing.target_size, framing.target_size, "none")
        elif one.shape[1:3] != framing.original_size:
            one = pixels.resize(one, framing.original_size)
        return np.asarray(prepare(ImageSource(one), framing, self._fit.spec.channels).images)

    def _list_class_names(self) -> list[str]:
        try:
            names = read_card(generators.find_generator(self.folder)).class_names
        except UsageError:
            names = []
        return names or [str(number) for number in range(self._fit.spec.classes)]


def _restore_fit_and_mix(config: Path, facts: RunFacts, settings: Mapping[str, Any]) -> tuple[DataFit, Mix]:
    """How the run's data fitted its networks, and its mix, from `config.yaml` alone."""
    if facts.data is None or facts.spec is None or not facts.parts or not facts.framing:
        raise UsageError(f"{config} does not say what the run was; expected data, spec, parts and framing under run")
    height, width, channels = facts.data.size
    classes = facts.spec.classes
    background = (facts.background or 0) if facts.framing == "pad" else None
    for slot in ("generator", "discriminator"):
        if facts.parts.get(slot, "").startswith(OBJECT_PREFIX):
            raise UsageError(
                f"{config.parent} was trained with a {slot} that was given in Python, so it cannot be built"
            )
    own = read_engine_settings(settings)
    said = {key: own[key] for key in own if key in settings or key.removeprefix("engine.") in settings}
    said["engine.max_parameters"] = own["engine.max_parameters"]
    request = mix.Request(
        trackers=[],
        preset=facts.preset or "none",
        config=read_run_config(config),
        config_name=str(config),
        flags={key: (value, "--set") for key, value in said.items()},
    )
    resolved = mix.resolve(catalog.scan(), request)
    fitted = mix.make_data_fit(
        resolved, height=height, width=width, channels=channels, classes=classes, background=background
    )
    return fitted, resolved


def _load_weights(engine: Engine, D: Any, path: Path) -> None:
    """Put the checkpoint's weights and buffers of D into it."""
    found = {
        name.removeprefix("D/"): array
        for name, array in tensors.read_all_tensors(path).items()
        if name.startswith("D/")
    }
    for name, array in found.items():
        if not tensors.is_finite(array):
            raise UsageError(f"{path}: D/{name} holds numbers that are not finite, so nothing can be judged")
    expected = engine.describe_weights(D)
    held = {name: (str(array.dtype), array.shape) for name, array in found.items()}
    for name in sorted({*held, *expected}):
        if held.get(name) != expected.get(name):
            holds, wants = (
                f"{facts[0]} {list(facts[1])}" if (facts := table.get(name)) else "none" for table in (held, expected)
            )
            raise UsageError(
                f"{path}: of D/{name[:100]} it has {holds}, and the discriminator that {layout.CONFIG} asks for "
                f"{wants}; install the version that it names"
            )
    engine.load_weights(D, found)


def _list_pictures(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{path} is not there; name a picture, or a folder of pictures")
        yield path
        return
    inside = sorted(file for file in path.iterdir() if file.suffix.lower() in READABLE_SUFFIXES and file.is_file())
    if not inside:
        raise DataError(f"{path} holds no pictures; expected files such as 0001.png")
    yield from inside


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    below = np.exp(-np.abs(scores))
    positive: np.ndarray = np.where(scores >= 0, 1, below) / (1 + below)
    return positive
