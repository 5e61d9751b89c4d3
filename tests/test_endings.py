"""How a command ends: what a plugin may not end, signals, closed and full outputs, numbers that are not finite."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import interrupts, mix, python_api
from ganzoo_core.discovery import catalog
from ganzoo_core.generation import load
from ganzoo_core.runs import folder, layout
from ganzoo_core.storage import atomic, files
from ganzoo_core.storage.tensors import is_finite, pack_tensors, read_all_tensors
from ganzoo_core.training import run as running

SMALL = {
    "model.width": 2, "model.latent_dim": 2, "data.size": 16, "train.batch_size": 4, "train.sample_count": 1,
    "engine.threads": 1,
}  # fmt: skip
WORDS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
WAIT = 240  # seconds that a process may take on a busy machine
CLOSED = ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-")
DRAWING = "generate run -n 2 --out drawn.png"

EXITING = """
import sys
import ganzoo_core as gz

class Ends(BaseException):
    pass

KINDS = {"exit": SystemExit(0), "generator": GeneratorExit(), "own": Ends("of its own"), "plain": ValueError("bad")}

class Loss:
    def __init__(self, kind):
        self.kind, self.steps = kind, 0

    def discriminator(self, step):
        self.steps += 1
        if self.steps == 3:
            raise KINDS[self.kind]
        return {"adversarial": step.ops.mean(step.D(step.fake)) - step.ops.mean(step.D(step.real))}

    def generator(self, step):
        return {"adversarial": -step.ops.mean(step.D(step.fake))}

@gz.hookimpl
def loss(options):
    if options["when"] == "hook":
        raise KINDS[options["kind"]]
    return Loss(options["kind"])
"""
MANIFEST = """api = 1
[losses.exits]
title = "Ends the program"
hooks = "exits.hooks"
[losses.exits.defaults]
loss.kind = "exit"
loss.when = "step"
[trackers.exits]
title = "Ends the program"
hooks = "exits.watching"
"""
WATCHING = """
import sys
import ganzoo_core as gz

@gz.hookimpl
def on_report(name):
    raise GeneratorExit
"""


@pytest.fixture
def exits(site: Any) -> Any:
    site.add("exits", MANIFEST, files={"__init__.py": "", "hooks.py": EXITING, "watching.py": WATCHING})
    return site


@pytest.mark.parametrize("kind", ["exit", "generator", "own", "plain"])
@pytest.mark.parametrize("when", ["step", "hook"])
def test_whatever_a_plugin_raises_is_its_failure(exits: Any, kind: str, when: str) -> None:
    chosen = ["--set", f"loss.kind={kind}", "--set", f"loss.when={when}"]
    words = ("run", "dcgan-torch", "--loss", "exits", *WORDS, *chosen, "--steps", "9", "--quiet", "--out", "run")
    told = " ".join(exits.run_here(*words, code=3).stderr.split())
    assert "exits (exits 1.0): " in told
    assert ("while training it raised" if when == "step" else "loss raised") in told


@pytest.mark.parametrize(
    ("body", "owned"),
    [
        ("from ganzoo_core.randomness import philox\n\ndef act():\n    philox(None, 3)\n", False),
        ("import json\n\ndef act():\n    json.loads(3)\n", True),
    ],
    ids=["the core's own", "a library's"],
)
def test_an_error_is_a_plugins_unless_the_core_raised_it(tmp_path: Path, body: str, owned: bool) -> None:
    """What counts as the core is all of ganzoo_core, also a file far from the one that decides it."""
    resolved = mix.resolve(catalog.scan(), mix.Request(picks={"model": "dcgan-torch"}))
    loss = replace(resolved.parts["loss"], location=str(tmp_path))
    path = tmp_path / "hooks.py"
    path.write_text(body)
    space: dict[str, Any] = {}
    exec(compile(body, str(path), "exec"), space)
    try:
        space["act"]()
    except Exception as error:
        raised = error
    with pytest.raises(gz.PluginError if owned else type(raised)) as caught:
        running._raise_attributed(raised, replace(resolved, parts={"loss": loss}, modifiers=()))
    assert (caught.value is raised) is not owned


def test_a_tracker_that_ends_the_program_is_told_once_and_the_run_goes_on(exits: Any) -> None:
    reports = ["--set", "report_every=1steps"]
    done = exits.run(
        "run", "dcgan-torch", "--track", "exits", *WORDS, *reports, "--steps", "3", "--quiet", "--out", "run"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("on_report raised GeneratorExit") == 1
    assert folder.RunFolder(exits.path / "run").is_finished()


def start(*words: str | Path, cwd: Path, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganzoo_core", *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + WAIT
    while not is_so():
        assert process is None or process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


LONG = [*WORDS, "--set", "checkpoint_every=5steps", "--steps", "10000000", "--quiet", "--out", "run"]


def saved(place: Path) -> bool:
    return bool(files.list_numbered(place / "run" / "checkpoints"))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signal")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_lost_terminal_saves_unless_it_was_to_be_ignored(tmp_path: Path, ignored: bool) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start("run", "dcgan-torch", *LONG, cwd=tmp_path, preexec_fn=ignore if ignored else None)
    try:
        wait_until(lambda: saved(tmp_path), process)
        process.send_signal(signal.SIGHUP)
        if ignored:
            before = max(files.list_numbered(tmp_path / "run" / "checkpoints"))
            wait_until(lambda: max(files.list_numbered(tmp_path / "run" / "checkpoints")) > before, process)
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert atomic.is_valid(tmp_path / "run" / "generator")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signal")
def test_a_run_whose_terminal_is_gone_still_saves(tmp_path: Path) -> None:
    """What it says has no reader any more, as when `tee` or a connection ended."""
    words = [word for word in LONG if word != "--quiet"]
    process = start("run", "dcgan-torch", *words, "--set", "report_every=5steps", cwd=tmp_path)
    try:
        wait_until(lambda: saved(tmp_path), process)
        assert process.stderr is not None
        process.stderr.close()
        wait_until(lambda: max(files.list_numbered(tmp_path / "run" / "checkpoints")) > 800, process)
        process.send_signal(signal.SIGHUP)
        process.wait(WAIT)
    finally:
        process.kill()
        process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode == 130
    assert atomic.is_valid(tmp_path / "run" / "generator")


def test_a_killed_sweep_leaves_no_orphan(tmp_path: Path) -> None:
    words = [*WORDS, "--set", "checkpoint_every=5steps", "--steps", "10000000", "--over", "seed=1", "--out", "sweep"]
    sweep = start("sweep", "dcgan-torch", *words, cwd=tmp_path)
    run = folder.RunFolder(tmp_path / "sweep" / "seed-1")
    try:
        wait_until(lambda: bool(files.list_numbered(run.checkpoints)), sweep)
    finally:
        sweep.kill()
        sweep.communicate(timeout=60)
    wait_until(lambda: atomic.is_valid(run.generator))  # it saved, as on SIGTERM

    def is_free() -> bool:
        try:
            run.lock().release()
        except gz.UsageError:
            return False
        return True

    wait_until(is_free)


def test_an_interrupt_while_the_report_is_written_ends_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganzoo_core import cli

    def terminated(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(WAIT)

    monkeypatch.setattr("ganzoo_core.report.write", terminated)
    before = {number: signal.getsignal(number) for number in interrupts.list_stop_signals()}
    try:
        code = cli.main(["run", "dcgan-torch", *WORDS, "--steps", "2", "--quiet", "--out", str(tmp_path / "run")])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert code == 130
    assert "interrupted" in capsys.readouterr().err
    assert folder.RunFolder(tmp_path / "run").is_finished()


def test_a_signal_that_comes_twice_at_once_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm signals every process of a step, and torchrun passes on to its ranks what they got already."""
    before = {number: signal.getsignal(number) for number in interrupts.list_stop_signals()}
    interrupts.interrupt_on_signals()
    try:
        with interrupts.stop_on_signals() as asked:
            assert not asked()
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert asked()
            monkeypatch.setattr(interrupts, "REPEAT_SECONDS", -1.0)  # as if the next came later
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Spoiled:
    """Fine in all its terms; at one step G's weights become something else than numbers."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        return {"adversarial": step.ops.mean(step.D(step.fake)) - step.ops.mean(step.D(step.real))}

    def generator(self, step: gz.Step) -> dict[str, Any]:
        self.steps += 1
        score = step.ops.mean(step.D(step.fake))
        if self.steps == self.at:
            score = score + step.ops.sqrt(step.ops.square(0.0 * score))  # 0, and its gradient infinity times 0
        return {"adversarial": -score}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("at", "settings"), [(6, {}), (3, {"train.snapshot_every": "3steps"})])
def test_weights_that_are_not_finite_are_a_divergence_and_never_done(
    tmp_path: Path, at: int, settings: dict[str, str]
) -> None:
    """At the very end, and where a snapshot falls between two reports."""
    given = {**SMALL, "train.report_every": "100steps", **settings}
    with pytest.raises(gz.Diverged, match="is no longer finite"):
        python_api.train("dcgan-torch", loss=Spoiled(at), settings=given, steps=6, out=tmp_path / "run", quiet=True)
    assert not folder.RunFolder(tmp_path / "run").is_finished()
    for weights in (tmp_path / "run").rglob("*.safetensors"):
        assert all(map(is_finite, read_all_tensors(weights).values()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained") / "run"
    python_api.train("dcgan-torch", settings=SMALL, steps=2, out=place, quiet=True)
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_a_generator_whose_numbers_are_not_finite_says_so(run: Path) -> None:
    path = run / "generator" / layout.WEIGHTS
    tensors = read_all_tensors(path)
    name = sorted(tensors)[0]
    tensors[name] = np.full_like(tensors[name], np.nan)
    path.write_bytes(pack_tensors(tensors))
    with pytest.raises(gz.UsageError, match=rf"{name}' holds numbers that are not finite: the run diverged"):
        load.load(run / "generator")
    state = next((run / "checkpoints").iterdir()) / layout.STATE
    tensors = read_all_tensors(state)
    spoiled = next(name for name in tensors if name.startswith("D/") and tensors[name].dtype == np.float32)
    tensors[spoiled][...] = np.inf
    content = {layout.STATE: pack_tensors(tensors), layout.POSITION: (state.parent / layout.POSITION).read_bytes()}
    atomic.write_folder(state.parent, content, run_id=folder.RunFolder(run).id)
    from ganzoo_core.evaluation.discriminator import Judge

    with pytest.raises(gz.UsageError, match="holds numbers that are not finite, so nothing can be judged"):
        Judge(run).notes  # noqa: B018  (opens D)


def test_a_folder_of_pictures_holds_one_call(run: Path, tmp_path: Path) -> None:
    generator = load.load(run)
    from ganzoo_core.data import picture_files

    picture_files.save_images(generator.generate(12), tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"{number:02}.png" for number in range(12)]
    with pytest.raises(gz.UsageError, match="drawn is there already and not empty; choose another --out"):
        picture_files.save_images(generator.generate(3), tmp_path / "drawn")
    assert len(list((tmp_path / "drawn").iterdir())) == 12
    (tmp_path / "empty").mkdir()
    picture_files.save_images(generator.generate(2), tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 2


@pytest.mark.parametrize("name", ["grid.png", "walk.gif", "arrays.npz", "folder"])
def test_a_full_disk_leaves_no_half_output(
    run: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganzoo_core.data import picture_files

    out = tmp_path / name
    if "." in name:
        out.write_bytes(b"from before")
    generator = load.load(run)
    drawn = generator.walk(1, frames=3, keys=3) if name == "walk.gif" else generator.generate(3)
    save = picture_files.save_walk if name == "walk.gif" else picture_files.save_images
    write, calls = os.write, []

    def full(handle: int, content: Any) -> int:
        calls.append(handle)
        write(handle, bytes(content)[:10])
        raise OSError(28, "No space left on device")

    def full_file(self: Path, content: Any) -> int:
        calls.append(self)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(Path, "write_bytes", full_file)
        with pytest.raises(gz.UsageError, match=rf"{name} cannot be written: No space left on device; choose another"):
            save(drawn, out)
    assert calls
    assert not out.exists() if name == "folder" else out.read_bytes() == b"from before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_place_that_cannot_be_written_is_told_at_the_start(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system", "run/config.yaml")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_file", read_only)
        with pytest.raises(gz.GanzooError, match=r"the run cannot begin: run/config\.yaml: Read-only file system"):
            python_api.train("dcgan-torch", settings=SMALL, steps=1, out=tmp_path / "new", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(folder.filelock.FileLock, "acquire", read_only)
        assert python_api.resume(run, quiet=True).folder == run  # it is over, and nothing has to be written
        with pytest.raises(gz.UsageError, match=r"cannot be written, so its run cannot go on: .*Read-only"):
            python_api.resume(run, steps=4, quiet=True)


@pytest.mark.skipif(os.name == "nt", reason="a shell closes streams elsewhere")
@pytest.mark.parametrize(
    ("words", "closed"),
    [
        *(("list", closed) for closed in CLOSED),
        *(pytest.param(DRAWING, closed, marks=pytest.mark.slow) for closed in CLOSED[:-1]),
        (DRAWING, CLOSED[-1]),
    ],
)
def test_closed_streams_end_nothing(run: Path, words: str, closed: str) -> None:
    command = f"{sys.executable} -m ganzoo_core {words} {closed}"
    done = subprocess.run(
        command, shell=True, cwd=run.parent, capture_output=True, text=True, check=False, timeout=WAIT
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if "drawn" in words:
        assert (run.parent / "drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_output_is_told() -> None:
    done = subprocess.run(
        f"{sys.executable} -m ganzoo_core list > /dev/full",
        shell=True, capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "ganzoo list: No space left on device\n"


def test_odd_types_in_python_are_sentences(run: Path) -> None:
    generator = load.load(run)
    for n in (2.5, "3", True, 0, -1, [2]):
        with pytest.raises(gz.UsageError, match=r"^n is .*; expected a whole number of images"):
            generator.generate(n)  # type: ignore[arg-type]
    for seed in (-1, 2**200, 0.5, "1", None, True):
        with pytest.raises(gz.UsageError, match=r"^the seed is .*; expected a whole number from 0"):
            generator.generate(1, seed=seed)  # type: ignore[arg-type]
    assert (generator.generate(np.int64(2), seed=np.int32(3)) == generator.generate(2, seed=3)).all()  # type: ignore[arg-type]


def test_odd_labels_in_python_are_sentences(tmp_path: Path) -> None:
    python_api.train("cgan-torch", settings=SMALL, steps=1, out=tmp_path / "run", quiet=True)
    generator = load.load(tmp_path / "run")
    odd: list[Any] = [
        [0.2, 0.9],
        [True, False],
        ["2", "nobody"],
        [[0], [1]],
        [0, [1, 2]],
        [0],
        [0, 99],
        [-1, 0],
        0.5,
        {},
    ]
    for labels in odd:
        with pytest.raises(gz.UsageError, match=r"^labels|is not a class; expected a name, or an index"):
            generator.generate(2, labels=labels)
    for labels in (True, 10, -1, "nobody"):
        with pytest.raises(gz.UsageError):
            generator.generate(2, labels=labels)
    assert (generator.generate(2, labels=np.uint8(3)) == generator.generate(2, labels=[3, 3])).all()  # type: ignore[arg-type]
    assert (generator.generate(2, labels=np.array([3, 3], np.int8)) == generator.generate(2, labels="3")).all()


def test_json_of_a_finished_run_needs_no_lock(run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ganzoo_core", "resume", "run", "--json"],
        cwd=run.parent, capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["run"]).name == "run"


@pytest.mark.skipif(os.name == "nt", reason="a shell closes streams elsewhere")
def test_a_child_starts_where_stderr_is_closed(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from ganzoo_core import cli\n"
        "from ganzoo_core.processes import Child\n"
        "cli._open_closed_streams()\n"
        "with Child('ganzoo_core.evaluation.drawing_worker', 'draws') as child:\n"
        "    try:\n"
        "        child.ask({'generator': 'nowhere', 'device': 'cpu', 'settings': {}}, print)\n"
        "    except Exception as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        f'{sys.executable} -c "$CODE" 2>&-', shell=True, cwd=tmp_path, env={**os.environ, "CODE": code},
        capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip
    assert "nowhere" in done.stdout
    assert "ended with" not in done.stdout


def test_a_run_whose_last_checkpoint_is_damaged_comes_to_its_end_again(tmp_path: Path) -> None:
    settings = {**SMALL, "train.checkpoint_every": "5steps"}
    python_api.train("dcgan-torch", settings=settings, steps=12, out=tmp_path / "run", quiet=True)
    newest = folder.RunFolder(tmp_path / "run").find_newest_checkpoint()
    assert newest is not None
    (newest / layout.STATE).write_bytes(b"torn")
    assert not folder.RunFolder(tmp_path / "run").is_finished()
    python_api.resume(tmp_path / "run", quiet=True)
    assert folder.RunFolder(tmp_path / "run").is_finished()


def test_a_restart_sets_the_generators_of_the_lost_attempt_aside(tmp_path: Path) -> None:
    settings = {**SMALL, "train.checkpoint_every": "5steps", "train.snapshot_every": "5steps"}
    python_api.train("dcgan-torch", settings=settings, steps=12, out=tmp_path / "run", quiet=True)
    before = atomic.read_manifest(tmp_path / "run" / "generator")
    for number in files.list_numbered(tmp_path / "run" / "checkpoints").values():
        (number / layout.STATE).write_bytes(b"torn")
    python_api.resume(tmp_path / "run", restart=True, quiet=True)
    assert atomic.read_manifest(tmp_path / "run" / "before-restart-generator") == before
    assert (tmp_path / "run" / "before-restart-snapshots" / "20").is_dir()
    assert folder.RunFolder(tmp_path / "run").is_finished()
    with pytest.raises(gz.UsageError, match="say one of the two"):
        python_api.resume(tmp_path / "run", restart=True, settings={"train.lr": 1e-5}, quiet=True)


def test_a_checkpoint_promises_no_line_that_the_disk_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics cannot be written for a while; then the process is killed, and goes on."""
    append, full = atomic.append, [True]

    def refuse(path: Path, content: bytes, *, at: int) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        append(path, content, at=at)

    monkeypatch.setattr(atomic, "append", refuse)
    settings = {**SMALL, "train.report_every": "1steps", "train.checkpoint_every": "2steps"}
    with pytest.raises(gz.GanzooError, match="could not be saved"):
        python_api.train("dcgan-torch", settings=settings, steps=4, out=tmp_path / "run", quiet=True)
    full[0] = False
    for newest in files.list_numbered(tmp_path / "run" / "checkpoints").values():
        lines = (tmp_path / "run" / layout.STATS).read_bytes().splitlines()
        assert folder.read_position(newest).stats_lines <= len(lines)


def test_a_folder_that_a_run_could_not_begin_in_is_taken_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / layout.LOCK).touch()  # all that a full disk took
    assert folder.RunFolder.create(tmp_path / "run", "name").path == tmp_path / "run"
    (tmp_path / "run" / "words").touch()
    with pytest.raises(gz.UsageError, match="is there already and not empty"):
        folder.RunFolder.create(tmp_path / "run", "name")


def test_a_plugin_that_ends_a_command_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ganzoo_core import cli
    from ganzoo_core.cli import listing

    def leave(args: Any) -> int:
        raise SystemExit(0)

    monkeypatch.setattr(listing, "execute", leave)
    before = {number: signal.getsignal(number) for number in interrupts.list_stop_signals()}
    try:
        assert cli.main(["list"]) == 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert "a plugin ended the program with SystemExit(0)" in " ".join(capsys.readouterr().err.split())
