"""The habits of the house: ruff, mypy and import-linter find nothing, and the core stays ignorant of what it runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ganzoo_core.runs import layout

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "ganzoo_core").rglob("*.py"))


CHECKERS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "lint-imports": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
}


@pytest.mark.parametrize("words", CHECKERS.values(), ids=CHECKERS)
def test_checkers_find_nothing(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pickle_is_opened_in_one_line() -> None:
    """The lint rule for pickle has one exemption: Inception's published weights, whose SHA-256 is pinned."""
    rules = re.compile(r"#\s*(?:ruff|flake8)?:?\s*noqa(?!:)|#.*noqa:.*\b(?:TID251|S3\d\d|S506|S614)\b")
    exempt = [
        (path.name, line.strip())
        for path in [*CORE, *ROOT.glob("plugins/*/*/**/*.py"), *ROOT.glob("examples/*/*/**/*.py")]
        if "tests" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if rules.search(line)
    ]
    assert [name for name, _ in exempt] == ["inception.py"], exempt
    assert "weights_only=True" in exempt[0][1]


def test_the_core_names_no_part() -> None:
    """No text of the core, docstrings included, holds a part's name as a word, whatever its kind."""
    names = set()
    for manifest in ROOT.glob("plugins/*/*/ganzoo.toml"):
        text = manifest.read_text(encoding="utf-8")
        names |= set(re.findall(r"^\[[a-z]+\.([a-z0-9_-]+)\]", text, re.MULTILINE))
    assert len(names) > 40
    # Ordinary words, endings of files, and a library, which occur in sentences; but for eight, none may stand alone.
    alone = {"constant", "classifier", "digits", "npy", "npz", "progressive", "shapes"}
    words = alone | {"bundled", "classes", "folder", "is", "memorisation", "modes", "pairs", "torchvision"}
    assert words <= names
    named = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, names - words))})(?![\w-])")
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = named.search(node.value)
                assert found is None, f"{path}:{node.lineno} names {found}"
                assert node.value not in alone, f"{path}:{node.lineno} names {node.value}"


def test_only_engines_import_a_framework() -> None:
    for path in CORE:
        if "engines" in path.parts or "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {module.split(".")[0] for module in modules}
            assert not roots & {"torch", "torchvision", "tensorflow", "keras", "sklearn"}, path


# What starts a process: modules, and functions of `os`.
STARTERS = {"subprocess", "multiprocessing", "concurrent.futures.process", "pty", "popen2"}
OS_STARTERS = re.compile(r"os\.(?:system|popen|fork|forkpty|startfile|(?:posix_)?spawn\w*|exec[lv]\w*)")


def test_processes_are_started_in_one_place() -> None:
    for path in CORE:
        if path == ROOT / "ganzoo_core" / "processes.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not STARTERS & set(modules), f"{path}:{node.lineno} starts processes; see processes.py"
            if isinstance(node, ast.Attribute):
                assert not OS_STARTERS.fullmatch(ast.unparse(node)), f"{path}:{node.lineno} starts a process"


def test_plugins_import_public_names_only() -> None:
    for path in ROOT.glob("plugins/*/ganzoo_*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganzoo_core"):
                assert node.module == "ganzoo_core", f"{path}:{node.lineno} reaches into {node.module}"
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("ganzoo_core.") for alias in node.names), f"{path}:{node.lineno}"


TESTS = [ROOT / "conftest.py", *(ROOT / "tests").rglob("*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
RUNS = {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output")}
WAITS = ("communicate", "wait", "join", "result")


def test_whatever_a_test_waits_for_has_an_end() -> None:
    found = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = ast.unparse(node.func)
            may_hang = name in RUNS or (node.func.attr in WAITS and not node.args)
            if may_hang and not any(word.arg == "timeout" for word in node.keywords):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name} without a timeout")
    assert found == []


HELP = ("help", "description")  # what argparse shows


def _texts(node: ast.AST) -> list[ast.AST]:
    """The literals of a sentence; none of what is called in it, or passed to it."""
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        return [text for inner in ast.iter_child_nodes(node) for text in _texts(inner)]
    return [node] if isinstance(node, ast.Constant) else []


def test_names_in_a_runs_folder_have_one_home() -> None:
    """`runs/layout.py` alone spells them; docstrings and the help of options are for readers, and may."""
    names = {value for key, value in vars(layout).items() if key.isupper() and isinstance(value, str)}
    files, folders = names - set(layout.FOLDERS), set(layout.FOLDERS)
    # Words of the field, which are literals of many kinds; as folders they stand in a path, or before a slash.
    words = {layout.DATA, layout.GENERATOR, layout.SAMPLES, layout.TRACKERS, layout.REPORT_FOLDER}
    assert words < folders
    file = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, files))})(?!\w)")
    folder = re.compile(rf"(?<![\w./-])(?:{'|'.join(folders)})/(?=[ .,;:)]|(?:{'|'.join(map(re.escape, files))}))")
    found = []
    for path in CORE:
        if path == ROOT / "ganzoo_core" / "runs" / "layout.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        readers = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        readers += [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in HELP]
        told = {id(inner) for node in readers if isinstance(node, ast.expr) for inner in _texts(node)}
        steps = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
        in_path = {id(side) for node in steps for side in (node.left, node.right)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in told:
                continue
            text = node.value
            if (path.name, text) == ("building.py", "data"):  # the cache has a folder of this name too
                continue
            is_name = text in folders and (text not in words or id(node) in in_path)
            if is_name or file.search(text) or folder.search(text):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {text!r}; take the name from runs/layout.py")
    assert not found, "\n".join(found)


def test_each_room_says_what_it_is_for_and_what_it_offers() -> None:
    """`__init__.py` begins with a sentence and lists names in `__all__`: its own, or those of the files in it."""
    for path in (path for path in CORE if path.name == "__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        first = (ast.get_docstring(tree) or "").partition("\n")[0]
        assert re.fullmatch(r"[A-Z][^.]*(?:\.\w[^.]*)*\.", first), f"{path} begins with no sentence: {first!r}"
        lists = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        assert len(lists) == 1, f"{path} has no __all__"
        names = ast.literal_eval(lists[0])
        assert names, f"{path} offers nothing"
        known = {file.stem for file in path.parent.glob("*.py")} | {
            file.parent.name for file in path.parent.glob("*/*.py")
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                known |= {alias.asname or alias.name for alias in node.names}
            if isinstance(node, ast.FunctionDef):
                known.add(node.name)
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                known |= {target.id for target in targets if isinstance(target, ast.Name)}
        assert set(names) <= known, f"{path} offers what it has not: {sorted(set(names) - known)}"
