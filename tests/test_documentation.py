"""The documents can be built, name what is there, and lead where they say."""

from __future__ import annotations

import importlib.util
import re
import runpy
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from ganzoo_core import hookspecs
from ganzoo_core.discovery import catalog
from ganzoo_core.mix.finding import OBJECT_ATTRIBUTES
from ganzoo_core.mix.mix import FEATURES

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "plugins/*/README.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/reference.py, as a module."""
    pytest.importorskip("pdoc")
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_built_without_a_warning(reference: ModuleType, tmp_path: Path) -> None:
    reference.write(tmp_path / "site")  # in which each warning is an error
    page = (tmp_path / "site" / "ganzoo_core" / "hookspecs.html").read_text(encoding="utf-8")
    hooks = [name for name, hook in vars(hookspecs).items() if hasattr(hook, "ganzoo_spec")]
    assert len(hooks) > 5
    assert all(f'id="{name}"' in page for name in hooks)
    assert 'href="../ganzoo_core.html#Spec"' in page  # where the types are told of


def test_every_public_name_says_what_it_is(reference: ModuleType) -> None:
    pages = reference.pages()
    assert {"train", "ImageSource", "hookimpl"} <= {member.name for member in pages["ganzoo_core"].own_members}
    assert reference.undocumented(pages) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [
        target for target in targets if target and "://" not in target and not (path.parent / target).resolve().exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", ["docs/design.md", "docs/step.md", "docs/reliability.md"])
def test_evidence_is_there(document: str) -> None:
    named = re.findall(r"\b(?:plugins/[\w-]+/)?tests/[\w/]+\.py\b", (ROOT / document).read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_purposes_of_random_numbers_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "step.md").read_text(encoding="utf-8")
    table = text.split("| numbers | purpose |")[1].split("\n\n")[0]
    cells = [row.split("|")[2] for row in table.splitlines()[2:]]
    documented = {purpose for cell in cells for purpose in re.findall(r"`([^`…]+)`", cell)}
    engines = [*(ROOT / "ganzoo_core" / "engines").rglob("*.py"), ROOT / "ganzoo_core" / "training" / "sample_grids.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in engines)
    asked = r'(?:philox|use_seed|Stream|_draw_latents)\([^"\n\[]*"([^"]+)"'
    used = {purpose.replace("{slot}", "generator") for purpose in re.findall(asked, code)} - {"trial"}
    assert documented == used


def test_the_picture_stands_alone() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "step.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{space}svg"
    assert {child.tag for child in picture} >= {f"{space}title", f"{space}desc"}
    assert not [element for element in picture.iter() if any("href" in name for name in element.attrib)]


def test_the_page_of_needs_features_and_attributes_is_up_to_date_and_whole() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "features.py"))
    assert (ROOT / "docs" / "features.md").read_text(encoding="utf-8") == made["page"](), (
        "run `python docs/features.py`"
    )
    assert made["MEANINGS"].keys() == FEATURES.keys()
    attributes = {(kind, name) for kind, names in OBJECT_ATTRIBUTES.items() for name in names}
    assert made["ATTRIBUTES"].keys() == attributes
    told = {*FEATURES, *made["EXTRACTORS"], *made["DATA"], *made["RUN"], "r1_penalty", "r2_penalty"}
    for part in catalog.scan().parts:  # what this repository's own parts need and have
        asked = {need.removeprefix("no_") for need in part.needs} | part.has.keys() | set(part.doubles)
        assert asked <= told, f"{part.qualified_name}: docs/features.py does not tell of {asked - told}"
    for name in (*told, *(name for _, name in attributes)):
        assert f"`{name}`" in made["page"]()
