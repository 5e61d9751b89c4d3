"""A run does not depend on where one stands, on how its paths were written, or on where it was moved with its data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import building, python_api
from ganzoo_core.cli import main
from ganzoo_core.settings import read_config, read_facts
from ganzoo_core.storage import paths

pytestmark = pytest.mark.filterwarnings("default")
COUNT = 20
IMAGES = np.random.default_rng(3).integers(0, 256, (COUNT, 16, 16, 1), dtype=np.uint8)
SMALL = {
    "model.width": 4, "model.latent_dim": 4, "train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1,
    "engine.device": "cpu", "data.split": "all",
}  # fmt: skip
WORDS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another folder to stand in."""
    for name in ("home", "here/inside"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANZOO_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def write(folder: Path, images: np.ndarray = IMAGES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images)


def train(data: str, out: str | Path, steps: int = 2, **more) -> Path:
    return python_api.train("dcgan-torch", data=data, settings=SMALL, steps=steps, out=out, quiet=True, **more).folder


def test_a_tilde_is_the_home_folder_on_the_command_line(home, capsys):
    write(home / "set")
    (home / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in SMALL.items()))
    run = ["run", "dcgan-torch", "--data=npy:~/set", "--config=~/config.yaml", "--steps", "2", "--quiet"]
    assert main([*run, "--out=~/run", "--data-root=~/root"]) == 0
    assert main([*run, "--out=~/second", "--from=~/run"]) == 0
    assert main(["resume", "~/run", "--steps", "3", "--quiet"]) == 0
    assert main(["resume", "~/run", "--set", "lr=1e-5", "--steps", "4", "--out=~/third", "--quiet"]) == 0
    assert main(["generate", "~/run", "-n", "2", "--out=~/grid.png"]) == 0
    assert main(["report", "~/run", "--quick", "--out=~/page.html"]) == 0
    assert main(["compare", "~/run", "~/second", "--quick", "--out=~/compare.html"]) == 0
    assert main(["judge", "~/run", "~/grid.png"]) == 0
    assert main(["new", "mine", "--kind", "loss", "--out=~/mine"]) == 0
    capsys.readouterr()
    made = ("run", "second", "third", "grid.png", "page.html", "compare.html", "mine/pyproject.toml")
    assert [name for name in made if not (home / name).exists()] == []
    assert list(Path().iterdir()) == [Path("inside")]


def test_a_sweeps_folder_may_begin_with_a_tilde(home, capsys):
    write(home / "set")
    words = ["sweep", "dcgan-torch", "--data", "npy:~/set", *WORDS, "--steps", "2", "--over", "seed=1,2"]
    assert main([*words, "--out=~/sweep", "--list", "lines"]) == 0
    assert str(home / "sweep") in capsys.readouterr().out
    assert (home / "sweep").is_dir()
    assert list(Path().iterdir()) == [Path("inside")]


def test_what_is_left_of_a_sweep_trains_on_the_same_data_from_elsewhere(home, capsys, monkeypatch):
    write(Path("set"))
    words = ["sweep", "dcgan-torch", "--data", "npy:set", "--data-root", "root", *WORDS, "--steps", "2"]
    assert main([*words, "--over", "seed=1", "--out=~/sweep", "--list", "lines"]) == 0
    here = Path.cwd()
    plan = (home / "sweep" / "sweep.json").read_text()
    assert f'"npy:{here / "set"}"' in plan
    assert f'"{here / "root"}"' in plan
    assert f"--data npy:{here / 'set'}" in capsys.readouterr().out


def test_a_tilde_is_the_home_folder_in_python(home):
    write(home / "set")
    (home / "config.yaml").write_text("train.batch_size: 4\n")
    settings = {key: value for key, value in SMALL.items() if key != "train.batch_size"}
    given = {"data": "npy:~/set", "preset": "none", "quiet": True}
    run = gz.train("dcgan-torch", **given, settings=settings, steps=2, out="~/run", config="~/config.yaml")
    assert run.folder == home / "run"
    gz.train("dcgan-torch", **given, settings=SMALL, steps=1, out="~/b", weights="~/run")
    assert gz.resume("~/run", steps=3, quiet=True).folder == home / "run"
    assert gz.load("~/run").generate(2).shape == (2, 16, 16, 1)
    assert list(Path().iterdir()) == [Path("inside")]


def test_a_tilde_in_the_environment(home, monkeypatch):
    assert building.find_data_root("~/x") == home / "x"
    monkeypatch.setenv("GANZOO_DATA", "~/data")
    assert building.find_data_root(None) == home / "data"
    monkeypatch.setenv("GANZOO_DATA", "../data")
    assert building.find_data_root(None) == home.parent / "data"
    monkeypatch.setenv("GANZOO_CACHE", "~/cache")
    assert paths.find_cache_folder() == home / "cache"


@pytest.mark.parametrize("words", [["run", "dcgan-torch", "--out=~nobody-here/x"], ["report", "~nobody-here/x"]])
def test_the_home_of_nobody_is_one_sentence(words, home, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "~nobody-here/x: there is no such user's home folder" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(gz.UsageError, match="no such user's home"):
        gz.train("dcgan-torch", data="npy:~nobody-here/x", quiet=True)


def test_a_run_is_gone_on_with_from_anywhere(home, monkeypatch):
    write(Path("set"))
    run = train("npy:set", "run").absolute()
    assert read_config(run / "config.yaml")["use.data"] == f"npy:{Path('set').absolute()}"
    monkeypatch.chdir(home)
    python_api.resume(run, steps=3, quiet=True)


def test_a_run_that_was_moved_together_with_its_data_finds_them(home, monkeypatch):
    write(Path("both/sets/set"))
    run = train("npy:both/sets/set", "both/runs/run")
    Path("both").rename(home / "moved")
    python_api.resume(home / "moved/runs/run", steps=3, quiet=True)
    assert read_config(home / "moved/runs/run/config.yaml")["use.data"] == f"npy:{home / 'moved/sets/set'}"
    assert main(["run", "--config", str(home / "moved/runs/run/config.yaml"), "--steps", "1", "--quiet"]) == 0
    assert not run.exists()


def test_where_data_sets_lie_is_remembered(home, monkeypatch, tmp_path):
    (tmp_path / "root").mkdir()
    python_api.train("dcgan-torch", settings=SMALL, steps=2, out="run", data_root="../root", quiet=True)
    facts = read_facts(Path("run/config.yaml"))
    assert facts.paths["data_root"] == str(tmp_path / "root")
    run = Path("run").absolute()
    monkeypatch.chdir(home)
    assert building.find_run_data_root(run, None) == str(tmp_path / "root")
    assert building.find_run_data_root(run, "other") == "other"
    (tmp_path / "root").rename(tmp_path / "gone")
    assert building.find_run_data_root(run, None) is None
    shutil.copytree(run, tmp_path / "moved" / "here" / "run")
    (tmp_path / "moved" / "root").mkdir()
    assert building.find_run_data_root(tmp_path / "moved/here/run", None) == str(tmp_path / "moved" / "root")


def test_parents_are_kept_with_whole_paths(home):
    write(Path("set"))
    train("npy:set", "run")
    python_api.resume("run", settings={"train.lr": 1e-5}, steps=3, out="new", quiet=True)
    train("npy:set", "other", weights="run")
    here = Path.cwd()
    assert read_facts(Path("new/config.yaml")).parent["run"] == str(here / "run")
    assert read_facts(Path("other/config.yaml")).parent["weights"] == str(here / "run")


def test_renamed_data_have_a_way_on(home, monkeypatch, capsys):
    write(Path("set"))
    train("npy:set", "straight", steps=4)
    train("npy:set", "run")
    Path("set").rename("renamed")
    with pytest.raises(gz.DataError, match="set does not exist"):
        python_api.resume("run", steps=4, quiet=True)
    assert main(["resume", "run", "--steps", "4", "--data", "npy:renamed", "--quiet"]) == 0
    weights = [Path(name, "generator", "generator.safetensors").read_bytes() for name in ("run", "straight")]
    assert weights[0] == weights[1]
    assert read_config(Path("run/config.yaml"))["use.data"] == f"npy:{Path('renamed').absolute()}"
    assert main(["resume", "run", "--steps", "6", "--quiet"]) == 0  # it is kept for the next time
    capsys.readouterr()


def test_a_run_that_is_over_is_told_its_datas_new_name(home):
    write(Path("set"))
    train("npy:set", "run")
    before = Path("run/generator/generator.safetensors").read_bytes()
    Path("set").rename("renamed")
    python_api.resume("run", data="npy:renamed", quiet=True)
    assert read_config(Path("run/config.yaml"))["use.data"] == f"npy:{Path('renamed').absolute()}"
    assert Path("run/generator/generator.safetensors").read_bytes() == before


def test_other_data_under_a_new_name_are_refused(home):
    write(Path("set"))
    train("npy:set", "run")
    other = IMAGES.copy()
    other[:3] ^= 1
    write(Path("other"), other)
    before = Path("run/config.yaml").read_bytes()
    with pytest.raises(gz.UsageError, match="3 of 20 images differ"):
        python_api.resume("run", data="npy:other", steps=4, quiet=True)
    assert Path("run/config.yaml").read_bytes() == before


@pytest.mark.parametrize("words", [["report", "run", "--data", "npy:x"], ["judge", "run", "x.png", "--data", "y"]])
def test_an_option_is_not_short_for_another(words, home, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "Unknown option `--data`; did you mean --data-root?" in capsys.readouterr().err


def test_an_argument_that_is_no_path_stays_as_it_is(home, here):
    hooks = """
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset(name, argument, split):
    return gz.ImageSource(np.full((8, 16, 16, 1), len(argument), np.uint8))
"""
    manifest = 'api = 1\n[datasets.named]\ntitle = "x"\nhooks = "named.hooks"\nargument = "required"\n'
    here.add("named", manifest, files={"__init__.py": "", "hooks.py": hooks})
    Path("SVHN").mkdir()
    assert read_config(train("named:SVHN", "run") / "config.yaml")["use.data"] == "named:SVHN"
