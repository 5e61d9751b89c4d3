"""Build the parts of a Mix: load its data, fit it to the networks, build networks, loss, schedule and step plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from ganzoo_core import mix
from ganzoo_core.api import ImageSource, Loss, Schedule
from ganzoo_core.data import derive, framing, lazy, shares
from ganzoo_core.data.conditions import describe_shapes
from ganzoo_core.discovery import answers, loading
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.engines import LossFacts, Plan
from ganzoo_core.engines.loss_memory import MemoryMerger
from ganzoo_core.engines.network_call import make_network_call
from ganzoo_core.engines.protocol import Engine, Trainer
from ganzoo_core.errors import UsageError
from ganzoo_core.mix import DataFit, Mix, make_network_spec
from ganzoo_core.runs import layout
from ganzoo_core.settings import EmaSettings, OptimizerSettings, read_facts, read_group
from ganzoo_core.storage import files, paths

SLOT_HOOKS = {
    "generator": "build_generator",
    "discriminator": "build_discriminator",
    "loss": "loss",
    "schedule": "schedule",
    "data": "dataset",
}


def call_slot(resolved: Mix, slot: str, check: Callable[[Any], str], *, hook: str = "", **arguments: Any) -> Any:
    """Call a hook of a slot's part, with the mix's modifiers around it; see `loading.call_hook`.

    Its `name`, its `options` and those of the modifiers are the mix's, unless they are among the arguments. `hook` is
    that of the slot unless another is named.
    """
    own = {
        "name": resolved.parts[slot].name,
        "options": resolved.get_options(slot),
        "modifiers": resolved.get_modifier_options(),
    }
    return loading.call_hook(
        hook or SLOT_HOOKS[slot],
        resolved.parts[slot],
        check,
        wrappers=resolved.modifiers,
        replacement=resolved.objects.get(slot),
        **{**own, **arguments},
    )


def find_data_root(data_root: str | Path | None) -> Path:
    """The absolute path of the data root: `--data-root`, else `GANZOO_DATA`, else the user's cache folder."""
    chosen = data_root or os.environ.get("GANZOO_DATA")
    return paths.make_absolute(chosen) if chosen else platformdirs.user_cache_path("ganzoo") / "data"


def find_run_data_root(run: Path, data_root: str | Path | None) -> str | Path | None:
    """The data root of a run: the one passed, else the one it was trained with, if that folder still exists.

    Args:
        run: the run's folder; it may have been moved together with the data.
        data_root: `--data-root`.
    """
    if data_root or not files.is_file(run / layout.CONFIG):
        return data_root
    saved_paths = read_facts(run / layout.CONFIG).paths
    if "data_root" not in saved_paths:
        return None
    root = paths.find_moved_path(saved_paths["data_root"], saved_paths.get("data_root_from_here", ""), run)
    return root if Path(root).is_dir() else None


def collect_paths(resolved: Mix, data_root: str | Path | None, run: Path) -> dict[str, str]:
    """Data paths to record in `config.yaml`, so that the data is found from any folder or after moving with the run.

    Args:
        resolved: the mix that is trained.
        data_root: `--data-root`.
        run: the run's folder, to which relative paths refer.
    """
    collected = {}
    if resolved.parts["data"].argument == "path" and resolved.data_argument and "data" not in resolved.objects:
        collected["data_from_here"] = paths.make_relative(resolved.data_argument, run)
    if data_root or os.environ.get("GANZOO_DATA"):
        root = find_data_root(data_root)
        collected |= {"data_root": str(root), "data_root_from_here": paths.make_relative(root, run)}
    return {name: path for name, path in collected.items() if path}


def load_data(resolved: Mix, data_root: str | Path | None = None) -> ImageSource:
    """Read the share of the mix's images that is trained on (`data.share`), before any framing."""
    source = resolved.objects.get("data")
    if source is not None and not isinstance(source, ImageSource):
        raise UsageError(f"data is a {type(source).__name__}; expected a name, a gz.ImageSource or uint8 [N,H,W,C]")
    loaded = call_slot(resolved, "data", answers.check_source, **_make_data_arguments(resolved, data_root))
    return shares.take_share(lazy.make_indexable(loaded), resolved.settings["data.share"])


def _make_data_arguments(resolved: Mix, data_root: str | Path | None) -> dict[str, Any]:
    """What the hooks `dataset` and `describe_dataset` get beside what all do."""
    return {
        "argument": resolved.data_argument,
        "root": find_data_root(data_root),
        "split": resolved.settings["data.split"],
    }


def fit_from_card(resolved: Mix) -> DataFit | None:
    """Fit data and networks by the dataset's card alone; None if the card does not state the image size."""
    image = resolved.parts["data"].image
    if image is None:
        return None
    return mix.make_data_fit(resolved, **image, background=None, conditions={})


def fit_to_description(resolved: Mix, data_root: str | Path | None = None) -> tuple[DataFit | None, int | None]:
    """Fit data and networks by the dataset's hook `describe_dataset`, or by its card.

    Returns:
        How they fit, None if neither has the size; and the most images that there can be, None if the hook gives none.

    Raises:
        UsageError: if they do not fit, or a path in `--data` does not exist.
        DataError: if the data cannot be found.
    """
    part = resolved.parts["data"]
    if "data" in resolved.objects:
        return None, None
    facts: Mapping[str, Any] = part.image or {}
    if hasattr(loading.import_hooks(part), "describe_dataset"):
        arguments = _make_data_arguments(resolved, data_root)
        facts = call_slot(resolved, "data", answers.check_image_facts, hook="describe_dataset", **arguments)
    elif part.argument == "path" and resolved.data_argument and not paths.expand_user(resolved.data_argument).exists():
        raise UsageError(f"{part.name}:{resolved.data_argument} does not exist; write --data {part.name}:PATH")
    image = {name: number for name, number in facts.items() if name not in ("images", "conditions")}
    if image:
        conditions = {name: tuple(shape) for name, shape in facts.get("conditions", {}).items()}
        fitted = mix.make_data_fit(resolved, **image, background=None, conditions=conditions)
        return fitted, facts.get("images")
    if size := resolved.settings["data.size"]:  # whether the networks take it depends on nothing else
        unknown: dict[str, Any] = {"channels": 1, "classes": 1, "background": None, "conditions": None}
        mix.make_data_fit(resolved, height=size, width=size, **unknown)
    return None, None


def fit_to_data(resolved: Mix, source: ImageSource) -> DataFit:
    """Fit the data and the networks to each other."""
    _, height, width, channels = source.images.shape
    classes = 0 if source.labels is None else len(source.class_names)
    return mix.make_data_fit(
        resolved,
        height=height,
        width=width,
        channels=channels,
        classes=classes,
        background=source.background,
        conditions=describe_shapes(source.conditions),
    )


def prepare_data(
    resolved: Mix, fitted: DataFit, source: ImageSource, *, say: Callable[[str], None] | None = None
) -> ImageSource:
    """Bring a source to the networks' size and channels, with the conditions that they take.

    Args:
        resolved: its `data.derive` makes the condition `source`, if it is set.
        fitted: from `fit_to_data`.
        source: the training part, or another of the same data.
        say: see `framing.prepare`.
    """
    prepared = framing.prepare(source, fitted.framing, fitted.spec.channels, say=say)
    if resolved.derives:
        settings = resolved.settings
        prepared = derive.add_derived(prepared, settings["data.derive"], settings["train.seed"])
    return replace(prepared, conditions={name: prepared.conditions[name] for name in resolved.conditions})


def build_networks(engine: Engine, resolved: Mix, fitted: DataFit, values: Mapping[str, float]) -> tuple[Any, Any]:
    """Build G and D at these schedule values, with weights drawn from the seed."""

    def built(slot: str) -> Any:
        spec = make_network_spec(resolved, fitted.spec, slot)
        own = network_kwargs(resolved, slot, values)
        check = partial(engine.find_network_problem, call=make_network_call(spec, slot, own))
        seed = resolved.settings["train.seed"]
        return engine.build(
            lambda: call_slot(resolved, slot, check, spec=spec), spec=spec, slot=slot, seed=seed, values=own
        )

    return built("generator"), built("discriminator")


def build_trainer(
    engine: Engine, resolved: Mix, fitted: DataFit, prepared: ImageSource, values: Mapping[str, float]
) -> Trainer:
    """Build the engine's trainer with networks, loss and images, at the first values of the schedule."""
    plan = make_plan(resolved, values)
    G, D = build_networks(engine, resolved, fitted, values)
    group = engine.group
    if group is not None and resolved.objects.keys() & {"generator", "discriminator"}:
        for network in (G, D):  # a network from Python was initialised separately in each process
            group.broadcast_network(network)
    shown = framing.add_mirrored(prepared) if resolved.settings["data.flip"] else prepared
    return engine.create_trainer(G, D, build_loss(resolved, fitted), plan, shown.images, shown.labels, shown.conditions)


def check_resolution(resolved: Mix, values: Collection[str]) -> None:
    """Raise UsageError if a schedule that gives these values changes a resolution that a network does not take."""
    for slot in ("generator", "discriminator"):
        if "resolution" in values and "resolution" not in resolved.parts[slot].takes:
            raise UsageError(
                f"the schedule {resolved.parts['schedule'].name} changes the resolution, and the {slot} "
                f"{resolved.parts[slot].name} has only one; pick a growing model, or another --schedule"
            )


def network_kwargs(resolved: Mix, slot: str, values: Mapping[str, float]) -> dict[str, float]:
    """The schedule values that a network takes as keyword arguments."""
    return {name: values[name] for name in resolved.parts[slot].takes if name in values}


def make_full_resolution_values(fitted: DataFit) -> dict[str, float]:
    """The schedule values at which a growing network has all its layers, fully faded in."""
    return {"resolution": max(fitted.spec.height, fitted.spec.width), "fade": 1.0}


def make_plan(resolved: Mix, values: Mapping[str, float]) -> Plan:
    """The settings and the cards' facts in the form that the engine takes.

    Args:
        resolved: the mix.
        values: the schedule's; with an `ema_halflife` among them G has a moving average whatever the settings.
    """
    settings, generator, loss = resolved.settings, resolved.parts["generator"], resolved.parts["loss"]
    needs = {need for part in (loss, *resolved.modifiers) for need in part.needs}
    around_d = [] if "discriminator" not in resolved.parts else list_wrappers(resolved, "discriminator")
    clip, ema = loss.clip_discriminator, read_group(EmaSettings, settings)
    return read_group(
        Plan,
        settings,
        latent=generator.latent,
        conditional=resolved.conditional,
        takes_g=generator.takes,
        takes_d=tuple(
            dict.fromkeys(name for part in (resolved.parts["discriminator"], *around_d) for name in part.takes)
        ),
        conditions_g=generator.conditions,
        conditions_d=resolved.parts["discriminator"].conditions,
        latent_in_discriminator="latent" in resolved.parts["discriminator"].discriminator_takes,
        drawn_alone=generator.drawn_alone,
        latent_dim=resolved.latent_dim,
        optimizer_g=read_group(OptimizerSettings, settings, network="g"),
        optimizer_d=read_group(OptimizerSettings, settings, network="d"),
        ema=ema if ema.halflife or "ema_halflife" in values else None,
        loss=LossFacts(
            decision=loss.decision,
            probability=loss.probability,
            weight_clip=settings[clip] if isinstance(clip, str) else clip,
            real_in_generator_step="real_in_generator_step" in needs,
            same_real_in_generator_step="same_real_in_generator_step" in needs,
        ),
    )


def build_schedule(resolved: Mix, fitted: DataFit, total_images: int) -> Schedule:
    """Build the schedule, with the base values that it may scale."""
    base = {
        "lr_g": read_group(OptimizerSettings, resolved.settings, network="g").lr,
        "lr_d": read_group(OptimizerSettings, resolved.settings, network="d").lr,
        "beta2": resolved.settings["train.betas"][1],
        "ema_halflife": read_group(EmaSettings, resolved.settings).halflife,
    }
    return call_slot(
        resolved,
        "schedule",
        answers.check_schedule,
        spec=fitted.spec,
        total_images=total_images,
        options={**base, **resolved.get_options("schedule")},
    )


def build_loss(resolved: Mix, fitted: DataFit) -> Loss:
    """Build the loss with its modifiers around it; its `memory` is that of all of them."""
    merger = MemoryMerger()
    return merger.merge(call_slot(resolved, "loss", merger.check, spec=fitted.spec))


def check_loss_and_schedule(resolved: Mix, fitted: DataFit, total_images: int) -> None:
    """Build those of the loss and the schedule that are for any framework, and so need none, to see what they refuse.

    Raises:
        UsageError, PluginError: as `build_loss` and `build_schedule` do.
    """

    def is_for_any(slot: str) -> bool:
        return not any(part.frameworks for part in (resolved.parts[slot], *list_wrappers(resolved, slot)))

    if is_for_any("loss"):
        build_loss(resolved, fitted)
    if is_for_any("schedule"):
        build_schedule(resolved, fitted, total_images)


def list_wrappers(resolved: Mix, slot: str) -> list[Part]:
    """The modifiers that change this slot, the first innermost."""
    return [part for part in resolved.modifiers if hasattr(loading.import_hooks(part), SLOT_HOOKS[slot])]
