"""Several processes that train one run in TensorFlow: equal after every step, and to one process."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganzoo_core import cli
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines.tensorflow.process_group import _wait_for_others

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import tf_ranks_played
from rank_runs import CONSTANT, assert_near, digest, make_settings, read_end, run_ranks, run_under_torchrun
from tf_ranks_played import MODELS, NETWORKS, SMALL, STEPS, WIDTH, play

PLAYED = Path(tf_ranks_played.__file__)
QUICK = ["parts"]
RUN = ["-m", "ganzoo_core", "run", "dcgan-tf", "--batch-size", "16", "--data", "shapes"]


def assert_done(ended: list[tuple[int, str]]) -> None:
    assert [code for code, _ in ended] == [0, 0], ended


def assert_equal_to_one(folder: Path, names: list[str]) -> None:
    """What two processes play, against one process with the same batch."""
    assert_done(run_ranks("TF_CONFIG", PLAYED, folder / "two", ",".join(names)))
    for name in names:
        play(name, folder / "one" / name)
        (ours, lines), (theirs, expected) = read_end(folder / "two" / name), read_end(folder / "one" / name)
        for key in ("loss/last", "loss/before") if name == "own" else ():
            ours[key] = ours[key].reshape(theirs[key].shape)  # the rows of both processes are those of the batch
        assert_near(ours, theirs, name)
        assert len(lines) == len(expected) == STEPS // 3 + 1
        for line, other in zip(lines, expected, strict=True):
            terms = {key: value for key, value in other.items() if "/" in key}
            # Each rank looks at its own share of a batch, which is separated whenever the whole is, and more often.
            assert line["discriminator/separated"] >= terms.pop("discriminator/separated")
            assert {key: line[key] for key in terms} == pytest.approx(terms, rel=1e-4, abs=1e-5)
        assert max(float(np.abs(array).max()) for key, array in theirs.items() if key.startswith("D/")) > 0.01


def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path) -> None:
    assert_equal_to_one(tmp_path, QUICK)


@pytest.mark.slow
def test_two_processes_are_one_with_other_losses_and_a_model(tmp_path: Path) -> None:
    assert_equal_to_one(tmp_path, [*(name for name in NETWORKS if name not in QUICK), "progan-tf"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, "own", "parts"])
def test_killed_and_resumed_is_the_same_to_the_byte(name: str, tmp_path: Path) -> None:
    """Process 1 is killed; the other one says so, and ends; then both go on."""
    assert_done(run_ranks("srun", PLAYED, tmp_path / "straight", name))
    (code, said), (killed, _) = run_ranks("srun", PLAYED, tmp_path / "killed", name, "kill", "6")
    assert killed == -signal.SIGKILL
    assert code == 1
    assert "the 2 processes of the run lost each other: one of them ended" in " ".join(said.split())
    assert not (tmp_path / "killed" / name / "generator").exists()
    assert_done(run_ranks("srun", PLAYED, tmp_path / "killed", name))
    assert digest(tmp_path / "killed" / name) == digest(tmp_path / "straight" / name)


@pytest.mark.slow
def test_torchrun_starts_it_on_one_machine_and_another_number_is_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*CONSTANT, *make_settings({**SMALL, **WIDTH}), "--out", run, "--quiet"]
    done = run_under_torchrun(*RUN, "--steps", "5", *words)
    assert (done.returncode, done.stdout.strip()) == (0, str(run)), done.stderr  # said once
    assert cli.main(["resume", str(run), "--steps", "10", "--quiet"]) == 2
    assert cli.main(["resume", str(run), "--steps", "10", "--quiet", "--allow-inexact"]) == 0
    assert read_end(run)[1][-1]["step"] == 10


@pytest.mark.slow
def test_a_process_that_stands_still_ends_the_others_in_a_sentence(tmp_path: Path) -> None:
    (code, said), _ = run_ranks("TF_CONFIG", PLAYED, tmp_path, "wgan-gp", "stop", "6")
    assert code == 1
    assert "one of them did not answer for 15 seconds" in " ".join(said.split())


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_processes_meet_by_addresses_of_either_kind(host: str) -> None:
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    family, bare = (socket.AF_INET6 if "[" in host else socket.AF_INET), host.strip("[]")
    with socket.create_server((bare, 0), family=family) as other, socket.create_server((bare, 0), family=family) as own:
        ports = [each.getsockname()[1] for each in (own, other)]
        own.close()
        other.close()
        launch = Launch("TF_CONFIG", Rank(0, 2, 0, 2), addresses=tuple(f"{host}:{port}" for port in ports))
        waiting = threading.Thread(target=_wait_for_others, args=(launch, 30.0))
        waiting.start()
        until, met = time.monotonic() + 20, False
        while not met and time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection((bare, ports[0]), timeout=1).close()
                met = True
        with socket.create_server((bare, ports[1]), family=family):
            waiting.join(40)
    assert met
    assert not waiting.is_alive()


@pytest.mark.slow
def test_a_process_that_nobody_joins_ends_in_a_sentence(tmp_path: Path) -> None:
    (code, said), _ = run_ranks("srun", *RUN, "--set", "engine.timeout=5", "--out", tmp_path / "run", missing=1)
    assert code == 1
    assert "could not reach the others at 127.0.0.1:" in " ".join(said.split())


@pytest.mark.slow
def test_a_signal_ends_all_processes_after_the_same_step(tmp_path: Path) -> None:
    run = tmp_path / "wgan-gp"
    assert_done(run_ranks("srun", PLAYED, tmp_path, "wgan-gp", "ask", "2"))
    images = json.loads((run / "generator" / "generator.json").read_text())["images"]
    assert images == 3 * 2 * 16
    assert_done(run_ranks("srun", PLAYED, tmp_path, "wgan-gp"))
    assert read_end(run)[1][-1]["step"] == STEPS


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def stand(**variables: Any) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value if isinstance(value, str) else json.dumps(value))

    return stand


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"RANK": 0, "WORLD_SIZE": 4, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "a", "MASTER_PORT": 1},
            "TensorFlow needs all of them: start it by `srun ganzoo run …`, or set TF_CONFIG",
        ),
        (
            {"TF_CONFIG": {"cluster": {"worker": ["a:1", "b:1", "b:2"]}, "task": {"type": "worker", "index": 0}}},
            "train.batch_size is 64, of all 3 processes together, and cannot be shared evenly",
        ),
    ],
)
def test_what_processes_cannot_do_is_refused_before_they_meet(
    variables: dict[str, Any],
    told: str,
    as_rank: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ganzoo_core.engines.create_engine", None)  # nothing comes so far
    as_rank(**variables)
    assert cli.main(["run", "dcgan-tf", "--batch-size", "64"]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
