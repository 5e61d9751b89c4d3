"""Kill runs at random moments, resume them, and compare with runs that were left alone, byte by byte.

    python tests/kills.py --kills 300

Every mix of `test_resume.MIXES`, and of MORE below, gets an equal share. A run is a process of its own, or two where
two ranks train it, ended with SIGKILL after a random part of the time that it takes undisturbed; it is resumed, and
killed again, until it comes to its end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from test_resume import MIXES, SMALL, digest

STEPS = 60
LONGEST = 900  # seconds that an undisturbed run may take on a busy machine
BLOWS, RATE = 23, 3e-4  # the step at which `Fuse` is no number, and above which rate


@dataclass(frozen=True)
class Mix:
    """What is trained.

    Attributes:
        model, settings: as for `session.train`.
        ranks: processes that train it together.
        from_file: the images stay in a file, as a set larger than the memory does.
        diverges: its loss is `Fuse`.
    """

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    ranks: int = 1
    from_file: bool = False
    diverges: bool = False

    @property
    def framework(self) -> str:
        return "tensorflow" if self.model.endswith("-tf") else "torch"


MORE = {
    "wgan-gp with r1 and spectral norm": Mix("dcgan-torch", {"use.loss": "wgan-gp", "use.with": "spectral-norm,r1"}),
    "rollback": Mix("dcgan-torch", {"train.on_divergence": "rollback"}, diverges=True),
    "tracked": Mix("dcgan-torch", {"use.track": "tensorboard"}),
    "two ranks": Mix("dcgan-torch", {"model.norm": "layer", "use.with": "r1"}, ranks=2),
    "images from their file": Mix("dcgan-torch", {"data.size": 16}, from_file=True),
    "compiled": Mix("dcgan-torch", {"engine.compile": True, "model.norm": "none"}),
    "bfloat16": Mix("dcgan-torch", {"engine.precision": "bfloat16"}),
    "bfloat16 in TensorFlow": Mix("convgan-tf", {"engine.precision": "bfloat16"}),
}
ALL = {**{name: Mix(model, settings) for name, (model, settings) in MIXES.items()}, **MORE}


class Fuse:
    """A critic whose loss is no number at one of its steps, unless the learning rate was halved since."""

    memory = {"steps": 0.0}  # noqa: RUF012

    def discriminator(self, step: Any) -> dict[str, Any]:
        ops, steps = step.ops, step.memory["steps"]
        step.memory["steps"] = steps + 1
        is_it = ops.relu(1 - ops.square(steps - BLOWS)) * float(step.values["lr_d"] > RATE)
        gap = ops.mean(step.D(step.real)) - ops.mean(step.D(step.fake))
        return {"adversarial": 0.0 * ops.sqrt(0.5 - is_it) - gap}

    def generator(self, step: Any) -> dict[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}


def go(place: str, name: str) -> None:
    """In a process of its own: begin the run, or go on with it."""
    from ganzoo_core import ondemand, session

    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  (the notes of hundreds of runs)
    mix, run = ALL[name], Path(place)
    picks: dict[str, Any] = {"loss": Fuse()} if mix.diverges else {}
    if mix.from_file:
        ondemand.free_memory = lambda: 1000
    if (run / "config.yaml").exists():
        # Killed before its first checkpoint, it has nothing to go on from.
        session.resume(run, picks=picks, restart=not any(run.glob("checkpoints/[0-9]*")), quiet=True)
        return
    # Killed before there was a run: its folder is cleared, as `--out` asks for a new one.
    for path in run.glob("*"):
        path.unlink()
    data = f"npy:{run.parent / 'images.npy'}" if mix.from_file else None
    session.train(mix.model, data=data, settings={**SMALL, **mix.settings}, steps=STEPS, out=run, quiet=True, **picks)


def launch(run: Path, mix: Mix) -> list[str]:
    """The command with which several ranks begin a run, or go on with it."""
    started = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(mix.ranks), "-m", "ganzoo_core"]
    if (run / "config.yaml").exists():
        restart = [] if any(run.glob("checkpoints/[0-9]*")) else ["--restart"]
        return [*started, "resume", str(run), *restart, "--quiet"]
    for path in run.glob("*"):
        path.unlink()
    chosen = {**SMALL, **mix.settings, "engine.timeout": 60, "engine.device": "cpu"}
    words = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
    return [*started, "run", mix.model, *words, "--steps", str(STEPS), "--quiet", "--out", str(run)]


def lets_live(mix: Mix, name: str) -> Callable[[Path, float | None], bool]:
    """Gives what starts a run and kills it after so many seconds: whether it came to its end before."""

    def several(run: Path, lives: float | None) -> bool:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            launch(run, mix), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        try:
            code: int | None = process.wait(LONGEST if lives is None else lives)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            kill_group(process.pid)
            process.wait()
        return ended(code, run, hung=lives is None)

    # Children of a server that has imported the framework and done nothing with it yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([mix.framework, "ganzoo_core.session", "test_resume"])

    def one(run: Path, lives: float | None) -> bool:
        process = context.Process(target=go, args=(str(run), name))
        process.start()
        process.join(LONGEST if lives is None else lives)
        code = process.exitcode
        if code is None:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        return ended(code, run, hung=lives is None)

    def ended(code: int | None, run: Path, *, hung: bool) -> bool:
        if code is None and hung:
            raise RuntimeError(f"{name}: a run in {run} took over {LONGEST} seconds")
        if code not in (None, 0):
            raise RuntimeError(f"{name}: a run in {run} ended with {code}")
        return code == 0

    return several if mix.ranks > 1 else one


def kill_group(leader: int) -> None:
    """End a process and all that it started, torchrun's workers in sessions of their own among them."""
    for found in subprocess.run(
        ["pgrep", "-g", str(leader)], capture_output=True, text=True, check=False
    ).stdout.split():
        children = subprocess.run(["pgrep", "-P", found], capture_output=True, text=True, check=False).stdout.split()
        for process in (*children, found):
            try:
                os.kill(int(process), signal.SIGKILL)
            except ProcessLookupError:
                continue


def compared(run: Path) -> dict[str, str]:
    """What is compared; a tracker's own files hold the hour and the process."""
    return {name: found for name, found in digest(run).items() if not name.startswith("trackers/")}


def try_mix(name: str, kills: int, rng: random.Random, place: Path) -> tuple[int, int, int]:
    """How many kills, whole runs, and runs that differ from the one that was left alone."""
    run = lets_live(ALL[name], name)
    np.save(place / "images.npy", np.random.default_rng(1).integers(0, 256, (200, 14, 14, 1), dtype=np.uint8))
    run(place / "warm-up", None)
    began = time.perf_counter()
    run(place / "straight", None)
    lasts = time.perf_counter() - began
    wanted = compared(place / "straight")
    done = runs = different = 0
    while done < kills:
        folder = place / f"run-{runs}"
        while not run(folder, rng.uniform(0, lasts) if done < kills else None):
            done += 1
        runs += 1
        found = compared(folder)
        if found != wanted:
            different += 1
            names = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            print(f"{name}: {folder} differs in {names}", file=sys.stderr)
    return done, runs, different


def is_possible(name: str) -> bool:
    """Whether this machine can train a mix; where it cannot, that is said."""
    from ganzoo_core.engines import bfloat16

    missing = bfloat16.lacks(bfloat16.listed()) if "bfloat16" in name else ""
    if missing:
        print(f"{name}: left out, since {missing}", flush=True)
    return not missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="mixes whose name holds this")
    parser.add_argument("--more", action="store_true", help="the mixes of MORE alone")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    names = [name for name in (MORE if args.more else ALL) if args.only in name and is_possible(name)]
    total = {"kills": 0, "runs": 0, "different": 0}
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            found = try_mix(name, -(-args.kills // len(names)), rng, Path(place))
        print(f"{name}: {found[0]} kills, {found[1]} runs, {found[2]} different", flush=True)
        total = {key: total[key] + value for key, value in zip(total, found, strict=True)}
    print(json.dumps({"mixes": len(names), **total}))
    return 1 if total["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
