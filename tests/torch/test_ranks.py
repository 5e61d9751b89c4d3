"""Several processes that train one run: equal to each other after every step, and to one process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

import ganzoo_core as gz
from ganzoo_core import cli
from ganzoo_core.distributed import ranks
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines.torch.ops import BatchShare, TorchOps
from ganzoo_core.runs import layout
from ganzoo_core.settings import read_run_config

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from rank_runs import (
    CONSTANT,
    assert_near,
    digest,
    make_environment,
    make_settings,
    make_torchrun_command,
    read_end,
    run_under_torchrun,
)
from ranks_played import MIXES, NORMALISED, SMALL, STEPS, SharedAndOwn, play

QUICK = ["wgan-gp", "own", "parts"]
RUN = ["-m", "ganzoo_core", "run", "dcgan-torch", "--batch-size", "12"]


def settings(**changed: object) -> list[str]:
    """SMALL, and what differs, as words of a command."""
    return make_settings(SMALL, **changed)


def equal_to_one(folder: Path, names: list[str]) -> None:
    """What two processes played, against one process with the same batch."""
    done = run_under_torchrun(Path(__file__).parent / "ranks_played.py", folder / "two", ",".join(names))
    assert done.returncode == 0, done.stderr
    for name in names:
        play(name, folder / "one" / name)
        (ours, lines), (theirs, expected) = read_end(folder / "two" / name), read_end(folder / "one" / name)
        for key in ("loss/last", "loss/before") if name == "own" else ():
            assert (ours[key].shape[:2], theirs[key].shape[:2]) == ((2, 6), (1, 12))
            ours[key] = ours[key].reshape(theirs[key].shape)  # the rows of both processes are those of the batch
        assert_near(ours, theirs, name)
        assert len(lines) == len(expected) == STEPS // 3 + 1
        for line, other in zip(lines, expected, strict=True):
            terms = {key: value for key, value in other.items() if "/" in key}
            # Each rank looks at its own share of a batch, which is separated whenever the whole is, and more often.
            assert line["discriminator/separated"] >= terms.pop("discriminator/separated")
            assert {key: line[key] for key in terms} == pytest.approx(terms, rel=1e-4, abs=1e-5)
        moved = max(float(np.abs(array).max()) for key, array in theirs.items() if key.startswith("D/"))
        assert moved > 0.01


@pytest.mark.filterwarnings("default")
def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path) -> None:
    equal_to_one(tmp_path, QUICK)
    assert len(list((tmp_path / "two" / "objects" / "samples").iterdir())) >= 3  # networks that differed at first
    assert digest(tmp_path / "two" / "resumed") == digest(tmp_path / "two" / "own")
    with pytest.raises(gz.UsageError, match=r"keeps last, before in each process by itself.*of 2 processes, not of 1"):
        gz.resume(tmp_path / "two" / "own", steps=9, allow_inexact=True, picks={"loss": SharedAndOwn()}, quiet=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_processes_are_one_with_other_losses(tmp_path: Path) -> None:
    equal_to_one(tmp_path, [name for name in MIXES if name not in QUICK])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_processes_stay_equal_where_one_would_be_another(tmp_path: Path) -> None:
    """With batch norm in G each has statistics of its own rows; weights are equal after every step all the same."""
    done = run_under_torchrun(Path(__file__).parent / "ranks_played.py", tmp_path / "two", ",".join(NORMALISED))
    assert done.returncode == 0, done.stderr
    for name in NORMALISED:
        state, lines = read_end(tmp_path / "two" / name)
        assert any(key.endswith("0._u") for key in state)
        assert all(np.isfinite(array).all() for array in state.values())
        assert len(lines) == STEPS // 3 + 1


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def stand(rank: int, count: int) -> None:
        where = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
        where |= {"MASTER_ADDR": "localhost", "MASTER_PORT": 29500}
        for name, value in where.items():
            monkeypatch.setenv(name, str(value))

    return stand


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "dcgan-torch", "--batch-size", "64"], "--batch-size 63 or 66"),
        (["run", "dcgan-torch", "--batch-size", "2"], "--batch-size 3"),
        (
            ["run", "dcgan-torch", "--batch-size", "64", "--set", "accumulate=4"],
            "train.batch_size is 64, of all 3 processes together, of which each computes 4 parts (train.accumulate), "
            "and cannot be shared evenly; say --batch-size 60 or 72",
        ),
        (["run", "dcgan-tf", "--batch-size", "64"], "--batch-size 63 or 66"),
        (["list"], "torchrun started 3 processes, and this takes one"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_before_they_meet(
    words: list[str],
    told: str,
    as_rank: Callable[[int, int], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ganzoo_core.engines.create_engine", None)  # nothing comes so far
    for rank, expected in ((0, told), (1, "")):
        as_rank(rank, 3)
        assert cli.main(words) == 2
        found = capsys.readouterr()
        assert (found.out, expected in found.err) == ("", True)
        assert bool(found.err) is (rank == 0)


def test_a_dry_run_is_shown_once(as_rank: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]) -> None:
    as_rank(1, 2)
    assert cli.main(["run", "dcgan-torch", "--dry-run"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_random_numbers_are_slices_of_those_of_one_process(draw: str) -> None:
    torch.manual_seed(5)
    one = TorchOps("cpu")
    whole, single = getattr(one, draw)((6, 2, 3)), getattr(one, draw)((5,))
    for rank in range(3):
        rows = slice(2 * rank, 2 * rank + 2)
        share = BatchShare(6, rows, torch.Generator().manual_seed(5))
        own = TorchOps("cpu", share=share)
        torch.manual_seed(rank)  # dropout's, which does not count here
        assert torch.equal(getattr(own, draw)((2, 2, 3)), whole[rows])
        assert torch.equal(getattr(own, draw)((5,)), single)  # no row a sample: the same in all


@pytest.fixture
def group() -> Iterator[Any]:
    """A group of one, in this process."""
    from ganzoo_core.engines.torch import process_group

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        launch = Launch("torchrun", meeting_point=f"127.0.0.1:{free.getsockname()[1]}")
    yield process_group.TorchProcessGroup(launch, device=torch.device("cpu"), timeout=5.0)
    dist.destroy_process_group()
    process_group._joined.clear()


def test_what_processes_say_to_each_other(group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One all-reduce, played as if a second process had twice as much: tensors keep how they lie in memory."""
    tensors = [torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last), torch.tensor(3.0)]
    before = [tensor.clone(memory_format=torch.preserve_format) for tensor in tensors]
    stopping = []

    def summed(flat: torch.Tensor, group: Any) -> None:
        assert flat.numel() == 24 + 1 + 1
        flat.mul_(3)
        stopping.append(float(flat[-1]))

    with monkeypatch.context() as patch:
        patch.setattr(dist, "all_reduce", summed)
        patch.setattr(type(group), "rank", Rank(0, 2, 0, 2), raising=False)
        group.rank = Rank(0, 2, 0, 2)
        stopped = group.make_stop_check(lambda: len(stopping) == 1)
        group.all_reduce_mean(tensors)
        for found, was in zip(tensors, before, strict=True):
            assert torch.equal(found, was * 1.5)
            assert found.stride() == was.stride()
        assert not stopped()
        group.all_reduce_mean(tensors)
        assert stopped()
        assert stopping == [0, 3]
        group.rank = Rank()
    assert group.select_rows(6) == slice(0, 6)
    assert (group.broadcast_text(""), group.broadcast_text("ÿ/x"), group.broadcast_int(-3)) == ("", "ÿ/x", -3)
    assert group.on_rank_zero(lambda: 7, long=True) == 7
    with pytest.raises(OSError, match="full"):
        group.on_rank_zero(lambda: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(ranks.RankError, match="not seen"):
        group.check_on_all_ranks(False, "not seen")
    assert group.all_reduce_sum([1.5, 2]) == [1.5, 2]


def test_processes_that_differ_say_where(group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process, of which one number is another."""
    monkeypatch.setattr(group, "all_gather", lambda numbers: [numbers, [*numbers[:-1], numbers[-1] + 1]])
    with pytest.raises(ranks.RankError, match="D/weight of rank 1 differs from that of rank 0"):
        group.check_same_tensors({"G/weight": np.zeros(3), "D/weight": np.ones(2)})
    with pytest.raises(gz.UsageError, match="data of rank 1 is not that of rank 0, 7"):
        group.check_same_facts({"numpy": "2", "data": 7})


def test_who_tells_an_error() -> None:
    usual, lost = gz.UsageError("wrong"), ranks.RankError("alone")
    assert ranks.describe_error(usual, Rank(0, 4, 0, 2)) == "wrong"
    assert ranks.describe_error(usual, Rank(1, 4, 1, 2)) is None
    assert ranks.describe_error(usual, Rank(2, 4, 0, 2)) == "rank 2: wrong"  # another machine's first
    assert ranks.describe_error(ranks.mark_shared(gz.Diverged("nan")), Rank(2, 4, 0, 2)) is None
    assert ranks.describe_error(lost, Rank(3, 4, 1, 2)) == "rank 3: alone"


class Watched:
    """A run under torchrun that something is done to while it trains."""

    def __init__(self, out: Path, *words: str) -> None:
        self.out, self.errors = out, out.with_suffix(".err")
        with self.errors.open("w") as told:
            self.process = subprocess.Popen(
                make_torchrun_command(*RUN, *words, "--out", out), env=make_environment(), stdout=told, stderr=told
            )

    def kill(self) -> None:
        """End torchrun and its ranks, which are in sessions of their own."""
        self.process.kill()
        self.process.wait(timeout=60)
        for rank in (0, 1):
            with contextlib.suppress(AssertionError):
                self.signal(rank, signal.SIGKILL)

    def at(self, images: int) -> None:
        """Wait until the checkpoint at so many images is there, or a later one."""
        until = time.monotonic() + 120
        while not any(int(path.name) >= images for path in (self.out / "checkpoints").glob("[0-9]*")):
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < until, self.told()
            time.sleep(0.05)

    def signal(self, rank: int, number: int) -> None:
        for place in Path("/proc").glob("[0-9]*"):
            try:
                found = (place / "environ").read_bytes().split(b"\0")
                words = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if f"RANK={rank}".encode() in found and str(self.out).encode() in words:
                os.kill(int(place.name), number)
                return
        raise AssertionError(f"rank {rank} is not there")

    def ends(self) -> int:
        """Wait; returns torchrun's exit code."""
        return self.process.wait(timeout=120)

    def told(self) -> str:
        return self.errors.read_text()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Start a run in the folder `run`; nothing of it outlives the test."""
    runs: list[Watched] = []

    def start(*words: str) -> Watched:
        runs.append(Watched(tmp_path / "run", *words))
        return runs[-1]

    yield start
    for run in runs:
        run.kill()


LONG = ["--steps", "120", *settings(train__report_every="20steps", train__checkpoint_every="25steps")]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is left of a run of two processes that nothing happened to."""
    out = tmp_path_factory.mktemp("ranks") / "straight"
    done = run_under_torchrun(*RUN, *LONG, "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)  # said once
    return digest(out)


on_linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds a rank's process in /proc")


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_and_resumed_is_the_same_to_the_byte(
    rank: int, watched: Callable[..., Watched], straight: dict[str, str]
) -> None:
    run = watched(*LONG)
    run.at(50 * 12)
    run.signal(rank, signal.SIGKILL)
    assert run.ends() != 0
    assert not (run.out / "generator").exists()
    done = run_under_torchrun("-m", "ganzoo_core", "resume", run.out, "--quiet")
    assert done.returncode == 0, done.stderr
    assert digest(run.out) == straight


@pytest.mark.slow
@on_linux
def test_a_stuck_process_ends_in_a_sentence(watched: Callable[..., Watched]) -> None:
    run = watched(*LONG, "--steps", "20000", "--set", "engine.timeout=4")
    run.at(25 * 12)
    run.signal(1, signal.SIGSTOP)
    assert run.ends() != 0
    assert "ganzoo run: the 2 processes of the run lost each other: one of them did not answer for 4 s" in run.told()


@pytest.mark.slow
@on_linux
def test_a_signal_ends_all_processes_after_the_same_step(watched: Callable[..., Watched]) -> None:
    run = watched(*LONG, *CONSTANT, "--steps", "20000")
    run.at(25 * 12)
    run.signal(1, signal.SIGTERM)
    run.ends()
    images = json.loads((run.out / "generator" / "generator.json").read_text())["images"]
    assert (run.out / "checkpoints" / str(images)).is_dir()
    assert "interrupted, saved" in run.told()
    done = run_under_torchrun("-m", "ganzoo_core", "resume", run.out, "--steps", str(images // 12 + 5), "--quiet")
    assert done.returncode == 0, done.stderr
    assert read_end(run.out)[1][-1]["images"] == images + 5 * 12


@pytest.mark.slow
def test_another_number_of_processes_is_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["dcgan-torch", "--batch-size", "12", "--steps", "5", *CONSTANT, *settings()]
    assert cli.main(["run", *words, "--out", str(run), "--quiet"]) == 0
    refused = run_under_torchrun("-m", "ganzoo_core", "resume", run, "--steps", "10")
    assert refused.stderr.count("ranks was 1 and is 2. Say --allow-inexact") == 1
    taken = run_under_torchrun("-m", "ganzoo_core", "resume", run, "--steps", "10", "--allow-inexact", "--quiet")
    assert taken.returncode == 0, taken.stderr
    assert read_end(run)[1][-1]["step"] == 10


@pytest.mark.slow
def test_a_run_that_diverges_goes_back_in_all_processes(tmp_path: Path) -> None:
    wild = settings(train__lr="1e30", train__on_divergence="rollback", train__optimizer="sgd")
    done = run_under_torchrun(*RUN, *wild, "--steps", "60", "--out", tmp_path / "run")
    assert done.stderr.count("ganzoo run: the run diverged") == 1, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_all_ranks_take_the_number_of_images_that_rank_0_found(tmp_path: Path) -> None:
    words = [*RUN, *settings(), "--schedule", "cosine"]
    timed, said = tmp_path / "timed", tmp_path / "said"
    done = run_under_torchrun(*words, "--minutes", "0.005", "--out", timed)
    assert done.returncode == 0, done.stderr
    images = int(read_run_config(timed / layout.CONFIG)["train.length"])
    assert f"are {images:,} images" in done.stderr
    done = run_under_torchrun(*words, "--images", str(images), "--out", said)
    assert done.returncode == 0, done.stderr
    (ours, lines), (theirs, expected) = read_end(timed), read_end(said)
    assert ours.keys() == theirs.keys()
    for key in theirs:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
    assert [line["images"] for line in lines] == [line["images"] for line in expected]
