"""Kill runs at random moments, resume them, and compare with runs that were left alone, byte by byte.

    python tests/kills.py --kills 300

Every mix of `test_resume.MIXES` gets an equal share. A run is a process of its own, ended with SIGKILL after a random
part of the time that it takes undisturbed; it is resumed, and killed again, until it comes to its end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from test_resume import MIXES, SMALL, digest

STEPS = 60


def go(place: str, name: str) -> None:
    """In a process of its own: begin the run, or go on with it."""
    from ganzoo_core import session

    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  (the notes of hundreds of runs)
    model, settings = MIXES[name]
    if (Path(place) / "config.yaml").exists():
        # Killed before its first checkpoint, it has nothing to go on from.
        session.resume(place, restart=not any(Path(place, "checkpoints").glob("[0-9]*")), quiet=True)
    else:
        # Killed before there was a run: its folder is cleared, as `--out` asks for a new one.
        for path in Path(place).glob("*"):
            path.unlink()
        session.train(model, settings={**SMALL, **settings}, steps=STEPS, out=place, quiet=True)


def try_mix(name: str, kills: int, rng: random.Random, place: Path) -> tuple[int, int, int]:
    """How many kills, whole runs, and runs that differ from the one that was left alone."""
    framework = "tensorflow" if MIXES[name][0].endswith("-tf") else "torch"
    # Children of a server that has imported the framework and done nothing with it yet.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([framework, "ganzoo_core.session", "test_resume"])

    def run(folder: Path, lives: float | None) -> bool:
        """Whether the run came to its end before it was killed."""
        process = context.Process(target=go, args=(str(folder), name))
        process.start()
        process.join(lives)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            return False
        if process.exitcode != 0:
            raise RuntimeError(f"{name}: a run in {folder} ended with {process.exitcode}")
        return True

    run(place / "warm-up", None)
    began = time.perf_counter()
    run(place / "straight", None)
    lasts = time.perf_counter() - began
    wanted = digest(place / "straight")
    done = runs = different = 0
    while done < kills:
        folder = place / f"run-{runs}"
        while not run(folder, rng.uniform(0, lasts) if done < kills else None):
            done += 1
        runs += 1
        found = digest(folder)
        if found != wanted:
            different += 1
            names = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            print(f"{name}: {folder} differs in {names}", file=sys.stderr)
    return done, runs, different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="mixes whose name holds this")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    names = [name for name in MIXES if args.only in name]
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
