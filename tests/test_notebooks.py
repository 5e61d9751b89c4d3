"""The notebooks: committed as they should be, true to the files that they link to, and run from top to bottom."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MODELS = [name for name in NOTEBOOKS if name != "both-frameworks"]
QUICK, FEW, MORE = "dcgan-torch", 64, 320  # the notebook that always runs, and images that training sees


def cells(name: str, kind: str) -> list[str]:
    """The sources of a notebook's cells of that kind."""
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.fixture(scope="module")
def tidying() -> ModuleType:
    """notebooks/tidy.py, as a module."""
    spec = importlib.util.spec_from_file_location("tidy", ROOT / "notebooks" / "tidy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_with_a_plain_script_has_a_notebook() -> None:
    documented = {path.parents[1].name.removeprefix("ganzoo-") for path in ROOT.glob("plugins/*/*/plain.py")}
    assert documented
    assert documented <= set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_tidy_and_without_outputs(name: str, tidying: ModuleType) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert {(len(cell["outputs"]), cell["execution_count"]) for cell in code} == {(0, None)}
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert text == tidying.tidy(path), "run `python notebooks/tidy.py`"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_lead_to_the_lines_that_hold_what_they_name(name: str) -> None:
    text = "\n".join(cells(name, "markdown"))
    links = re.findall(r"\[`([^`]+)`\]\((\.\./[^)#]+)#L(\d+)(?:-L(\d+))?\)", text)
    assert len(links) >= 5
    for named, target, first, last in links:
        lines = (ROOT / "notebooks" / target).read_text(encoding="utf-8").splitlines()
        held = lines[int(first) - 1 : int(last or first)]
        if not last:
            assert named in held[0]
            continue
        heads = [line for line in held if line.startswith(("def ", "class "))]
        assert [re.split(r"\W+", line)[1] for line in heads] == [named], (named, target)
        assert held[-1].startswith(" ")
        after = lines[int(last) :]
        assert not after or after[0] == ""  # and the whole of it
    assert [
        target for target in re.findall(r"\]\((\.\./[^)#]+)", text) if not (ROOT / "notebooks" / target).is_file()
    ] == []


def test_a_link_to_what_is_not_there_once_is_refused(tidying: ModuleType) -> None:
    code = "@d\ndef f():\n    x = 1\n    y = 1\n"
    assert tidying.lines_of("f", code) == (1, 4)
    assert tidying.lines_of("x = 1", code) == (3, 3)
    for named, count in (("= 1", 2), ("z", 0)):
        with pytest.raises(ValueError, match=f"is on {count} lines"):
            tidying.lines_of(named, code)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_first_lines_say_what_it_is_and_where_to_open_it(name: str) -> None:
    first = cells(name, "markdown")[0]
    assert first.startswith("# ")
    assert f"/blob/main/notebooks/{name}.ipynb)" in first
    text = "\n".join(cells(name, "markdown"))
    for word in ("generator", "discriminator", "minimax", r"\min_G", "## Exercises"):
        assert word in text


def test_the_list_of_notebooks_is_whole(tidying: ModuleType) -> None:
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    for name in NOTEBOOKS:
        assert f"| [{name}]({name}.ipynb) |" in text
        assert tidying.badge(f"{name}.ipynb") in text


@pytest.mark.parametrize("in_clone", [True, False], ids=["in a clone", "alone"])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_install_cell_leaves_the_frameworks_as_they_are(
    name: str, in_clone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "notebooks" if in_clone else tmp_path)
    cell = cells(name, "code")[0]
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, *, check: commands.append(command))
    exec(cell, {})
    assert commands == []  # everything is here

    there = {"Torch": "2.9.1+cu130", "keras": "3.9", "numpy": "2.1.0", "rich": "1.0"}
    found = [SimpleNamespace(name=key, version=value) for key, value in there.items()]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(metadata, "distributions", lambda: found)
    exec(cell, {})
    python, *words, constraints, core = commands[-1][:8]
    assert (python, words) == (sys.executable, ["-m", "pip", "install", "--quiet", "--constraint"])
    assert len(commands) == (1 if in_clone else 2)
    if not in_clone:
        assert commands[0][:2] == ["git", "clone"]
    assert core == (str(ROOT) if in_clone else commands[0][-1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"torch": ["torch"], "tf": ["tf"], "frameworks": ["torch", "tf"]}[name.rpartition("-")[2]]
    wanted = {part for extra in ("parts", *extras) for part in project["optional-dependencies"][extra]}
    wanted -= {"ganzoo-core[parts]"}
    assert {Path(folder).name for folder in commands[-1][8:]} == wanted
    assert {Path(folder).parent for folder in commands[-1][8:]} == {Path(core) / "plugins"}
    assert Path(constraints).read_text() == "keras==3.9\nnumpy==2.1.0\ntorch==2.9.1+cu130\n"


def run(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, images: int, **environment: str
) -> list[dict[str, Any]]:
    """The outputs of all cells of a notebook that is run in that folder."""
    pytest.importorskip("ipykernel")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    for key, value in {"GANZOO_NOTEBOOK_IMAGES": str(images), "OMP_NUM_THREADS": "1", **environment}.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def check(outputs: list[dict[str, Any]]) -> None:
    """No errors; one display of each of the two runs, as it was at the end; grids as pictures."""
    assert [output for output in outputs if output["output_type"] == "error"] == []
    shown = [output["data"] for output in outputs if "data" in output]
    pages = ["".join(data["text/html"]) for data in shown if "text/html" in data]
    live = [page for page in pages if "<svg" in page and "run folder:" in page]
    assert len(live) == 2  # each was updated in place
    for page in live:
        assert 'src="data:image/png;base64,' in page
        assert 'aria-label="Loss terms: ' in page
        assert re.search(r"step (\d+)/\1 ", page)
    assert sum("image/png" in data for data in shown) >= 2
    assert any("<summary>Settings</summary>" in page for page in pages)


@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch" if name.endswith("torch") else "tensorflow")
    check(run(name, tmp_path, monkeypatch, FEW if name == QUICK else MORE))
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("order", ["dcgan-torch dcgan-tf", "dcgan-tf dcgan-torch"])
def test_both_frameworks_in_one_kernel(order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    outputs = run("both-frameworks", tmp_path, monkeypatch, MORE, GANZOO_NOTEBOOK_ORDER=order)
    check(outputs)
    loaded = [data["text/plain"] for data in (output.get("data", {}) for output in outputs) if "text/plain" in data]
    assert f"['{'tensorflow' if order.startswith('dcgan-tf') else 'torch'}']" in loaded
