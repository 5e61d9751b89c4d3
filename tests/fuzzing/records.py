"""Readers of JSON, JSON lines, YAML and TOML: what a run keeps, what a user writes, what a plugin says of itself."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing.fixtures import seal_folder
from fuzzing.kinds import Files, Kind
from ganzoo_core import building, mix, python_api, report, sweeps
from ganzoo_core.discovery import catalog, manifest
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.request import has_ema, read_run_data
from ganzoo_core.generation import load
from ganzoo_core.report import comparison_page, run_groups
from ganzoo_core.runs import generators, layout, scores
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.settings import parse_assignments, read_config, read_facts
from ganzoo_core.storage import atomic
from ganzoo_core.training import resuming
from ganzoo_trackers import history

RUN = "run"
MANIFEST = """api = 1
[models.a]
title = "A"
framework = "torch"
hooks = "a.hooks"
image_sizes = [16, 32]
generators = ["digits"]
takes = ["resolution"]
aliases = ["b"]
has.batchnorm_in_discriminator = { setting = "model.norm", is = "batch" }
[models.a.defaults]
model.width = 8
model.norm = "batch"
model.latent_dim = 4
[models.a.choices]
model.norm = ["batch", "none"]
[models.a.help]
model.norm = "of D"
[models.a.presets.small]
model.width = 4
[losses.l]
title = "L"
hooks = "a.hooks"
needs = ["second_order"]
decision = 0.5
clip_discriminator = 0.01
[losses.l.defaults]
loss.weight = 10.0
train.critic_steps = 5
"""
CONFIG = 'train.lr: 2e-4\nuse.loss: "hinge"\ntrain: {batch_size: 8, betas: [0.5, 0.999]}\nrun:\n  preset: "digits"\n'
ASSIGNED = b"train.lr=2e-4\nloss=hinge\nuse.with=r1\nbetas=[0.5,0.9]\nmodel.width=8\ntrain.length=2epochs\nseed=1\n"
PLAN = {"format": 1, "words": ["dcgan-torch", "--steps", "1"], "over": {"seed": ["0", "1"], "lr": ["1e-4"]}}


def read_generator(path: Path) -> None:
    generator = load.load(path.parent, device="cpu")
    generator.generate(1)
    if generator.spec.classes:
        generator.class_of(0)


def read_position(path: Path) -> None:
    run = path.parents[2]
    RunFolder(run).is_finished()
    sweeps.Sweep(run.parent, (), ()).is_over(sweeps.Job(run.name, {}))
    python_api.resume(run, quiet=True)


def read_stats(path: Path) -> None:
    import ganzoo_core as gz

    run = path.parent
    folder = RunFolder(run)
    told = gz.TrackedRun(folder=run, name="run", settings={}, facts={}, images=32, own=run / "trackers" / "x")
    call_all(
        lambda: python_api.Run(run).stats,
        lambda: history.list_events(told),
        lambda: report.write(run),
        lambda: folder.truncate_stats(3),
    )


def read_scores(path: Path) -> None:
    run = path.parent
    call_all(
        lambda: scores.find_best(scores.read(run)),
        lambda: scores.check_comparable(scores.read(run)),
        lambda: generators.find_generator(run, "best"),
        lambda: report.write(run),
        lambda: scores.remove_later_scores(run, 16),
        lambda: scores.append(run, scores.Score(images=1, scores={}, protocol={})),
    )


def compare_runs(path: Path) -> None:
    run = path.parent
    found = run_groups.compare_runs(run_groups.find_runs([run.parent]), force=True)
    json.dumps(run_groups.as_json(found))
    comparison_page.write(found, run.parent / "compare.html")


def read_run_config(path: Path) -> None:
    run = path.parent
    call_all(
        lambda: resolve_run(path),
        lambda: read_run_data(run),
        lambda: has_ema(run),
        lambda: report.write(run),
        lambda: RunFolder(run).find_newest_checkpoint(),
    )


def resolve_run(path: Path) -> mix.Mix:
    """What `resume` makes of a run's config, before anything is built."""
    facts: Any = read_facts(path)
    preset = (facts.get("preset") if isinstance(facts, dict) else facts.preset) or "none"
    return resolve(mix.Request(preset=preset, config=read_config(path), config_name=str(path)))


def resolve(request: mix.Request) -> mix.Mix:
    resolved = mix.resolve(catalog.scan(), request)
    building.make_plan(resolved, {})
    building.fit_from_card(resolved)
    return resolved


def read_given_config(path: Path) -> None:
    resolve(mix.Request(picks={"model": "dcgan-torch"}, config=read_config(path), config_name=str(path)))


def read_assignments(path: Path) -> None:
    texts = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    resolve(mix.Request(picks={"model": "dcgan-torch"}, assigned=parse_assignments(filter(None, texts))))


def read_plugin_manifest(path: Path) -> None:
    """A manifest never raises: it gives parts, problems and warnings."""
    _, problems, warnings = manifest.read(path, distribution="a", version="1", package="a")
    for problem in (*problems, *warnings):
        if "\n" in problem.reason:
            raise ValueError(f"a problem of several lines: {problem.reason!r}")


def read_plan(path: Path) -> None:
    over = {"seed": ["0", "1"], "lr": ["1e-4"]}
    call_all(
        lambda: sweeps.open_sweep(path.parent, "dcgan-torch", PLAN["words"], over),  # type: ignore[arg-type]
        lambda: sweeps.open_sweep(None, "dcgan-torch", PLAN["words"], over),  # type: ignore[arg-type]
    )


def read_checkpoints(path: Path) -> None:
    run = path.parents[2]
    folder = RunFolder.open(run)
    call_all(folder.find_newest_checkpoint, folder.list_damaged_checkpoints)
    resuming.find_checkpoint(folder, restart=False, leads=True)


def read_generators(path: Path) -> None:
    run = path.parents[path.parts[::-1].index(RUN) - 1]
    call_all(
        lambda: generators.find_generator(run, "last"),
        lambda: find_generator_of_epoch(run),
        lambda: generators.list_generators(run, "all"),
        RunFolder(run).read_generator_images,
    )


def find_generator_of_epoch(run: Path) -> None:
    """The run is shorter than an epoch, so that it is refused when all is well."""
    with contextlib.suppress(UsageError):
        generators.find_generator(run, "epoch:1")


def call_all(*calls: Callable[[], Any]) -> None:
    """Make all the calls, and raise the first refusal after them; any other error at once."""
    refusal: UsageError | None = None
    for call in calls:
        try:
            call()
        except UsageError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def place_run(run: Files) -> dict[str, bytes]:
    return {f"{RUN}/{name}": content for name, content in run.items()}


def list_records(runs: dict[str, Files]) -> list[Kind]:
    """Kinds that are made from runs, and those that need none."""
    run = runs["run"]
    newest = max((name.split("/")[1] for name in run if name.startswith("checkpoints/")), key=int)
    placed = place_run(run)

    def of_run(name: str, path: str, read: Callable[[Path], Any], syntax: str = "json", **more: Any) -> Kind:
        return Kind(name, f"{RUN}/{path}", run[path], read, syntax, others=placed, **more)

    def generator_of(name: str, files: Files, which: str, syntax: str) -> Kind:
        own = {key.removeprefix("generator/"): value for key, value in files.items() if key.startswith("generator/")}
        placed = {f"generator/{key}": value for key, value in own.items()}
        finish = lambda contents: seal_folder(contents, "generator")  # noqa: E731
        return Kind(name, f"generator/{which}", own[which], read_generator, syntax, placed, finish)

    checkpoint_folder = f"{RUN}/checkpoints/{newest}"
    return [
        generator_of("card", run, layout.CARD, "json"),
        generator_of("card with classes", runs["conditional"], layout.CARD, "json"),
        generator_of("generator's weights", run, layout.WEIGHTS, "safetensors"),
        of_run(
            "position",
            f"checkpoints/{newest}/{layout.POSITION}",
            read_position,
            share=0.4,
            finish=lambda contents: seal_folder(contents, checkpoint_folder),
        ),
        of_run("checkpoint's manifest", f"checkpoints/{newest}/{atomic.MANIFEST}", read_checkpoints),
        of_run("generator's manifest", f"generator/{atomic.MANIFEST}", read_generators),
        of_run(
            "snapshot's card",
            f"snapshots/32/{layout.CARD}",
            read_generators,
            finish=lambda contents: seal_folder(contents, f"{RUN}/snapshots/32"),
        ),
        of_run("statistics", layout.STATS, read_stats, "jsonl", share=0.4),
        of_run("scores", layout.SCORES, read_scores, "jsonl", share=0.4),
        of_run("run's config", layout.CONFIG, read_run_config, "yaml", share=0.3),
        of_run("measured", "report/measured.json", lambda path: report.write(path.parents[1]), share=0.3),
        Kind("given config", "a.yaml", CONFIG.encode(), read_given_config, "yaml"),
        Kind("assignments", "words", ASSIGNED, read_assignments),
        Kind(
            "plugin's manifest",
            "a/ganzoo.toml",
            MANIFEST.encode(),
            read_plugin_manifest,
            "toml",
            others={"a/__init__.py": b"", "a/hooks.py": b""},
        ),
        Kind("sweep's plan", "runs/dcgan-torch-sweep-1/sweep.json", json.dumps(PLAN).encode(), read_plan, "json"),
    ]
