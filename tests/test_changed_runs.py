"""Between two commands the data, the settings or a plugin's code may change: whatever reads the run again says so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.cli import main
from ganzoo_core.runs import facts, layout
from ganzoo_core.settings import read_config, read_facts
from ganzoo_core.training import assemble

pytestmark = pytest.mark.filterwarnings("default")
COUNT = 50
IMAGES = np.random.default_rng(3).integers(0, 256, (COUNT, 16, 16, 1), dtype=np.uint8)
LABELS = np.arange(COUNT) % 2
SMALL = {
    "model.width": 4, "model.latent_dim": 4, "train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1,
    "engine.device": "cpu", "data.split": "all",
}  # fmt: skip


def write(path: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, names: tuple[str, ...] = ("a", "b")):
    np.savez(path, images=images, labels=labels, class_names=np.array(names))


def with_three_changed() -> np.ndarray:
    images = IMAGES.copy()
    images[[0, 20, 49], 0, 0] ^= 255
    return images


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `set.npz` and `run`, six steps of a conditional model on it."""
    place = tmp_path_factory.mktemp("trained")
    write(place / "set.npz")
    python_api.train(
        "cgan-torch", data=f"npz:{place / 'set.npz'}", preset="none", settings=SMALL, steps=6, out=place / "run",
        quiet=True,
    )  # fmt: skip
    return place


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where paths lead to the copy."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "place"
    shutil.copytree(trained, copy)
    config = copy / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(trained), str(copy)))
    return copy


def edit(run: Path, key: str, value: str) -> None:
    """Change a line of config.yaml, as with an editor."""
    config = run / "config.yaml"
    text, count = re.subn(rf"(?m)^{re.escape(key)}: .*$", f"{key}: {value}", config.read_text())
    assert count == 1
    config.write_text(text)


REMADE = {
    "three images": ({"images": with_three_changed()}, "3 of 50 images differ"),
    "names": ({"names": ("a", "c")}, "class names were a, b and are a, c"),
    "labels": ({"labels": np.where(np.arange(COUNT) < 12, 1 - LABELS, LABELS)}, "12 labels differ"),
    "order": ({"images": IMAGES[::-1], "labels": LABELS[::-1]}, "the order of the images differs"),
    "fewer": ({"images": IMAGES[:40], "labels": LABELS[:40]}, "50 images were there and 40 are"),
}  # fmt: skip


@pytest.mark.parametrize("name", REMADE)
def test_resume_refuses_other_data_in_counts_and_names(name, place):
    given, expected = REMADE[name]
    write(place / "set.npz", **given)
    with pytest.raises(gz.UsageError, match=rf"go on as it was: {expected}.* --allow-inexact"):
        python_api.resume(place / "run", steps=8, quiet=True)


def test_what_was_allowed_is_the_runs_data_from_then_on(place, capsys):
    write(place / "set.npz", **REMADE["three images"][0])
    python_api.resume(place / "run", steps=8, allow_inexact=True, quiet=True)
    assert "going on, though 3 of 50 images differ" in " ".join(capsys.readouterr().err.split())
    python_api.resume(place / "run", steps=10, quiet=True)
    write(place / "set.npz")
    with pytest.raises(gz.UsageError, match=r"\b3 of 50 images differ"):
        python_api.resume(place / "run", steps=12, quiet=True)


def test_judge_says_what_changed(place, capsys):
    write(place / "set.npz", **REMADE["names"][0])
    np.save(place / "x.npy", IMAGES[0])
    from PIL import Image

    Image.fromarray(IMAGES[0, ..., 0]).save(place / "x.png")
    assert main(["judge", str(place / "run"), str(place / "x.png"), "--class", "0"]) == 0
    assert "class names were a, b and are a, c" in " ".join(capsys.readouterr().err.split())


def test_report_says_what_changed(place):
    write(place / "set.npz", **REMADE["three images"][0])
    assert main(["report", str(place / "run")]) == 0
    page = (place / "run" / layout.REPORT).read_text(encoding="utf-8")
    assert "not those that the run was trained with: 3 of 50 images differ" in page


EXTRACTOR = """
import numpy as np
import ganzoo_core as gz

class Means:
    facts = {"weights": "none", "resizer": "none"}

    def extract(self, images):
        return images.reshape(len(images), -1)[:, :4].astype(np.float32), None

@gz.hookimpl
def extractor(name):
    return Means()

@gz.hookimpl
def metric(name):
    return lambda real, fake, seed: {"distance": abs(float(real.features.mean() - fake.features.mean()))}
"""
SCORES = """
api = 1
[extractors.means]
title = "Four pixels"
hooks = "plain_scores.hooks"
[metrics.distance]
title = "Of means"
hooks = "plain_scores.hooks"
lower = ["distance"]
"""


@pytest.mark.slow
def test_evaluate_says_what_changed_and_keeps_it(place, site):
    write(place / "set.npz", **REMADE["order"][0])
    site.add("plain-scores", SCORES, files={"__init__.py": "", "hooks.py": EXTRACTOR})
    words = ("--extractor", "means", "--metrics", "distance", "-n", "16", "--no-real", "--quiet")
    done = site.run("evaluate", place / "run", *words)
    assert done.returncode == 0, done.stderr
    assert "not those that the run was trained on: the order of the images differs" in " ".join(done.stderr.split())
    write(place / "set.npz")
    done = site.run("evaluate", place / "run", *words)
    assert done.returncode == 0, done.stderr
    assert "trained on" not in done.stderr
    lines = [json.loads(line) for line in (place / "run" / "scores.jsonl").read_text().splitlines()]
    assert [line.get("data_changes") for line in lines] == [["the order of the images differs"], None]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train.lr", "0.001", "train.lr was 0.0002 and is 0.001"),
        ("train.betas", "[0.9, 0.999]", re.escape("train.betas was [0.5, 0.999] and is [0.9, 0.999]")),
        ("train.seed", "5", "train.seed was 0 and is 5"),
        ("train.report_every", '"2steps"', 'train.report_every was "50steps" and is "2steps"'),
        ("engine.channels_last", "false", "engine.channels_last was true and is false"),
        ("data.split", '"train"', '50 images were there and 40 are; data.split was "all" and is "train"'),
    ],
)
def test_a_setting_that_was_edited_is_refused(key, value, expected, place):
    edit(place / "run", key, value)
    with pytest.raises(gz.UsageError, match=rf"{expected}\. Say --allow-inexact .*`ganzoo resume RUN --set {key}="):
        python_api.resume(place / "run", steps=8, quiet=True)
    python_api.resume(place / "run", steps=8, allow_inexact=True, quiet=True)


def test_another_number_of_processes_is_refused_with_the_number_to_start(place, monkeypatch):
    monkeypatch.setattr(assemble, "describe_run", lambda *given: {**facts.describe_run(*given), "ranks": 3})
    expected = r"ranks was 1 and is 3\. Say --allow-inexact to go on nevertheless, or start 1 process, as before$"
    with pytest.raises(gz.UsageError, match=expected):
        python_api.resume(place / "run", steps=8, quiet=True)


def test_a_setting_whose_line_was_added_is_refused(place):
    config = place / "run" / "config.yaml"
    config.write_text("train.lr_g: 0.001\n" + config.read_text())
    with pytest.raises(gz.UsageError, match=r"train\.lr_g was not set and is 0\.001"):
        python_api.resume(place / "run", steps=8, quiet=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.checkpoint_keep", "7"), ("train.checkpoint_every", '"3steps"'), ("train.snapshot_every", '"1steps"'),
        ("train.length", '"8steps"'), ("engine.timeout", "10"),
    ],
)  # fmt: skip
def test_a_setting_that_changes_no_result_may_be_edited(key, value, place):
    edit(place / "run", key, value)
    python_api.resume(place / "run", steps=8, quiet=True)


def test_a_new_run_may_have_what_it_is_told_and_nothing_else(place):
    python_api.resume(place / "run", settings={"train.lr": 0.001}, steps=8, out=place / "new", quiet=True)
    assert read_config(place / "new" / "config.yaml")["train.lr"] == "0.001"
    python_api.resume(place / "new", steps=9, quiet=True)
    edit(place / "run", "train.seed", "5")
    with pytest.raises(gz.UsageError, match=r"train\.seed was 0 and is 5"):
        python_api.resume(place / "run", settings={"train.lr": 0.001}, steps=8, out=place / "newer", quiet=True)


def test_a_checkpoint_of_before_settings_and_code_were_kept_is_gone_on_from(place):
    (newest,) = (place / "run" / "checkpoints").iterdir()
    position = json.loads((newest / layout.POSITION).read_text())
    for name in ("settings", "code"):
        del position["facts"][name]
    from ganzoo_core.storage import atomic

    contents = {layout.STATE: (newest / layout.STATE).read_bytes(), layout.POSITION: json.dumps(position).encode()}
    atomic.write_folder(newest, contents, run_id=read_facts(place / "run" / "config.yaml").id)
    python_api.resume(place / "run", steps=8, quiet=True)


LOSS = """
import ganzoo_core as gz

class Plain:
    def discriminator(self, step):
        return {"adversarial": step.ops.mean(step.D(step.fake)) - step.ops.mean(step.D(step.real))}

    def generator(self, step):
        return {"adversarial": -step.ops.mean(step.D(step.fake))}

@gz.hookimpl
def loss(name):
    return Plain()
"""


def test_a_plugins_code_that_changed_under_the_same_version_is_refused(tmp_path, here):
    package = here.add(
        "my-losses",
        here.loss("mine", "my_losses"),
        files={"__init__.py": "", "hooks.py": LOSS, "deep/more.py": "A = 1"},
    )
    settings = {key: value for key, value in SMALL.items() if key != "data.split"} | {"use.schedule": "constant"}
    python_api.train("dcgan-torch", loss="mine", settings=settings, steps=2, out=tmp_path / "run", quiet=True)
    python_api.resume(tmp_path / "run", steps=3, quiet=True)
    for name, content in (("deep/more.py", "A = 2"), ("ganzoo.toml", here.loss("mine", "my_losses", "\n# more\n"))):
        before = (package / name).read_bytes()
        (package / name).write_text(content)
        with pytest.raises(gz.UsageError, match=r"the code of my-losses changed since \(same version 1\.0\)"):
            python_api.resume(tmp_path / "run", steps=5, quiet=True)
        (package / name).write_bytes(before)
    (package / "notes.txt").write_text("no source")
    python_api.resume(tmp_path / "run", steps=5, quiet=True)


def test_a_digest_of_source_is_that_of_names_and_contents(tmp_path):
    def write_package(name: str, files: dict[str, str]) -> str:
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(content.encode())
        return facts.digest_source([str(tmp_path / name)])

    first = write_package("first", {"a.py": "1\n", "b/c.py": "2", "ganzoo.toml": "api = 1"})
    assert write_package("same", {"a.py": "1\r\n", "b/c.py": "2", "ganzoo.toml": "api = 1", "x.bin": "0"}) == first
    assert (
        write_package("cached", {"a.py": "1\n", "b/c.py": "2", "ganzoo.toml": "api = 1", "__pycache__/a.py": ""})
        == first
    )
    assert write_package("renamed", {"a.py": "1\n", "b/d.py": "2", "ganzoo.toml": "api = 1"}) != first
    assert write_package("changed", {"a.py": "1\n", "b/c.py": "3", "ganzoo.toml": "api = 1"}) != first
    assert write_package("moved", {"a.py": "1\n", "c.py": "2", "ganzoo.toml": "api = 1"}) != first
