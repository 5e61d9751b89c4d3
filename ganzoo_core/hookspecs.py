# mypy: disable-error-code="empty-body"
"""The contract, part 2: what a plugin may implement.

A part's hooks module, named in its manifest, holds functions of these names marked with `hookimpl`.
An implementation may take fewer arguments, in any order, and none with a default. `name` is the part that
was picked, so that one module may serve several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from ganzoo_core.api import Extractor, ImageSource, Loss, Metric, Options, Schedule, Spec, TrackedRun

hookspec = pluggy.HookspecMarker("ganzoo")
hookimpl = pluggy.HookimplMarker("ganzoo")
"""Marks a function as a hook: `@gz.hookimpl`, and around another part `@gz.hookimpl(wrapper=True)`."""


@hookspec(firstresult=True)
def build_generator(name: str, spec: Spec, options: Options, modifiers: dict[str, Options]) -> Any:
    """A native network: z [N, latent_dim] float32 (, labels [N] if conditional) -> images in the framework's layout.

    A plain `torch.nn.Module` gives [N,C,H,W], a plain `keras.Model` [N,H,W,C]; float32, in [-1, 1] where the
    manifest says `output = "tanh"`. Labels come second: `G(z, labels)`; a functional `keras.Model` with two inputs
    gets them as `G([z, labels])`. A `keras.Model` is called with `training=True` in both phases of a step.

    Schedule values named in `takes` arrive as keywords, `resolution` an int and all others tensors. A growing network
    has `grow(resolution)` besides: it adds the layers up to that many pixels and does nothing where they are there.
    The engine calls it before the network first sees that resolution, also for a saved one, by more than one doubling
    at a time then. What was there before must keep its weights, and in PyTorch their names.

    In TensorFlow all variables are made with `add_weight`, and random numbers come from `keras.random` with a
    `keras.random.SeedGenerator` that is an attribute of the layer: anything else could not be resumed and is refused.
    """


@hookspec(firstresult=True)
def build_discriminator(name: str, spec: Spec, options: Options, modifiers: dict[str, Options]) -> Any:
    """A native network: images (, labels) -> raw scores [N] or patches, no sigmoid.

    It may return a dict instead: `{"scores": …}` with `classes` [N,K] or `features` beside them.
    """


@hookspec(firstresult=True)
def loss(name: str, spec: Spec, options: Options, modifiers: dict[str, Options]) -> Loss:
    """An object with `discriminator(step)` and `generator(step)`; see `api.Loss`."""


@hookspec(firstresult=True)
def schedule(name: str, spec: Spec, total_images: int, options: Options, modifiers: dict[str, Options]) -> Schedule:
    """A pure function from images seen to named values; see `api.Schedule`.

    `options` holds the schedule's own settings and the base values `lr_g`, `lr_d`, `beta2` and `ema_halflife`.
    """


@hookspec(firstresult=True)
def dataset(name: str, argument: str, root: Path, split: str, options: Options) -> ImageSource:
    """The images of `split` (`train`, `test` or `all`).

    `argument` is what stood behind the colon of `--data NAME:ARGUMENT`, else "". `root` is the data root, which
    may be read-only or absent. `options` holds `data.*`. Raises DataError, as a sentence that says what to do.
    """


@hookspec
def on_run_start(name: str, run: TrackedRun, options: Options) -> None:
    """A run begins, or goes on from `run.images`. `options` holds `track.NAME.*`, in every hook of a tracker.

    A tracker only watches: what it raises is told once and never stops the run. One that raises here is asked for
    nothing more.
    """


@hookspec
def on_report(name: str, run: TrackedRun, line: Mapping[str, Any], options: Options) -> None:
    """A line of statistics: `images`, `step`, `epoch`, `seconds`, `images_per_second`, each loss term (such as
    `discriminator/adversarial`) as a mean since the last line, and the schedule's values.
    """


@hookspec
def on_samples(name: str, run: TrackedRun, images: int, path: Path, options: Options) -> None:
    """A grid of samples was written: a PNG file, drawn after so many real images."""


@hookspec
def on_checkpoint(name: str, run: TrackedRun, images: int, path: Path, options: Options) -> None:
    """A checkpoint was committed: the folder `path`, which may be removed when newer ones are there."""


@hookspec
def on_run_end(name: str, run: TrackedRun, status: str, options: Options) -> None:
    """The run ended: `done`, `interrupted`, `diverged` or `failed`."""


@hookspec(firstresult=True)
def extractor(
    name: str, data: str, source: Callable[[str], ImageSource], say: Callable[[str], None], options: Options
) -> Extractor:
    """What scores look at images with; see `api.Extractor`. `options` holds `extractor.NAME.*`.

    `data` is the dataset's name, `source("train")` and `source("test")` read its parts, `say` tells the user what
    takes long. It runs in a process of its own, in which no other framework than its own is loaded.
    """


@hookspec(firstresult=True)
def metric(name: str, options: Options) -> Metric:
    """A function `metric(real, fake, seed)`; see `api.Metric`. `options` holds `metric.NAME.*`."""
