"""Report data that needs the generator or the training set: nearest training images and a latent walk.

It is stored in the run's folder, in `report/measured.json`, which the report reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, mix
from ganzoo_core.api import ImageSource
from ganzoo_core.data import framing, picture_files, pixels
from ganzoo_core.data.framing import crop_padding
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import GanzooError
from ganzoo_core.generation import data_rows, latent_walk, load
from ganzoo_core.generation.given import Given
from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.html.markup import make_data_uri
from ganzoo_core.html.page import log_error
from ganzoo_core.messages import pluralise
from ganzoo_core.randomness import latents, philox
from ganzoo_core.runs import facts, layout
from ganzoo_core.settings import read_facts, read_run_config
from ganzoo_core.storage import atomic, files

DRAWN_IMAGES, SHOWN_IMAGES, NEIGHBOURS = 64, 8, 3
BASELINE_IMAGES = 256  # training images whose nearest other training image is found
MAX_PIXEL_VALUES = 400_000_000  # limit of the training images compared, in pixel values
CHUNK = 2048  # training images compared at once
WALK_STOPS, STEPS_PER_STOP = 4, 8  # stops of a walk, and steps between two stops
WALKS_BY_SIDE = ((64, 8), (128, 6), (4096, 2))  # (largest side in pixels, number of walks)


def measure(
    folder: Path,
    *,
    device: str = "auto",
    data_root: str | Path | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Compute nearest training images and a latent walk for a run's last generator, and store them in its folder.

    If one fails, such as for a missing generator, plugin or data set, the reason is stored instead.

    Args:
        folder: the run's.
        device: as `engine.device`.
        data_root: folder of the data sets.
        seed: of the noise.
        settings: of `engine.*`.

    Raises:
        OSError: if the folder cannot be written.
    """
    measured: dict[str, Any] = {"format": 1, "notes": {}}
    generators: list[SavedGenerator] = []

    def attempt(name: str, look: Callable[[], Any]) -> None:
        try:
            measured[name] = look()
        except GanzooError as error:
            measured["notes"][name] = f"{error}."
        except Exception as error:
            log_error(name, error)
            measured["notes"][name] = f"{type(error).__name__}: {error}."

    def generator() -> SavedGenerator:
        if not generators:
            generators.append(load.load(folder, device=device, settings=settings))
            measured["images"] = generators[0].images_seen
        return generators[0]

    def nearest() -> dict[str, Any]:
        given = read_test_part(generator(), DRAWN_IMAGES, data_root)
        return find_nearest(generator(), *load_training_images(folder, data_root), seed=seed, given=given)

    attempt("walk", lambda: draw_walk(generator(), seed=seed, data_root=data_root))
    attempt("nearest", nearest)
    report_folder = folder / layout.REPORT_FOLDER
    files.check_folder(report_folder)
    report_folder.mkdir(exist_ok=True)
    atomic.write_file(report_folder / layout.MEASURED, json.dumps(measured).encode())


def read_test_part(generator: SavedGenerator, count: int, data_root: str | Path | None) -> Given | None:
    """What to draw from: rows of the test part, fewer if it has fewer; None for a generator without conditions."""
    if not generator.spec.conditions:
        return None
    rows = data_rows.load_for_generator(generator.folder, generator.card, count=count, data_root=data_root)
    return Given(rows.conditions, labels=rows.labels if generator.spec.classes else None)


def draw_walk(generator: SavedGenerator, *, seed: int = 0, data_root: str | Path | None = None) -> dict[str, Any]:
    """Draw several closed walks through latent space at once.

    Spherical interpolation for normal and spherical latents, linear for uniform ones, to stay within the training
    distribution; see `generation.latent_walk`.

    Returns:
        `frames`, PNG grids as data URIs; `size`, their width and height; `about`, a sentence on the walks.
    """
    spec = generator.spec
    if generator.latent == "none":
        raise GanzooError("it draws from its conditions alone, without a z to walk through")
    count = next(count for side, count in WALKS_BY_SIDE if max(spec.height, spec.width) <= side or count == 2)
    noise = philox(seed, "walk")
    stops = latents(noise, count * WALK_STOPS, spec.latent_dim, generator.latent).reshape(WALK_STOPS, count, -1)
    given = read_test_part(generator, count, data_root)
    rows = None if given is None else given.take(np.arange(count) % len(given))
    labels = rows.labels if rows is not None and spec.classes else generator.labels(count)
    straight = generator.latent == "uniform"
    walks = latent_walk.make_closed_walk(stops, WALK_STOPS * STEPS_PER_STOP, straight=straight)
    conditions = None if rows is None else rows.conditions
    drawn = [generator.draw(z, labels, conditions, noise_seed=seed) for z in (*walks, walks[0])]
    sheets = [pixels.enlarge(pixels.grid(frame, max(1, count // 2)), least=480) for frame in drawn]
    way = "in straight lines" if straight else "by spherical interpolation"
    about = f"{count} ways at once, each through {WALK_STOPS} random points {way} and back to its first, seed {seed}."
    if spec.classes:
        about += " Each keeps its class."
    if conditions is not None:
        about += " Each keeps its conditions, those of an image of the test part."
    return {
        "frames": [make_data_uri(picture_files.encode_png(sheet)) for sheet in sheets],
        "size": list(sheets[0].size),
        "about": about,
    }


def load_training_images(folder: Path, data_root: str | Path | None) -> tuple[np.ndarray, str]:
    """A run's training images uint8 [N,H,W,C], cropped like the generated ones, and a sentence about them."""
    path = folder / layout.CONFIG
    request = mix.Request(preset=read_facts(path).preset or "none", config=read_run_config(path), config_name=str(path))
    resolved = mix.resolve(catalog.scan(), request)
    source = building.load_data(resolved, building.find_run_data_root(folder, data_root))
    fitted = building.fit_to_data(resolved, source)
    count, spec = len(source.images), fitted.spec
    max_count = max(1, MAX_PIXEL_VALUES // (spec.height * spec.width * spec.channels))
    about = f"Looked at: all {count:,} training images."
    changes = facts.compare_with_run(folder, source)
    if changes:
        about = f"The data are not those that the run was trained with: {'; '.join(changes)}. {about}"
    if count > max_count:
        chosen = np.linspace(0, count - 1, max_count).astype(np.int64)
        source = ImageSource(source.images[chosen], background=source.background)
        about = about.replace(f"all {count:,}", f"{max_count:,} of {count:,}")
    prepared = framing.prepare(source, fitted.framing, spec.channels).images
    framed = crop_padding(np.asarray(prepared), fitted.framing.crop, fitted.framing.target_size)
    if not resolved.settings["data.flip"]:
        return framed, about
    return np.concatenate([framed, framed[:, :, ::-1]]), f"{about} Each of them mirrored, too."


def find_nearest(
    generator: SavedGenerator, training: np.ndarray, about: str, *, seed: int = 0, given: Given | None = None
) -> dict[str, Any]:
    """Find the training images nearest to generated ones, and, as a baseline, those nearest to other training images.

    Distances are root mean square differences of pixel values, 0 to 255. The ratio of the nearest distance to the
    second nearest distinguishes a copy from an image that is close to many (arXiv:2310.02664). Those with the smallest
    ratio are shown.

    Args:
        generator: draws the images.
        training: uint8 [N,H,W,C].
        about: a sentence about the training images.
        seed: of the noise and of the choice of training images.
        given: what the images are drawn from, if the generator takes conditions.
    """
    drawn = generator.generate(DRAWN_IMAGES if given is None else len(given), seed=seed, on=given)
    if given is not None:
        about += f" Drawn from the conditions of {pluralise(len(given), 'image')} of the test part."
    if drawn.shape[1:3] != training.shape[1:3]:
        training = shrink(training, drawn.shape[1:3])
        about += f" They were shrunk to the {drawn.shape[2]}×{drawn.shape[1]} pixels of this stage."
    indices, distances = find_neighbours(drawn, training, NEIGHBOURS)
    first, second = distances[:, 0], distances[:, min(1, distances.shape[1] - 1)]
    ratios = np.divide(first, second, out=np.zeros_like(first), where=second > 0)
    chosen = philox(seed, "yardstick").permutation(len(training))[:BASELINE_IMAGES]
    _, between_training = find_neighbours(training[chosen], training, 1, own_places=chosen)

    def encoded(image: np.ndarray) -> str:
        return make_data_uri(picture_files.encode_png(pixels.to_pillow(image)))

    shown = [
        {
            "uri": encoded(drawn[index]),
            "ratio": float(ratios[index]),
            "neighbours": [
                {"uri": encoded(training[neighbour]), "distance": float(distance), "index": int(neighbour)}
                for neighbour, distance in zip(indices[index], distances[index], strict=True)
            ],
        }
        for index in np.argsort(ratios, kind="stable")[:SHOWN_IMAGES]
    ]
    return {
        "shown": shown,
        "drawn": [round(float(distance), 3) for distance in distances[:, 0]],
        "ratios": [round(float(ratio), 3) for ratio in ratios],
        "training": [round(float(distance), 3) for distance in between_training[:, 0]],
        "about": about,
    }


def shrink(pictures: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Shrink images [N,H,W,C] to a size (height, width) that divides theirs, by averaging blocks.

    Raises:
        GanzooError: if it does not divide theirs.
    """
    count, height, width, channels = pictures.shape
    if height % size[0] or width % size[1]:
        raise GanzooError(
            f"the generator draws {size[1]}×{size[0]} pixels and the training images have {width}×{height}, which "
            "cannot be compared"
        )
    blocks = pictures.reshape(count, size[0], height // size[0], size[1], width // size[1], channels)
    return np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)


def find_neighbours(
    queries: np.ndarray, others: np.ndarray, count: int, own_places: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest neighbours of each query: their indices in `others` and their distances, each [N,count].

    Args:
        queries, others: uint8 [N,H,W,C] and [M,H,W,C].
        count: neighbours per query; fewer if there are fewer others.
        own_places: int64 [N], the index of each query in `others`, which is excluded.

    Raises:
        GanzooError: if there is nothing to compare with.
    """
    count = min(count, len(others) - (own_places is not None))
    if count < 1:
        raise GanzooError("there are too few training images to compare with")
    flat = queries.reshape(len(queries), -1).astype(np.float32)
    squares = (flat**2).sum(axis=1, keepdims=True)
    best = np.full((len(flat), 0), np.inf, np.float32)
    indices = np.zeros((len(flat), 0), np.int64)
    for start in range(0, len(others), CHUNK):
        chunk = others[start : start + CHUNK].reshape(len(others[start : start + CHUNK]), -1).astype(np.float32)
        square = squares + (chunk**2).sum(axis=1) - 2 * flat @ chunk.T
        numbers = np.broadcast_to(np.arange(start, start + len(chunk)), square.shape)
        if own_places is not None:
            square = np.where(numbers == own_places[:, None], np.inf, square)
        best = np.concatenate([best, square], axis=1)
        indices = np.concatenate([indices, numbers], axis=1)
        nearest = np.argsort(best, axis=1, kind="stable")[:, :count]
        best, indices = np.take_along_axis(best, nearest, axis=1), np.take_along_axis(indices, nearest, axis=1)
    # Differences of large squares are inexact in float32; recompute the chosen distances in float64.
    exact = [
        np.sqrt(((others[row].astype(np.float64) - query) ** 2).mean(axis=(1, 2, 3)))
        for row, query in zip(indices, queries, strict=True)
    ]
    return indices, np.array(exact)
