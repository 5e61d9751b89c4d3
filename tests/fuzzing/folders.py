"""A run's folder in which links, pipes, sockets and devices lie where files and folders belong."""

from __future__ import annotations

import os
import random
import shutil
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ganzoo_core as gz
from fuzzing.fixtures import write_files
from fuzzing.records import RUN, call_all, compare_runs, find_generator_of_epoch
from ganzoo_core import python_api, report, sweeps
from ganzoo_core.generation import bundling, load
from ganzoo_core.report import notebook
from ganzoo_core.runs import generators, layout, scores
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage import tensors
from ganzoo_core.training import resuming
from ganzoo_trackers import history

# What may lie in a run's folder without being there: names that are nearly ours, and what writers leave.
MORE_ENTRIES = (
    "checkpoints/12", "checkpoints/999", "checkpoints/²", "checkpoints/012", "checkpoints/damaged-12", "snapshots/12",
    "snapshots/²", "snapshots/-3", "samples/12.png", "samples/²", ".lock", ".scores.jsonl.lock", "report.html",
    "report", ".config.yaml.0123abcd.new", "checkpoints/.12.0123abcd.old", "checkpoints/.32.0123abcd.new",
    "generator/more", "trackers", "trackers/tensorboard", "report/measured.json", "compare.html",
)  # fmt: skip
MAY_MAKE_DEVICES = os.name == "posix" and hasattr(os, "geteuid") and os.geteuid() == 0


def make_victim(run: Mapping[str, bytes]) -> dict[str, bytes]:
    """What lies outside: two folders that look like this run's checkpoints, the run once more, and a secret."""
    newest = max((name.split("/")[1] for name in run if name.startswith("checkpoints/")), key=int)
    own = {name.split("/", 2)[2]: content for name, content in run.items() if name.startswith(f"checkpoints/{newest}/")}
    numbered = {f"{number}/{name}": content for number in (12, 13, newest) for name, content in own.items()}
    return {"secret": b"secret\n", "12/more": b"x", **numbered, **{f"run/{name}": value for name, value in run.items()}}


def to_pipe(path: Path, outside: Path, rng: random.Random) -> None:
    os.mkfifo(path)


def to_file_link(path: Path, outside: Path, rng: random.Random) -> None:
    path.symlink_to(rng.choice((outside / "secret", outside / "run" / rng.choice(("stats.jsonl", "config.yaml")))))


def to_same_link(path: Path, outside: Path, rng: random.Random) -> None:
    """To what lies in the same place of another run."""
    path.symlink_to(outside / RUN / "/".join(path.parts[path.parts.index(RUN) + 1 :]))


def to_folder_link(path: Path, outside: Path, rng: random.Random) -> None:
    path.symlink_to(rng.choice((outside, outside / "12", outside / "run")), target_is_directory=True)


def to_dangling_link(path: Path, outside: Path, rng: random.Random) -> None:
    path.symlink_to(outside / "new")


def to_loop(path: Path, outside: Path, rng: random.Random) -> None:
    path.symlink_to(path.name if rng.random() < 0.5 else ".")


def to_socket(path: Path, outside: Path, rng: random.Random) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path has a hundred letters
        try:
            end.bind(path.name)
        finally:
            os.chdir(here)


def to_device(path: Path, outside: Path, rng: random.Random) -> None:
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, rng.choice((3, 5))))  # /dev/null, /dev/zero


def to_folder(path: Path, outside: Path, rng: random.Random) -> None:
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inner").write_bytes(b"x")


def to_file(path: Path, outside: Path, rng: random.Random) -> None:
    path.write_bytes(rng.choice((b"", b"x", b"{}")))


DAMAGES = (
    to_pipe, to_file_link, to_same_link, to_same_link, to_folder_link, to_folder_link, to_dangling_link, to_loop,
    to_socket, to_folder, to_file, *((to_device,) if MAY_MAKE_DEVICES else ()),
)  # fmt: skip


def open_run(run: Path) -> None:
    folder = RunFolder.open(run)
    call_all(folder.find_newest_checkpoint, folder.list_damaged_checkpoints, lambda: folder.lock().release())


def read_lines(run: Path) -> None:
    told = gz.TrackedRun(folder=run, name="run", settings={}, facts={}, images=32, own=run / "trackers" / "tensorboard")
    call_all(
        lambda: python_api.Run(run).stats,
        lambda: history.list_events(told),
        lambda: scores.remove_later_scores(run, 16),
        lambda: scores.append(run, scores.Score(images=1, scores={}, protocol={})),
        lambda: RunFolder(run).truncate_stats(2),
        lambda: RunFolder(run).add_stats({"images": 1}),
        lambda: add_picture(run),
    )


def add_picture(run: Path) -> None:
    """Write a grid; what stands in its way is the system's refusal, which a run tells and goes on from."""
    try:
        RunFolder(run).write_sample_grid(["12.png", "latest.png"], b"x")
    except OSError as error:
        raise gz.UsageError(str(error)) from None


def list_saved(run: Path) -> None:
    call_all(
        *(lambda which=which: generators.find_generator(run, which) for which in ("last", "best", "32")),
        lambda: find_generator_of_epoch(run),
        lambda: generators.list_generators(run, "all"),
        lambda: sweeps.Sweep(run.parent, (), ()).is_over(sweeps.Job(run.name, {})),
        lambda: RunFolder(run).read_generator_images(),
    )


def draw(run: Path) -> None:
    load.load(run, device="cpu").generate(1)


def draw_snapshot(run: Path) -> None:
    load.load(run, checkpoint=16, device="cpu").generate(1)


def ship(run: Path) -> None:
    bundling.write_bundle(generators.find_generator(run), run.parent / "shipped")


def start_from(run: Path) -> None:
    weights = resuming.start_from_weights(run).weights
    assert weights is not None
    name = layout.STATE if (weights / layout.STATE).exists() else layout.WEIGHTS
    tensors.read_all_tensors(weights / name)


def resume_more(run: Path) -> None:
    python_api.resume(run, steps=10, quiet=True)


def restart(run: Path) -> None:
    python_api.resume(run, restart=True, steps=2, quiet=True)


def resume_as_new_run(run: Path) -> None:
    python_api.resume(run, settings={"train.lr": 1e-4}, steps=9, out=run.parent / "branch", quiet=True)


READERS: tuple[tuple[str, Callable[[Path], Any], float], ...] = (
    ("found", list_saved, 1), ("drawn from", draw, 1), ("a snapshot drawn from", draw_snapshot, 0.5),
    ("opened", open_run, 1), ("read", read_lines, 1), ("over", lambda run: python_api.resume(run, quiet=True), 1),
    ("resumed", resume_more, 0.15), ("restarted", restart, 0.05), ("branched from", resume_as_new_run, 0.05),
    ("reported", report.write, 0.4), ("shown", notebook.render_run, 0.3), ("shipped", ship, 0.5),
    ("begun with", start_from, 0.5), ("compared", lambda run: compare_runs(run / "x"), 0.15),
)  # fmt: skip


@dataclass(frozen=True)
class FolderKind:
    """A run's folder with one to three entries replaced, and one thing done with it."""

    name: str
    contents: Mapping[str, bytes]
    read: Callable[[Path], Any]
    share: float = 1.0

    def prepare(self, case: Path, rng: random.Random | None) -> tuple[str, Callable[[], Any]]:
        """See `Kind.prepare`."""
        run, outside = case / RUN, case.parent / "outside"
        write_files(run, self.contents)
        if self.name == "folder compared":
            shutil.copytree(run, case / "run2")
        done = [] if rng is None else [_replace(run, outside, rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        return f"{'; '.join(done)}", lambda: self.read(run)


def _replace(run: Path, outside: Path, rng: random.Random) -> str:
    """Replace an entry, or one that could be there, by something else; returns that in words."""
    entries = [str(path.relative_to(run)) for path in sorted(run.rglob("*"))]
    depth = {1: 0.5, 2: 0.3, 3: 0.2}
    name = rng.choice(MORE_ENTRIES) if rng.random() < 0.2 else _choose_entry(entries, depth, rng)
    path, make = run / name, rng.choice(DAMAGES)
    if any((run / name).parents[level].is_symlink() for level in range(name.count("/"))):
        return f"{name} is left"
    if not path.parent.is_dir():
        if os.path.lexists(path.parent):
            return f"{name} is left"
        path.parent.mkdir(parents=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make(path, outside, rng)
    return f"{name} {make.__name__.replace('_', ' ')}"


def _choose_entry(entries: list[str], depth: Mapping[int, float], rng: random.Random) -> str:
    wanted = rng.choices(list(depth), list(depth.values()))[0]
    fitting = [entry for entry in entries if entry.count("/") + 1 == wanted] or entries
    return rng.choice(fitting)


def list_folders(run: Mapping[str, bytes]) -> list[FolderKind]:
    begun = {name: content for name, content in run.items() if not name.startswith("checkpoints/")}
    return [
        FolderKind(f"folder {name}", begun if read is restart else run, read, share) for name, read, share in READERS
    ]
