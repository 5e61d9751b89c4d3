"""From a Mix to a run that is ready to start: read the data, check that it fits, build the parts."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from ganzoo_core import data, engines, evaluation, loader, mix, resuming, rundir, saved
from ganzoo_core.api import ImageSource, UsageError
from ganzoo_core.console import Reporter
from ganzoo_core.engines import Plan
from ganzoo_core.evaluation.watching import Watch
from ganzoo_core.intervals import Interval
from ganzoo_core.mix import Fit, Mix
from ganzoo_core.pace import Pace
from ganzoo_core.resuming import Beginning
from ganzoo_core.runner import Runner
from ganzoo_core.samples import Samples
from ganzoo_core.trackers import Trackers

FROM_NOTHING = Beginning()
SAME = ("ganzoo", "python", "numpy", "engine", "parts", "modifiers", "data")  # what exact resuming takes


def assemble(
    resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool, beginning: Beginning = FROM_NOTHING
) -> Runner:
    """Read the data, check that it fits, import the framework, build everything, and open the run's folder.

    Args:
        resolved: what is trained.
        data_root: see `data_root_of`.
        out: the folder of a new run; None for one under `runs`.
        quiet: no progress.
        beginning: what the run goes on from.

    Raises:
        UsageError, PluginError: before anything is trained.
    """
    settings, model = resolved.settings, resolved.parts["generator"]
    fit_of(resolved)  # the card alone may tell that it cannot work: then nothing is read or downloaded
    source = load_data(resolved, data_root)
    fitted = fitted_to(resolved, source)
    if len(source.images) < settings["train.batch_size"]:
        raise UsageError(
            f"there are {len(source.images)} images and a batch takes {settings['train.batch_size']}; "
            f"say --batch-size {len(source.images)} or less"
        )

    engine = engines.create(resolved.framework, settings)
    reporter = Reporter(
        quiet=quiet,
        cpu=engine.describe()["device"] == "cpu",
        small="small" in model.presets and resolved.preset != "small",
    )
    for note in (*resolved.warnings, *source.notes, *engine.notes):
        reporter.warn(note)

    prepared = data.prepare(source, fitted.framing, fitted.spec.channels)
    plan = plan_of(resolved)
    pace = Pace.of(settings, epoch_images=len(source.images), step_images=plan.step_images)
    schedule = schedule_of(resolved, fitted, pace.end)
    _check_resolution(resolved, schedule(0))
    G, D = networks(engine, resolved, fitted, schedule(0))
    if plan.ema_halflife is None and "ema_halflife" in schedule(0):
        plan = replace(plan, ema_halflife=0)
    trainer = engine.trainer(G, D, loss_of(resolved, fitted), plan, prepared.images, prepared.labels)

    made_with = facts(resolved, fitted, source, engine)
    position = rundir.read_position(beginning.checkpoint) if beginning.checkpoint else None
    if position is not None:
        now = {key: made_with[key] for key in SAME}
        resuming.check_same(position["facts"], now, allowed=beginning.allow_inexact, reporter=reporter)
        _check_length(position, pace, schedule, lambda end: schedule_of(resolved, fitted, end))
    if beginning.weights is not None:
        resuming.load_weights(beginning.weights, trainer, engine, reporter)
    folder = beginning.folder or rundir.RunFolder.create(out, f"{model.name}-{resolved.parts['data'].name}".lower())
    parent = {} if beginning.parent is None else {"parent": dict(beginning.parent)}
    samples = Samples(plan=plan, real=prepared, framing=fitted.framing, count=settings["train.sample_count"])
    runner = Runner(
        engine=engine,
        trainer=trainer,
        schedule=schedule,
        plan=plan,
        pace=pace,
        samples=samples,
        folder=folder,
        card=saved.describe(
            resolved,
            fitted,
            class_names=source.class_names,
            epoch_images=len(source.images),
            step_images=plan.step_images,
        ),
        reporter=reporter,
        facts={key: made_with[key] for key in SAME},
        keep=settings["train.checkpoint_keep"],
        rolls_back=settings["train.on_divergence"] == "rollback",
        trackers=Trackers(
            resolved.trackers,
            options=resolved.tracker_options(),
            folder=folder.path,
            settings=settings,
            facts=made_with,
            reporter=reporter,
        ),
        watch=_watch(resolved, fitted, plan, data_root=data_root, folder=folder, reporter=reporter),
    )
    try:
        runner.lock = folder.lock()
        if beginning.checkpoint is not None:
            runner.restore(beginning.checkpoint, elsewhere=beginning.folder is None)
        elif beginning.folder is not None:
            folder.cut_stats(0)
        folder.write_config(settings, {**made_with, **parent})
        folder.add_pictures(["real"], samples.of_real())
    except BaseException:
        runner.close()
        raise
    _say_start(reporter, resolved, fitted, source, engine, (G, D), folder)
    if runner.images:
        reporter.say(f"goes on from {runner.images:,} images")
    return runner


def _watch(
    resolved: Mix,
    fitted: Fit,
    plan: Plan,
    *,
    data_root: str | Path | None,
    folder: rundir.RunFolder,
    reporter: Reporter,
) -> Watch | None:
    """What scores the generator as it trains, where that was asked for."""
    settings = resolved.settings
    if not Interval.parse(settings["train.evaluate_every"]).count:
        return None
    if "data" in resolved.objects:
        raise UsageError(
            "images that were given in Python have no test part to score against; name a dataset, or leave "
            "train.evaluate_every off"
        )
    own = {key: value for key, value in settings.items() if key.startswith("data.")}
    question = evaluation.pose(data=settings["use.data"], data_settings=own, data_root=data_root)
    scorer = evaluation.Scorer(question, say=reporter.say)
    return Watch(
        scorer,
        run=folder.path,
        plan=plan,
        classes=fitted.spec.classes,
        framing=fitted.framing,
        count=settings["train.evaluate_count"] or evaluation.samples_for(scorer.reference_count),
        reporter=reporter,
    )


def _check_length(position: Mapping[str, Any], pace: Pace, schedule: Any, schedule_for: Callable[[int], Any]) -> None:
    """May a run that stands there be of this length?"""
    if pace.end < position["images"]:
        raise UsageError(
            f"the run has seen {position['images']:,} images already, and is to end at {pace.end:,}; say more --images"
        )
    if pace.end != position["end"]:
        resuming.check_longer(schedule_for(position["end"]), schedule, images=position["images"])


def data_root_of(given: str | Path | None) -> Path:
    """Where data sets lie: `--data-root`, else `GANZOO_DATA`, else the user's cache folder."""
    chosen = given or os.environ.get("GANZOO_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("ganzoo") / "data"


def load_data(resolved: Mix, data_root: str | Path | None = None) -> ImageSource:
    """Read the mix's images, as they are."""
    if "data" in resolved.objects:
        given = resolved.objects["data"]
        if not isinstance(given, ImageSource):
            raise UsageError(f"data is a {type(given).__name__}; expected a name, a gz.ImageSource or uint8 [N,H,W,C]")
        return given
    part = resolved.parts["data"]
    return loader.call(
        resolved,
        "data",
        loader.check_source,
        name=part.name,
        argument=resolved.argument,
        root=data_root_of(data_root),
        split=resolved.settings["data.split"],
        options=resolved.options("data"),
    )


def fit_of(resolved: Mix) -> Fit | None:
    """How data and networks fit by the dataset's card alone; None where only the data itself can tell."""
    image = resolved.parts["data"].image
    if image is None:
        return None
    return mix.fit(resolved, **image, background=None)


def fitted_to(resolved: Mix, source: ImageSource) -> Fit:
    """How the data and the networks fit."""
    _, height, width, channels = source.images.shape
    classes = 0 if source.labels is None else len(source.class_names)
    return mix.fit(
        resolved, height=height, width=width, channels=channels, classes=classes, background=source.background
    )


def networks(engine: Any, resolved: Mix, fitted: Fit, values: Mapping[str, float]) -> tuple[Any, Any]:
    """Build G and D with weights drawn from the seed, as they are at these values of the schedule."""

    def built(slot: str) -> Any:
        return engine.build(
            lambda: loader.call(
                resolved,
                slot,
                engine.check_network,
                name=resolved.parts[slot].name,
                spec=fitted.spec,
                options=resolved.options(slot),
                modifiers=resolved.modifier_options(),
            ),
            spec=fitted.spec,
            slot=slot,
            seed=resolved.settings["train.seed"],
            values=taken(resolved, slot, values),
        )

    return built("generator"), built("discriminator")


def _check_resolution(resolved: Mix, values: Mapping[str, float]) -> None:
    for slot in ("generator", "discriminator"):
        if "resolution" in values and "resolution" not in resolved.parts[slot].takes:
            raise UsageError(
                f"the schedule {resolved.parts['schedule'].name} changes the resolution, and the {slot} "
                f"{resolved.parts[slot].name} has only one; pick a growing model, or another --schedule"
            )


def taken(resolved: Mix, slot: str, values: Mapping[str, float]) -> dict[str, float]:
    """Those of the schedule's values that a network is called with."""
    return {name: values[name] for name in resolved.parts[slot].takes if name in values}


def full_grown(fitted: Fit) -> dict[str, float]:
    """The values at which a growing network has all its layers and none is faded in any more."""
    return {"resolution": max(fitted.spec.height, fitted.spec.width), "fade": 1.0}


def plan_of(resolved: Mix) -> Plan:
    """The settings as the engine takes them."""
    settings, card = resolved.settings, resolved.parts["loss"]
    clip = settings[card.clip_discriminator] if isinstance(card.clip_discriminator, str) else card.clip_discriminator
    base = settings["train.lr"]
    needs = {need for part in (card, *resolved.modifiers) for need in part.needs}
    return Plan(
        seed=settings["train.seed"],
        batch_size=settings["train.batch_size"],
        latent=resolved.parts["generator"].latent,
        latent_dim=settings["model.latent_dim"],
        conditional=resolved.conditional,
        takes_g=resolved.parts["generator"].takes,
        takes_d=resolved.parts["discriminator"].takes,
        critic_steps=settings["train.critic_steps"],
        updates=settings["train.updates"],
        optimizer=settings["train.optimizer"],
        betas=(settings["train.betas"][0], settings["train.betas"][1]),
        adam_eps=settings["train.adam_eps"],
        momentum=settings["train.momentum"],
        rmsprop_decay=settings["train.rmsprop_decay"],
        lr_g=settings["train.lr_g"] or base,
        lr_d=settings["train.lr_d"] or base,
        ema_halflife=settings["train.ema_halflife"] or None,
        clip=clip,
        decision=card.decision,
        probability=card.probability,
        real_in_generator_step="real_in_generator_step" in needs,
    )


def schedule_of(resolved: Mix, fitted: Fit, total_images: int) -> Any:
    """The schedule, given the base values it may scale."""
    settings = resolved.settings
    base = {
        "lr_g": settings["train.lr_g"] or settings["train.lr"],
        "lr_d": settings["train.lr_d"] or settings["train.lr"],
        "beta2": settings["train.betas"][1],
        "ema_halflife": settings["train.ema_halflife"],
    }
    return loader.call(
        resolved,
        "schedule",
        loader.check_schedule,
        name=resolved.parts["schedule"].name,
        spec=fitted.spec,
        total_images=total_images,
        options={**base, **resolved.options("schedule")},
        modifiers=resolved.modifier_options(),
    )


def loss_of(resolved: Mix, fitted: Fit) -> Any:
    """The loss with its modifiers around it."""
    return loader.call(
        resolved,
        "loss",
        loader.check_loss,
        name=resolved.parts["loss"].name,
        spec=fitted.spec,
        options=resolved.options("loss"),
        modifiers=resolved.modifier_options(),
    )


def facts(resolved: Mix, fitted: Fit, source: ImageSource, engine: Any) -> dict[str, Any]:
    """What `config.yaml` keeps beside the settings."""
    spec = fitted.spec
    return {
        "ganzoo": metadata.version("ganzoo"),
        "python": platform.python_version(),
        "engine": engine.describe(),
        "parts": {slot: f"{part.qualified} {part.version}".strip() for slot, part in resolved.parts.items()},
        "modifiers": [f"{part.qualified} {part.version}" for part in resolved.modifiers],
        "preset": resolved.preset,
        "numpy": np.__version__,
        "data": {
            "images": len(source.images),
            "size": list(source.images.shape[1:]),
            "sha256": resuming.fingerprint(source),
        },
        "notes": list(source.notes),
        "spec": {"height": spec.height, "width": spec.width, "channels": spec.channels, "classes": spec.classes},
        "framing": fitted.framing.method,
        "warnings": list(resolved.warnings),
    }


def _say_start(
    reporter: Reporter,
    resolved: Mix,
    fitted: Fit,
    source: ImageSource,
    engine: Any,
    built: tuple[Any, Any],
    folder: rundir.RunFolder,
) -> None:
    spec, described = fitted.spec, engine.describe()
    g_count, d_count = (f"{engine.count_parameters(network):,}" for network in built)
    preset = f", preset {resolved.preset}" if resolved.preset else ""
    names = {slot: part.name for slot, part in resolved.parts.items()}
    reporter.say(
        f"{names['generator']} on {names['data']}{preset}: {len(source.images):,} images of "
        f"{spec.width}×{spec.height}×{spec.channels}, {names['loss']} loss{_around(resolved)}; "
        f"G {g_count} and D {d_count} parameters, {described['device']}, {described['threads']} threads"
    )
    reporter.say(f"run folder: {folder.path}")


def _around(resolved: Mix) -> str:
    """The modifiers in words, in the order in which they are put around the parts, the first innermost."""
    names = [part.name for part in resolved.modifiers]
    return f" with {', then '.join(names)}" if names else ""
