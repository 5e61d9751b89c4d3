"""A run or a generator from a stranger: nothing in it runs, nothing outside of it is reached, nothing is waited for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core import python_api, settings, sweeps
from ganzoo_core.generation import load
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.folder import RunFolder, read_position
from ganzoo_core.storage import atomic, decoding, files, records
from ganzoo_core.storage.tensors import read_all_tensors

from .conftest import run_here

SMALL = {
    "model.width": 2, "model.latent_dim": 2, "data.size": 16, "train.batch_size": 2, "train.sample_count": 1,
    "engine.threads": 1, "use.schedule": "constant",
}  # fmt: skip
SECONDS = 120  # that a command may take on a busy machine


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained") / "run"
    python_api.train("dcgan-torch", settings=SMALL, steps=2, out=place, quiet=True)
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of one's own to damage."""
    return shutil.copytree(trained, tmp_path / "run")


def change_card(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / layout.CARD).read_text())
    for key, value in changes.items():
        table = card
        *outer, last = key.split("__")
        for name in outer:
            table = table[name]
        table[last] = value
    (folder / layout.CARD).write_text(json.dumps(card))


def command(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ganzoo_core", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_framework_from_a_card_is_never_imported(run: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    change_card(run / "generator", spec__framework="pictures.x")
    done = command("generate", "run/generator", cwd=tmp_path)
    assert done.returncode == 2
    assert "generator.json: spec.framework is 'pictures.x'" in " ".join(done.stderr.split())
    code = "import ganzoo_core as gz; gz.load('run/generator')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=SECONDS)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spec__height": -3}, "spec.height is -3; expected a whole number >= 1"),
        ({"spec__height": 10**400}, r"spec.height is 1000*….*expected a number below 2\^63"),
        ({"spec__classes": 10**9}, "spec.classes is 1000000000"),
        ({"spec__classes": 3}, "0 class_names, and spec.classes is 3"),
        ({"class_names": ["\x1b[2J"]}, "1 class_names, and spec.classes is 0"),
        ({"spec__latent_dim": True}, "spec.latent_dim is True; expected a whole number"),
        ({"spec__framework": "tensorflow"}, "spec.framework is tensorflow, and dcgan-torch .* is written in torch"),
        ({"images": "²"}, "images is '²'; expected a whole number"),
        ({"images": float("inf")}, "is not JSON"),
        ({"part__name": "../dcgan"}, "part.name is '../dcgan'; expected a name"),
        ({"part__version": "\x1b[2J"}, "part.version is .* expected a version"),
        ({"part__version": "0.1.0\n"}, "part.version is .* expected a version"),
        ({"class_names": ["\ud800"]}, "is not JSON"),
        ({"class_names": ["a\0b"]}, r"class_names\[0\] holds a NUL"),
        ({"crop": [0, 0, 40, 40]}, r"crop \[0, 0, 40, 40\] reaches beyond 16×16 pixels"),
        ({"options__width": "wide"}, "model.width is 'wide'; expected a whole number"),
        ({"options__norm": "none of them"}, "norm is 'none of them'; .* takes"),
        ({"options": []}, r"options is \[\]; expected a table"),
        ({"values": {"resolution": 10**12}}, "values holds resolution, which dcgan-torch .* does not take"),
        ({"latent": "cauchy"}, "latent is 'cauchy'"),
        ({"kernels": "float8"}, "kernels is 'float8'"),
        ({"modifiers": [{"name": "r1"}]}, r"has no modifiers\[0\]"),
        ({"format": 9}, "has the format 9; this ganzoo reads 1: upgrade ganzoo"),
        ({"spec__height": 17, "spec__width": 17}, "asks for a network that cannot be built|holds|has"),
    ],
)
def test_a_forged_card_is_refused_by_file_and_field(run: Path, changes: dict[str, Any], told: str) -> None:
    change_card(run / "generator", **changes)
    with pytest.raises(gz.UsageError, match=rf"generator\.(json|safetensors).*{told}") as caught:
        load.load(run / "generator").generate(1)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


OPTIONAL = {"kernels", "license", "untrained_classes", "drawn_alone", "derive", "background"}


@pytest.mark.parametrize("missing", sorted({*records.Card.__struct_fields__} - OPTIONAL))
def test_a_card_that_lacks_a_field_says_which(run: Path, missing: str) -> None:
    path = run / "generator" / layout.CARD
    card = json.loads(path.read_text())
    del card[missing]
    path.write_text(json.dumps(card))
    with pytest.raises(gz.UsageError, match=rf"generator\.json has no {missing}$"):
        load.load(run / "generator")


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_is_no_card_is_refused_in_one_line(content: bytes | str) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    for record in (records.Card, records.Position, records.FolderManifest, records.SweepPlan):
        with pytest.raises(gz.UsageError) as caught:
            decoding.decode(raw, record, "file")
        assert str(caught.value).startswith("file")
        assert "\n" not in str(caught.value)


def position(run: Path) -> Path:
    return next((run / "checkpoints").iterdir()) / layout.POSITION


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": -1}, "images is -1"),
        ({"step": 1e999}, "is not JSON"),
        ({"pending": [[["a"], [{}], 1]]}, "an entry|pending"),
        ({"stats_lines": 10**400}, "stats_lines is 1000"),
        ({"values": {"lr_g": "fast"}}, "values"),
        ({"read_at": 10}, "read_at is 10, and step is"),
        ({"facts": 3}, "facts is 3; expected a table"),
        ({"pending": [["discriminator/adversarial", 1.0, 0]]}, "pending.* expected a whole number >= 1"),
        ({"report_terms": [["discriminator/adversarial", 1.0, 0]]}, "report_terms.* expected a whole number >= 1"),
        ({"report_terms": [["images", 1.0, 1]]}, "expected a term's name, such as generator/adversarial"),
    ],
)
def test_a_forged_position_is_refused_by_file_and_field(run: Path, changes: dict[str, Any], told: str) -> None:
    path = position(run)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(gz.UsageError, match=rf"position\.json.*{told}"):
        read_position(path.parent)
    rewrite_manifest(path.parent, run)  # as one who forges it would
    with pytest.raises(gz.UsageError, match="has no checkpoint that is valid"):
        python_api.resume(run, steps=4, quiet=True)


def rewrite_manifest(folder: Path, run: Path) -> None:
    content = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != atomic.MANIFEST}
    atomic.write_folder(folder, content, run_id=RunFolder(run).id)


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "a/b", "..", "", "a\0", ".hidden"])
def test_a_manifest_names_plain_files_only(run: Path, name: str) -> None:
    folder = run / "generator"
    (run.parent / "outside").write_text("secret")
    manifest = json.loads((folder / atomic.MANIFEST).read_text())
    manifest["files"][name] = {"bytes": 6, "sha256": "0" * 64}
    (folder / atomic.MANIFEST).write_text(json.dumps(manifest))
    assert not atomic.is_complete(folder)
    assert not atomic.is_valid(folder)


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@needs_pipes
@pytest.mark.parametrize(
    "name", ["generator/generator.json", "generator/generator.safetensors", "generator/manifest.json"]
)
@pytest.mark.slow
def test_a_pipe_in_a_generator_is_refused_and_not_waited_for(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    done = command("generate", "run/generator", cwd=run.parent)
    assert done.returncode == (0 if name.endswith("manifest.json") else 2), done.stderr
    if done.returncode:
        assert "is a named pipe; expected a file" in " ".join(done.stderr.split())


@needs_pipes
@pytest.mark.parametrize("name", ["config.yaml", "stats.jsonl", "scores.jsonl", ".lock"])
@pytest.mark.parametrize("words", [["resume"], ["generate"], ["judge"], ["evaluate"]])
def test_a_pipe_in_a_run_is_refused_and_not_waited_for(run: Path, name: str, words: list[str]) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    done = command(*words, "run", *(["run/samples/real.png"] if words == ["judge"] else []), cwd=run.parent)
    assert done.returncode == 2, done.stderr
    assert "named pipe" in done.stderr or "holds no config.yaml" in " ".join(done.stderr.split())


@pytest.mark.parametrize("inner", ["checkpoints", "snapshots", "samples", "generator"])
def test_a_link_in_a_run_leads_nowhere(run: Path, inner: str) -> None:
    outside = run.parent / "outside"
    for number in ("12", "13"):
        (outside / number).mkdir(parents=True)
        (outside / number / "precious").write_text("mine")
    (outside / ".12.0123abcd.new").mkdir()  # looks like what a killed writer left
    shutil.rmtree(run / inner, ignore_errors=True)
    (run / inner).symlink_to(outside, target_is_directory=True)
    for words in (["resume", "run", "--steps", "4"], ["resume", "run", "--restart"], ["generate", "run"]):
        done = run_here(*words, cwd=run.parent, code=2)
        assert f"{inner} is a link; expected a folder" in " ".join(done.stderr.split())
    assert sorted(path.name for path in outside.rglob("*")) == [".12.0123abcd.new", "12", "13", "precious", "precious"]


def test_only_this_runs_own_checkpoints_are_purged(run: Path) -> None:
    folder = RunFolder.open(run)
    newest = folder.find_newest_checkpoint()
    assert newest is not None
    precious = {"1": "no checkpoint at all", "notes": "a folder of somebody's"}
    for name, words in precious.items():
        (run / "checkpoints" / name).mkdir()
        (run / "checkpoints" / name / "words").write_text(words)
    (run / "checkpoints" / "2").symlink_to(newest, target_is_directory=True)
    (run / "checkpoints" / "²").mkdir()
    tensors = read_all_tensors(newest / layout.STATE)
    stood = json.loads((newest / layout.POSITION).read_text())
    for images in (100, 200):
        folder.write_checkpoint(images, tensors, {**stood, "images": images}, keep=1)
    left = {path.name for path in (run / "checkpoints").iterdir()}
    assert left == {"200", "1", "2", "notes", "²"}


@needs_pipes
def test_files_are_told_from_what_only_looks_like_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    kinds = {path.name: files.describe(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "file": "a file", "folder": "a folder", "link": "a link", "dangling": "a link", "pipe": "a named pipe",
    }  # fmt: skip
    assert files.describe(tmp_path / "nothing") == files.describe(Path("a\0b")) == ""
    assert files.read_bytes(tmp_path / "file", 4) == b"text"
    with pytest.raises(gz.UsageError, match="larger than 3 bytes"):
        files.read_bytes(tmp_path / "file", 3)
    for name in ("folder", "link", "dangling", "pipe", "nothing"):
        with pytest.raises(gz.UsageError, match=name):
            files.read_bytes(tmp_path / name, 100)
    for number in ("7", "10", "007", "²", "٣", "9" * 19, "-1", "1.0"):
        (tmp_path / "folder" / number).mkdir()
    (tmp_path / "folder" / "8").symlink_to(tmp_path / "folder" / "7")
    assert list(files.list_numbered(tmp_path / "folder")) == [7, 10]
    assert files.list_numbered(tmp_path / "nothing") == {}


def test_a_damaged_snapshot_is_none(run: Path) -> None:
    shutil.copytree(run / "generator", run / "snapshots" / "3")
    (run / "snapshots" / "3" / layout.WEIGHTS).write_bytes(b"")
    with pytest.raises(gz.UsageError, match=r"no snapshot at 3 images\. This run has no snapshots yet"):
        generators.find_generator(run, "3")


def test_a_damaged_generator_is_named_where_a_snapshot_is_taken(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run / "generator", run / "snapshots" / "4")
    assert generators.find_generator(run) == run / "generator"
    assert capsys.readouterr().err == ""
    (run / "generator" / layout.WEIGHTS).write_bytes(b"")
    assert generators.find_generator(run) == run / "snapshots" / "4"
    assert "generator is damaged; the snapshot at 4 images is taken" in " ".join(capsys.readouterr().err.split())


def test_only_what_a_writer_left_is_cleared(run: Path) -> None:
    left = run / "checkpoints" / ".4.0123abcd.new"
    mine = run / "checkpoints" / ".4.89abcdef.new"
    for place in (left, mine / "holiday"):
        place.mkdir(parents=True)
        (place / layout.STATE).write_bytes(b"half")
    RunFolder.open(run).lock().release()
    assert not left.exists()
    assert (mine / "holiday" / layout.STATE).read_bytes() == b"half"


def test_a_checkpoint_behind_a_link_is_named_and_set_aside(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest = RunFolder.open(run).find_newest_checkpoint()
    assert newest is not None
    outside = run.parent / "outside"
    shutil.copytree(newest, outside)
    (run / "checkpoints" / "9").symlink_to(outside, target_is_directory=True)
    python_api.resume(run, steps=4, quiet=True)
    told = " ".join(capsys.readouterr().err.split())
    assert "the checkpoint 9 is damaged, or another run's; it was set aside as" in told
    assert (run / "checkpoints" / "damaged-9").is_symlink()
    assert atomic.is_valid(outside)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.unlink(), "generator.json is not there; expected a file"),
        (lambda path: path.rename(path.with_name("x")).parent.joinpath(path.name).symlink_to("x"), "json is a link;"),
        (lambda path: path.write_text("{}"), r"json has 2 bytes, and [\d,]+ were written"),
    ],
)
def test_a_run_whose_generator_is_damaged_says_how(run: Path, spoil: Any, told: str) -> None:
    spoil(run / "generator" / layout.CARD)
    with pytest.raises(gz.UsageError, match=rf"generator of .*run is damaged: .*{told}.*`ganzoo resume .*` writes it"):
        generators.find_generator(run)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("engine.threads: 9223372036854775807", "engine.threads is .*; expected a number of at most 4,096"),
        ("train.sample_count: 9223372036854775807", "train.sample_count is .*; expected a number of at most 10,000"),
    ],
)
def test_a_runs_settings_have_upper_bounds(run: Path, setting: str, told: str) -> None:
    config = run / layout.CONFIG
    key = setting.partition(":")[0]
    lines = [setting if line.startswith(f"{key}:") else line for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")
    with pytest.raises(gz.UsageError, match=told):
        python_api.resume(run, steps=4, quiet=True)


def test_a_runs_own_config_turns_no_download_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text('use.data: "torchvision:KMNIST"\ndata.download: true\ntrain.lr: 1e-4\n')
    assert settings.read_config(tmp_path / "config.yaml")["data.download"] == "true"
    assert settings.read_run_config(tmp_path / "config.yaml") == {
        "use.data": "torchvision:KMNIST", "data.download": "false", "train.lr": "1e-4",
    }  # fmt: skip


def test_a_sweep_follows_no_link_to_a_run(run: Path, tmp_path: Path) -> None:
    (job,) = sweeps.make_jobs({"seed": ["0"]})
    sweep = sweeps.Sweep(tmp_path / "sweep", ("dcgan-torch",), (job,))
    sweep.folder.mkdir()
    sweep.folder_of(job).symlink_to(run, target_is_directory=True)
    before = (run / layout.CONFIG).read_bytes()
    assert not sweep.is_over(job)
    (outcome,) = sweeps.run_jobs(sweep, at_once=1)
    assert (outcome.status, "is a link; expected a folder" in outcome.reason) == ("failed", True)
    assert (run / layout.CONFIG).read_bytes() == before
