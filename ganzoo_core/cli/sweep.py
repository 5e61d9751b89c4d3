"""`ganzoo sweep`: the same run over a grid of settings and picks, each in a process of its own, then the comparison.

The same command again goes on: runs that are over stay as they are, those that were interrupted are resumed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo_core.cli import compare, completion, run
from ganzoo_core.cli.parser import Parser
from ganzoo_core.messages import pluralise
from ganzoo_core.terminal.tables import print_table
from ganzoo_core.terminal.text import write_exact, write_json, write_line

if TYPE_CHECKING:
    from ganzoo_core.sweeps import Job, Outcome, Sweep

SCHEMA = 1
# For each key that can be swept, the options that set it too.
FLAGS: Mapping[str, Mapping[str, str]] = {
    **{name: {f"--{name}": name} for name in ("data", "loss", "schedule", "preset", "seed", "device")},
    "model": {"MODEL": "model", "--generator": "generator", "--discriminator": "discriminator"},
    "generator": {"--generator": "generator", "MODEL": "model"},
    "discriminator": {"--discriminator": "discriminator", "MODEL": "model"},
    "with": {"--with": "modifiers"},
    "track": {"--track": "trackers"},
    "batch_size": {"--batch-size": "batch_size"},
    "length": {"--images": "images", "--epochs": "epochs", "--steps": "steps", "--minutes": "minutes"},
}
SLURM_OPTIONS: Mapping[str, str] = {  # with `--list slurm`
    "time": "time limit of each job, such as 90 (minutes), 8:00:00 or 2-12; a run goes on in the next job",
    "partition": "the partition that the jobs run on",
    "gpus": "GPUs of each job: N or TYPE:N",
}
OWN_OPTIONS = (  # options of the sweep itself, not passed to the runs
    *("help", "over", "jobs", "list", "out", "dry_run", "quiet", "json"),
    *SLURM_OPTIONS,
)


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    run.add_run_options(parser, out="the folder of all runs (default: runs/MODEL-sweep-N)")
    grid = parser.add_argument_group("the grid")
    grid.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="KEY=A,B",
        completer=completion.suggest_axes,
        help="a setting or a pick, such as lr=1e-4,2e-4 or loss=A,B; each with each of another --over",
    )
    grid.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at once, which share the cores (1)")
    grid.add_argument(
        "--list",
        choices=("slurm", "lines"),
        help="start nothing: write a job array for Slurm, or a line of shell for each run",
    )
    slurm = parser.add_argument_group("what a job of Slurm asks for, with --list slurm")
    for name, text in SLURM_OPTIONS.items():
        slurm.add_argument(f"--{name}", metavar=name[0].upper(), help=text)
    # All options of `run` are passed to the runs.
    parser.set_defaults(words_of=[action for action in parser._actions if action.dest not in OWN_OPTIONS])


def execute(args: argparse.Namespace) -> int:
    """Run, list or export the grid."""
    from ganzoo_core import sweeps
    from ganzoo_core.errors import UsageError
    from ganzoo_core.terminal.progress import Reporter

    over = sweeps.parse_axes(args.over)
    if not over:
        raise UsageError("nothing is swept; say --over KEY=A,B, such as --over seed=0,1,2")
    if args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; expected 1 or more")
    slurm = sweeps.SlurmOptions(**{name: getattr(args, name) for name in SLURM_OPTIONS})
    slurm.check()
    if slurm.to_lines() and args.list != "slurm":
        given = next(name for name in SLURM_OPTIONS if getattr(args, name) is not None)
        raise UsageError(f"--{given} is for a job array of Slurm; say --list slurm too, or leave it out")
    _check_given_once(args, over)
    reasons, groups = _resolve_runs(args, sweeps.make_jobs(over))
    if args.dry_run:
        return _print_refusals(reasons, args.json)
    model = args.model or args.generator or (over.get("model") or over.get("generator") or ["mix"])[0]
    sweep = replace(
        sweeps.open_sweep(args.out, sweeps.to_folder_name(model).lower(), _list_arguments(args), over), groups=groups
    )
    more = _choose_threads(args, over)
    if args.list is not None:
        _warn_of_lengths(sweep)
    if args.list == "lines":
        for line in sweeps.make_shell_lines(sweep, extra_arguments=more):
            write_exact(line)
        return 0
    if args.list == "slurm":
        script, count = sweeps.write_slurm(sweep, at_once=args.jobs, options=slurm, extra_arguments=more)
        write_exact(script)
        write_line(
            f"{pluralise(count, 'job')}; start them with `sbatch {script}`, and say the same without --list after",
            sys.stderr,
        )
        return 0
    reporter = Reporter(quiet=args.quiet)
    outcomes = sweeps.run_jobs(sweep, at_once=args.jobs, extra_arguments=more, say=reporter.say)
    return _print_outcomes(sweep, outcomes, args)


def _check_given_once(args: argparse.Namespace, over: Mapping[str, object]) -> None:
    """Raise UsageError if a swept key is also set by an option, which would override it in all runs."""
    from ganzoo_core.errors import UsageError

    assigned = {text.partition("=")[0].strip().rpartition(".")[2] for text in args.set}
    for key in over:
        last = key.rpartition(".")[2]
        options = [flag for flag, dest in FLAGS.get(last, {}).items() if getattr(args, dest) is not None]
        options += ["--set"] if last in assigned else []
        if options:
            raise UsageError(f"{key} is swept, and {options[0]} says what it is; leave one of the two out")


def _resolve_runs(args: argparse.Namespace, jobs: Sequence[Job]) -> tuple[dict[str, str], dict[str, str]]:
    """Resolve each run's mix: name -> error message, "" if it is valid; raise the first error if all are invalid.

    Also return `Sweep.groups`, for the runs whose length is in minutes.
    """
    from ganzoo_core import mix, sweeps
    from ganzoo_core.discovery import catalog
    from ganzoo_core.errors import GanzooError
    from ganzoo_core.training import setup

    reasons: dict[str, str] = {}
    groups: dict[str, str] = {}
    errors: list[GanzooError] = []
    for job in jobs:
        run_args = argparse.Namespace(**vars(args))
        run_args.set = [*args.set, *(f"{key}={value}" for key, value in job.values.items() if key != "preset")]
        run_args.preset = job.values.get("preset", args.preset)
        try:
            resolved = mix.resolve(catalog.scan(), run.make_request(run_args))
            if args.dry_run:
                setup.rehearse(resolved, args.data_root, None)
            reasons[job.name] = ""
            if (group := sweeps.speed_group(job.values, resolved.settings)) is not None:
                groups[job.name] = group
        except GanzooError as error:
            errors.append(error)
            reasons[job.name] = str(error)
    if errors and "" not in reasons.values():
        raise errors[0]
    return reasons, groups


def _warn_of_lengths(sweep: Sweep) -> None:
    """Warn that exported runs do not wait for each other: without a recorded length, each measures its own."""
    from ganzoo_core.terminal.progress import Reporter

    sweep.record_lengths(sweep.jobs)
    missing = sweep.unmeasured(sweep.jobs)
    if any(list(sweep.groups.values()).count(group) > 1 for group in missing):
        Reporter().warn(
            "each of these runs turns its minutes into images by the speed where it runs, so their lengths will "
            "differ; say --images for one length"
        )


def _list_arguments(args: argparse.Namespace) -> list[str]:
    """Return the runs' arguments of `ganzoo run`; paths become absolute, so that any folder can resume the sweep."""
    from ganzoo_core.discovery import catalog
    from ganzoo_core.mix.finding import make_data_path_absolute

    words: list[str] = []
    for action in args.words_of:
        value = getattr(args, action.dest)
        if value is None or value == [] or value is False:
            continue
        for item in value if isinstance(value, list) else [value]:
            if action.dest == "data":
                item = make_data_path_absolute(catalog.scan(), item)
            elif isinstance(item, Path):
                item = item.absolute()
            words += ([action.option_strings[-1]] if action.option_strings else []) + (
                [] if item is True else [str(item)]
            )
    return words + [word for name in args.no_plugin for word in ("--no-plugin", name)]


def _choose_threads(args: argparse.Namespace, over: Mapping[str, object]) -> list[str]:
    """Divide the cores among simultaneous runs, unless the user set the number of threads, by `OMP_NUM_THREADS` too."""
    from ganzoo_core.engines import count_available_cores
    from ganzoo_core.engines.threads import read_omp_threads

    set_keys = [text.partition("=")[0].strip() for text in args.set] + list(over)
    chosen = args.config or read_omp_threads() or {"threads", "engine.threads"} & set(set_keys)
    if args.jobs == 1 or args.list == "slurm" or chosen:
        return []
    return ["--set", f"engine.threads={max(1, count_available_cores() // args.jobs)}"]


def _print_refusals(reasons: Mapping[str, str], as_json: bool) -> int:

    if as_json:
        runs = [{"name": name, "fits": not reason, "reason": reason} for name, reason in reasons.items()]
        write_json({"schema": SCHEMA, "runs": runs}, indent=1)
    else:
        print_table(("run", "state"), [(name, reason or "ok") for name, reason in reasons.items()])
    return 0


def _print_outcomes(sweep: Sweep, outcomes: list[Outcome], args: argparse.Namespace) -> int:
    """Print the comparison and the failures; return the exit code."""
    from ganzoo_core.errors import UsageError
    from ganzoo_core.sweeps import EXIT_INTERRUPTED
    from ganzoo_core.terminal.progress import Reporter

    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    stopped = any(outcome.status in ("interrupted", "left") for outcome in outcomes)
    code = EXIT_INTERRUPTED if stopped else 1 if failed else 0
    if args.json:
        runs = [
            {
                "name": outcome.job.name,
                "run": str(sweep.folder_of(outcome.job)),
                "set": dict(outcome.job.values),
                "status": outcome.status,
                "code": outcome.code,
                "reason": outcome.reason,
            }
            for outcome in outcomes
        ]
        write_json({"schema": SCHEMA, "sweep": str(sweep.folder), "runs": runs}, indent=1)
        return code
    reporter = Reporter()
    if not stopped:
        try:
            _print_comparison(sweep.folder)
        except UsageError as error:
            reporter.warn(f"nothing is compared: {error}")
    for outcome in failed:
        reporter.warn(f"{outcome.job.name} failed: {outcome.reason}")
    if failed:
        count = f"{len(failed)} of {pluralise(len(outcomes), 'run')}"
        reporter.warn(f"{count} failed; what they said is in {sweep.folder}/NAME.log, and the same command retries")
    if args.quiet or stopped or failed:
        write_exact(sweep.folder)
    return code


def _print_comparison(folder: Path) -> None:
    """Print what `ganzoo compare FOLDER` prints."""
    parser = Parser()
    compare.add_arguments(parser)
    compare.execute(parser.parse_args(["--", str(folder)]))
