"""Checks of short runs: of a model's own mix, or of tiny networks with a loss or a modifier."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, python_api
from ganzoo_core.data.conditions import make_random_rows
from ganzoo_core.data.framing import shrink_conditions
from ganzoo_core.errors import GanzooError
from ganzoo_core.generation import load
from ganzoo_core.randomness import latents, philox
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.settings import find_kind
from ganzoo_core.storage import files
from ganzoo_core.storage.tensors import read_all_tensors
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.networks import make_given
from ganzoo_core.testing.subject import BATCH, Subject

CLOCK_KEYS = ("seconds", "images_per_second")
IMAGE_COUNT = 4
IMAGES_SEEN = 20 * BATCH  # by the contract's runs


def train_straight(subject: Subject) -> Path:
    """Train 20 steps, with checkpoints after 10 and 20, once per subject; return the run's folder."""
    if "straight" not in subject.cache:
        try:
            subject.cache["straight"] = train(subject, "straight")
        except Exception as error:  # the other checks of this run meet it without training again
            subject.cache["straight"] = error
    if isinstance(subject.cache["straight"], Exception):
        raise subject.cache["straight"]
    folder: Path = subject.cache["straight"]
    return folder


def train(subject: Subject, name: str, **options: Any) -> Path:
    """Train `subject.resolve_mix(**options)` in a folder `name`; return its path."""
    resolved = subject.resolve_mix(**options)
    return python_api.start(resolved, data_root=None, out=subject.folder / name, quiet=True).folder


def read_stats(folder: Path) -> list[dict[str, Any]]:
    """The run's lines of statistics, without times and speeds."""
    lines = RunFolder(folder).read_stats()
    return [{key: value for key, value in line.items() if key not in CLOCK_KEYS} for line in lines]


def finite(subject: Subject) -> None:
    """There are twenty lines of statistics, all finite."""
    lines = read_stats(train_straight(subject))
    if len(lines) != 20:
        raise Broken(f"the run ended with {len(lines)} of 20 reports")
    for line in lines:
        bad = [name for name, value in line.items() if not isinstance(value, int | float) or not math.isfinite(value)]
        if bad:
            raise Broken(f"{bad[0]} is not finite after {line['step']} steps")


def learns(subject: Subject) -> None:
    """G and D differ between the two checkpoints."""
    saved = [_read_state(train_straight(subject), step) for step in (10, 20)]
    for label, network in (("G", "generator"), ("D", "discriminator")):
        names = [name for name in saved[0] if name.startswith(f"{label}/")]
        if not any(not np.array_equal(saved[0][name], saved[1][name]) for name in names):
            raise Broken(f"the {network} does not move: its terms have no gradient in it")


def _read_state(folder: Path, step: int) -> dict[str, np.ndarray]:
    places = list(files.list_numbered(folder / layout.CHECKPOINTS).values())
    return read_all_tensors(places[0 if step == 10 else -1] / layout.STATE)


def same_seed(subject: Subject) -> None:
    """A second run gives bit-identical statistics, and initial weights depend on the seed."""
    first, second = train_straight(subject), _train_again(subject)
    for before, after in zip(read_stats(first), read_stats(second), strict=True):
        if before != after:
            name = next(name for name in before if before[name] != after.get(name))
            raise Broken(
                f"with the same seed, {name} is {before[name]} in one run and {after.get(name)} in another after "
                f"{before['step']} steps; draw from the framework's own generator, which ganzoo seeds"
            )
    if subject.part.kind == "models":
        built = [subject.build_networks(**{"train.seed": seed})[:2] for seed in (0, 1)]
        for slot, index in (("generator", 0), ("discriminator", 1)):
            learnable = [list(subject.native.list_learnable(networks[index]).values()) for networks in built]
            for (name, weights), (_, other_weights) in zip(*learnable, strict=True):
                if len(np.unique(weights)) > 1 and np.array_equal(weights, other_weights):
                    raise Broken(f"{name} of the {slot} is the same with another seed; nothing may seed by itself")


def _train_again(subject: Subject) -> Path:
    """Repeat the straight run, and record which global state it changes."""
    if "again" not in subject.cache:
        first = train_straight(subject)  # also does what only the first run in a process does
        assert first.exists()
        before = _read_global_state(subject)
        subject.cache["again"] = train(subject, "again")
        subject.cache["changed"] = [
            name for name, value in _read_global_state(subject).items() if value != before[name]
        ]
    folder: Path = subject.cache["again"]
    return folder


def _read_global_state(subject: Subject) -> dict[str, Any]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the global one is what is watched)
    return {
        "Python's random state": python,
        "numpy's random state": str(numpy),
        **subject.native.read_global_state(),
    }


def global_state(subject: Subject) -> None:
    """A run does not change global state."""
    _train_again(subject)
    if subject.cache["changed"]:
        raise Broken(f"{subject.cache['changed'][0]} is changed by a run; put it back, or do without")


def resume(subject: Subject) -> None:
    """Resuming from the checkpoint after ten steps gives the straight run's statistics and final state."""
    whole = train_straight(subject)
    half = subject.folder / "resumed"
    shutil.copytree(whole, half)
    places = list(files.list_numbered(half / layout.CHECKPOINTS).values())
    shutil.rmtree(places[-1])
    shutil.rmtree(half / layout.GENERATOR)
    objects = {slot: value for slot, value in subject.choose_picks().items() if not isinstance(value, str)}
    python_api.resume(half, picks={**objects, "data": subject.make_source()}, quiet=True)
    if read_stats(half) != read_stats(whole):
        before, after = next(
            pair for pair in zip(read_stats(whole), read_stats(half), strict=False) if pair[0] != pair[1]
        )
        name = next(name for name in before if before[name] != after.get(name))
        raise Broken(
            f"after a resume {name} is {after.get(name)} instead of {before[name]} at step {before['step']}; whatever "
            "a step depends on must be in the networks, in a loss's `memory`, or a function of the images seen"
        )
    ends = [_read_state(folder, 20) for folder in (whole, half)]
    for name in ends[0]:
        if ends[0][name].tobytes() != ends[1][name].tobytes():
            raise Broken(f"after a resume {name} differs from that of a straight run")


def saved(subject: Subject) -> None:
    """The saved generator has the bytes of the trained one; each of its tensors is used; it draws reproducibly."""
    folder = train_straight(subject)
    network = subject.choose_picks().get("generator")
    loaded = [load.load(folder, device="cpu", network=network) for _ in range(2)]
    on = make_random_rows(loaded[0].spec.conditions, IMAGE_COUNT, seed=1)
    drawn = [each.generate(IMAGE_COUNT, seed=1, on=on or None) for each in loaded]
    if drawn[0].tobytes() != drawn[1].tobytes():
        raise Broken("the saved generator draws other images each time; nothing in it may be drawn at random")
    written = read_all_tensors(folder / layout.GENERATOR / layout.WEIGHTS)
    state = _read_state(folder, 20)
    label = "EMA" if any(name.startswith("EMA/") for name in state) else "G"
    trained = {name.removeprefix(f"{label}/"): array for name, array in state.items() if name.startswith(f"{label}/")}
    if set(written) != set(trained) or any(written[name].tobytes() != trained[name].tobytes() for name in written):
        raise Broken("the saved generator's tensors are not those of the trained one")
    if subject.part.kind == "models":
        _check_tensors_are_used(subject, written)


def _check_tensors_are_used(subject: Subject, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise Broken if changing a tensor changes no image at any stage of growth."""
    G, _, resolved, fitted = subject.build_networks()
    z = latents(philox(0, "contract"), BATCH, fitted.spec.latent_dim, resolved.parts["generator"].latent)
    given, size = make_given(resolved, fitted, "generator"), (fitted.spec.height, fitted.spec.width)

    def images() -> list[np.ndarray]:
        stages = [
            building.network_kwargs(resolved, "generator", stage) for stage in subject.list_stages(resolved, fitted)
        ]
        return [subject.native.draw_images(G, z, shrink_conditions(given, size, values), values) for values in stages]

    subject.engine.load_weights(G, tensors)
    before = images()
    for name, array in tensors.items():
        if array.dtype.kind != "f":  # counters, such as batch norm's number of batches
            continue
        subject.engine.load_weights(G, {**tensors, name: array + np.float32(0.5)})
        if all(np.array_equal(image, changed_image) for image, changed_image in zip(before, images(), strict=True)):
            raise Broken(f"{name} is saved, and no image depends on it")
    subject.engine.load_weights(G, tensors)


def effect(subject: Subject) -> None:
    """A run without the modifier is another, or its schedule is later; by default, or with other settings of its own.

    A modifier may begin after more images than a short run sees. If a run shows no effect, the schedules are compared
    over 100,000 images, and runs are tried in which one setting of the modifier has another value, such as 0 images.
    """
    without = train(subject, "without", modifiers=[])
    if _differ(train_straight(subject), without) or _changes_schedule(subject):
        return
    for index, (key, value) in enumerate(_list_trials(subject)):
        try:
            tried = train(subject, f"trial-{index}", **{key: value})
        except GanzooError:  # the modifier does not take this value
            continue
        if _differ(tried, without):
            return
    raise Broken(
        "a run with the modifier is the same as one without; does it wrap the hook that it means? If its effect begins "
        f"after more than {IMAGES_SEEN} images, say a setting with which it begins sooner: settings = "
        f'{{"with.{subject.part.name}.…": …}} in the contract, --set with `ganzoo doctor`'
    )


def _differ(one: Path, other: Path) -> bool:
    """Whether two runs differ in statistics, sample grids or final state, but for what only one of them keeps."""
    if read_stats(one) != read_stats(other):
        return True
    first, second = (_read_state(folder, 20) for folder in (one, other))
    if any(first[name].tobytes() != second[name].tobytes() for name in first.keys() & second.keys()):
        return True
    grids = [{path.name: path.read_bytes() for path in (folder / layout.SAMPLES).iterdir()} for folder in (one, other)]
    return grids[0] != grids[1]


def _changes_schedule(subject: Subject) -> bool:
    """Whether the modifier changes the schedule of a long run."""
    total = 100_000
    values: list[Any] = []
    for modifiers in (None, list[str]()):
        resolved = subject.resolve_mix(modifiers=modifiers)
        fitted = building.fit_to_data(resolved, building.load_data(resolved))
        schedule = building.build_schedule(resolved, fitted, total)
        values.append([dict(schedule(int(point))) for point in np.linspace(0, total, 64)])
    return bool(values[0] != values[1])


def _list_trials(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Other values of the modifier's settings that the author did not set: its choices, else 0 and 1."""
    part = subject.part
    for key, default in part.defaults.items():
        kind = find_kind(key, default)
        numbers = {"bool": (not default,), "int": (0, 1), "float": (0.0, 1.0)}.get(kind, ())
        for value in part.choices.get(key, numbers):
            if key not in subject.own_settings and value != default:
                yield key, value
