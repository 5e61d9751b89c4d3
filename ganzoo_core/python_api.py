"""The Python API behind `gz.train`, `gz.resume` and the commands: scan the catalog, resolve the mix, train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core import building, engines, loss_trial, mix
from ganzoo_core.data.sources import as_source
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.distributed import launchers
from ganzoo_core.errors import UsageError
from ganzoo_core.generation import load
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import Mix, Request
from ganzoo_core.mix.flags import collect_flags
from ganzoo_core.report import notebook
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import RunFolder, find_readable_checkpoint, read_position
from ganzoo_core.settings import Settings, read_config, read_facts, read_run_config
from ganzoo_core.storage import files
from ganzoo_core.storage.paths import expand_user, make_absolute
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training import assemble, other_process, resuming, run


@dataclass(frozen=True)
class Run:
    """A run on disk: its folder, its statistics and its generator."""

    folder: Path
    interrupted: bool = False

    @property
    def stats(self) -> list[dict[str, Any]]:
        """One mapping for each report: `images`, `step`, `epoch`, `seconds` and each loss term."""
        return RunFolder(self.folder).read_stats()

    def generate(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        checkpoint: str | int = "last",
        labels: Any = None,
        on: Any = None,
        **reading: Any,
    ) -> np.ndarray:
        """Draw uint8 images [N,H,W,C] from the run's generator.

        Args:
            n, seed, labels, on, reading: see `SavedGenerator.generate`.
            checkpoint: as `--checkpoint` on the command line.
        """
        generator = load.load(self.folder, checkpoint=checkpoint)
        return generator.generate(n, seed=seed, labels=labels, on=on, **reading)

    def _repr_html_(self) -> str:
        return notebook.render_run(self.folder)


def parts(kind: str | None = None) -> list[Part]:
    """The cards of all usable installed parts, or of one kind (`models`, `losses`, …)."""
    return [part for part in catalog.scan().parts if kind is None or part.kind == kind]


def loss(name: str, **settings: Any) -> loss_trial.LossTrial:
    """A loss to evaluate on numbers: `gz.loss(NAME).on(real_scores, fake_scores)`.

    Args:
        name: an installed loss.
        settings: the loss's own settings, such as `gp_weight=5`.
    """
    part = catalog.scan().find("losses", name)
    return loss_trial.LossTrial(part, loss_trial.override_options(part, settings))


def train(
    model: str | None = None,
    *,
    generator: Any = None,
    discriminator: Any = None,
    loss: Any = None,
    schedule: Any = None,
    data: Any = None,
    labels: Sequence[int] | np.ndarray | None = None,
    modifiers: Sequence[str] | None = None,
    trackers: Sequence[str] | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    images: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    weights: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a mix, as `ganzoo run` does.

    Args:
        model: an installed model, for both networks.
        generator, discriminator: the name of a model that supplies this network, or a native network.
        loss: a name, or an object with `discriminator(step)` and `generator(step)`.
        schedule: a name, or a function from images seen to named values.
        data: `NAME` or `NAME:ARGUMENT`, a `gz.ImageSource`, or uint8 images [N,H,W,C].
        labels: the class of each image, a whole number from 0, if `data` is an array; refused with other data.
        modifiers: names, the first innermost.
        trackers: names.
        preset: a preset of the model; `none` for none.
        config: a YAML file of settings.
        settings: such as `{"train.lr": 1e-4}`.
        images, epochs, steps, minutes: the length; give one of the four. Minutes of training steps are converted to
            images; see `timed_length`.
        batch_size, seed, device: shorthands of settings.
        data_root: the folder of the data sets.
        out: the run's folder, new or empty.
        weights: another run, whose weights initialise the networks where they fit.
        quiet: show no progress.

    Returns:
        The run. After Ctrl-C it is saved and marked as interrupted.

    Raises:
        UsageError, PluginError, Diverged: see `api`.
    """
    data = _label_images(data, labels)
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
        trackers=trackers,
        preset=preset,
        config=read_config(expand_user(config), named_by_user=True) if config else {},
        config_name=str(config or ""),
        assigned=settings or {},
        flags=collect_flags(
            images=images,
            epochs=epochs,
            steps=steps,
            minutes=minutes,
            batch_size=batch_size,
            seed=seed,
            device=device,
        ),
    )
    resolved = mix.resolve(catalog.scan(), request)
    return start(resolved, data_root=data_root, out=out, quiet=quiet, start_point=resuming.start_from_weights(weights))


def resume(
    path: str | Path,
    *,
    images: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    picks: Mapping[str, Any] | None = None,
    data: Any = None,
    labels: Sequence[int] | np.ndarray | None = None,
    trackers: Sequence[str] | None = None,
    device: str | None = None,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    allow_inexact: bool = False,
    restart: bool = False,
    quiet: bool = False,
) -> Run:
    """Resume a run from its newest valid checkpoint, as `ganzoo resume` does. A finished run is left unchanged.

    Args:
        path: the run's folder.
        images, epochs, steps: a new total length; give one of the three.
        settings: changed settings, with which a new run starts from this run's checkpoint.
        picks: the objects that were passed to `train` from Python, by slot: `{"generator": G, "loss": loss}`.
        data: the new location of the run's data, such as `folder:NEW`; refused if the data differs, recorded for the
            next resume. Images that were given as an array are given again.
        labels: as in `train`.
        trackers: names of the trackers from now on; None for those of the run.
        device, data_root, quiet: as in `train`.
        out: the new run's folder; only with `settings`.
        allow_inexact: resume even if versions, threads, device or data differ from those of the checkpoint.
        restart: start again from scratch if no checkpoint is valid; refused if one is.

    Returns:
        The run, or the new run.

    Raises:
        UsageError, PluginError, Diverged: see `api`.
    """
    picks = {**(picks or {}), **({} if data is None else {"data": data})}
    if unknown := picks.keys() - mix.SLOTS.keys() - {"model"}:
        raise UsageError(f"picks names {min(unknown)!r}; expected {', '.join(mix.SLOTS)}")
    if "data" in picks or labels is not None:
        picks["data"] = _label_images(picks.get("data"), labels)
    path, rank = expand_user(path), launchers.rank_from_env()
    if not rank.is_rank_zero and not files.is_file(path / layout.CONFIG):
        raise UsageError(assemble.explain_invisible_folder(path, rank))
    folder = RunFolder.open(path)
    if settings and restart:
        raise UsageError("--restart begins the same run again, and --set a new one where it stands; say one of the two")
    if out and not settings:
        raise UsageError("--out is for a new run, which begins with --set; without it the run goes on in its folder")
    length = collect_flags(images=images, epochs=epochs, steps=steps, device=device)
    if not settings and data is None and "train.length" not in length and not restart and folder.is_finished():
        if not quiet and rank.is_rank_zero:
            Reporter().say(
                f"{folder.path} is over at {pluralise(folder.read_generator_images(), 'image')}; --images N makes it "
                "longer"
            )
        return Run(folder.path)
    if settings and rank.is_rank_zero:
        newest = find_readable_checkpoint(folder)
    else:
        newest = resuming.find_checkpoint(folder, restart=restart, leads=rank.is_rank_zero)
    if settings and newest is None:
        raise UsageError(f"{path} has no checkpoint to begin a new run from; resume it without --set first")
    facts = read_facts(folder.path / layout.CONFIG)
    request = Request(
        picks=picks,
        trackers=trackers,
        preset=facts.preset or "none",
        config=read_run_config(folder.path / layout.CONFIG),
        config_name=str(folder.path / layout.CONFIG),
        assigned=settings or {},
        flags=length,
    )
    resolved = mix.resolve(catalog.scan(), request)
    resolved = _keep_origin(resolved, "train.length", facts.length_from, read_from=request.config_name)
    if newest is not None and not allow_inexact:
        resolved = resuming.keep_threads(resolved, newest)
    if resolved.trackers and trackers is None and rank.is_rank_zero and not quiet:
        names = ", ".join(part.name for part in resolved.trackers)
        Reporter().warn(f"{names} will watch the run, as its {layout.CONFIG} says; --track '' keeps them out")
    if settings:
        assert newest is not None
        parent = {"run": str(make_absolute(path)), "images": read_position(newest).images}
        start_point = resuming.StartPoint(checkpoint=newest, parent=parent, allow_inexact=allow_inexact)
    else:
        start_point = resuming.StartPoint(folder=folder, checkpoint=newest, allow_inexact=allow_inexact)
    data_root = building.find_run_data_root(path, data_root)
    return start(resolved, data_root=data_root, out=out, quiet=quiet, start_point=start_point)


def _label_images(data: Any, labels: Any) -> Any:
    """Images given as an array, as a source with these labels; other data unchanged, which have their own labels."""
    if isinstance(data, np.ndarray):
        return as_source(data, labels)
    if labels is not None:
        owner = data if isinstance(data, str) else "a data set"
        raise UsageError(f"labels= belongs to images given as an array; {owner} has its own labels")
    return data


def _keep_origin(resolved: Mix, key: str, origin: str, *, read_from: str) -> Mix:
    """The mix with a setting's original origin restored, if its value was read back from the run's own config."""
    entry = resolved.settings.entries[key]
    if not origin or entry.origin != read_from:
        return resolved
    settings = Settings({**resolved.settings.entries, key: replace(entry, origin=origin)})
    return replace(resolved, settings=settings)


def build(model: str, *, data: str | None = None, device: str = "cpu", **picks: Any) -> tuple[Any, Any]:
    """Build the untrained native networks of a mix.

    Args:
        model: an installed model.
        data: the dataset that determines the image size; None for the default dataset.
        device: the device of the networks.
        picks: further arguments of `train`: `generator`, `discriminator`, `preset`, `settings`, `seed`.

    Returns:
        G and D: `torch.nn.Module` or `keras.Model`.
    """
    names = {"model": model, "data": data, **{slot: picks.pop(slot, None) for slot in ("generator", "discriminator")}}
    request = Request(
        picks=names,
        preset=picks.pop("preset", None),
        assigned=picks.pop("settings", {}),
        flags=collect_flags(device=device, seed=picks.pop("seed", None)),
    )
    if picks:
        raise TypeError(f"build() got an unexpected keyword argument {next(iter(picks))!r}")
    resolved = mix.resolve(catalog.scan(), request)
    fitted = building.fit_from_card(resolved) or building.fit_to_data(resolved, building.load_data(resolved))
    engine = engines.create_engine(resolved.framework, resolved.settings)
    return building.build_networks(engine, resolved, fitted, building.make_full_resolution_values(fitted))


def start(
    resolved: Mix,
    *,
    data_root: str | Path | None,
    out: str | Path | None,
    quiet: bool,
    start_point: resuming.StartPoint = resuming.FROM_SCRATCH,
) -> Run:
    """Train a resolved mix; in a separate process if this one has already loaded the other framework."""
    work = other_process if load.needs_own_process(resolved.framework) else run
    folder = expand_user(out) if out else None
    return Run(*work.train(resolved, data_root=data_root, out=folder, quiet=quiet, start_point=start_point))
