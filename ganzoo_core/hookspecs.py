# mypy: disable-error-code="empty-body"
"""The contract, part 2: the hooks that a plugin may implement.

A part's hooks module, named in its manifest, holds functions of these names marked with `hookimpl`.
An implementation may take fewer arguments, in any order, and none may have a default. `name` is the name of the
picked part, so that one module can serve several parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from ganzoo_core.api import Extractor, ImageSource, Loss, Metric, Options, Schedule, Spec, TrackedRun

hookspec = pluggy.HookspecMarker("ganzoo")
hookimpl = pluggy.HookimplMarker("ganzoo")
"""Marks a function as a hook: `@gz.hookimpl`, or `@gz.hookimpl(wrapper=True)` for a modifier around another part."""


@hookspec(firstresult=True)
def build_generator(name: str, spec: Spec, options: Options, modifiers: dict[str, Options]) -> Any:
    """Build a native network: z [N, latent_dim] float32 (, labels [N] if conditional) -> images.

    A plain `torch.nn.Module` gives [N,C,H,W], a plain `keras.Model` [N,H,W,C]; float32, in [-1, 1] where the
    manifest says `output = "tanh"`. Labels come second: `G(z, labels)`; a functional `keras.Model` with two inputs
    gets them as `G([z, labels])`. A `keras.Model` is called with `training=True` in both phases of a step.

    Schedule values named in `takes` arrive as keywords, `resolution` an int and all others tensors. A growing network
    also has `grow(resolution)`: it adds the layers up to that many pixels and does nothing if they exist. The engine
    calls it before the network first sees that resolution; for a saved network it may skip several doublings at once.
    Existing layers must keep their weights, and in PyTorch also their names.

    In TensorFlow all variables must be created with `add_weight`, and random numbers must come from `keras.random`
    with a `keras.random.SeedGenerator` that is an attribute of the layer: anything else could not be resumed and is
    refused.
    """


@hookspec(firstresult=True)
def build_discriminator(name: str, spec: Spec, options: Options, modifiers: dict[str, Options]) -> Any:
    """Build a native network: images (, labels) -> raw scores [N] or patches, no sigmoid.

    The network may return a dict instead: `{"scores": …}`, optionally with `classes` [N,K] or `features`.
    """


@hookspec(firstresult=True)
def loss(name: str, spec: Spec, options: Options, modifiers: dict[str, Options]) -> Loss:
    """An object with `discriminator(step)` and `generator(step)`; see `api.Loss`."""


@hookspec(firstresult=True)
def schedule(name: str, spec: Spec, total_images: int, options: Options, modifiers: dict[str, Options]) -> Schedule:
    """A pure function from images seen to named values; see `api.Schedule`.

    `options` holds the schedule's own settings and the base values `lr_g`, `lr_d`, `beta2` (of `train.betas`) and
    `ema_halflife`.
    """


@hookspec(firstresult=True)
def dataset(
    name: str, argument: str, root: Path, split: str, options: Options, modifiers: dict[str, Options]
) -> ImageSource:
    """The images of `split` (`train`, `test` or `all`).

    `argument` is the text after the colon of `--data NAME:ARGUMENT`, else "". `root` is the data root, which may be
    read-only or missing. `options` holds `data.*`. Raises DataError with a sentence that says what to do.
    """


@hookspec(firstresult=True)
def describe_dataset(
    name: str, argument: str, root: Path, split: str, options: Options, modifiers: dict[str, Options]
) -> Mapping[str, Any]:
    """`height`, `width`, `channels` and `classes` of what `dataset` would give, as `image` in a manifest states them.

    Optional, for a dataset in which they depend on the argument, or whose files may be missing. It is asked by
    `--dry-run`: it reads names and headers of files, no whole pictures, and downloads nothing. It may also give
    `images`, the most that the part can have, so that a batch larger than that is refused, and must give `conditions`,
    name -> shape of one row (see `Spec`), if the set has any. What is known only once the images are read is an empty
    mapping. Raises DataError as `dataset` does. A modifier that changes the numbers wraps this hook too.
    """


@hookspec
def on_run_start(name: str, run: TrackedRun, options: Options) -> None:
    """A run starts, or resumes at `run.images`. `options` holds `track.NAME.*`, in every hook of a tracker.

    A tracker only observes: an error in it is reported once and never stops the run. If this hook raises, the tracker
    is disabled.
    """


@hookspec
def on_report(name: str, run: TrackedRun, line: Mapping[str, Any], options: Options) -> None:
    """A line of statistics was written: `images`, `step`, `epoch`, `seconds`, `images_per_second`, each loss term
    (such as `discriminator/adversarial`) as a mean since the last line, and the schedule's values.
    """


@hookspec
def on_samples(name: str, run: TrackedRun, images: int, path: Path, options: Options) -> None:
    """A sample grid was written to the PNG file `path`, after `images` real images."""


@hookspec
def on_checkpoint(name: str, run: TrackedRun, images: int, path: Path, options: Options) -> None:
    """A checkpoint was committed to the folder `path`, which may be removed once newer ones exist."""


@hookspec
def on_run_end(name: str, run: TrackedRun, status: str, options: Options) -> None:
    """The run ended: `done`, `interrupted`, `diverged` or `failed`."""


@hookspec(firstresult=True)
def extractor(
    name: str, data: str, source: Callable[[str], ImageSource], say: Callable[[str], None], options: Options
) -> Extractor:
    """The feature extractor that metrics use; see `api.Extractor`. `options` holds `extractor.NAME.*`.

    `data` is the dataset's name, `source("train")` and `source("test")` read its splits, `say` reports slow work to
    the user. The extractor runs in its own process, in which only its own framework is loaded.
    """


@hookspec(firstresult=True)
def metric(name: str, options: Options) -> Metric:
    """A function `metric(real, fake, seed)`; see `api.Metric`. `options` holds `metric.NAME.*`."""
