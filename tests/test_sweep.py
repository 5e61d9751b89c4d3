"""`ganzoo sweep`: the grid, its folder, and working through it; the runs are stand-ins but for one test."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ganzoo_core import mix, settings, sweeps
from ganzoo_core.cli import main
from ganzoo_core.cli.sweep import _print_comparison
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.sweeps import Job, Outcome, Sweep, export

OVER = {"loss": ["hinge", "wgan-gp"], "train.seed": ["0", "1", "2"]}


def test_the_grid_has_every_combination_once() -> None:
    jobs = sweeps.make_jobs(OVER)
    assert [tuple(job.values.values()) for job in jobs] == [
        (loss, seed) for loss in ("hinge", "wgan-gp") for seed in ("0", "1", "2")
    ]
    assert jobs[4] == Job("loss-wgan-gp_seed-1", {"loss": "wgan-gp", "train.seed": "1"})
    assert jobs[4].to_arguments() == ["--set", "loss=wgan-gp", "--set", "train.seed=1"]
    assert sweeps.make_jobs({"preset": ["small"]})[0].to_arguments() == ["--preset", "small"]


def test_names_are_those_of_folders_and_are_told_apart() -> None:
    jobs = sweeps.make_jobs({"data": ["folder:../my pictures", "folder:/my/pictures"], "use.with": ["[]", "[r1,a]"]})
    names = [job.name for job in jobs]
    assert len({name.lower() for name in names}) == 4
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in names)
    assert sweeps.make_jobs({"x": ["A", "a"]})[1].name == "x-a-2"
    assert len(sweeps.make_jobs({"x": ["y" * 500]})[0].name) < 130


def test_values_with_commas_stand_in_brackets() -> None:
    assert sweeps.parse_axes(["betas=[0,0.9], [0.5,0.9]", " lr = 1e-4,2e-4 "]) == {
        "betas": ["[0,0.9]", "[0.5,0.9]"],
        "lr": ["1e-4", "2e-4"],
    }


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["seed"], "is no list of values"),
        (["seed="], "is no list of values"),
        (["=1"], "is no list of values"),
        (["seed=0,,1"], "is no list of values"),
        (["seed=0", "seed=1"], "--over seed is said twice"),
        (["seed=0,1,0"], "--over seed names 0 twice"),
    ],
)
def test_what_is_no_axis_is_said(texts: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(expected)):
        sweeps.parse_axes(texts)


def test_a_grid_has_a_bound() -> None:
    with pytest.raises(UsageError, match="has 1,001 runs"):
        sweeps.make_jobs({"seed": list(map(str, range(1001)))})


def test_the_same_sweep_is_found_again_and_another_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = sweeps.open_sweep(None, "gan", ["gan", "--steps", "4"], OVER)
    assert first.folder == Path("runs/gan-sweep-1")
    assert sweeps.open_sweep(None, "gan", ["gan", "--steps", "4"], OVER) == first
    assert sweeps.open_sweep(None, "gan", ["gan", "--steps", "5"], OVER).folder == Path("runs/gan-sweep-2")
    assert sweeps.open_sweep(None, "gan", ["gan", "--steps", "4"], {"seed": ["0"]}).folder.name == "gan-sweep-3"
    assert sweeps.open_sweep(None, "gan", ["gan", "--steps", "4"], OVER) == first


def test_a_named_folder_may_be_given_more_values_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweeps.open_sweep(out, "gan", ["gan"], {"seed": ["0"]})
    assert len(sweeps.open_sweep(out, "gan", ["gan"], {"seed": ["0", "1"]}).jobs) == 2
    for words, over in ((["other"], {"seed": ["0"]}), (["gan"], {"lr": ["1"]})):
        with pytest.raises(UsageError, match=r"is a sweep of `run gan` over seed; say the same"):
            sweeps.open_sweep(out, "gan", words, over)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    with pytest.raises(UsageError, match=r"is there already and holds no sweep\.json"):
        sweeps.open_sweep(tmp_path / "full", "gan", ["gan"], {"seed": ["0"]})


# A stand-in for a run: what it does is written in its value. It counts how often it was started.
STAND_IN = """
import pathlib, signal, sys, time
place, what = pathlib.Path(sys.argv[1]), sys.argv[2]
place.mkdir(exist_ok=True)
(place / "config.yaml").touch()
with (place / "started").open("a") as file:
    file.write("x")
def interrupted(*_):
    (place / "saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, interrupted)
if what == "fails":
    print("words of a library", file=sys.stderr)
    sys.exit("ganzoo run: the loss became infinite; lower the rate")
if what == "dies":
    print("Segmentation fault")
    sys.exit(139)
if what == "waits":
    (place / "waiting").touch()
    time.sleep(300)
(place / "over").touch()
"""


class Acting(Sweep):
    """A sweep whose runs are stand-ins."""

    def make_command(self, job: Job, *, extra_arguments: object = ()) -> list[str]:
        (what,) = job.values.values()
        return [sys.executable, "-c", STAND_IN, str(self.folder_of(job)), what]

    def is_over(self, job: Job) -> bool:
        return (self.folder_of(job) / "over").exists()

    def started(self, name: str) -> int:
        path = self.folder_of(self.jobs[[job.name for job in self.jobs].index(name)]) / "started"
        return len(path.read_text()) if path.exists() else 0


def acting(folder: Path, *whats: str) -> Acting:
    return Acting(folder, (), tuple(Job(f"{what}-{place}", {"what": what}) for place, what in enumerate(whats)))


def test_a_failure_stops_no_other_and_is_told_with_its_sentence(tmp_path: Path) -> None:
    sweep = acting(tmp_path, "fails", "ends", "dies", "ends")
    told: list[str] = []
    outcomes = sweeps.run_jobs(sweep, at_once=1, say=told.append)
    assert [(outcome.status, outcome.code) for outcome in outcomes] == [
        ("failed", 1),
        ("done", 0),
        ("failed", 139),
        ("done", 0),
    ]
    assert outcomes[0].reason == "the loss became infinite; lower the rate"
    assert outcomes[2].reason == "Segmentation fault"
    assert "words of a library" in (tmp_path / "fails-0.log").read_text()
    assert "fails-0: failed: the loss became infinite; lower the rate" in told
    # Again: what is over is not started, what failed is.
    outcomes = sweeps.run_jobs(sweep, at_once=2)
    assert [outcome.status for outcome in outcomes] == ["failed", "there", "failed", "there"]
    assert [sweep.started(job.name) for job in sweep.jobs] == [2, 1, 2, 1]
    assert outcomes[2].reason == "Segmentation fault"


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_lets_runs_save_and_the_next_call_goes_on(tmp_path: Path, kind: signal.Signals) -> None:
    # A shell starts what is in the background with SIGINT ignored, and the tests may be.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sweep = acting(tmp_path, "ends", "waits", "waits", "ends")

    is_over = threading.Event()

    def interrupt() -> None:
        waiting = [sweep.folder_of(sweep.jobs[place]) / "waiting" for place in (1, 2)]
        deadline = time.monotonic() + 120
        while not all(path.exists() for path in waiting) and time.monotonic() < deadline:
            if is_over.wait(0.01):
                return  # a signal would hit the tests themselves
        os.kill(os.getpid(), kind)

    former = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        outcomes = sweeps.run_jobs(sweep, at_once=2)
    finally:
        is_over.set()
        thread.join(60)
        signal.signal(signal.SIGINT, before)
    assert [outcome.status for outcome in outcomes] == ["done", "interrupted", "interrupted", "left"]
    assert all((sweep.folder_of(sweep.jobs[place]) / "saved").exists() for place in (1, 2))
    assert sweep.started("ends-3") == 0
    assert signal.getsignal(signal.SIGTERM) is former
    for place in (1, 2):
        (sweep.folder_of(sweep.jobs[place]) / "over").touch()
    assert [outcome.status for outcome in sweeps.run_jobs(sweep, at_once=2)] == ["there", "there", "there", "done"]


def test_a_run_that_has_begun_is_resumed(tmp_path: Path) -> None:
    (job,) = sweeps.make_jobs({"seed": ["3"]})
    sweep = Sweep(tmp_path, ("gan", "--steps", "4"), (job,))
    start = [sys.executable, "-P", "-m", "ganzoo_core"]
    place = str(tmp_path / "seed-3")
    more = ["--set", "engine.threads=1"]
    expected = ["run", "gan", "--steps", "4", "--set", "seed=3", *more, "--out", place, "--quiet"]
    assert sweep.make_command(job, extra_arguments=more) == [*start, *expected]
    (tmp_path / "seed-3").mkdir()
    (tmp_path / "seed-3" / "config.yaml").touch()
    assert sweep.make_command(job, extra_arguments=more) == [
        *start,
        "resume",
        place,
        "--restart",
        "--quiet",
    ]  # it saved nothing yet
    (tmp_path / "seed-3" / "checkpoints" / "64").mkdir(parents=True)
    assert sweep.make_command(job, extra_arguments=more) == [*start, "resume", place, "--quiet"]


def test_a_folder_that_begins_with_a_hyphen_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (job,) = sweeps.make_jobs({"seed": ["3"]})
    words = Sweep(Path("-sw"), ("gan",), (job,)).make_command(job)
    assert words[words.index("--out") + 1] == str(tmp_path / "-sw" / "seed-3")
    compared: list[list[Path]] = []
    monkeypatch.setattr("ganzoo_core.cli.compare.execute", lambda args: compared.append(args.paths))
    _print_comparison(Path("-sw"))
    assert compared == [[Path("-sw")]]


@pytest.mark.skipif(os.name == "nt", reason="there is no such shell")
def test_a_line_of_shell_begins_or_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = sweeps.make_jobs({"data": ["folder:it's", "digits"]})
    sweep = Sweep(tmp_path / "a sweep", ("gan",), jobs)
    (sweep.folder_of(jobs[1])).mkdir(parents=True)
    (sweep.folder_of(jobs[1]) / "config.yaml").touch()
    echo = tmp_path / "echo.py"
    echo.write_text("import json, os, sys\nprint(json.dumps([os.getcwd(), sys.argv[1:]]))\n")
    lines = [line.replace("-P -m ganzoo_core", str(echo)) for line in sweeps.make_shell_lines(sweep)]
    answers = [json.loads(subprocess.check_output(["bash", "-c", line], cwd="/", timeout=60)) for line in lines]
    place = str(sweep.folder_of(jobs[0]))
    assert answers[0] == [str(tmp_path), ["run", "gan", "--set", "data=folder:it's", "--out", place, "--quiet"]]
    assert answers[1][1] == ["resume", str(sweep.folder_of(jobs[1])), "--restart", "--quiet"]
    (sweep.folder_of(jobs[1]) / "checkpoints").mkdir()
    told = json.loads(subprocess.check_output(["bash", "-c", lines[1]], cwd="/", timeout=60))[1]
    assert told == ["resume", str(sweep.folder_of(jobs[1])), "--restart", "--quiet"]
    (sweep.folder_of(jobs[1]) / "checkpoints" / "64").mkdir()
    told = json.loads(subprocess.check_output(["bash", "-c", lines[1]], cwd="/", timeout=60))[1]
    assert told == ["resume", str(sweep.folder_of(jobs[1])), "--quiet"]


@pytest.mark.skipif(os.name == "nt", reason="there is no such shell")
def test_the_array_for_slurm_runs_every_line_once(tmp_path: Path) -> None:
    sweep = acting(tmp_path / "a sweep", "ends", "ends", "fails")
    (sweep.folder / "ends-0").mkdir(parents=True)
    (sweep.folder / "ends-0" / "over").touch()
    script, count = sweeps.write_slurm(sweep, at_once=4)
    assert count == 2
    text = script.read_text()
    assert "#SBATCH --array=0-1%4\n" in text
    assert "#SBATCH --signal=B:USR1@120\n" in text
    jobs = sweep.folder / "jobs.txt"
    kept = jobs.read_text().splitlines()
    assert [kept[0].endswith(" # ends-1"), kept[1].endswith(" # fails-2")] == [True, True]
    jobs.write_text("echo first # a\nexit 3 # b\n")
    told = [run_task(script, number) for number in range(2)]
    assert [(task.stdout, task.returncode) for task in told] == [("first\n", 0), ("", 3)]
    for job in sweep.jobs:
        sweep.folder_of(job).mkdir(exist_ok=True)
        (sweep.folder_of(job) / "over").touch()
    with pytest.raises(UsageError, match=r"every run of .* is over"):
        sweeps.write_slurm(sweep, at_once=4)


def run_task(script: Path, number: int) -> subprocess.CompletedProcess[str]:
    """A task of the array, with a `scontrol` that says what it was told."""
    tools = script.parent / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "scontrol").write_text('#!/bin/sh\necho scontrol "$@"\n')
    (tools / "scontrol").chmod(0o755)
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number), "PATH": f"{tools}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", str(script)], env={**os.environ, **slurm}, capture_output=True, text=True, timeout=60, check=False
    )


SAVING = """\
folder={folder}
trap 'mkdir -p "$folder/checkpoints/{saved}"; exit {code}' TERM
sleep 1  # until the script has its trap
kill -USR1 $PPID
for i in $(seq 300); do sleep 0.1; done
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no such shell")
@pytest.mark.parametrize(
    ("saved", "code", "again"),
    [
        (20, 130, True),
        (20, 0, False),  # done
        (20, 1, False),  # failed
        (10, 130, False),  # nothing was saved since it began
    ],
)
def test_a_task_of_the_array_that_was_stopped_by_its_time_limit_is_queued_again(
    tmp_path: Path, saved: int, code: int, again: bool
) -> None:
    sweep = acting(tmp_path / "a sweep", "ends")
    folder = sweep.folder_of(sweep.jobs[0])
    (folder / "checkpoints" / "10").mkdir(parents=True)
    script, _ = sweeps.write_slurm(sweep, at_once=1)
    code_file = tmp_path / "saving.sh"
    code_file.write_text(SAVING.format(folder=shlex.quote(str(folder)), saved=saved, code=code))
    (sweep.folder / "jobs.txt").write_text(f"exec bash {code_file} # {sweep.jobs[0].name}\n")
    task = run_task(script, 0)
    assert task.returncode == code
    assert task.stdout == ("scontrol requeue 7_0\n" if again else "")
    assert ("nothing was saved within the time limit" in task.stderr) == (saved == 10), task.stderr


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("4", 240), ("3:30", 210), ("8:00:00", 28800), ("2-12", 216000), ("1-2:3", 93780), ("1-00:00:05", 86405)],
)
def test_times_of_slurm(time: str, seconds: int) -> None:
    assert export.to_seconds(time) == seconds
    assert sweeps.SlurmOptions(time=time).to_lines() == [f"#SBATCH --time={time}"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"time": "tomorrow"}, "--time 'tomorrow' is no time of Slurm's; say minutes"),
        ({"time": "1:2:3:4"}, "--time '1:2:3:4' is no time of Slurm's"),
        ({"time": ""}, "--time '' is no time of Slurm's"),
        ({"time": "3"}, "--time 3 is 180 seconds; .* so say more than 3 minutes"),
        ({"partition": "gpu\n#SBATCH --uid=0"}, "--partition .* is no name of a partition; say one that `sinfo` shows"),
        ({"gpus": "0"}, "--gpus '0' is no number of GPUs; say --gpus 1"),
        ({"gpus": "all"}, "--gpus 'all' is no number of GPUs"),
    ],
)
def test_what_slurm_would_not_take_is_refused(options: dict[str, str], found: str) -> None:
    with pytest.raises(UsageError, match=found):
        sweeps.SlurmOptions(**options).check()


# A stand-in for a run whose length is in minutes: it is as long as was said, else another length than all others.
MEASURING = """
import pathlib, re, sys, time
place, words = pathlib.Path(sys.argv[1]), sys.argv[2:]
place.mkdir(exist_ok=True)
(place / "words").write_text(" ".join(words))
if "fails=1" in words:
    sys.exit("ganzoo run: no room")
said = [word.partition("=")[2] for word in words if word.startswith("train.length=")]
assert ("--minutes" in words) is not bool(said)
length = said[-1] if said else 100 + int(re.findall("seed-(.)|$", place.name)[0] or place.name[-1])
time.sleep(0 if said else 0.3)
(place / "new").write_text(f'train.length: "{length}"\\n')
(place / "new").rename(place / "config.yaml")
(place / "over").touch()
"""


class Measuring(Acting):
    def make_command(self, job: Job, *, extra_arguments: object = ()) -> list[str]:
        return [sys.executable, "-c", MEASURING, str(self.folder_of(job)), *self.run_words(job)]

    def lengths(self) -> list[int | None]:
        configs = [self.folder_of(job) / "config.yaml" for job in self.jobs]
        return [int(re.findall(r"\d+", path.read_text())[0]) if path.exists() else None for path in configs]


def measuring(folder: Path, over: Mapping[str, list[str]]) -> Measuring:
    jobs = sweeps.make_jobs(over)
    groups = {job.name: job.values["loss"] for job in jobs}
    return Measuring(folder, ("gan", "--minutes", "1.0", "--data", "x"), jobs, groups)


def test_minutes_are_one_length_for_all_runs_that_are_equally_fast(tmp_path: Path) -> None:
    told: list[str] = []
    sweep = measuring(tmp_path, {"loss": ["a", "b"], "seed": ["0", "1", "2"]})
    assert [one.status for one in sweeps.run_jobs(sweep, at_once=2, say=told.append)] == ["done"] * 6
    first, second = 100, sweep.lengths()[3]
    assert sweep.lengths() == [first] * 3 + [second] * 3
    length = "its length is 100 images by the speed that it measured; given to 2 runs more, as fast as it"
    assert f"loss-a_seed-0: {length}" in told
    assert "--minutes" not in (sweep.folder_of(sweep.jobs[1]) / "words").read_text()
    # Again with another seed, when the run that measured is gone: what it found stays.
    shutil.rmtree(sweep.folder_of(sweep.jobs[0]))
    more = measuring(tmp_path, {"loss": ["a", "b"], "seed": ["5", "0", "1"]})
    sweeps.run_jobs(more, at_once=2)
    assert more.lengths() == [first] * 3 + [second] * 3


def test_a_run_that_ends_while_another_is_started_has_measured_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["ganzoo_core.sweeps.work"]
    start, started = module._start_job, []

    def start_slowly(*words: object) -> object:
        process = start(*words)
        until = time.monotonic() + 60
        while started and started[0].poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        started.append(process)
        return process

    monkeypatch.setattr(module, "_start_job", start_slowly)
    sweep = measuring(tmp_path, {"seed": ["0", "1"], "loss": ["a", "b"]})
    sweeps.run_jobs(sweep, at_once=2)
    assert sweep.lengths()[0] == sweep.lengths()[2]


def test_a_length_that_was_measured_before_it_was_kept_counts(tmp_path: Path) -> None:
    """The sweep was killed between the two."""
    sweep = measuring(tmp_path, {"loss": ["a"], "seed": ["0", "1", "2"]})
    sweep.folder_of(sweep.jobs[1]).mkdir()
    (sweep.folder_of(sweep.jobs[1]) / "config.yaml").write_text('train.length: "777"\n')
    (sweep.folder_of(sweep.jobs[1]) / "over").touch()
    sweeps.run_jobs(sweep, at_once=3)
    assert sweep.lengths() == [777] * 3


def test_where_the_first_run_fails_the_next_measures(tmp_path: Path) -> None:
    jobs = tuple(Job(f"run-{place}", {what: "1"}) for place, what in enumerate(("fails", "ends", "ends")))
    sweep = Measuring(tmp_path, ("gan", "--minutes", "1"), jobs, {job.name: "" for job in jobs})
    outcomes = sweeps.run_jobs(sweep, at_once=3)
    assert [one.status for one in outcomes] == ["failed", "done", "done"]
    assert sweep.lengths() == [None, 101, 101]


@pytest.mark.parametrize(
    ("values", "group"),
    [
        ({"seed": "1", "lr": "1e-4", "train.betas": "[0,0.9]", "report_every": "9steps"}, ""),
        ({"seed": "1", "batch_size": "8", "width": "4"}, "train.batch_size=8, model.width=4"),
        ({"preset": "small", "train.length": "2minutes"}, "preset=small, train.length=2minutes"),
        ({"ema_halflife": "100"}, "train.ema_halflife above 0"),
        ({"ema_halflife": "0"}, "train.ema_halflife is 0"),
        ({"use.loss": "wgan-gp", "gp_weight": "3"}, "use.loss=wgan-gp, loss.gp_weight above 0"),
        ({"use.loss": "wgan-gp", "gp_weight": "0"}, "use.loss=wgan-gp, loss.gp_weight is 0"),
    ],
)
def test_runs_are_equally_fast_that_differ_in_numbers_of_no_cost(values: dict[str, str], group: str) -> None:
    """A penalty or an average that is weighed with 0 may be left out, and costs nothing then."""
    assigned = {"length": "1minutes", **{key: value for key, value in values.items() if key != "preset"}}
    request = mix.Request(picks={"model": "dcgan-torch"}, preset=values.get("preset"), assigned=assigned)
    resolved = mix.resolve(catalog.scan(), request).settings
    assert sweeps.speed_group(values, resolved) == group
    assert sweeps.speed_group(values, resolved.replace("train.length", "1epoch", "")) is None


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)

    def sweep(words: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main(["sweep", *shlex.split(words)]) == code
        told = capsys.readouterr()
        return told.out, told.err

    return sweep


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dcgan-torch", "nothing is swept; say --over"),
        ("dcgan-torch --over seed=0,1 --seed 3", "seed is swept, and --seed says what it is"),
        ("dcgan-torch --over train.seed=0,1 --set seed=3", "train.seed is swept, and --set says what it is"),
        ("dcgan-torch --over model=dcgan-torch,cgan-torch", "model is swept, and MODEL says what it is"),
        ("dcgan-torch --over use.with=r1 --with r1", "use.with is swept, and --with says what it is"),
        ("dcgan-torch --over train.length=1epoch --steps 3", "train.length is swept, and --steps says"),
        ("dcgan-torch --over seed=0 --jobs 0", "--jobs is 0"),
        ("dcgan-torch --over losss=hinge,wgan-gp", "losss"),
        ("dcgan-torch --over seed=a,b", "train.seed is 'a'"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(sweep: Callable, words: str, expected: str) -> None:
    out, err = sweep(words, code=2)
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err
    assert not list(Path().iterdir())


def test_a_dry_run_says_which_fit(sweep: Callable) -> None:
    told = json.loads(sweep("dcgan-torch --over loss=hinge,hnige --over seed=0,1 --dry-run --json")[0])
    fits = {run["name"]: run["fits"] for run in told["runs"]}
    assert fits == {f"loss-{loss}_seed-{seed}": loss == "hinge" for loss in ("hinge", "hnige") for seed in (0, 1)}
    assert "did you mean hinge" in told["runs"][2]["reason"]
    assert "loss-hinge_seed-1\tok\n" in sweep("dcgan-torch --over loss=hinge,hnige --over seed=0,1 --dry-run")[0]
    sizes = sweep("dcgan-torch --over size=16,511 --dry-run")[0].splitlines()  # the run of 511 would be refused, too
    assert sizes[0] == "size-16\tok"
    assert sizes[1].startswith("size-511\tdata.size is 511; this model takes ")
    assert not list(Path().iterdir())


@pytest.mark.skipif(os.name == "nt", reason="there is no such shell")
def test_lists_hold_all_that_was_said(sweep: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        "dcgan-torch --over lr=1e-4,2e-4 --set width=4 --set size=16 --batch-size 8 --with spectral-norm --data digits"
    )
    out, _ = sweep(f"{words} --list lines")
    first, second = out.splitlines()
    begins = shlex.split(first.split("else exec ")[1].removesuffix("; fi"))
    expected = ["dcgan-torch", "--data", "digits", "--with", "spectral-norm", "--set", "width=4", "--set", "size=16"]
    expected += [
        "--batch-size",
        "8",
        "--set",
        "lr=1e-4",
        "--out",
        str(Path("runs/dcgan-torch-sweep-1/lr-1e-4").absolute()),
    ]
    assert begins[5:] == [*expected, "--quiet"]
    assert "lr=2e-4" in second
    out, err = sweep(f"{words} --list slurm --jobs 3")
    assert out == "runs/dcgan-torch-sweep-1/sweep.sbatch\n"
    assert re.search(r"\b2 jobs; start them with `sbatch runs/dcgan-torch-sweep-1/sweep\.sbatch`", err)
    sweep(f"{words} --list slurm --time 8:00:00 --partition gpu,long --gpus a100:1")
    text = Path("runs/dcgan-torch-sweep-1/sweep.sbatch").read_text()
    assert "#SBATCH --time=8:00:00\n#SBATCH --partition=gpu,long\n#SBATCH --gpus=a100:1\n" in text
    refused = sweep(f"{words} --list lines --gpus 1", code=2)[1]
    assert "--gpus is for a job array of Slurm; say --list slurm too, or leave it out" in " ".join(refused.split())
    # Several at once on one machine share its cores.
    monkeypatch.setattr("ganzoo_core.engines.count_available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert re.search(r"engine\.threads=4\b", sweep(f"{words} --list lines --jobs 2")[0])
    assert "engine.threads=4" not in sweep(f"{words} --list lines --jobs 2 --set threads=1")[0]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "engine.threads" not in sweep(f"{words} --list lines --jobs 2")[0]


def test_lists_of_a_length_in_minutes_say_that_runs_will_differ(sweep: Callable) -> None:
    words = "dcgan-torch --over seed=0,1 --minutes 1 --list lines"
    out, err = sweep(words)
    assert out.count("--minutes 1.0") == 2
    assert "their lengths will differ; say --images for one length" in " ".join(err.split())
    place = Path("runs/dcgan-torch-sweep-1/seed-0")
    place.mkdir()
    (place / "config.yaml").write_text('train.length: "777"\n')
    out, err = sweep(words)
    assert (out.count("--set train.length=777 "), out.count("--minutes"), err) == (2, 0, "")
    out, err = sweep(words.replace("seed", "loss").replace("0,1", "hinge,wgan-gp"))
    assert err == ""


@pytest.mark.parametrize(
    ("statuses", "code", "compared"),
    [
        (["done", "there"], 0, True),
        (["done", "failed"], 1, True),
        (["interrupted", "left"], 130, False),
        (["failed", "interrupted"], 130, False),
    ],
)
def test_the_end_tells_what_came_of_it(
    sweep: Callable, monkeypatch: pytest.MonkeyPatch, statuses: list[str], code: int, compared: bool
) -> None:
    def work(sweep: Sweep, **_: object) -> list[Outcome]:
        reasons = ["no room" if status == "failed" else "" for status in statuses]
        jobs = zip(sweep.jobs, statuses, reasons, strict=True)
        return [Outcome(job, status, 1, reason) for job, status, reason in jobs]

    seen: list[Path] = []
    monkeypatch.setattr(sweeps, "run_jobs", work)
    monkeypatch.setattr("ganzoo_core.cli.sweep._print_comparison", seen.append)
    out, err = sweep("dcgan-torch --over seed=0,1 --out all", code=code)
    assert seen == ([Path("all")] if compared else [])
    assert ("failed: no room" in err) == ("failed" in statuses)
    assert ("all/NAME.log" in err) == ("failed" in statuses)
    assert out == ("" if code == 0 else "all\n")


@pytest.mark.slow
def test_a_sweep_of_real_runs_ends_in_the_comparison(sweep: Callable) -> None:
    words = "dcgan-torch --over loss=hinge,hnige --over seed=0,1 --set width=4 --set size=16 --set threads=1 "
    words += "--batch-size 8 --steps 2 --out all"
    out, err = sweep(f"{words} --jobs 2", code=1)
    assert err.count("failed: no loss is called 'hnige'") == 4  # as it happens, and at the end
    assert re.search(r"\b2 of 4 runs failed", err)
    assert "loss=hinge" in out or "\t0, 1\t" in out  # the two seeds of one row
    assert Path("all/compare.html").is_file()
    seen: Mapping[str, list[dict[str, object]]] = json.loads(sweep(f"{words} --json", code=1)[0])
    assert [(run["name"], run["status"]) for run in seen["runs"]] == [
        ("loss-hinge_seed-0", "there"),
        ("loss-hinge_seed-1", "there"),
        ("loss-hnige_seed-0", "failed"),
        ("loss-hnige_seed-1", "failed"),
    ]
    seeds = [(Path("all") / f"loss-hinge_seed-{seed}" / "config.yaml").read_text() for seed in (0, 1)]
    assert [re.findall(r"^train\.seed: (\S+)", seed, re.MULTILINE) for seed in seeds] == [["0"], ["1"]]


@pytest.mark.slow
def test_a_sweep_of_real_runs_that_take_minutes_compares_its_seeds(sweep: Callable) -> None:
    words = "dcgan-torch --over seed=0,1 --set width=4 --set size=16 --set threads=1 --batch-size 8 --minutes 0.001"
    out, err = sweep(f"{words} --out all --jobs 2")
    assert re.search(r"seed-0: its length is [\d,]+ images by the speed", " ".join(err.split()))
    lengths = {settings.read_run_config(Path(f"all/seed-{seed}/config.yaml"))["train.length"] for seed in (0, 1)}
    assert len(lengths) == 1
    assert "\t0, 1\t" in out  # the two seeds of one row
