"""Ask again and again to resume a run that is training, and see that it loses nothing by it.

    python tests/refusals.py --seconds 60

The run saves a checkpoint and a snapshot every eight steps. Each `resume` must be refused; afterwards no save has
failed, and every checkpoint and snapshot that should be there is valid.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ganzoo_core import python_api
from ganzoo_core.errors import UsageError
from ganzoo_core.runs import folder
from ganzoo_core.storage import atomic, files

SAVE_EVERY, BATCH, KEPT_CHECKPOINTS = 8, 4, 2
SETTINGS = {
    "model.width": 2, "model.latent_dim": 2, "data.size": 16, "train.batch_size": BATCH, "train.sample_count": 1,
    "train.sample_every": "100000steps", "train.report_every": "1000steps",
    "train.checkpoint_every": f"{SAVE_EVERY}steps", "train.snapshot_every": f"{SAVE_EVERY}steps",
    "train.checkpoint_keep": KEPT_CHECKPOINTS, "engine.threads": 1,
}  # fmt: skip
START_SECONDS = 120  # seconds that the run may take to its first checkpoint


def count_refusals(seconds: float) -> dict[str, int]:
    """The counts of refused resumes, of saves, and of those that failed or are not valid."""
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        words = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "ganzoo_core", "run", "dcgan-torch", *words, "--steps", "10000000"]
        with (Path(place) / "told").open("w+") as told:
            process = subprocess.Popen([*command, "--quiet", "--out", str(run)], stdout=told, stderr=told)
            try:
                refused = resume_repeatedly(run, process, seconds)
                process.send_signal(signal.SIGINT)
                process.wait(START_SECONDS)
            finally:
                process.kill()
                process.wait(timeout=60)
            told.seek(0)
            failed = told.read().count("could not be saved")
        snapshots = files.list_numbered(run / "snapshots")
        wanted = range(SAVE_EVERY * BATCH, max(snapshots) + 1, SAVE_EVERY * BATCH)
        lost = [images for images in wanted if images not in snapshots]
        kept = files.list_numbered(run / "checkpoints")
        broken = [path for path in [*snapshots.values(), *kept.values()] if not atomic.is_valid(path)]
        wrong = len(lost) + len(broken) + abs(len(kept) - KEPT_CHECKPOINTS) + (process.returncode != 130)
        return {"refused": refused, "saves": 2 * len(snapshots), "failed": failed, "lost": wrong}


def resume_repeatedly(run: Path, process: subprocess.Popen[bytes], seconds: float) -> int:
    """Resume for so long; how often that was refused."""
    until = time.monotonic() + START_SECONDS
    while not files.list_numbered(run / "checkpoints"):
        if time.monotonic() > until or process.poll() is not None:
            raise RuntimeError("the run came to no checkpoint")
        time.sleep(0.1)
    folder.LOCK_TIMEOUT = 0.0  # the more often it is refused, the better
    refused, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            python_api.resume(run, quiet=True)
        except UsageError as error:
            if "in use by another process" not in str(error):
                raise
            refused += 1
        else:
            raise RuntimeError("a run that is training was resumed")
    return refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    counts = count_refusals(parser.parse_args().seconds)
    print(json.dumps(counts))
    return 1 if counts["failed"] or counts["lost"] or not counts["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
