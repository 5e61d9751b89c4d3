"""What installed distributions say is read as `importlib.metadata` reads it, mostly without it."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.catalog import distributions

GROUP = "ganzoo.plugins"
ENTRY = f"[{GROUP}]\nzoo = zoo\n"


def answer(ask: Callable[[], Any]) -> Any:
    """What a question gives, or the kind of its error."""
    try:
        return ask()
    except Exception as error:
        return type(error)


def find_entries(points: Any) -> list[tuple[str, str, str]]:
    return [(point.name, point.value, str(point.dist._path)) for point in points]


def ours(group: str = GROUP) -> Any:
    return answer(lambda: find_entries(distributions.find_entry_points(group)))


def theirs(group: str = GROUP) -> Any:
    return answer(lambda: find_entries(importlib.metadata.entry_points(group=group)))


def our_requirements(name: str) -> Any:
    return answer(lambda: distributions.list_requirements(name))


def their_requirements(name: str) -> Any:
    return answer(lambda: importlib.metadata.requires(name) or [])


@contextmanager
def only_plain() -> Iterator[None]:
    """Fail where `importlib.metadata` is asked."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("entry_points", "requires"):
            patch.delattr(importlib.metadata, name)
        yield


def write(folder: Path, name: str, files: dict[str, str | bytes]) -> Path:
    info = folder / name
    info.mkdir(parents=True)
    for file, content in files.items():
        (info / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return info


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on `sys.path`."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(sys, "path", [str(place)])
    return place


@pytest.mark.parametrize("group", [GROUP, "console_scripts", "pytest11", "nobody.has.this"])
def test_entry_points_of_this_environment_are_those_of_importlib_metadata(group: str) -> None:
    expected = theirs(group)
    with only_plain():
        assert ours(group) == expected
    assert len(expected) > 10 or group != GROUP


def test_requirements_in_this_environment_are_those_of_importlib_metadata() -> None:
    names = {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()}
    expected = {name: their_requirements(name) for name in names}
    assert {name: our_requirements(name) for name in names} == expected
    own = [name for name in names if name.startswith("ganzoo-")]
    assert len(own) > 10
    with only_plain():
        assert {name: our_requirements(name) for name in own} == {name: expected[name] for name in own}


PLAIN = {
    "plain": ENTRY,
    "two groups": f"[console_scripts]\nzoo = zoo.main:run\n\n{ENTRY}other=zoo.part\n",
    "twice": f"{ENTRY}\n[x]\na = b\n{ENTRY}",
    "comments": f"# {GROUP}\n{ENTRY}  # more = of them\n   zoo2   =   zoo2   \n",
    "line ends": ENTRY.replace("\n", "\r\n"),
    "old line ends": ENTRY.replace("\n", "\r"),
    "form feed": ENTRY.replace("\n", "\f"),
    "colon": f"[{GROUP}]\nx = called:main\ny = a.b.c\n",
    "words": f"[{GROUP}]\na name of words = zoo\n",
    "in a comment": f"[x]\n# {GROUP}\na = b\n",
    "blanks in brackets": f"[ {GROUP} ]\nzoo = zoo\n",
    "no group of ours": "[x]\nthis line = has [more]\nand this has none\n",
    "empty": "",
}
ODD = {
    "extras": f"[{GROUP}]\nzoo = zoo:main [more]\n",
    "no value": f"[{GROUP}]\nzoo\n",
    "empty value": f"[{GROUP}]\nzoo =\n",
    "no name": f"[{GROUP}]\n= zoo\n",
    "no section": f"zoo = zoo\n{ENTRY}",
    "brackets": f"[[{GROUP}]]\nzoo = zoo\n[x] = [y]\n",
    "words as a value": f"[{GROUP}]\nzoo = a zoo\n",
    "byte order mark": "\ufeff" + ENTRY,
    "no UTF-8": ENTRY.encode() + b"\xe9 = x\n",
    "empty section": f"[]\nzoo = zoo\n{ENTRY}",
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_files_that_are_understood(folder: Path, text: str) -> None:
    write(folder, "zoo-1.dist-info", {"entry_points.txt": text})
    expected = theirs()
    with only_plain():
        assert ours() == ([] if expected is TypeError else expected)  # a broken file of others hinders nobody


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_files_that_are_not_understood_are_left_to_importlib_metadata(folder: Path, text: str | bytes) -> None:
    write(folder, "zoo-1.dist-info", {"entry_points.txt": text})
    assert ours() == theirs()
    with only_plain():
        assert ours() is AttributeError


LINES = st.sampled_from(
    [f"[{GROUP}]", "[x]", "[]", "[", f" [{GROUP}] ", "a = b", "a=b.c:d", "a = b [c]", "=", "a =", "# a = b", "", "a b",
     "é = é", "a = b = c", "[a = b]", "a # b = c", f"{GROUP} = x", "\x1f", "a = b\u2028c = d"]
)  # fmt: skip


@given(lines=st.lists(LINES, max_size=8), end=st.sampled_from(["\n", "\r\n", "\r", "\x0b"]))
def test_any_file_gives_the_same(lines: list[str], end: str) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [place])
        text = end.join(lines)
        write(Path(place), "zoo-1.dist-info", {"entry_points.txt": text})
        expected = theirs()
        assert ours() == ([] if isinstance(expected, type) and GROUP not in text else expected)


NAMES = st.sampled_from(
    ["zoo-1.dist-info", "Zoo-2.dist-info", "z.o_o-1.dist-info", "z-o-o-2.dist-info", "z_o.o.egg-info", "zoo.egg-info",
     "other-1.egg-info", "zoo-1.Dist-Info", ".dist-info", "-1.dist-info", "ïa-1.dist-info", "~oo-1.dist-info",
     "EGG-INFO", "zoo", "zoo.dist-info.bak", "zoo-1-py3.11.egg-info"]
)  # fmt: skip


@given(
    folders=st.lists(st.sets(NAMES, max_size=6), min_size=1, max_size=3),
    ends=st.lists(st.sampled_from(["", ".egg", "/"]), min_size=3, max_size=3),
)
def test_any_folders_give_the_same(folders: list[set[str]], ends: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        places = [f"{scratch}/{number}{end}" for number, end in zip(range(len(folders)), ends, strict=False)]
        for place, names in zip(places, folders, strict=True):
            Path(place).mkdir()
            for name in sorted(names):
                metadata = f"Name: {name}\nRequires-Dist: {name.encode('ascii', 'ignore').decode()}\n"
                write(Path(place), name, {"entry_points.txt": ENTRY, "METADATA": metadata})
        patch.setattr(sys, "path", [*places, f"{scratch}/missing", places[0]])
        assert ours() == theirs()
        for name in ("zoo", "z-o-o", "Z.O.O", "other", "missing", ""):
            assert our_requirements(name) == their_requirements(name)


def make_zip(folder: Path, patch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(folder / "packed.whl", "w") as archive:
        archive.writestr("packed-1.dist-info/entry_points.txt", ENTRY)
    patch.setattr(sys, "path", [str(folder / "packed.whl"), *sys.path])


def make_egg(folder: Path, patch: pytest.MonkeyPatch) -> None:
    write(folder / "hatched-1.egg", "EGG-INFO", {"entry_points.txt": ENTRY})
    patch.setattr(sys, "path", [str(folder / "hatched-1.egg"), *sys.path])


def make_finder(folder: Path, patch: pytest.MonkeyPatch) -> None:
    info = write(folder / "elsewhere", "found-1.dist-info", {"entry_points.txt": ENTRY})

    class Finder:
        def find_spec(self, *_: Any) -> None:
            return None

        def find_distributions(self, _: Any) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.PathDistribution(info)]

    patch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def take_finder_away(folder: Path, patch: pytest.MonkeyPatch) -> None:
    others = [finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder]
    patch.setattr(sys, "meta_path", others)


def put_path_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "path", [folder, *sys.path])


@pytest.mark.parametrize("name", ["zoo", "missing"])
def test_requirements_are_found_where_the_path_holds_what_can_be_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(folder, "zoo-1.dist-info", {"METADATA": "Name: zoo\nRequires-Dist: a\n"})
    monkeypatch.setattr(sys, "path", [*sys.path, f"{folder}\0"])
    assert our_requirements(name) == their_requirements(name)


@pytest.mark.parametrize("make", [make_zip, make_egg, make_finder, take_finder_away, put_path_in])
def test_what_is_installed_otherwise_is_left_to_importlib_metadata(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    write(folder, "zoo-1.dist-info", {"entry_points.txt": ENTRY})
    usual = ours()
    make(folder, monkeypatch)
    assert ours() == theirs()
    assert make is put_path_in or ours() != usual
    with only_plain():
        assert ours() is AttributeError


def test_the_current_folder_and_old_installations_are_plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "old-1.egg-info", {"entry_points.txt": ENTRY})
    (folder / "older-1.egg-info").write_text("Name: older\n")
    write(folder, "odd-1.dist-info", {}).joinpath("entry_points.txt").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", str(folder / "missing")])
    expected = theirs()
    with only_plain():
        found = ours()
    assert [(name, value, Path(path)) for name, value, path in found] == [
        (name, value, Path(path)) for name, value, path in expected
    ]
    assert len(found) == 1


PLAIN_METADATA = {
    "some": "Name: zoo\nRequires-Dist: a\nRequires-Dist:  b>=1 ; extra == 'x' \nrequires-dist: c\n\nA text.\n",
    "none": "Name: zoo\n",
    "folded elsewhere": "License: long\n        folded\nRequires-Dist: a\n",
    "in the text": "Name: zoo\n\nRequires-Dist: a\n",
    "line ends": "Name: zoo\r\nRequires-Dist: a\r\n\r\nRequires-Dist: b\r\n",
}
ODD_METADATA = {
    "folded": "Requires-Dist: a\n    folded\n",
    "no header": "Name: zoo\nno header\nRequires-Dist: a\n",
    "folded at once": "    folded\nRequires-Dist: a\n",
    "blank before the colon": "Requires-Dist : a\n",
    "nothing": "",
    "no UTF-8": b"Name: \xff\nRequires-Dist: a\n",
}


@pytest.mark.parametrize("text", PLAIN_METADATA.values(), ids=PLAIN_METADATA)
def test_metadata_that_is_understood(folder: Path, text: str) -> None:
    write(folder, "zoo-1.dist-info", {"METADATA": text})
    expected = their_requirements("zoo")
    with only_plain():
        assert our_requirements("zoo") == expected


@pytest.mark.parametrize("text", ODD_METADATA.values(), ids=ODD_METADATA)
def test_metadata_that_is_not_understood_is_left_to_importlib_metadata(folder: Path, text: str | bytes) -> None:
    write(folder, "zoo-1.dist-info", {"METADATA": text})
    assert our_requirements("zoo") == their_requirements("zoo")
    with only_plain():
        assert our_requirements("zoo") is AttributeError


FIELDS = st.sampled_from(
    ["Name: zoo", "Requires-Dist: a", "Requires-Dist:  b>=1 ; extra == 'x' ", "requires-dist: c", "License: long",
     "        folded", "no header", "Requires-Dist:", "", "Author: é\u2028e", "Requires-Dist : d", "From someone: x",
     "Requires-Dist: e\x0bf", ": g"]
)  # fmt: skip


@given(lines=st.lists(FIELDS, max_size=8), end=st.sampled_from(["\n", "\r\n"]), suffix=st.sampled_from("de"))
def test_any_metadata_gives_the_same_requirements(lines: list[str], end: str, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [place])
        name = {"d": "zoo-1.dist-info", "e": "zoo-1.egg-info"}[suffix]
        write(Path(place), name, {"METADATA": end.join([*lines, "", "Requires-Dist: of the text"])})
        assert our_requirements("zoo") == their_requirements("zoo")


@pytest.mark.parametrize(
    "files",
    [{}, {"PKG-INFO": "Requires-Dist: a\n"},
     {"METADATA": "Name: zoo\n", "requires.txt": "a\n[x]\nb\n"}],
)  # fmt: skip
def test_metadata_that_lacks_something_gives_the_same_requirements(folder: Path, files: dict[str, Any]) -> None:
    write(folder, "zoo-1.dist-info", files)
    assert our_requirements("zoo") == their_requirements("zoo")


def test_a_broken_file_of_ours_is_reported_and_hinders_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANZOO_PLUGINS", raising=False)
    write(folder, "bad-1.dist-info", {"entry_points.txt": f"[{GROUP}]\nno value\n", "METADATA": "Name: bad\n"})
    write(folder, "zoo-1.dist-info", {"entry_points.txt": ENTRY, "METADATA": "Name: zoo\n"})
    catalog.clear_cache()
    try:
        states = {problem.distribution: problem.state for problem in catalog.scan().problems}
    finally:
        catalog.clear_cache()
    assert states == {"bad": "bad-entry-point", "zoo": "missing-package"}
