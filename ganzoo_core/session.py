"""What a command or a line of Python does, in order: catalog, mix, loader, runner."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from ganzoo_core import catalog, data, engines, images, loader, mix, rundir, saved, trial
from ganzoo_core.api import ImageSource, PluginError, UsageError
from ganzoo_core.console import Reporter
from ganzoo_core.engines import Plan
from ganzoo_core.manifest import Part
from ganzoo_core.mix import Fit, Mix, Request
from ganzoo_core.runner import Pace, Picture, Runner, crop
from ganzoo_core.settings import read_config


@dataclass(frozen=True)
class Run:
    """A run on disk: its folder, its statistics, and a generator to draw from."""

    folder: Path
    interrupted: bool = False

    @property
    def stats(self) -> list[dict[str, Any]]:
        """One mapping a report: `images`, `step`, `epoch`, `seconds`, each loss term."""
        return rundir.RunFolder(self.folder).stats()

    def generate(self, n: int = 16, *, seed: int = 0, checkpoint: str | int = "last") -> np.ndarray:
        """Draw uint8 images [N,H,W,C] from the run's generator; `checkpoint` as on the command line."""
        return load(self.folder, checkpoint=checkpoint).generate(n, seed=seed)


def parts(kind: str | None = None) -> list[Part]:
    """The cards of all usable parts that are installed, or of one kind (`models`, `losses`, …)."""
    return [part for part in catalog.scan().parts if kind is None or part.kind == kind]


def load(
    path: str | Path, *, checkpoint: str | int = "last", device: str = "auto", network: Any = None
) -> saved.SavedGenerator:
    """A saved generator, to `generate` from.

    Args:
        path: a run, its `generator/` or a snapshot.
        checkpoint: `last`, a number of images, or `epoch:N`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        network: the native network, where the run was given one as an object.
    """
    return saved.SavedGenerator(rundir.find_generator(Path(path), str(checkpoint)), device=device, network=network)


def loss(name: str, **settings: Any) -> trial.LossTrial:
    """A loss to try on numbers: `gz.loss("hinge").on(real_scores, fake_scores)`.

    Args:
        name: an installed loss.
        settings: its own, such as `gp_weight=5`.
    """
    part = catalog.scan().find("losses", name)
    return trial.LossTrial(part, trial.options_of(part, settings))


def train(
    model: str | None = None,
    *,
    generator: Any = None,
    discriminator: Any = None,
    loss: Any = None,
    schedule: Any = None,
    data: Any = None,
    labels: np.ndarray | None = None,
    modifiers: Sequence[str] | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    images: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a mix; as `ganzoo run` does.

    Args:
        model: an installed model, both of whose networks are used.
        generator, discriminator: a model's name for one network, or a native network.
        loss: a name, or an object with `discriminator(step)` and `generator(step)`.
        schedule: a name, or a function from images seen to named values.
        data: `NAME` or `NAME:ARGUMENT`, a `gz.ImageSource`, or uint8 images [N,H,W,C].
        labels: int64 [N] beside an array.
        modifiers: names, the first innermost.
        preset: a preset of the model; `none` for none.
        config: a YAML file of settings.
        settings: such as `{"train.lr": 1e-4}`.
        images, epochs, steps: how long; one of the three.
        batch_size, seed, device: shorthands of settings.
        data_root: where data sets lie.
        out: the run's folder, new or empty.
        quiet: no progress.

    Returns:
        The run. After Ctrl-C it is saved and marked as interrupted.

    Raises:
        UsageError, PluginError, Diverged: see `api`.
    """
    if isinstance(data, np.ndarray):
        data = as_source(data, labels)
    request = Request(
        picks={
            "model": model,
            "generator": generator,
            "discriminator": discriminator,
            "loss": loss,
            "schedule": schedule,
            "data": data,
        },
        modifiers=modifiers,
        preset=preset,
        config=read_config(Path(config)) if config else {},
        config_name=str(config or ""),
        assigned=settings or {},
        flags=flags(images=images, epochs=epochs, steps=steps, batch_size=batch_size, seed=seed, device=device),
    )
    resolved = mix.resolve(catalog.scan(), request)
    return start(resolved, data_root=data_root, out=Path(out) if out else None, quiet=quiet)


def build(model: str, *, data: str | None = None, device: str = "cpu", **picks: Any) -> tuple[Any, Any]:
    """The native networks of a mix, untrained.

    Args:
        model: an installed model.
        data: a dataset that says how large the images are; the default one without it.
        device: where they are put.
        picks: more of what `train` takes: `generator`, `discriminator`, `preset`, `settings`, `seed`.

    Returns:
        G and D: `torch.nn.Module` or `keras.Model`.
    """
    names = {"model": model, "data": data, **{slot: picks.pop(slot, None) for slot in ("generator", "discriminator")}}
    request = Request(
        picks=names,
        preset=picks.pop("preset", None),
        assigned=picks.pop("settings", {}),
        flags=flags(device=device, seed=picks.pop("seed", None)),
    )
    if picks:
        raise TypeError(f"build() got an unexpected keyword argument {next(iter(picks))!r}")
    resolved = mix.resolve(catalog.scan(), request)
    fitted = fit_of(resolved) or fitted_to(resolved, load_data(resolved))
    engine = engines.create(resolved.framework, resolved.settings)
    return networks(engine, resolved, fitted)


def flags(**given: Any) -> dict[str, tuple[Any, str]]:
    """Shorthands (`images`, `epochs`, `steps`, `batch_size`, `seed`, `device`) -> settings and the flag to name."""
    found: dict[str, tuple[Any, str]] = {}
    lengths = [(unit, given[unit]) for unit in ("images", "epochs", "steps") if given.get(unit) is not None]
    if len(lengths) > 1:
        raise UsageError(f"{' and '.join(f'--{unit}' for unit, _ in lengths)} both say how long; give one")
    for unit, count in lengths:
        if not isinstance(count, int | float) or isinstance(count, bool) or count <= 0:
            raise UsageError(f"--{unit} is {count!r}; expected a number above 0")
        found["train.length"] = (f"{count:f}".rstrip("0").rstrip(".") + unit, f"--{unit}")
    for name, key in (
        ("batch_size", "train.batch_size"),
        ("seed", "train.seed"),
        ("device", "engine.device"),
    ):
        if given.get(name) is not None:
            found[key] = (given[name], "--" + name.replace("_", "-"))
    return found


def as_source(array: np.ndarray, labels: np.ndarray | None) -> ImageSource:
    """An array given in Python -> a source; [N,H,W] counts as one channel."""
    if array.ndim == 3:
        array = array[..., None]
    if labels is None:
        return ImageSource(array)
    labels = np.asarray(labels, dtype=np.int64)
    return ImageSource(array, labels, tuple(str(number) for number in range(int(labels.max(initial=0)) + 1)))


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


def networks(engine: Any, resolved: Mix, fitted: Fit) -> tuple[Any, Any]:
    """Build G and D with weights drawn from the seed."""

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
            seed=resolved.settings["train.seed"],
            purpose=f"weights of the {slot}",
        )

    return built("generator"), built("discriminator")


def start(resolved: Mix, *, data_root: str | Path | None, out: Path | None, quiet: bool) -> Run:
    """Read the data, check that it fits, import the framework, and train."""
    settings = resolved.settings
    model = resolved.parts["generator"]
    # The card alone may tell that it cannot work; then nothing needs to be read or downloaded.
    fit_of(resolved)
    source = load_data(resolved, data_root)
    fitted = fitted_to(resolved, source)
    if len(source.images) < settings["train.batch_size"]:
        raise UsageError(
            f"there are {len(source.images)} images and a batch takes {settings['train.batch_size']}; "
            f"say --batch-size {len(source.images)} or less"
        )
    engine = engines.create(resolved.framework, settings)
    small = "small" in model.presets and resolved.preset != "small"
    reporter = Reporter(quiet=quiet, cpu=engine.describe()["device"] == "cpu", small=small)
    for note in (*resolved.warnings, *source.notes):
        reporter.warn(note)

    prepared = data.prepare(source, fitted.framing, fitted.spec.channels)
    G, D = networks(engine, resolved, fitted)
    plan_ = plan(resolved)
    pace = Pace.of(settings, epoch_images=len(source.images), step_images=plan_.step_images)
    schedule = call_schedule(resolved, fitted, pace.end)
    if plan_.ema_halflife is None and "ema_halflife" in schedule(0):
        plan_ = replace(plan_, ema_halflife=0)
    made_loss = loader.call(
        resolved,
        "loss",
        loader.check_loss,
        name=resolved.parts["loss"].name,
        spec=fitted.spec,
        options=resolved.options("loss"),
        modifiers=resolved.modifier_options(),
    )
    trainer = engine.trainer(G, D, made_loss, plan_, prepared.images, prepared.labels)

    folder = rundir.RunFolder.create(out, f"{model.name}-{resolved.parts['data'].name}".lower())
    folder.write_config(settings, facts(resolved, fitted, source, engine))
    picture = Picture(fitted.spec.classes, fitted.framing.crop, model.takes)
    _save_real(folder, prepared, pace.sample_count, settings["train.seed"], fitted)
    _say_start(reporter, resolved, fitted, source, engine, (G, D), folder)
    card = saved.describe(
        resolved,
        fitted,
        class_names=source.class_names,
        epoch_images=len(source.images),
        step_images=plan_.step_images,
    )
    runner = Runner(
        engine=engine,
        trainer=trainer,
        schedule=schedule,
        plan=plan_,
        pace=pace,
        picture=picture,
        folder=folder,
        card=card,
        reporter=reporter,
    )
    try:
        finished = runner.run()
    except Exception as error:
        raise _attributed(error, resolved) from error
    reporter.say(f"samples: {folder.samples / 'latest.png'}" + ("" if finished else " (interrupted, saved)"))
    return Run(folder.path, interrupted=not finished)


def _attributed(error: Exception, resolved: Mix) -> Exception:
    """An error from inside a picked part, told as that plugin's; any other as it is."""
    if isinstance(error, UsageError | PluginError):
        return error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = trace.tb_frame.f_code.co_filename if trace else ""
    for part in (*resolved.parts.values(), *resolved.modifiers):
        if part.location and place.startswith(part.location):
            return loader.failure(part, "while training it raised", error)
    return error


def plan(resolved: Mix) -> Plan:
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


def call_schedule(resolved: Mix, fitted: Fit, total_images: int) -> Any:
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


def facts(resolved: Mix, fitted: Fit, source: ImageSource, engine: Any) -> dict[str, Any]:
    """What `config.yaml` keeps beside the settings."""
    spec = fitted.spec
    return {
        "ganzoo": version(),
        "python": platform.python_version(),
        "engine": engine.describe(),
        "parts": {slot: f"{part.qualified} {part.version}".strip() for slot, part in resolved.parts.items()},
        "modifiers": [f"{part.qualified} {part.version}" for part in resolved.modifiers],
        "preset": resolved.preset,
        "data": {"images": len(source.images), "size": list(source.images.shape[1:]), "notes": list(source.notes)},
        "spec": {"height": spec.height, "width": spec.width, "channels": spec.channels, "classes": spec.classes},
        "framing": fitted.framing.method,
        "warnings": list(resolved.warnings),
    }


@functools.cache
def version() -> str:
    """ganzoo's own."""
    return metadata.version("ganzoo")


def _save_real(folder: rundir.RunFolder, prepared: ImageSource, count: int, seed: int, fitted: Fit) -> None:
    """`samples/real.png`: as many real images as a grid of samples has."""
    order = np.sort(data.Stream(len(prepared.images), seed=seed, purpose="real grid").indices(0, count))
    shown = crop(np.asarray(prepared.images[order]), fitted.framing.crop)
    folder.add_picture("real", images.png_bytes(images.enlarged(images.grid(shown))))


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
        f"{spec.width}×{spec.height}×{spec.channels}, {names['loss']} loss; "
        f"G {g_count} and D {d_count} parameters, {described['device']}, {described['threads']} threads"
    )
    reporter.say(f"run folder: {folder.path}")
