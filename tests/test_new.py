"""`ganzoo new`: what it writes is whole, and works at once; what it refuses, it refuses in a sentence."""

from __future__ import annotations

import ast
import datetime
import json
import os
import re
import shlex
import site as packages
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ganzoo_core import cli, scaffold
from ganzoo_core.discovery import manifest
from ganzoo_core.scaffold import writing

ROOT = Path(__file__).parents[1]
ALL = [  # kind, framework, and what it is like
    ("model", "torch", ""),
    ("model", "tf", ""),
    ("model", "torch", "image-to-image"),
    ("model", "tf", "image-to-image"),
    ("loss", "", ""),
    ("schedule", "", ""),
    ("dataset", "", ""),
    ("modifier", "", ""),
    ("modifier", "torch", ""),
    ("modifier", "tf", ""),
    ("tracker", "", ""),
]
RULES = "E,F,W,I,B,UP,RUF,SIM,PTH,NPY,PT,C4,RET"
MODEL = "api = 1\n[models.{0}]\ntitle = 'M'\nframework = 'torch'\nhooks = '{1}.hooks'\n"


@dataclass(frozen=True)
class New:
    """A distribution that was written, and what the command told of it."""

    kind: str
    framework: str
    folder: Path
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def project(self) -> dict[str, Any]:
        text = (self.folder / "pyproject.toml").read_text(encoding="utf-8")
        found: dict[str, Any] = tomllib.loads(text)["project"]
        return found


def name_of(kind: str, framework: str, like: str) -> str:
    return "-".join(filter(None, ["a-new", kind, framework, like]))


def written(folder: Path, kind: str, framework: str, like: str, capsys: Any, *, more: str = "") -> New:
    """Write one of them, in a folder of its name."""
    name = name_of(kind, framework, like) + more
    words = ["new", name, "--kind", kind, "--author", "Ada Lovelace", "--out", str(folder / name), "--json"]
    words += ["--framework", framework] if framework else []
    words += ["--like", like] if like else []
    assert cli.main(words) == 0
    return New(kind, framework, folder / name, json.loads(capsys.readouterr().out))


@pytest.fixture(params=ALL, ids=lambda pair: "-".join(pair).strip("-"))
def new(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> New:
    return written(tmp_path, *request.param, capsys)


def test_all_kinds_are_tried_here() -> None:
    assert {kind for kind, _, _ in ALL} == set(scaffold.KINDS)
    folders = {path.name for path in writing.TEMPLATES.iterdir()} - {"common", "licences"}
    assert folders == {"-".join(filter(None, (kind, writing_name(fw), like))) for kind, fw, like in ALL}
    assert {like for _, _, like in ALL} - {""} == {like for likes in scaffold.LIKES.values() for like in likes}


def writing_name(framework: str) -> str:
    return {"tf": "tensorflow"}.get(framework, framework)


def test_the_manifest_holds_one_part_of_that_name_and_kind(new: New) -> None:
    path = new.folder / new.package / "ganzoo.toml"
    parts, problems, _ = manifest.read(path, distribution=new.name, version="0.1.0", package=new.package)
    assert problems == []
    floor = f">={'.'.join(version('ganzoo-core').split('.')[:2])}"
    assert tomllib.loads(path.read_text(encoding="utf-8"))["requires_core"] == floor
    project = tomllib.loads((new.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.fullmatch(rf"ganzoo-core(\[\w+\])?{re.escape(floor)}", project["dependencies"][0])
    own = [("losses", f"{new.name}-loss")] if new.name.endswith("image-to-image") else []
    assert [(part.kind, part.name) for part in parts] == [(scaffold.KINDS[new.kind], new.name), *own]
    assert parts[0].frameworks == ((writing_name(new.framework),) if new.framework else ())
    assert set(parts[0].help) <= set(parts[0].defaults)


def test_it_tells_what_it_wrote_and_nothing_is_left_to_fill_in(new: New) -> None:
    there = [path for path in new.folder.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(new.folder).as_posix() for path in there) == new.told["files"]
    for path in there:
        text = path.read_text(encoding="utf-8")
        assert "$" not in text, path
        assert "TODO" not in text, path


def test_it_depends_on_what_it_imports_and_on_nothing_else(new: New) -> None:
    needed = {"keras": {"keras", "tensorflow"}, "ganzoo_core": {"ganzoo-core"}, new.package: set()}

    def imported(folder: str) -> set[str]:
        found: set[str] = set()
        for path in (new.folder / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add((node.module or "").split(".")[0])
        outside = found - set(sys.stdlib_module_names)
        return set().union(*(needed.get(module, {module}) for module in outside))

    def declared(lines: list[str]) -> set[str]:
        return {line.partition(">=")[0].partition("[")[0] for line in lines}

    dependencies = declared(new.project["dependencies"])
    assert dependencies == imported(new.package)
    extra = declared(new.project["optional-dependencies"]["dev"])
    assert extra == (imported("tests") - dependencies) | {"build", "pytest"}


def test_its_readme_names_the_paper_and_the_command(new: New) -> None:
    text = (new.folder / "README.md").read_text(encoding="utf-8")
    card = tomllib.loads((new.folder / new.package / "ganzoo.toml").read_text(encoding="utf-8"))
    (part,) = card[scaffold.KINDS[new.kind]].values()
    assert part.get("paper", "").removeprefix("arXiv:") in text
    assert ("## Differs from the paper" in text) == ("paper" in part)
    assert new.told["next"][2] in text
    assert new.project["readme"] == "README.md"


def test_ruff_finds_nothing_with_its_own_settings_and_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for each in ALL:
        written(tmp_path, *each, capsys)
        written(tmp_path, *each, capsys, more="-with-a-long-name")
    for words in (["check", "--select", RULES], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--isolated", "--no-cache", "."]
        for folder in tmp_path.iterdir():  # each alone, as its author has it
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("licence", scaffold.LICENCES)
def test_the_licence_is_the_one_that_was_asked_for(licence: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    author = 'Ada "Countess" Lovelace <ada@example.org>'
    words = ["new", "mine-all-mine", "--kind", "loss", "--license", licence, "--author", author, "--out", str(folder)]
    assert cli.main(words) == 0
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["authors"] == [{"name": 'Ada "Countess" Lovelace', "email": "ada@example.org"}]
    owner = f'Copyright {datetime.date.today().year} Ada "Countess" Lovelace'
    last = (folder / "README.md").read_text(encoding="utf-8").splitlines()[-1]
    assert owner in last
    if licence == "none":
        assert not {"license", "license-files"} & set(project)
        assert not (folder / "LICENSE").exists()
        assert "All rights reserved" in last
        return
    assert project["license"] == {"mit": "MIT", "apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause"}[licence]
    text = (folder / "LICENSE").read_text(encoding="utf-8")
    assert {"mit": "MIT License", "apache-2.0": "Apache License", "bsd-3-clause": "BSD 3-Clause"}[licence] in text
    assert ("Lovelace" in text) == (licence != "apache-2.0")  # whose text says no one's name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My GAN", "cannot be a plugin's name; expected lower case letters, digits, hyphens and underscores"),
        ("My GAN", "how about my-gan?"),
        ("gan-", "how about gan?"),
        ("my.gan", "how about my-gan?"),
        ("../gan", "cannot be a plugin's name"),
        ("日本", "cannot be a plugin's name"),
        ("3d-gan", "3d-gan cannot be imported as 3d_gan; begin the name with a letter"),
        ("lambda", "lambda is a keyword of Python, so no package can be called lambda; how about lambda-gan?"),
        ("statistics", "statistics is a module of Python's own, which statistics would hide"),
        ("tests", "a package called tests would be in the way of others; how about my-tests?"),
        ("ganzoo-core", "is installed already; choose another name, or `pip uninstall ganzoo-core` first"),
        ("yaml", "the module yaml is installed already, and yaml would hide it"),
        ("scikit-learn", "is installed already"),
        ("n" * 61, "the name has 61 letters; expected 60 at most"),
    ],
)
def test_names_that_cannot_be_are_refused(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", name, "--kind", "loss"]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_folders_that_hold_something_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full, file, repository = tmp_path / "full", tmp_path / "file", tmp_path / "repository"
    (full / "notes").mkdir(parents=True)
    file.write_text("mine")
    (repository / ".git").mkdir(parents=True)
    for folder in (full, file):
        assert cli.main(["new", "a-loss", "--kind", "loss", "--out", str(folder)]) == 2
        assert f"{folder} is there already, and not empty" in capsys.readouterr().err
    assert [path.name for path in full.iterdir()] == ["notes"]
    assert file.read_text() == "mine"
    assert cli.main(["new", "a-loss", "--kind", "loss", "--out", str(repository)]) == 0
    below = file / "folder"
    assert cli.main(["new", "a-loss", "--kind", "loss", "--out", str(below)]) == 1
    assert f"{below} cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize("author", ["", " ", "two\nlines"])
def test_authors_that_are_no_line_are_refused(author: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", "a-loss", "--kind", "loss", "--author", author, "--out", str(tmp_path / "a")]) == 2
    assert "expected a name on one line" in capsys.readouterr().err


def test_a_part_whose_name_is_taken_is_said_with_its_distribution(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here.add("others", here.loss("mine-too", "others"))
    here.add("torchy", MODEL.format("a-model", "torchy"))
    monkeypatch.setenv("GANZOO_PLUGINS", "others,torchy")
    folder = tmp_path / "mine-too"
    assert cli.main(["new", "mine_too", "--kind", "loss", "--out", str(folder)]) == 0
    told = capsys.readouterr()
    assert "  ganzoo run a-model --loss mine_too/mine_too\n" in told.out
    assert "note: mine-too (others 1.0) goes by this name too" in told.err
    assert 'NAME = "mine_too/mine_too"' in (folder / "tests" / "test_loss.py").read_text()


@pytest.mark.parametrize(
    ("kind", "framework", "command"),
    [
        ("model", "", "ganzoo run mine"),
        ("loss", "", "ganzoo run plain --loss mine"),
        ("loss", "tf", "ganzoo run flow --loss mine"),
        ("schedule", "torch", "ganzoo run plain --schedule mine"),
        ("dataset", "", "ganzoo run plain --data mine --images 20000"),
        ("modifier", "tf", "ganzoo run flow --with mine"),
        ("tracker", "", "ganzoo run plain --track mine"),
    ],
)
def test_it_says_how_to_try_the_part_with_a_model_that_is_installed(
    kind: str,
    framework: str,
    command: str,
    here: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that needs neither labels nor a growing schedule, in the framework that was asked for."""
    here.add("a", MODEL.format("a-conditional", "a") + "conditional = true\n")
    here.add("b", MODEL.format("b-growing", "b") + "takes = ['resolution']\n")
    here.add("c", MODEL.format("plain", "c"))
    here.add("d", MODEL.format("flow", "d").replace("torch", "tensorflow"))
    monkeypatch.setenv("GANZOO_PLUGINS", "a,b,c,d")
    folder = tmp_path / "two words"
    words = ["new", "mine", "--kind", kind, "--out", str(folder), *(["--framework", framework] if framework else [])]
    assert cli.main(words) == 0
    steps = capsys.readouterr().out.rpartition("what to do next:\n")[2].splitlines()
    assert steps == [f"  cd '{folder}' && pip install -e \".[dev]\"", "  pytest", f"  {command}"]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"ganzoo run (plain|flow|\S*growing)", readme)  # no reader has the author's other plugins


@pytest.mark.parametrize(("framework", "model"), [("torch", "dcgan-torch"), ("tf", "(convgan|dcgan)-tf")])
def test_the_readme_runs_it_with_a_model_that_ganzoo_brings(
    framework: str, model: str, here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not with one of the author's own, though its name comes first."""
    here.add("a-gan", MODEL.format("a-gan", "a_gan"))
    here.add("a-gan-tf", MODEL.format("a-gan-tf", "a_gan_tf").replace("'torch'", "'tensorflow'"))
    monkeypatch.delenv("GANZOO_PLUGINS", raising=False)
    folder = tmp_path / "mine"
    assert cli.main(["new", "mine", "--kind", "loss", "--framework", framework, "--out", str(folder)]) == 0
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^ganzoo run {model} --loss mine$", readme, re.MULTILINE)
    assert "a-gan" not in readme


def test_without_a_model_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANZOO_PLUGINS", "")
    assert cli.main(["new", "mine", "--kind", "loss", "--out", str(tmp_path / "mine")]) == 0
    told = capsys.readouterr()
    assert "  ganzoo run MODEL --loss mine\n" in told.out
    assert "note: no model is installed to try it with; pip install ganzoo-core[torch]" in told.err


def test_it_imports_no_plugin_and_no_framework(site: Any, tmp_path: Path) -> None:
    site.add("torchy", MODEL.format("a-model", "torchy"))  # whose package raises when it is imported
    program = (
        "import sys; from ganzoo_core import cli; code = cli.main(sys.argv[1:]); "
        "print({'torch', 'tensorflow', 'keras', 'torchy'} & set(sys.modules), code)"
    )
    done = site.python("-c", program, "new", "mine", "--kind", "model", "--out", tmp_path / "mine", "--json")
    assert done.stdout.endswith("set() 0\n"), done.stderr


def test_the_default_author_is_git_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(tmp_path)
    assert scaffold.find_default_author("mine") == "the authors of mine"
    (tmp_path / "config").write_text("[user]\n\tname = Ada Lovelace\n")
    assert scaffold.find_default_author("mine") == "Ada Lovelace"
    monkeypatch.setenv("PATH", "")
    assert scaffold.find_default_author("mine") == "the authors of mine"


def command(*words: str | Path, cwd: Path) -> str:
    """Run a command to its end; its stdout."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GANZOO_PLUGINS")}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=clean, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an author's environment, which sees all that is installed here, and whose own it leaves alone."""
    folder = tmp_path_factory.mktemp("author") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = Path(command(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    lines = [f"import site; site.addsitedir({path!r})\n" for path in packages.getsitepackages()]
    (own / "everything.pth").write_text("".join(lines))
    command(python, "-m", "pip", "install", "-q", "hatchling", "editables", cwd=folder)
    return python


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "framework", "like"), ALL, ids=lambda word: word or "any")
def test_what_it_writes_installs_passes_its_tests_and_runs(
    kind: str, framework: str, like: str, author: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = written(tmp_path, kind, framework, like, capsys)
    install = ("pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", ".")
    command(author, "-m", *install, cwd=new.folder)
    told = command(author, "-m", "pytest", "-q", cwd=new.folder)
    assert " passed" in told
    assert "skipped" not in told
    commands = [new.told["next"][2].replace("--images 20000", "")]
    if not framework:  # and in the other framework
        flags = ["--kind", kind, "--framework", "tf", "--json", "--out", str(tmp_path / "other")]
        assert cli.main(["new", f"{new.name}-other", *flags]) == 0
        other = json.loads(capsys.readouterr().out)["next"][2]
        commands.append(other.replace(f"{new.name}-other", new.name).replace("--images 20000", ""))
    for number, line in enumerate(commands):
        ganzoo, *words = shlex.split(line)
        assert ganzoo == "ganzoo"
        few = ("--steps", "5", "--set", "engine.threads=1", "--json", "--quiet", "--out", f"run-{number}")
        told = command(author, "-m", "ganzoo_core", *words, *few, cwd=tmp_path)
        assert json.loads(told)["status"] == "done"
        assert (tmp_path / f"run-{number}" / "samples" / "latest.png").is_file()


@pytest.mark.slow
def test_the_core_s_wheel_holds_every_template(tmp_path: Path) -> None:
    command(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    templates = [path for path in writing.TEMPLATES.rglob("*") if path.is_file()]
    missing = {path.relative_to(ROOT).as_posix() for path in templates} - held
    assert not missing
