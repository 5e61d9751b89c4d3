"""Images of a data set as the networks see them, with the conditions and labels that belong to them.

What a generator with conditions is drawn from when nobody gives any: in sample grids, in scores, in a report and by
`--on test`. The test part is taken; if nothing is held out it is the training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.api import ImageSource
from ganzoo_core.data import derive
from ganzoo_core.data.conditions import read_rows, take_rows
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import DataFit, Mix
from ganzoo_core.mix.finding import OBJECT
from ganzoo_core.randomness import philox
from ganzoo_core.runs import layout
from ganzoo_core.settings import read_facts, read_run_config
from ganzoo_core.storage import files
from ganzoo_core.storage.records import Card


@dataclass(frozen=True)
class DataRows:
    """Some images of a data set, framed for the networks.

    Attributes:
        images: uint8 [N,H,W,C], the targets.
        conditions: name -> N rows, of those that the generator takes.
        labels: int64 [N]; None for data without labels.
        total: how many images the part has.
    """

    images: np.ndarray
    conditions: dict[str, np.ndarray]
    labels: np.ndarray | None
    total: int

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> DataRows:
        """The first rows."""
        return DataRows(
            self.images[:count],
            {name: rows[:count] for name, rows in self.conditions.items()},
            None if self.labels is None else self.labels[:count],
            self.total,
        )


def choose_rows(total: int, count: int, *, in_order: bool = False) -> np.ndarray:
    """Indices int64 of `count` rows, or of all `total`: always the same, of any class.

    The first are the same whatever `count`, unless they are asked for `in_order`, sorted.
    """
    chosen = philox(0, "shown rows").permutation(total)[:count].astype(np.int64)
    return np.sort(chosen) if in_order else chosen


def explain_fewer(wanted: int, there: int) -> str:
    """The message for images to score of which there are fewer than wanted."""
    return f"{pluralise(there, 'image')} instead of {wanted:,} are drawn for scores: one from each of the test part"


def read_data_rows(resolved: Mix, fitted: DataFit, source: ImageSource, indices: np.ndarray) -> DataRows:
    """Read rows of a data set, and frame them and derive their conditions as in training.

    Args:
        resolved: of both networks; the conditions are those that the generator takes.
        fitted: from `building.fit_to_data`.
        source: a part of the data.
        indices: int64 [N], of its images.
    """

    def select(images: Any, index: np.ndarray) -> np.ndarray:
        return np.asarray(images[index])

    chosen = replace(
        source,
        images=select(source.images, indices),
        labels=None if source.labels is None else source.labels[indices],
        conditions=take_rows(source.conditions, indices, select),
        sizes=None,
        split_keys=None,
        digests=None,
        held_out=None,
        whole=0,
    )
    prepared = building.prepare_data(resolved, fitted, chosen)
    images, names = np.asarray(prepared.images), resolved.parts["generator"].conditions
    conditions = read_rows(prepared.conditions, slice(None), [name for name in names if name != DERIVED])
    if DERIVED in names:
        conditions[DERIVED] = (
            derive.make_derive(method, resolved.settings["train.seed"])(images, indices)  # a mask by its own index
            if (method := resolved.settings["data.derive"])
            else np.asarray(prepared.conditions[DERIVED])
        )
    return DataRows(images, {name: conditions[name] for name in names}, chosen.labels, len(source.images))


def load_test_part(resolved: Mix, data_root: str | Path | None) -> ImageSource:
    """Load the images that are held out, whatever `data.share` is trained on; all images if none are held out."""
    settings = resolved.settings.replace("data.split", "test", "core").replace("data.share", 1.0, "core")
    return building.load_data(replace(resolved, settings=settings), data_root)


def resolve_run(run: Path, data: str | None = None) -> Mix:
    """Resolve a run's mix from its `config.yaml`.

    Args:
        run: its folder.
        data: a data set in place of the run's.

    Raises:
        UsageError: if it was trained with objects from Python, or a part is not installed.
    """
    path = run / layout.CONFIG
    facts = read_facts(path)
    if data is None and facts.parts.get("data", "").startswith(OBJECT):
        raise UsageError(
            f"{run} learnt from images that were given in Python, which no file holds, so it has no test part"
        )
    request = mix.Request(
        picks={} if data is None else {"data": data},
        trackers=[],
        preset=facts.preset or "none",
        config=read_run_config(path),
        config_name=str(path),
    )
    return mix.resolve(catalog.scan(), request)


def resolve_card(card: Card, data: str) -> Mix:
    """Resolve a mix of a saved generator's model and a data set, at the size and with the conditions of its card."""
    assert card.part is not None
    spec = card.spec
    size = spec.height if spec.height == spec.width else 0
    assigned = {"data.size": size, "data.channels": spec.channels, "data.derive": card.derive}
    picks = {"model": f"{card.part.distribution}/{card.part.name}", "data": data}
    return mix.resolve(catalog.scan(), mix.Request(picks=picks, trackers=[], preset="none", assigned=assigned))


def find_run(folder: Path) -> Path | None:
    """The run that a saved generator belongs to, by its folder; None for one that a plugin carries, or a copy."""
    inside = folder.absolute()
    if inside.name == layout.GENERATOR:
        run = folder.parent if folder.name else inside.parent
    elif inside.parent.name == layout.SNAPSHOTS:
        run = inside.parent.parent
    else:
        return None
    return run if files.is_file(run / layout.CONFIG) else None


def load_for_generator(
    folder: Path,
    card: Card,
    *,
    count: int,
    in_order: bool = False,
    data: str | None = None,
    data_root: str | Path | None = None,
) -> DataRows:
    """Rows of the test part of a saved generator's data.

    Args:
        folder, card: of the generator.
        count: how many; fewer if the part has fewer.
        in_order: see `choose_rows`.
        data: a data set in place of the run's; needed for a generator that a plugin carries.
        data_root: folder of the data sets; by default that of the run.

    Raises:
        UsageError, DataError: if there is none, or its images do not have the generator's shape.
    """
    run = find_run(folder)
    if run is not None:
        resolved = resolve_run(run, data)
    elif data is not None and card.part is not None:
        resolved = resolve_card(card, data)
    else:
        raise UsageError(f"{folder} belongs to no run, so it has no test part; give it what to draw from")
    source = load_test_part(resolved, data_root if run is None else building.find_run_data_root(run, data_root))
    fitted = building.fit_to_data(resolved, source)
    _check_fit(card, fitted, folder, resolved.parts["data"].name)
    indices = choose_rows(len(source.images), count, in_order=in_order)
    return read_data_rows(resolved, fitted, source, indices)


def _check_fit(card: Card, fitted: DataFit, folder: Path, data: str) -> None:
    """Raise UsageError unless images and conditions have the shapes that the generator was trained with."""
    names = card.spec.conditions
    wanted: Mapping[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in names.items()}
    wanted = {"images": (card.spec.height, card.spec.width, card.spec.channels), **wanted}
    spec = fitted.spec
    found = {"images": (spec.height, spec.width, spec.channels), **{name: spec.conditions[name] for name in names}}
    for name, shape in wanted.items():
        if found[name] != shape:
            raise UsageError(
                f"{name} of {data} are {list(found[name])} each, and {folder} takes {list(shape)}; name other data "
                "with --data"
            )
