"""Odd metadata, packages elsewhere, and names that several plugins have."""

from __future__ import annotations

import json
import os
import re

import pytest


def of(found, distribution):
    return [row for row in found if row["distribution"] == distribution]


def test_metadata_that_cannot_be_read_hurts_nothing_else(site):
    site.add("well", site.loss("well", "well"))
    site.add("no-equals", site.loss("x", "no_equals"), entry_points="[ganzoo.plugins]\nno-equals\n")
    site.add("no-text", site.loss("x", "no_text"), entry_points=b"[ganzoo.plugins]\nx = \xff\xfe\n")
    site.add("not-ours", entry_points="[console_scripts]\nnot a line\n")
    site.add("nameless", site.loss("nameless", "nameless"), metadata="")
    site.add("versionless", site.loss("versionless", "versionless"), metadata="Name: versionless\n")
    site.add("latin", site.loss("latin", "latin"), metadata="Name: latin\nAuthor: Andr\u00e9\n".encode("latin-1"))
    found = site.rows()
    assert [row["state"] for row in of(found, "well")] == ["ok"]
    for distribution in ("no-equals", "no-text"):
        (row,) = of(found, distribution)
        assert row["state"] == "bad-entry-point"
        assert "entry points cannot be read" in row["reason"]
    assert not [row for row in found if "not-ours" in row["distribution"]]
    assert [row["version"] for row in of(found, "versionless")] == ["?"]
    assert [row["name"] for row in of(found, "nameless")] == ["nameless"]
    assert [(row["name"], row["state"]) for row in of(found, "latin")] == [("latin", "ok")]
    assert site.run("info", "well").returncode == 0


def test_metadata_in_order_but_for_the_missing_name(site):
    site.add("nameless", site.loss("nameless", "nameless"), metadata="")
    site.add("versionless", site.loss("versionless", "versionless"), metadata="Name: versionless\n")
    found = site.rows(env={"PYTHONWARNINGS": "error"})
    assert [(row["name"], row["state"]) for row in of(found, "nameless")] == [("nameless", "ok")]
    assert [row["version"] for row in of(found, "versionless")] == ["?"]


def test_packages_elsewhere_are_found(site, tmp_path):
    """As an editable install leaves them: by a path file, or by a finder."""
    source = tmp_path / "source"
    for name in ("by_path", "by_finder"):
        (source / name / name).mkdir(parents=True)
        (source / name / name / "__init__.py").write_text("raise RuntimeError\n")
        (source / name / name / "ganzoo.toml").write_text(site.loss(name, name).replace(f"{name}.hooks", name))
        site.add(name, package=f"{name}_elsewhere", entry_points=f"[ganzoo.plugins]\nx = {name}\n")
    (site.path / "editable.pth").write_text(f"{source / 'by_path'}\n")
    (site.path / "sitecustomize.py").write_text(
        "import site, sys\n"
        "from importlib.util import spec_from_file_location\n"
        f"site.addsitedir({str(site.path)!r})\n"
        "class Finder:\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        if name == 'by_finder':\n"
        f"            folder = {str(source / 'by_finder' / 'by_finder')!r}\n"
        "            file = folder + '/__init__.py'\n"
        "            return spec_from_file_location(name, file, submodule_search_locations=[folder])\n"
        "sys.meta_path.append(Finder)\n"
    )
    found = site.rows()
    assert [row["state"] for row in of(found, "by_path") + of(found, "by_finder")] == ["ok", "ok"]


def test_a_package_without_init_and_one_in_a_language(site):
    folder = site.add("namespace", site.loss("namespace", "namespace"))
    (folder / "__init__.py").unlink()
    title = 'title = "Größe 大きさ 🎨"'
    site.add("größe", site.loss("groesse", "größe").replace('title = "A loss"', title), package="größe")
    found = site.rows()
    assert [row["state"] for row in of(found, "namespace")] == ["ok"]
    assert [(row["state"], row["title"]) for row in of(found, "größe")] == [("ok", "Größe 大きさ 🎨")]
    plain = site.run("list", env={"PYTHONIOENCODING": "ascii"})
    assert plain.returncode == 0
    assert "\\u5927" in plain.stdout


def test_one_distribution_twice_on_the_path_counts_once(site, tmp_path):
    site.add("twice", site.loss("twice", "twice"))
    other = type(site)(tmp_path / "other")
    other.add("twice", site.loss("other", "twice"), version="2.0")
    found = site.rows(env={"PYTHONPATH": os.pathsep.join(map(str, (site.path, other.path)))})
    assert [(row["name"], row["version"], row["state"]) for row in of(found, "twice")] == [("twice", "1.0", "ok")]


@pytest.fixture(scope="module")
def namesakes(make_site):
    site = make_site()
    site.add(
        "alpha", site.loss("shared", "alpha", "[losses.own-a]\ntitle='T'\nhooks='alpha.hooks'\naliases=['short']\n")
    )
    site.add("beta-plugin", site.loss("shared", "beta_plugin", "aliases = ['bee']\n"))
    site.add("gamma", site.loss("gamma", "gamma", "aliases = ['own-a', 'hub']\n"))
    # One package, two distributions that say it is theirs: it stays with the one that is named as it is.
    site.add("true-owner", site.loss("owned", "true_owner"))
    site.add("copycat", package="copycat_unused", entry_points="[ganzoo.plugins]\nx = true_owner\n")
    # Two packages of one distribution with one name.
    entry_points = "[ganzoo.plugins]\na = double\nb = double_more\n"
    site.add("double", site.loss("same", "double"), entry_points=entry_points)
    more = site.path / "double_more"
    more.mkdir()
    (more / "hooks.py").write_text("")
    (more / "ganzoo.toml").write_text(site.loss("same", "double_more"))
    return site


def test_a_name_taken_twice_shadows_nothing(namesakes):
    found = namesakes.rows()
    shared = {row["name"]: row for row in found if row["name"].endswith("/shared")}
    assert set(shared) == {"alpha/shared", "beta-plugin/shared"}
    assert {row["state"] for row in shared.values()} == {"name-taken"}
    assert "beta-plugin/shared" in shared["alpha/shared"]["reason"]
    done = namesakes.run("info", "shared")
    assert done.returncode == 2
    assert "alpha/shared" in done.stderr
    assert "beta-plugin/shared" in done.stderr
    for name in ("alpha/shared", "beta-plugin/shared", "Beta_Plugin/shared"):
        done = namesakes.run("info", name, "--json")
        assert json.loads(done.stdout)["part"]["distribution"] == name.split("/")[0].lower().replace("_", "-")
    assert re.search(r"\b2 problems found", namesakes.run("doctor", "shared", "--quick").stdout)


def test_an_alias_is_a_name_and_may_be_ambiguous(namesakes):
    for alias in ("short", "alpha/short", "SHORT"):
        done = namesakes.run("info", alias, "--json")
        assert json.loads(done.stdout)["part"]["name"] == "alpha/own-a"
    # gamma's alias is another's name, so that name alone no longer tells which.
    done = namesakes.run("info", "own-a")
    assert done.returncode == 2
    assert "alpha/own-a or gamma/gamma" in done.stderr
    names = {row["name"]: row["state"] for row in namesakes.rows()}
    assert names["alpha/own-a"] == "name-taken"
    assert names["gamma"] == "ok"


def test_a_package_belongs_to_one_distribution(namesakes):
    found = namesakes.rows()
    assert [row["state"] for row in of(found, "true-owner")] == ["ok"]
    ((state, reason),) = [(row["state"], row["reason"]) for row in of(found, "copycat")]
    assert state == "package-taken"
    assert "true-owner" in reason


def test_one_name_in_two_packages_of_a_distribution(namesakes):
    found = of(namesakes.rows(), "double")
    assert sorted(row["state"] for row in found) == ["name-taken", "ok"]
    assert namesakes.run("info", "double/same").returncode == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["info", "shraed"], "did you mean shared (a loss)"),
        (["info", "alpha/own-b"], "own-a"),
        (["info", "qqqqqq"], "`ganzoo list`"),
        (["info", "models/short"], "is a loss"),
        (["doctor", "aplha"], "did you mean alpha?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unknown_names_suggest_the_nearest(namesakes, words, expected):
    done = namesakes.run(*words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_broken_part_is_refused_with_its_reason(site):
    site.add("half", site.loss("well", "half", "[losses.ill]\ntitle = 5\nhooks = 'half.hooks'\n"))
    site.add("ruin", "api = 1\n[[[")
    found = {row["name"]: row["state"] for row in of(site.rows(), "half")}
    assert found == {"well": "ok", "ill": "bad-manifest"}
    for words, expected in (
        (["info", "ill"], "title is 5"),
        (["info", "half/ill"], "title is 5"),
        (["info", "ruin/anything"], "cannot be read"),
    ):
        done = site.run(*words)
        assert done.returncode == 3
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1
    unknown = site.run("info", "nothing-like-it")
    assert "ganzoo doctor" in unknown.stderr
