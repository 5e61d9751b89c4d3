"""Open the folder of a run that `setup` has checked, loaded and built, and restore its starting state."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganzoo_core import building
from ganzoo_core.api import ImageSource
from ganzoo_core.data import fingerprint
from ganzoo_core.data.classes import Classes
from ganzoo_core.data.fingerprint import Fingerprint
from ganzoo_core.data.summary import format_summary
from ganzoo_core.distributed.ranks import ProcessGroup, Rank
from ganzoo_core.engines import bfloat16
from ganzoo_core.engines.threads import choose_threads, warn_of_busy_cores
from ganzoo_core.errors import UsageError
from ganzoo_core.generation import card
from ganzoo_core.messages import pluralise
from ganzoo_core.mix import Mix
from ganzoo_core.runs import health, layout, licences
from ganzoo_core.runs.facts import COMPARED_FACTS, describe_run, select_compared_settings
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.storage import files
from ganzoo_core.storage.records import Position
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training import resuming
from ganzoo_core.training.evaluator import load_test_part, make_evaluator, read_rows
from ganzoo_core.training.intervals import RunIntervals
from ganzoo_core.training.resuming import FROM_SCRATCH, StartPoint
from ganzoo_core.training.runner import Runner
from ganzoo_core.training.sample_grids import MAX_ROWS, SampleGrids
from ganzoo_core.training.setup import TrainingSetup, check_end
from ganzoo_core.training.trackers import Trackers

VISIBLE_SECONDS = 10.0  # seconds that a file may take to appear on the other machines


def open_run(built: TrainingSetup, *, out: Path | None, start_point: StartPoint = FROM_SCRATCH) -> Runner:
    """Open the run's folder and restore the starting state. Only rank 0 writes.

    Args:
        built: the networks, data and settings to train.
        out: the folder of a new run; None for one under `runs`.
        start_point: a run, checkpoint or weights to start from.

    Raises:
        UsageError: before training, if the run cannot start from `start_point` with these settings.
    """
    together, reporter, settings = built.together, built.reporter, built.mix.settings
    # Which reads all of the images: one rank's disk may be much slower than another's.
    data_fingerprint = together.on_all_ranks(lambda: fingerprint.compute_fingerprint(built.source, reporter.say))
    facts = _collect_facts(built, data_fingerprint, start_point)
    advice = _advise_on_length(built.mix, built.intervals, built.source, start_point, reporter)
    facts["warnings"] += [advice] if advice else []
    if not together.rank.is_alone:
        start_point = _agree_on_start_point(built, facts, start_point)
    if start_point.checkpoint is not None:
        position = read_position(start_point.checkpoint)
        together.on_rank_zero(
            lambda: resuming.check_resumable(position, facts, data_fingerprint, settings, start_point, reporter)
        )
        _check_length(built, position)
    if start_point.weights is not None:
        resuming.load_weights(start_point.weights, built.trainer, built.engine, reporter)
    runner = _make_runner(built, facts, start_point.folder or _create_folder(built, out))
    try:
        _lock_and_restore(runner, start_point)
        parent = {} if start_point.parent is None else {"parent": dict(start_point.parent)}
        together.on_rank_zero(lambda: _write_facts(runner.folder, built, {**facts, **parent}, data_fingerprint))
        together.on_rank_zero(
            lambda: runner.folder.write_sample_grid([layout.REAL_GRID], runner.samples.make_real_grid())
        )
        if not together.rank.is_alone:
            _check_folder_visible(runner.folder, together)
            built.trainer.read_state()  # raises where the weights differ
    except BaseException:
        runner.close()
        raise
    _say_start(built, runner, facts["data_summary"])
    if advice and not runner.images:
        reporter.advise(advice)
    if start_point == FROM_SCRATCH and (offer := _offer_bfloat16(built)):
        reporter.advise(offer)
    if runner.images:
        reporter.say(f"goes on from {pluralise(runner.images, 'image')}")
    end = built.intervals.end
    if start_point.checkpoint is not None and runner.images >= end and start_point.folder is None:
        longer = f"say --images {2 * runner.images} or more in all"
        reporter.warn(
            f"nothing is left to train: the run is {pluralise(end, 'image')} long, and has seen them; {longer}"
        )
    return runner


def _collect_facts(built: TrainingSetup, data_fingerprint: Fingerprint, start_point: StartPoint) -> dict[str, Any]:
    """Facts for `config.yaml`: versions, parts, data, licences and world size."""
    facts: dict[str, Any] = describe_run(built.mix, built.fit, built.source, data_fingerprint, built.engine)
    origin = start_point.folder.path if start_point.folder else start_point.checkpoint or start_point.weights
    facts["licences"] = licences.merge_licences([*licences.find_licences(origin), built.mix.parts["data"].license])
    if not built.together.rank.is_alone:
        facts["ranks"] = built.together.rank.world_size
    return facts


def _advise_on_length(
    resolved: Mix, intervals: RunIntervals, source: ImageSource, start_point: StartPoint, reporter: Reporter
) -> str:
    """Return advice for a run that is too short, or "". Also tell the reporter which laptop preset to suggest if a
    run on the CPU takes long."""
    resumed, epoch, laptop = None if start_point.folder is None else start_point.folder.path, len(source.images), ""
    if reporter.cpu and start_point.is_new:
        reporter.laptop_preset = health.find_laptop_preset(resolved, intervals.end, epoch_images=epoch)
        laptop = health.find_laptop_preset(resolved, intervals.end, epoch_images=epoch, is_too_short=True)
    return health.explain_short_run(resolved, intervals.end // intervals.step_images, laptop=laptop, resumed=resumed)


def _agree_on_start_point(built: TrainingSetup, facts: Mapping[str, Any], start_point: StartPoint) -> StartPoint:
    """Check that all processes train the same mix; return `start_point` with the checkpoint that rank 0 found."""
    same = {key: facts[key] for key in ("ganzoo", "numpy", "parts", "modifiers", "code", "data")}
    # The path of the data may differ between machines; their fingerprint is compared instead.
    local_keys = ("engine.threads", "data.workers", "use.data")
    settings = {key: value for key, value in built.mix.settings.items() if key not in local_keys}
    built.together.check_same_facts({**same, **settings})
    return _broadcast_checkpoint(start_point, built.together)


def _broadcast_checkpoint(start_point: StartPoint, together: ProcessGroup) -> StartPoint:
    """Return `start_point` with the checkpoint that rank 0 found."""
    own_checkpoint = start_point.checkpoint
    name = together.broadcast_text("" if own_checkpoint is None else own_checkpoint.name)
    if not name:
        return replace(start_point, checkpoint=None)
    if own_checkpoint is None:
        assert start_point.folder is not None
        return replace(start_point, checkpoint=start_point.folder.checkpoints / name)
    return replace(start_point, checkpoint=own_checkpoint.with_name(name))


def _check_length(built: TrainingSetup, position: Position) -> None:
    """Raise UsageError if the new length is shorter than the images seen, or its schedule differs for them."""
    check_end(built.intervals, built.mix.settings, position)
    if built.intervals.end != position.end:
        planned = building.build_schedule(built.mix, built.fit, position.end)
        resuming.check_same_schedule(planned, built.schedule, images=position.images)


def _create_folder(built: TrainingSetup, out: Path | None) -> RunFolder:
    """Create the run's folder on rank 0; all ranks get its path."""
    name = f"{built.mix.parts['generator'].name}-{built.mix.parts['data'].name}".lower()
    folder = built.together.on_rank_zero(lambda: RunFolder.create(out, name))
    path = built.together.broadcast_text("" if folder is None else str(folder.path.absolute()))
    return folder or RunFolder(Path(path))


def _make_runner(built: TrainingSetup, facts: Mapping[str, Any], folder: RunFolder) -> Runner:
    """Return the Runner, at step 0."""
    mix, settings, plan, together = built.mix, built.mix.settings, built.trainer.plan, built.together
    built.reporter.begin(folder.path)
    test_part = together.on_rank_zero(lambda: load_test_part(built), long=True)
    return Runner(
        engine=built.engine,
        trainer=built.trainer,
        schedule=built.schedule,
        plan=plan,
        intervals=built.intervals,
        samples=SampleGrids(
            plan=plan,
            real=built.prepared,
            framing=built.fit.framing,
            count=settings["train.sample_count"],
            held_out=read_rows(built, test_part, MAX_ROWS),
        ),
        folder=folder,
        card=card.make_card(
            mix,
            built.fit,
            classes=Classes.of(built.source),
            epoch_images=len(built.source.images),
            step_images=plan.images_per_step,
            licences=facts["licences"],
        ),
        reporter=built.reporter,
        facts={
            **{key: facts[key] for key in (*COMPARED_FACTS, "ranks") if key in facts},
            "settings": select_compared_settings(settings),
        },
        checkpoint_keep=settings["train.checkpoint_keep"],
        rolls_back=settings["train.on_divergence"] == "rollback",
        trackers=Trackers(
            mix.trackers if together.rank.is_rank_zero else (),
            options=mix.get_tracker_options(),
            folder=folder.path,
            settings=settings,
            facts=facts,
            reporter=built.reporter,
        ),
        watch=make_evaluator(built, folder, test_part),
        together=together,
    )


def _lock_and_restore(runner: Runner, start_point: StartPoint) -> None:
    """Lock the folder and restore the checkpoint that the run starts from."""
    folder, together = runner.folder, runner.together
    runner.lock = together.on_rank_zero(folder.lock)
    if start_point.folder is not None:
        together.on_rank_zero(lambda: _check_newest_checkpoint(folder, start_point.checkpoint))
    if start_point.checkpoint is not None:
        runner.restore(start_point.checkpoint, is_other_run=start_point.folder is None)
    elif start_point.folder is not None:
        for aside in together.on_rank_zero(folder.clear_for_restart) or ():
            runner.reporter.warn(f"generators of the attempt before were set aside as {aside}")


def _check_newest_checkpoint(folder: RunFolder, newest: Path | None) -> None:
    """Raise UsageError if another process resumed the run before this one locked it."""
    if folder.find_newest_checkpoint() != newest:
        raise UsageError(f"{folder.path} was gone on with by another process just now; resume it again")


def _write_facts(
    folder: RunFolder, built: TrainingSetup, facts: Mapping[str, Any], data_fingerprint: Fingerprint
) -> None:
    """Write `config.yaml`, with the paths of the data, and the data's fingerprint beside it."""
    recorded = fingerprint.load(folder.path / layout.DATA)
    if recorded is None or recorded.sha256 != data_fingerprint.sha256:
        fingerprint.save(folder.path / layout.DATA, data_fingerprint)
    paths = building.collect_paths(built.mix, built.data_root, folder.path)
    folder.write_config(built.mix.settings, {**facts, "paths": paths})


def _check_folder_visible(folder: RunFolder, together: ProcessGroup) -> None:
    """Check that every process sees the files of rank 0: rollback and resume read them."""
    until = time.monotonic() + VISIBLE_SECONDS
    while not (seen := files.is_file(folder.path / layout.CONFIG)) and time.monotonic() < until:
        time.sleep(0.2)
    together.check_on_all_ranks(seen, explain_invisible_folder(folder.path, together.rank))


def explain_invisible_folder(path: Path, place: Rank) -> str:
    """The message for a process that does not see the run's folder."""
    return (
        f"rank {place.number} on {socket.gethostname()} does not see {path}; the processes of a run need its folder "
        "on a "
        "file system that all machines share: name such a one with --out"
    )


def _say_start(built: TrainingSetup, runner: Runner, summary: Mapping[str, Any]) -> None:
    mix, spec, described = built.mix, built.fit.spec, built.engine.describe()
    g_count, d_count = (f"{built.engine.count_parameters(net):,}" for net in (built.trainer.G, built.trainer.D))
    preset = f", preset {mix.preset}" if mix.preset else ""
    names = {slot: part.name for slot, part in mix.parts.items()}
    threads: int = described["threads"]
    choice = choose_threads(mix.settings, mix.framework, built.together.rank)
    why = f" ({choice.reason})" if choice.reason and choice.number == threads else ""
    precision = "" if described["precision"] == "float32" else f", {described['precision']}"
    built.reporter.say(
        f"{names['generator']} on {names['data']}{preset}: {pluralise(len(built.source.images), 'image')} of "
        f"{spec.width}×{spec.height}×{spec.channels}, {names['loss']} loss{_describe_modifiers(mix)}; "
        f"G {g_count} and D {d_count} parameters, {described['device']}, {pluralise(threads, 'thread')}{why}{precision}"
    )
    if described["device"] == "cpu" and built.together.rank.is_alone and (busy := warn_of_busy_cores(threads)):
        built.reporter.advise(busy)
    for line in format_summary(summary):
        built.reporter.say(line)
    built.reporter.say(f"run folder: {runner.folder.path}")


def _offer_bfloat16(built: TrainingSetup) -> str:
    """A note if this run would be faster in bfloat16 on this CPU and the user chose no precision; else ""."""
    settings, engine, speedup = built.mix.settings, built.engine.describe(), built.mix.bfloat16_speedup
    precision = settings.entries["engine.precision"]
    if not speedup or precision.is_chosen or precision.value != "float32":
        return ""
    if settings["engine.compile"] or engine["device"] != "cpu":  # it was measured neither compiled nor on GPUs
        return ""
    # TensorFlow refuses bfloat16 where oneDNN is off, and may where nobody knows; other engines do without it.
    if engine.get("onednn", "on") != "on" or bfloat16.describe_missing_features(bfloat16.read_cpu_features()):
        return ""
    return bfloat16.make_offer(built.mix.preset, speedup)


def _describe_modifiers(resolved: Mix) -> str:
    """Name the modifiers in the order in which they wrap the parts, innermost first."""
    names = [part.name for part in resolved.modifiers]
    return f" with {', then '.join(names)}" if names else ""
