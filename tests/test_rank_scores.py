"""Scores by several ranks are one process's, to the bit; a rank that fails, or is killed, is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import ganzoo_core as gz
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.rank_parts import make_environment as make_rank_environment
from ganzoo_core.runs import layout, scores
from ganzoo_core.runs.folder import RunFolder
from tests.dots import install
from tests.rank_runs import SECONDS, describe_rank, make_environment, run_under_torchrun

MANIFEST = """
[extractors.whole]
title = "Features that depend on all images"
hooks = "dots"
[extractors.differing]
title = "Another in each process"
hooks = "dots"
[extractors.broken]
title = "Fails in rank 1"
hooks = "dots"
"""
CODE = """
class Extractor:
    facts = {"weights": "none"}
    def extract(self, images):
        if "LOOKED" in os.environ:
            with open(os.environ["LOOKED"], "a") as notes:
                print(f"rank{1 if IS_RANK_1 else 0}: {len(images)}", file=notes)
        return look(images, getattr(self, "batch", len(images)))

IS_RANK_1 = os.environ.get("SLURM_PROCID", os.environ.get("RANK")) == "1"

class Broken(Extractor):
    def extract(self, images):
        if IS_RANK_1:
            raise RuntimeError("it is out of order")
        return super().extract(images)

class Waiting(Extractor):
    def extract(self, images):
        go = os.path.join(os.environ["GANZOO_CACHE"], "go")
        if IS_RANK_1:
            open(go + "-asked", "w").close()
        for _ in range(3000 if IS_RANK_1 else 0):
            if os.path.exists(go):
                break
            time.sleep(0.05)
        return super().extract(images)

class Dying(Extractor):
    def extract(self, images):
        marker = os.path.join(os.environ["GANZOO_CACHE"], "died")
        if IS_RANK_1 and not os.path.exists(marker):
            open(marker, "x").close()
            os._exit(3)
        return super().extract(images)

@gz.hookimpl
def extractor(name):
    name = os.environ.get("EXTRACTOR", name)
    made = {"broken": Broken, "dying": Dying, "waiting": Waiting}.get(name, Extractor)()
    if name != "whole":
        made.batch = 32
    if name == "differing":
        made.facts = {"weights": os.getpid()}
    return made

@gz.hookimpl
def metric():
    return sums
"""
COUNT = 1300  # three parts, of which the last is short


@pytest.fixture(scope="module")
def run(make_site, tmp_path_factory):
    """A run of a model with classes, with an extractor and a metric that any bit changes."""
    with install(make_site(), tmp_path_factory.mktemp("cache"), manifest=MANIFEST, code=CODE) as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        settings = {"data.size": 16, "train.batch_size": 8, "train.sample_count": 4, "model.width": 2}
        folder = tmp_path_factory.mktemp("runs") / "run"
        gz.train(
            "cgan-torch", data="dots", preset="none", images=16, out=folder, device="cpu", settings=settings, quiet=True
        )
        yield folder


def make_words(run, *words):
    return ["-m", "ganzoo_core", "evaluate", str(run), "-n", str(COUNT), "--json", "--device", "cpu", *words]


def start_ranks(words, count=2):
    """Start ranks as srun would, without one that ends the others."""
    port = 20_000 + os.getpid() % 9_000
    return [
        subprocess.Popen(
            [sys.executable, *words], env={**make_environment(), **describe_rank("srun", number, count, port)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip


def finish(processes):
    """Exit code, stdout and stderr of each."""
    try:
        return [(*process.communicate(timeout=SECONDS), process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()


def evaluate_alone(run, *words):
    done = subprocess.run(
        [sys.executable, *make_words(run, *words)], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return json.loads(done.stdout)["scores"]


@pytest.mark.parametrize("extractor", ["places", pytest.param("whole", marks=pytest.mark.slow)])
def test_ranks_score_as_one_process_to_the_bit(run, extractor):
    alone = evaluate_alone(run, "--extractor", extractor)
    before = len(scores.read(run))
    done = finish(start_ranks(make_words(run, "--extractor", extractor), count=2))
    assert [code for *_, code in done] == [0, 0], done
    assert json.loads(done[0][0])["scores"] == alone
    assert done[1][:2] == ("", "")
    assert len(scores.read(run)) == before + 1
    assert not (run / layout.RANKS).exists()


@pytest.mark.slow
def test_all_checkpoints_under_torchrun_and_more_ranks_than_parts(run):
    alone = evaluate_alone(run, "--checkpoint", "all")
    done = run_under_torchrun(*make_words(run, "--checkpoint", "all"), processes=4)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"] == alone


@pytest.mark.slow
def test_a_rank_that_fails_is_named_by_rank_0(run):
    (out, said, code), other = finish(start_ranks(make_words(run, "--extractor", "broken")))
    assert (out, code, other[2]) == ("", 1, 3)
    assert "rank 1: broken (dots 1.0): extract raised RuntimeError: it is out of order" in said, said
    assert not (run / layout.RANKS).exists()


@pytest.mark.slow
def test_ranks_that_compute_otherwise_are_refused(run):
    (_, said, code), other = finish(start_ranks(make_words(run, "--extractor", "differing")))
    assert (code, other[2]) == (1, 1)
    assert "the extractor of rank 1" in said
    assert "differs from that of rank 0" in said
    assert other[1] == ""


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_rank_is_told(run, killed):
    processes = start_ranks(make_words(run, "--set", "engine.timeout=4"))
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)  # closes its pipes
            stack.callback(process.kill)
        end = time.monotonic() + SECONDS
        while len(list((run / layout.RANKS).glob("*/alive"))) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        processes[killed].kill()
        said = processes[1 - killed].communicate(timeout=SECONDS)[1]
    assert processes[1 - killed].returncode == 1
    assert f"rank {killed} of 2 " in said
    assert " within 4 seconds" in said or "no sign of life for 4 seconds" in said


def test_what_is_no_run_takes_one_process(run):
    words = ["-m", "ganzoo_core", "evaluate", str(run / "generator"), "--data", "dots"]
    done = finish(start_ranks(words))
    assert [code for *_, code in done] == [2, 2]
    assert "saved generators are scored by one: say it without srun" in done[0][1].replace("\n", " ")
    assert done[1][1] == ""


def make_training_words(run, folder, *settings):
    """To train the run's mix, with a score at its end."""
    words = ["-m", "ganzoo_core", "run", "--config", str(run / layout.CONFIG), "--out", str(folder)]
    scored = [f"train.evaluate_count={COUNT}", "train.evaluate_every=16", *settings]
    return [*words, *(word for each in scored for word in ("--set", each))]


def train_with_scores(run, folder, *settings):
    """Train the run's mix in two ranks, and score it; what rank 0 said."""
    done = finish(start_ranks(make_training_words(run, folder, *settings)))
    assert [code for *_, code in done] == [0, 0], done
    assert done[1][:2] == ("", "")
    return done[0][1]


def read_weights(run):
    return (run / layout.GENERATOR / layout.WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def unscored(run, tmp_path_factory):
    """A run of two ranks without scores."""
    folder = tmp_path_factory.mktemp("runs") / "unscored"
    train_with_scores(run, folder, "train.evaluate_every=off")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("extractor", ["places", "whole", "dying"])
def test_ranks_score_in_training_as_one_process_does_later(run, unscored, tmp_path, monkeypatch, extractor):
    monkeypatch.setenv("EXTRACTOR", extractor)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    said = train_with_scores(run, tmp_path / "run")
    (score,) = scores.read(tmp_path / "run")
    assert [score.scores] == [each["scores"] for each in evaluate_alone(tmp_path / "run")]
    assert read_weights(tmp_path / "run") == read_weights(unscored)
    assert not (tmp_path / "run" / layout.RANKS).exists()
    if extractor == "dying":
        assert (tmp_path / "cache" / "died").exists()
        assert "no score" not in said
        said = " ".join(said.split())
        assert said.count("rank 1: the process that scores the images ended") == 1, said
        assert "it is started again" in said


MIXES = {
    "cgan-torch": {},
    "dcgan-tf": {"train.ema_halflife": 50},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", MIXES)
def test_each_score_is_of_rank_0s_generator_and_training_goes_on_as_without(run, tmp_path, monkeypatch, model):
    """With batch norm, whose statistics are each rank's own; in TensorFlow also of a moving average."""
    monkeypatch.setenv("GANZOO_PLUGINS", f"dots,ganzoo-{model},ganzoo-losses,ganzoo-schedules")
    monkeypatch.setenv("LOOKED", str(tmp_path / "looked"))
    monkeypatch.setenv("EXTRACTOR", "places")
    settings = {
        "data.size": 16, "train.batch_size": 8, "train.sample_count": 4, "model.width": 2, "engine.threads": 1,
        "train.evaluate_count": COUNT, "train.snapshot_every": 16, "use.schedule": "constant", "train.length": 48,
        **MIXES[model],
    }  # fmt: skip
    words = ["-m", "ganzoo_core", "run", model, "--data", "dots", "--preset", "none", "--device", "cpu"]
    words += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    for every, folder in (("off", "plain"), ("16", "scored")):
        done = finish(start_ranks([*words, "--set", f"train.evaluate_every={every}", "--out", str(tmp_path / folder)]))
        assert [code for *_, code in done] == [0, 0], done
        assert done[1][:2] == ("", "")
    looked = (tmp_path / "looked").read_text().split("\n")
    by_rank_1 = [int(line[7:]) for line in looked if line.startswith("rank1: ")]
    assert sum(by_rank_1) == 3 * 512, looked  # the second of three parts, at each score
    monkeypatch.delenv("LOOKED")
    during = {score.images: score.scores for score in scores.read(tmp_path / "scored")}
    assert len(during) == 3, done[0][1]
    later = evaluate_alone(tmp_path / "scored", "--checkpoint", "all")
    assert during == {score["images"]: score["scores"] for score in later}
    assert read_state(tmp_path / "scored") == read_state(tmp_path / "plain")


def read_state(run):
    """The bytes of the last checkpoint's state: all weights, averages, moments and statistics."""
    newest = RunFolder(run).find_newest_checkpoint()
    return (newest / layout.STATE).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_during_a_score_ends_all_ranks_after_it(run, tmp_path, monkeypatch, asked):
    monkeypatch.setenv("EXTRACTOR", "waiting")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    words = make_training_words(run, tmp_path / "run", "train.length=800", "use.schedule=constant")
    processes = start_ranks(words)
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
            stack.callback(process.kill)
        end = time.monotonic() + SECONDS
        while not (tmp_path / "cache" / "go-asked").exists():
            assert time.monotonic() < end
            assert processes[0].poll() is None, processes[0].communicate(timeout=SECONDS)
            time.sleep(0.05)
        processes[asked].send_signal(signal.SIGTERM)
        (tmp_path / "cache" / "go").touch()
        said = [process.communicate(timeout=SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [130, 130], said
    assert said[1] == ""
    assert [score.images for score in scores.read(tmp_path / "run")] == [16]
    assert (tmp_path / "run" / layout.GENERATOR / layout.WEIGHTS).exists()


@pytest.mark.slow
def test_a_rank_that_cannot_look_costs_the_score_and_not_the_run(run, unscored, tmp_path, monkeypatch):
    monkeypatch.setenv("EXTRACTOR", "broken")
    said = " ".join(train_with_scores(run, tmp_path / "run", "train.length=64").split())
    assert said.count("there is no score: rank 1: ") == 3, said
    assert "it is out of order" in said
    assert "training goes on" in said
    assert "scoring failed 3 times in a row" in said
    assert scores.read(tmp_path / "run") == []
    train_with_scores(run, tmp_path / "plain", "train.length=64", "train.evaluate_every=off")
    assert read_weights(tmp_path / "run") == read_weights(tmp_path / "plain")


@pytest.mark.slow
def test_one_part_is_scored_by_rank_0_alone(run, unscored, tmp_path):
    train_with_scores(run, tmp_path / "run", "train.evaluate_count=40")
    (score,) = scores.read(tmp_path / "run")
    assert [score.scores] == [each["scores"] for each in evaluate_alone(tmp_path / "run", "-n", "40")]
    assert read_weights(tmp_path / "run") == read_weights(unscored)


@pytest.mark.parametrize(("seen", "own"), [("2,5", "5"), ("", ""), ("-1", "-1"), ("GPU-a,GPU-b,GPU-c", "GPU-b")])
def test_a_rank_sees_its_own_gpu_alone(monkeypatch, seen, own):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    launch = Launch("torchrun", Rank(1, 2, 1, 2))
    assert make_rank_environment(launch, "auto")["CUDA_VISIBLE_DEVICES"] == own


def test_too_few_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    launch = Launch("torchrun", Rank(1, 2, 1, 2))
    with pytest.raises(UsageError, match="has 1 GPUs; start 1 on it, or say --device cpu"):
        make_rank_environment(launch, "auto")
    assert make_rank_environment(launch, "cpu")["CUDA_VISIBLE_DEVICES"] == "3"
    alone = Launch("srun", Rank(1, 2, 1, 2), shares_gpus=False)  # srun shows each task its own
    assert make_rank_environment(alone, "auto")["CUDA_VISIBLE_DEVICES"] == "3"
