# mypy: disable-error-code="empty-body"
"""The contract, part 2: what a plugin may implement.

A part's hooks module, named in its manifest, holds functions of these names marked with `hookimpl`.
An implementation may take fewer arguments, in any order, and none with a default. `name` is the part that
was picked, so that one module may serve several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pluggy

from ganzoo_core.api import ImageSource, Loss, Options, Schedule, Spec

hookspec = pluggy.HookspecMarker("ganzoo")
hookimpl = pluggy.HookimplMarker("ganzoo")


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
