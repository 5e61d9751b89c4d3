"""How many threads a run takes, what it keeps when it is resumed, and what it says of busy cores."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.cli import main, tuning
from ganzoo_core.data import cores
from ganzoo_core.discovery import catalog
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines import threads
from ganzoo_core.engines.threads import ThreadChoice, choose_threads
from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout

FREE = {"engine.threads": 0}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of eight cores, without choices of its user."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(threads, "count_available_cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)


def make_rank(count: int) -> Rank:
    return Rank(number=0, world_size=count, local_rank=0, local_world_size=count)


def test_the_setting_goes_before_the_environment_before_what_was_tuned_before_the_cores(monkeypatch):
    assert choose_threads(FREE, "torch") == ThreadChoice(8)
    threads.write_tuned_threads({"torch": 4})
    assert choose_threads(FREE, "torch") == ThreadChoice(4, "ganzoo doctor --tune")
    assert choose_threads(FREE, "tensorflow") == ThreadChoice(8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads(FREE, "torch") == ThreadChoice(3, "OMP_NUM_THREADS")
    assert choose_threads({"engine.threads": 2}, "torch") == ThreadChoice(2)


@pytest.mark.parametrize(("word", "number"), [("3", 3), ("2,4", 2), (" 5 ", 5), ("0", 8), ("-1", 8), ("²", 8), ("", 8)])
def test_the_first_number_of_omp_num_threads_counts_and_other_words_do_not(monkeypatch, word, number):
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    assert choose_threads(FREE, "torch").number == number


def test_ranks_share_the_cores_and_the_one_thread_that_torchrun_sets_is_nobodys_word(monkeypatch):
    threads.write_tuned_threads({"torch": 6})
    assert choose_threads(FREE, "torch", make_rank(2)).number == 4
    assert choose_threads(FREE, "torch", make_rank(16)).number == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_threads(FREE, "torch", make_rank(2)).number == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert choose_threads(FREE, "torch", make_rank(2)).number == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads(FREE, "torch", make_rank(2)).number == 3


def test_a_task_of_srun_takes_the_cores_that_it_was_given(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert choose_threads(FREE, "torch", make_rank(4)) == ThreadChoice(6, "SLURM_CPUS_PER_TASK")
    assert choose_threads(FREE, "torch", make_rank(1)).number == 8
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # they are those of torchrun, and of all its ranks
    assert choose_threads(FREE, "torch", make_rank(4)).number == 2


def test_choices_are_kept_by_machine_and_framework_and_a_damaged_file_is_named(monkeypatch):
    threads.write_tuned_threads({"torch": 4})
    path = threads.write_tuned_threads({"tensorflow": 2})
    assert threads.read_tuned_threads() == {"torch": 4, "tensorflow": 2}
    monkeypatch.setattr(threads, "describe_machine", lambda: "another")
    assert threads.read_tuned_threads() == {}
    path.write_text('{"machines": {"another": {"threads": {"torch": 0}}}}')
    with pytest.raises(UsageError, match=r"threads\.json.*whole number >= 1.*ganzoo doctor --tune"):
        choose_threads(FREE, "torch")
    threads.write_tuned_threads({"torch": 1})
    assert threads.read_tuned_threads() == {"torch": 1}


@pytest.mark.parametrize(
    ("lines", "limits", "expected"),
    [
        ("0::/outer/inner\n", {"outer/cpu.max": "150000 100000", "outer/inner/cpu.max": "max 100000"}, 1),
        ("0::/outer/inner\n", {"outer/cpu.max": "400000 100000", "outer/inner/cpu.max": "300000 100000"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {}, 8),
        ("4:cpu,cpuacct:/job\n2:memory:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "200000",
                                                "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 8),
        ("nonsense\n", {"cpu.max": "a b c"}, 8),
    ],
)  # fmt: skip
def test_the_quotas_of_all_control_groups_limit_the_cores(monkeypatch, tmp_path, lines, limits, expected):
    for name, text in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text + "\n")
    (tmp_path / "own").write_text(lines)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(cores, "_list_allowed_cores", lambda: list(range(8)))
    assert cores.count_available_cores() == expected


@pytest.mark.parametrize(
    ("busy", "number", "words"),
    [
        (0.2, 8, ""),
        (0.4, 8, ""),
        (2.0, 8, "keep 2.0 of 8 cores busy.*engine.threads=6 may"),
        (2.0, 6, ""),
        (8.0, 8, "keep 8.0 of 8 cores busy.*engine.threads=1 may"),
        (8.0, 1, "keep 8.0 of 8 cores busy, so this run is slower"),
    ],
)
def test_a_run_says_that_others_hold_the_cores_that_it_would_take(monkeypatch, busy, number, words):
    monkeypatch.setattr(threads, "measure_busy_cores", lambda: busy)
    said = threads.warn_of_busy_cores(number)
    assert re.search(words, said) if words else said == ""


def test_another_process_is_seen_on_the_cores_and_this_one_is_not(monkeypatch):
    monkeypatch.setattr(cores, "SAMPLE_SECONDS", 0.5)
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            assert cores.measure_busy_cores() > 0.3
        finally:
            child.kill()

    busy, own = iter([10.0, 12.0, 10.0, 14.0]), iter([3.0, 5.0, 3.0, 3.0])
    monkeypatch.setattr(cores, "_read_busy_seconds", lambda allowed: next(busy))
    monkeypatch.setattr(cores, "_read_own_seconds", lambda: next(own))
    assert cores.measure_busy_cores() == 0
    # Of 16 cores this process may use 4 at a time: what others do on the rest does not hold it up.
    monkeypatch.setattr(cores, "_list_allowed_cores", lambda: list(range(16)))
    monkeypatch.setattr(cores, "count_available_cores", lambda: 4)
    times = iter([0.0, 0.25])
    monkeypatch.setattr(cores.time, "monotonic", lambda: next(times))
    assert cores.measure_busy_cores() == 4  # 16 are busy


def train(*, images: int, out: str) -> gz.Run:
    small: dict[str, Any] = {"model.width": 4, "model.latent_dim": 4, "data.size": 16, "train.sample_count": 4}
    return gz.train(
        "dcgan-torch", batch_size=16, images=images, settings={**small, "use.schedule": "constant"}, out=out
    )


def read_threads(run: gz.Run) -> int:
    recorded: int = yaml.safe_load((run.folder / "config.yaml").read_text())["run"]["engine"]["threads"]
    return recorded


def test_a_run_keeps_its_threads_when_it_is_resumed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threads, "count_available_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    whole, half = train(images=128, out="whole"), train(images=64, out="half")
    assert read_threads(half) == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    resumed = python_api.resume(half.folder, images=128, quiet=True)
    assert read_threads(resumed) == 1
    ours, theirs = ((run.folder / layout.GENERATOR / layout.WEIGHTS).read_bytes() for run in (resumed, whole))
    assert ours == theirs
    longer = python_api.resume(half.folder, images=192, quiet=True, allow_inexact=True)
    assert read_threads(longer) == 1  # `engine.threads` stands in the run's config.yaml since it was resumed
    assert read_threads(train(images=16, out="new")) == 2


def test_the_banner_says_where_the_number_comes_from(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(threads, "measure_busy_cores", lambda: 8.0)
    train(images=16, out="run")
    said = " ".join(capsys.readouterr().err.split())
    assert "cpu, 1 thread (OMP_NUM_THREADS)" in said
    assert "other processes keep 8.0 of 8 cores busy" in said


def tell_speeds(monkeypatch: pytest.MonkeyPatch, speeds: dict[tuple[str, int], list[float]]) -> None:
    left = {key: iter(values) for key, values in speeds.items()}
    monkeypatch.setattr(tuning, "_time_run", lambda part, number: next(left[part.name, number]))
    monkeypatch.setattr(tuning, "count_available_cores", lambda: 2)
    monkeypatch.setattr(tuning, "measure_busy_cores", lambda: 0.0)


def test_tuning_keeps_the_fastest_of_the_best_timings(monkeypatch, capsys):
    tell_speeds(monkeypatch, {("dcgan-torch", 1): [300.0, 310.0], ("dcgan-torch", 2): [200.0, 320.0]})
    assert main(["doctor", "dcgan-torch", "--tune", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = [(row["threads"], row["images_per_second"], row["kept"]) for row in told["timings"]]
    assert rows == [(1, 310.0, False), (2, 320.0, True)]
    assert threads.read_tuned_threads() == {"torch": 2}


def test_tuning_shows_a_table_of_one_model_for_each_framework(monkeypatch, capsys):
    speeds = {(model, number): [10.0, 20.0 / number] for model in ("dcgan-torch", "dcgan-tf") for number in (1, 2)}
    monkeypatch.setattr(
        tuning,
        "pick_models",
        lambda installed: [installed.find("models", name) for name in ("dcgan-torch", "dcgan-tf")],
    )
    tell_speeds(monkeypatch, speeds)
    assert main(["doctor", "--tune"]) == 0
    out = capsys.readouterr().out
    assert out.count("kept\n") + out.count("kept ") >= 2
    assert "threads.json" in out.replace("\n", "")
    assert threads.read_tuned_threads() == {"torch": 1, "tensorflow": 1}


@pytest.mark.parametrize("busy", [[1.4], [0.0, 0.1, 1.4]], ids=["before", "meanwhile"])
def test_a_busy_machine_is_not_timed(monkeypatch, capsys, busy):
    tell_speeds(monkeypatch, {("dcgan-torch", 1): [300.0, 310.0], ("dcgan-torch", 2): [200.0, 320.0]})
    left = iter(busy)
    monkeypatch.setattr(tuning, "measure_busy_cores", lambda: next(left))
    assert main(["doctor", "dcgan-torch", "--tune"]) == 2
    assert "other processes keep 1.4 of" in " ".join(capsys.readouterr().err.split())
    assert threads.read_tuned_threads() == {}
    assert list(left) == []


def test_what_the_checks_alone_read_is_refused(capsys):
    assert main(["doctor", "--tune", "--set", "width=8"]) == 2
    assert "--tune only times training" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_fails_is_named(monkeypatch, capsys):
    monkeypatch.setattr(tuning, "measure_busy_cores", lambda: 0.0)
    monkeypatch.setattr(tuning, "STEPS", -1)
    assert main(["doctor", "dcgan-torch", "--tune"]) == 2
    assert "dcgan-torch could not be timed: its run ended with 2" in " ".join(capsys.readouterr().err.split())


def test_each_installed_framework_has_a_model_with_a_preset_for_the_default_data():
    installed = catalog.scan()
    data = installed.find_default("datasets")
    assert data is not None
    picked = tuning.pick_models(installed)
    assert [part.frameworks[0] for part in picked] == ["torch", "tensorflow"]
    assert all(data.name in part.presets for part in picked)


@pytest.mark.slow
def test_a_real_run_is_timed(monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 10)
    assert tuning._time_run(catalog.scan().find("models", "dcgan-torch"), 1) > 1


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 3]), (16, [1, 8, 16])])
def test_one_thread_half_of_the_cores_and_all_are_timed(count, expected):
    assert tuning.list_candidates(count) == expected
