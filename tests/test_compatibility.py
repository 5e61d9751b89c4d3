"""Plugins and cores of different ages: what is ignored with a warning, what is refused, and which side to upgrade."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core import cli, hookspecs
from ganzoo_core.discovery import loading, manifest
from ganzoo_core.discovery.manifest import KINDS, Manifest
from ganzoo_core.discovery.manifest.fields import FIELDS, IMAGE_FIELDS, SUITS_FIELDS
from ganzoo_core.discovery.manifest.reading import TOP_FIELDS
from ganzoo_core.errors import PluginError
from ganzoo_core.mix import Request, resolve
from ganzoo_core.runs import layout

ROOT = Path(__file__).parents[1]
CORE = version("ganzoo-core")
UPGRADE = "upgrade ganzoo-core: pip install -U ganzoo-core"
PART = "title = 'T'\nhooks = 'pack.hooks'\n"


def read_text(folder: Path, text: str) -> Manifest:
    package = folder / "pack"
    package.mkdir(exist_ok=True)
    (package / "hooks.py").touch()
    (package / "ganzoo.toml").write_text(text, encoding="utf-8")
    return manifest.read(package / "ganzoo.toml", distribution="dist", version="3", package="pack")


# Unknown fields.


def test_an_unknown_field_is_a_warning_of_its_part(tmp_path: Path) -> None:
    text = f"api = 1\n[losses.a]\n{PART}papper = 'x'\nzzz.x = [1]\n[losses.b]\n{PART}"
    (a, b), problems, warnings = read_text(tmp_path, text)
    assert (problems, warnings, b.warnings) == ([], [], ())
    assert a.warnings == (
        f"its manifest has 'papper', which ganzoo-core {CORE} does not expect there and ignores; did you mean paper? "
        f"If not, {UPGRADE}",
        f"its manifest has 'zzz', which ganzoo-core {CORE} does not expect there and ignores; {UPGRADE}",
    )


def test_an_unknown_kind_costs_no_other_part(tmp_path: Path) -> None:
    text = f"api = 1\nhomepage = 'x'\n[losses.a]\n{PART}[samplers.x]\n{PART}[model.y]\n{PART}"
    (part,), problems, warnings = read_text(tmp_path, text)
    assert (part.name, part.warnings, problems) == ("a", (), [])
    assert [(each.kind, each.name, each.distribution) for each in warnings] == [("", "", "dist")] * 3
    assert [re.search("has '(.*?)'", each.reason)[1] for each in warnings] == ["homepage", "samplers", "model"]
    assert "did you mean models?" in warnings[2].reason


def test_unknown_fields_inside_of_a_field_are_warnings(tmp_path: Path) -> None:
    """A preset whose condition cannot be checked is not picked by itself."""
    image = "image = { height = 8, width = 8, channels = 1, classes = 0, depth = 3 }\n"
    presets = "presets.few.suits = { max_images = 9, min_images = 3 }\npresets.pc.suits = { machine = 'laptop' }\n"
    text = f"api = 1\n[datasets.d]\n{PART}{image}[models.m]\n{PART}framework = 'torch'\n{presets}"
    (data, model), problems, _ = read_text(tmp_path, text)
    assert problems == []
    assert data.image == {"height": 8, "width": 8, "channels": 1, "classes": 0}
    assert "has 'image.depth'" in data.warnings[0]
    assert (list(model.presets), list(model.suits)) == (["few", "pc"], ["pc"])
    assert "has 'presets.few.suits.min_images'" in model.warnings[0]
    assert len(data.warnings) == len(model.warnings) == 1


@pytest.mark.parametrize("line", ["conditional = 'no'", "paper = 3", "image = { height = 8, depth = 1 }"])
def test_a_known_field_of_a_wrong_type_is_still_an_error_of_its_part(tmp_path: Path, line: str) -> None:
    kind, more = ("datasets", "") if line.startswith("image") else ("models", "framework = 'torch'\n")
    parts, (problem,), _ = read_text(tmp_path, f"api = 1\n[losses.a]\n{PART}[{kind}.b]\n{PART}{more}{line}\n")
    assert [part.name for part in parts] == ["a"]
    assert (problem.state, problem.kind, problem.name) == ("bad-manifest", kind, "b")


def test_a_misspelt_field_explains_why_a_required_one_is_missing(tmp_path: Path) -> None:
    _, (problem,), _ = read_text(tmp_path, "api = 1\n[losses.a]\ntitel = 'T'\nhooks = 'pack'\n")
    assert problem.reason.startswith("ganzoo.toml [losses.a] has no title; its manifest has 'titel', which ")
    assert "did you mean title?" in problem.reason


def test_thousands_of_unknown_fields_are_counted(tmp_path: Path) -> None:
    many = "".join(f"x{n} = 1\n" for n in range(5000))
    (part,), problems, warnings = read_text(tmp_path, f"api = 1\n{many}[losses.a]\n{PART}{many}")
    assert problems == []
    assert len(part.warnings) == len(warnings) == 21
    assert "its manifest has 4,980 more" in part.warnings[-1]
    assert part.warnings[-1] == warnings[-1].reason


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=7)  # 10 characters each when escaped
VALUES = st.sampled_from(["1", "true", "'x'", "[1, 'a']", "{ a = 1 }", "{ a = { b = [] } }", "1979-05-27", "inf"])


@given(
    st.dictionaries(NAMES.filter(lambda name: name not in (*TOP_FIELDS, *KINDS)), VALUES, max_size=8),
    st.lists(st.dictionaries(NAMES, VALUES, max_size=8), min_size=len(KINDS), max_size=len(KINDS)),
)
@bounds(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_part_is_lost_to_unknown_fields_and_each_is_reported(
    tmp_path: Path, top: dict[str, str], tables: list[dict[str, str]]
) -> None:
    def write(fields: dict[str, str]) -> str:
        # JSON escapes what TOML does, but for the character DEL.
        quoted = {json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f"): name for name in fields}
        return "".join(f"{key} = {fields[name]}\n" for key, name in quoted.items())

    text, unknown = "api = 1\n" + write(top), {}
    for kind, table in zip(KINDS, tables, strict=True):
        unknown[kind] = {name: value for name, value in table.items() if name not in FIELDS[kind]}
        framework = "framework = 'torch'\n" if kind == "models" else ""
        text += f"[{kind}.a]\n{PART}{framework}{write(unknown[kind])}"
    parts, problems, warnings = read_text(tmp_path, text)
    assert problems == []
    assert [part.kind for part in parts] == list(KINDS)
    for names, sentences in [
        (top, [each.reason for each in warnings]),
        *((unknown[part.kind], part.warnings) for part in parts),
    ]:
        assert len(sentences) == len(names)
        for name, sentence in zip(names, sentences, strict=True):
            assert sentence.startswith(f"its manifest has {name!r}, which ")
            assert sentence.isprintable()


def test_doctor_info_and_a_run_tell_of_unknown_fields_and_list_does_not(here, capsys) -> None:
    here.add("new", "future = 1\n" + here.loss("newer", "new", "shape = 2\n") + "[samplers.x]\ntitle = 'T'\n")

    def ask(*words: str) -> str:
        assert cli.main([*words]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        return told.out

    lines = [line.split("\t") for line in ask("doctor", "new", "--quick").splitlines()]
    told = {(line[0], line[1], line[2].split(",")[0]) for line in lines if len(line) == 3}
    assert told >= {
        ("new/newer", "ok", ""),
        ("new/newer", "warning", "its manifest has 'shape'"),
        ("new", "warning", "its manifest has 'future'"),
        ("new", "warning", "its manifest has 'samplers'"),
    }
    assert lines[-1] == ["No problems found, 3 warnings"]
    checks = json.loads(ask("doctor", "new", "--quick", "--json"))["checks"]
    assert [check["state"] for check in checks] == ["ok", "warning", "warning", "warning"]

    assert ask("info", "newer").count("  warning: its manifest has ") == 3
    assert len(json.loads(ask("info", "newer", "--json"))["part"]["warnings"]) == 3

    (row,) = [row for row in json.loads(ask("list", "--json"))["parts"] if row["distribution"] == "new"]
    assert (row["name"], row["state"], row["reason"]) == ("newer", "ok", "")
    assert "its manifest" not in ask("list")

    from ganzoo_core.discovery import catalog

    mix = resolve(catalog.scan(), Request(picks={"model": "dcgan-torch", "loss": "newer", "data": "digits"}))
    assert [note for note in mix.warnings if "manifest" in note] == [
        f"newer (new 1.0): its manifest has 'shape', which ganzoo-core {CORE} does not expect there and ignores; "
        + UPGRADE
    ]


# Versions.

API_RANGES = [
    ("1", ""), ("'>=1,<3'", ""), ("'==1'", ""), ("'<2'", ""), ("'>=1'", ""), ("'!=2'", ""), ("'~=1.0'", ""),
    ("2", UPGRADE), ("'>=2'", UPGRADE), ("'>1,<9'", UPGRADE), ("'==3'", UPGRADE), ("'!=1'", UPGRADE),
    ("0", "upgrade dist: pip install -U dist"), ("'<1'", "upgrade dist: pip install -U dist"),
    ("'>=0,<=0'", "upgrade dist: pip install -U dist"), ("'==0.*'", "upgrade dist: pip install -U dist"),
]  # fmt: skip


@pytest.mark.parametrize(("api", "advice"), API_RANGES, ids=[api for api, _ in API_RANGES])
def test_a_range_of_contract_versions_names_the_side_to_upgrade(tmp_path: Path, api: str, advice: str) -> None:
    parts, problems, _ = read_text(tmp_path, f"api = {api}\n[losses.a]\n{PART}")
    if not advice:
        assert (len(parts), problems) == (1, [])
    else:
        (problem,) = problems
        stated = api if api.isdigit() else repr(api.strip("'"))
        assert (problem.state, problem.kind, problem.name) == ("api-mismatch", "losses", "a")
        assert problem.reason == f"ganzoo.toml says api = {stated}, this ganzoo-core speaks {gz.API}; {advice}"


CORES = [
    (">=0.2", "0.1.0", 'pip install -U "ganzoo-core>=0.2"'), (">=0.2", "0.2.0", ""), (">=0.2", "1.0", ""),
    (">=0.2,<1", "1.0", "pip install -U dist"), (">=0.2,<1", "0.1", 'pip install -U "ganzoo-core<1,>=0.2"'),
    ("==0.1.*", "0.2", "pip install -U dist"), ("==0.3.*", "0.2", 'pip install -U "ganzoo-core==0.3.*"'),
    ("~=0.2", "0.1", 'pip install -U "ganzoo-core~=0.2"'), (">0.2", "0.2", 'pip install -U "ganzoo-core>0.2"'),
    (">=0.2", "0.3.dev4", ""), ("!=0.2", "0.2", 'pip install -U "ganzoo-core!=0.2"'),
]  # fmt: skip


@pytest.mark.parametrize(("required", "installed", "command"), CORES)
def test_required_cores_name_the_side_to_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str, installed: str, command: str
) -> None:
    monkeypatch.setattr(manifest.versions, "find_core_version", lambda: installed)
    parts, problems, _ = read_text(tmp_path, f"api = 1\nrequires_core = '{required}'\n[losses.a]\n{PART}")
    assert bool(parts) is (command == "")
    for problem in problems:
        side = "ganzoo-core" if "ganzoo-core" in command else "dist"
        assert problem.state == "core-mismatch"
        assert problem.reason.endswith(f", and {installed} is installed; upgrade {side}: {command}")


@pytest.mark.parametrize("value", ["3", "''", "'0.2'", "'new'", "['>=0.2']", "'===0.1.0'", f"'>=0.{'1' * 200}'"])
def test_a_requirement_that_is_no_range_is_a_bad_manifest(tmp_path: Path, value: str) -> None:
    parts, (problem,), _ = read_text(tmp_path, f"api = 1\nrequires_core = {value}\n[losses.a]\n{PART}")
    assert (parts, problem.state) == ([], "bad-manifest")
    assert "requires_core is " in problem.reason
    assert "expected a range of versions, such as '>=0.2'" in problem.reason


def test_a_plugin_for_another_core_is_listed_and_refused_by_name(here, capsys) -> None:
    here.add("later", "requires_core = '>=99.1'\n" + here.loss("late", "later", "[samplers.x]\n"))
    here.add("good", here.loss("good", "good"))
    advice = (
        f'requires ganzoo-core >=99.1, and {CORE} is installed; upgrade ganzoo-core: pip install -U "ganzoo-core>=99.1"'
    )
    assert cli.main(["list", "losses", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["parts"]}
    assert (rows["late"]["state"], rows["late"]["reason"]) == ("core-mismatch", f"ganzoo.toml {advice}")
    assert rows["good"]["state"] == "ok"
    assert cli.main(["run", "dcgan-torch", "--loss", "late", "--dry-run"]) == 3
    assert advice in " ".join(capsys.readouterr().err.split())
    assert cli.main(["doctor", "later", "--quick"]) == 1
    assert cli.main(["doctor", "good", "--quick"]) == 0


# Hooks.


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "def loss(optoins):",
            "asks loss for the argument 'optoins', which ganzoo-core {core} does not have (it has name, spec, options, "
            "modifiers); did you mean options? If not, {upgrade}",
        ),
        (
            "def loss(name, metadata_of_tomorrow):",
            "asks loss for the argument 'metadata_of_tomorrow', which ganzoo-core {core} does not have (it has name, "
            "spec, options, modifiers); {upgrade}",
        ),
        ("def warm_up(name):", "implements the hook 'warm_up', which ganzoo-core {core} does not have (it has build_"),
    ],
)
def test_a_hook_of_a_later_core_is_told_to_upgrade_it(here, source: str, words: str) -> None:
    from ganzoo_core.discovery import catalog

    hooks = f"import ganzoo_core as gz\n@gz.hookimpl\n{source}\n    pass\n"
    here.add("tomorrow", here.loss("l", "tomorrow"), files={"__init__.py": "", "hooks.py": hooks})
    with pytest.raises(PluginError) as caught:
        loading.import_hooks(catalog.scan().find("losses", "l"))
    expected = words.format(core=CORE, upgrade=UPGRADE)
    assert str(caught.value).startswith(f"l (tomorrow 1.0): tomorrow.hooks {expected}")
    assert str(caught.value).endswith(UPGRADE)


# What is written down.


@pytest.fixture(scope="module")
def promises() -> dict[str, set[str]]:
    """Section of docs/compatibility.md -> the names in backticks in its table."""
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    tables = {}
    for section in text.split("\n## ")[1:]:
        rows = [line for line in section.splitlines() if line.startswith("|")]
        tables[section.splitlines()[0]] = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    return tables


def test_the_promises_name_everything_public(promises: dict[str, set[str]]) -> None:
    assert promises["Names in Python"] == {f"gz.{name}" for name in gz.__all__}
    assert promises["Hooks"] == {name for name, hook in vars(hookspecs).items() if hasattr(hook, "ganzoo_spec")}
    kinds = {name for kind in KINDS for name in FIELDS[kind]}
    inner = {f"image.{name}" for name in IMAGE_FIELDS} | {f"suits.{name}" for name in SUITS_FIELDS}
    assert promises["Manifest"] == {*TOP_FIELDS, *KINDS, *kinds, *inner}


def test_the_promises_name_every_command_and_the_files_of_a_run(promises: dict[str, set[str]]) -> None:
    _, commands = cli.make_parser()
    assert promises["Command line"] == {f"ganzoo {name}" for name in commands}
    assert promises["Files"] <= {value for name, value in vars(layout).items() if name.isupper()}


def test_first_party_plugins_and_the_guide_state_a_floor() -> None:
    minor = ".".join(CORE.split(".")[:2])
    for path in [*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml")]:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        core = [each for each in project["dependencies"] if re.match(r"ganzoo-core\b", each)]
        assert core == [f"ganzoo-core>={minor}"], path
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r'"(ganzoo-core(?!\[)[^"]*)"', guide) == [f"ganzoo-core>={minor}"] * 2
