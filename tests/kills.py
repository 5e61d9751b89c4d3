"""Kill runs at random moments, resume them, and compare with runs that were left alone, byte by byte.

    python tests/kills.py --kills 300
    python tests/kills.py --only rollback --kills 3

Every mix of `test_resume.MIXES` and of `MORE` gets an equal share. A run is a process group of its own, ended with
SIGKILL after a random part of the time that it takes undisturbed; it is resumed, and killed again, until it comes to
its end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from test_resume import MIXES, SMALL, digest

STEPS = 60
NAN_STEP, MAX_RATE = 23, 3e-4  # the step at which `NanLoss` is no number, and above which rate
TIMEOUT_SECONDS = 900  # seconds after which a run is taken to hang
TENSORBOARD = "trackers/tensorboard"
CLOCK_KEYS = ("run/seconds", "run/images_per_second")


@dataclass(frozen=True)
class Mix:
    """What a run trains, and how.

    Attributes:
        model: its name.
        settings: beside `test_resume.SMALL`.
        picks: objects in the place of installed parts.
        ranks: processes that train it together, placed as torchrun places them.
        from_file: whether the images stay in a file, as those do that are too many for the memory.
        missing: what this machine lacks for it, in words; "" for nothing.
    """

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    picks: Mapping[str, Any] = field(default_factory=dict)
    ranks: int = 1
    from_file: bool = False
    missing: Callable[[], str] = lambda: ""

    @property
    def framework(self) -> str:
        return "tensorflow" if self.model.endswith("-tf") else "torch"


def diverging_schedule(images: int) -> dict[str, float]:
    """Rates at which the run diverges from step 36 on: it goes back three times, the third time after a checkpoint."""
    rate = 1.6 if 36 * SMALL["train.batch_size"] <= images < 44 * SMALL["train.batch_size"] else 0.05
    return {"lr_g": rate, "lr_d": rate}


def lacks_bfloat16() -> str:
    from ganzoo_core.engines import bfloat16

    return bfloat16.describe_missing_features(bfloat16.read_cpu_features())


class NanLoss:
    """A critic whose loss is no number at one of its steps, unless the learning rate was halved since."""

    memory = {"steps": 0.0}  # noqa: RUF012

    def discriminator(self, step: Any) -> dict[str, Any]:
        ops, steps = step.ops, step.memory["steps"]
        step.memory["steps"] = steps + 1
        is_it = ops.relu(1 - ops.square(steps - NAN_STEP)) * float(step.values["lr_d"] > MAX_RATE)
        gap = ops.mean(step.D(step.real)) - ops.mean(step.D(step.fake))
        return {"adversarial": 0.0 * ops.sqrt(0.5 - is_it) - gap}

    def generator(self, step: Any) -> dict[str, Any]:
        return {"adversarial": -step.ops.mean(step.D(step.fake))}


ROLLBACK = {"train.on_divergence": "rollback"}
MORE_MIXES = {
    "wgan-gp with r1 and spectral norm": Mix(
        "dcgan-torch", {"use.loss": "wgan-gp", "use.with": "r1,spectral-norm", "train.critic_steps": 2}
    ),
    "rollback": Mix("dcgan-torch", ROLLBACK, picks={"loss": NanLoss()}),
    "several rollbacks": Mix(
        "dcgan-torch", {**ROLLBACK, "use.loss": "least-squares", "train.optimizer": "sgd", "model.norm": "none"},
        picks={"schedule": diverging_schedule},
    ),
    "tracked": Mix("dcgan-torch", {"use.track": "tensorboard"}),
    "tracked by a process": Mix("dcgan-torch", {"use.track": "wandb", "track.wandb.mode": "offline"}),
    "two ranks": Mix(
        "dcgan-torch", {"model.norm": "layer", "use.with": "r1", "engine.device": "cpu", "engine.timeout": 60}, ranks=2
    ),
    "images from their file": Mix("cgan-torch", {"data.size": 16}, from_file=True),
    "compiled": Mix("dcgan-torch", {"engine.compile": True, "model.norm": "none"}),
    "bfloat16": Mix("dcgan-torch", {"engine.precision": "bfloat16"}, missing=lacks_bfloat16),
    "bfloat16 in TensorFlow": Mix("convgan-tf", {"engine.precision": "bfloat16"}, missing=lacks_bfloat16),
}  # fmt: skip
ALL_MIXES = {name: Mix(*mix) for name, mix in MIXES.items()} | MORE_MIXES


def run_or_resume(place: str, name: str, port: int) -> None:
    """In a process of its own: begin the run, or go on with it.

    Args:
        place: the run's folder; `images` beside it holds the data of a mix that is `from_file`.
        name: of the mix.
        port: at which its ranks meet.
    """
    os.setsid()  # a group, to be killed with all that it starts
    folder, mix = Path(place), ALL_MIXES[name]
    said = os.open(folder.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(said, standard)
    os.environ["GANZOO_CACHE"] = str(folder.parent / "cache")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.parent / "inductor")
    more: dict[str, Any] = {"quiet": True}
    begun = (folder / "config.yaml").exists()
    if begun:
        # Killed before its first checkpoint, it has nothing to go on from.
        more["restart"] = not any((folder / "checkpoints").glob("[0-9]*"))
    else:
        # Killed before there was a run: its folder is cleared, as `--out` asks for a new one.
        for path in folder.glob("*"):
            path.unlink()
    others = []
    for rank in range(mix.ranks if mix.ranks > 1 else 0):
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
        os.environ |= {"WORLD_SIZE": str(mix.ranks), "LOCAL_WORLD_SIZE": str(mix.ranks), "MASTER_ADDR": "127.0.0.1"}
        if rank + 1 < mix.ranks:
            others.append(child := os.fork())
            if child == 0:
                others.clear()
                break
    threading.Thread(target=end_with_parent, daemon=True).start()
    train(folder, mix, begun=begun, more=more)
    if any(os.waitpid(child, 0)[1] for child in others):
        raise RuntimeError("another rank failed")


def end_with_parent() -> None:
    """Kill this group when `kills.py` itself is killed, so that nothing goes on that nobody waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


def train(folder: Path, mix: Mix, *, begun: bool, more: dict[str, Any]) -> None:
    """One rank's part of `go`."""
    from ganzoo_core import python_api
    from ganzoo_core.data import memory as data_memory
    from ganzoo_core.data import prefetch

    settings = {**SMALL, **mix.settings}
    taken = []
    if mix.from_file:
        take = prefetch.Prefetcher.take
        data_memory.measure_free_memory = lambda: 1000  # bytes
        prefetch.Prefetcher.take = lambda *given: taken.append(None) or take(*given)  # type: ignore[method-assign]
        settings["use.data"] = f"npy:{folder.parent / 'images'}"
    if begun:
        python_api.resume(folder, picks=mix.picks, **more)
    else:
        python_api.train(mix.model, settings=settings, steps=STEPS, out=folder, **mix.picks, **more)
        if mix.from_file and len(taken) < STEPS:
            raise RuntimeError("the images were read whole")


def read_all(run: Path) -> dict[str, Any]:
    """`digest`, and what TensorBoard reads of a tracker's files in the place of their bytes, which hold the time.

    What wandb keeps in its own format is left out.
    """
    found: dict[str, Any] = {name: one for name, one in digest(run).items() if not name.startswith("trackers/")}
    if (run / TENSORBOARD).is_dir():
        from tensorboard.backend.event_processing import event_accumulator

        everything = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
        events = event_accumulator.EventAccumulator(str(run / TENSORBOARD), size_guidance=everything).Reload()
        for tag in set(events.Tags()["scalars"]) - set(CLOCK_KEYS):
            found[f"{TENSORBOARD}: {tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["images"]:
            found[f"{TENSORBOARD}: {tag}"] = [(event.step, event.encoded_image_string) for event in events.Images(tag)]
        found[f"{TENSORBOARD}: hparams"] = sorted(events.PluginTagToContent("hparams"))
    return found


def kill_group(process: ForkServerProcess) -> None:
    """End a run with all that it started, and wait for it."""
    with contextlib.suppress(ProcessLookupError):  # it has no group yet
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join(TIMEOUT_SECONDS)


def try_mix(name: str, kills: int, rng: random.Random, place: Path) -> tuple[int, int, int]:
    """How many kills, whole runs, and runs that differ from the one that was left alone."""
    # Children of a server that has imported the framework and done nothing with it yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ALL_MIXES[name].framework, "ganzoo_core.python_api", "test_resume"])
    if ALL_MIXES[name].from_file:
        write_images(place / "images")

    def run(folder: Path, lives: float | None) -> bool:
        """Whether the run came to its end before it was killed."""
        process = context.Process(target=run_or_resume, args=(str(folder), name, find_free_port()))
        process.start()
        try:
            process.join(TIMEOUT_SECONDS if lives is None else lives)
            if process.exitcode is None and lives is not None:
                return False
        finally:
            kill_group(process)
        if process.exitcode != 0:
            said = folder.with_suffix(".said").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{name}: a run in {folder} ended with {process.exitcode}: {said}")
        return True

    run(place / "warm-up", None)
    began = time.perf_counter()
    run(place / "straight", None)
    lasts = time.perf_counter() - began
    trains = lasts - read_training_seconds(place / "straight")
    wanted = read_all(place / "straight")
    done = runs = different = 0
    while done < kills:
        folder = place / f"run-{runs}"
        # Half of the kills are kept for the training: what comes before may take most of the time.
        while not run(folder, rng.uniform(rng.choice((0, trains)), lasts) if done < kills else None):
            done += 1
        runs += 1
        found = read_all(folder)
        if found != wanted:
            different += 1
            names = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            print(f"{name}: {folder} differs in {names}", file=sys.stderr)
    return done, runs, different


def read_training_seconds(run: Path) -> float:
    """From the first report, before which the step may be compiled, to the last."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return float(lines[-1]["seconds"] - lines[0]["seconds"])


def write_images(folder: Path) -> None:
    """Images and labels for `npy:FOLDER`."""
    import numpy as np

    rng = np.random.default_rng(0)
    folder.mkdir()
    np.save(folder / "images.npy", rng.integers(0, 256, (500, 16, 16, 1), dtype=np.uint8))
    np.save(folder / "labels.npy", np.arange(500) % 3)


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="mixes whose name holds this")
    parser.add_argument("--more", action="store_true", help="the mixes of MORE alone")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    names = [name for name in (MORE_MIXES if args.more else ALL_MIXES) if args.only in name]
    if not names:
        parser.error(f"no mix has {args.only!r} in its name; there are {', '.join(ALL_MIXES)}")
    missing = {name: why for name in names if (why := ALL_MIXES[name].missing())}
    for name, why in missing.items():
        print(f"{name}: skipped, {why}", flush=True)
    names = [name for name in names if name not in missing]
    total = {"kills": 0, "runs": 0, "different": 0}
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            found = try_mix(name, -(-args.kills // len(names)), rng, Path(place))
        print(f"{name}: {found[0]} kills, {found[1]} runs, {found[2]} different", flush=True)
        total = {key: total[key] + value for key, value in zip(total, found, strict=True)}
    print(json.dumps({"mixes": len(names), "skipped": len(missing), **total}))
    return 1 if total["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
