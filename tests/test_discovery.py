"""What `list`, `info` and `doctor` find, with whatever may lie on the path, and that they import none of it."""

from __future__ import annotations

import importlib
import json
import os
import sys
import zipfile

import pytest

from ganzoo_core.discovery import catalog

HEAVY = {"torch", "tensorflow", "torchvision", "keras", "sklearn"}


def of(found, distribution):
    return [row for row in found if row["distribution"] == distribution]


BROKEN = {
    # distribution: (state, words of the reason)
    "bad-toml": ("bad-manifest", "cannot be read"),
    "no-utf8": ("bad-manifest", "cannot be read"),
    "binary": ("bad-manifest", "cannot be read"),
    "huge": ("bad-manifest", "larger than"),
    "empty": ("api-mismatch", "says no api"),
    "partless": ("bad-manifest", "names no part"),
    "future": ("api-mismatch", "upgrade ganzoo"),
    "past": ("api-mismatch", "upgrade past"),
    "wordy-api": ("api-mismatch", "`api = 1`"),
    "no-manifest": ("no-manifest", "package-data"),
    "manifest-folder": ("no-manifest", "package-data"),
    "gone": ("missing-package", "reinstall it: pip install gone"),
    "single": ("no-manifest", "single file"),
    "zipped": ("no-manifest", "archive"),
    "dotted": ("bad-entry-point", "'dotted.sub'"),
    "called": ("bad-entry-point", "'called:main'"),
    "hookless": ("missing-module", "hookless.nowhere"),
    "borrowed": ("bad-manifest", "outside of the package borrowed"),
    "evil-finder": ("missing-package", "SystemExit"),
    "deep": ("bad-manifest", ""),
}


@pytest.fixture(scope="module")
def hundred(make_site):
    """100 distributions whose code raises when it is imported; those in BROKEN have a fault of their own."""
    site = make_site()
    good = "[datasets.{0}]\ntitle = 'D'\nhooks = '{1}.hooks'\n[models.{0}]\ntitle = 'M'\nframework = 'tensorflow'\n"
    good += "hooks = '{1}.hooks'\n[models.{0}.defaults]\nmodel.width = 3\n"
    for number in range(100 - len(BROKEN)):
        package = f"fake_{number}"
        site.add(f"fake-{number}", site.loss(f"fake-{number}", package, good.format(f"fake-{number}", package)))

    def broken(name, manifest=None, **more):
        site.add(name, manifest, **more)

    broken("bad-toml", "api = 1\n[losses.x\n")
    broken("no-utf8", "api = 1 # \u00e9".encode("latin-1"))
    broken("binary", bytes(range(256)) * 10)
    broken("huge", "api = 1\n#" + "x" * 300_000)
    broken("empty", "")
    broken("partless", "api = 1\n[losses]\n")
    broken("future", site.loss("x", "future").replace("api = 1", "api = 2"))
    broken("past", site.loss("x", "past").replace("api = 1", "api = 0"))
    broken("wordy-api", site.loss("x", "wordy_api").replace("api = 1", 'api = "1"'))
    broken("no-manifest")
    broken("manifest-folder", files={"ganzoo.toml/x": ""})
    for word in ("dotted.sub", "called:main"):
        name = word[:6]
        broken(name, site.loss("x", name), entry_points=f"[ganzoo.plugins]\nx = {word}\n")
    broken("gone", package="gone_elsewhere", entry_points="[ganzoo.plugins]\ngone = gone\n")
    broken("single", package="single_elsewhere", entry_points="[ganzoo.plugins]\nsingle = single\n")
    (site.path / "single.py").write_text("raise RuntimeError\n")
    broken("zipped", package="zipped_elsewhere", entry_points="[ganzoo.plugins]\nzipped = zipped\n")
    with zipfile.ZipFile(site.path / "zipped.egg", "w") as egg:
        egg.writestr("zipped/__init__.py", "raise RuntimeError\n")
        egg.writestr("zipped/ganzoo.toml", site.loss("zipped", "zipped"))
    broken("hookless", site.loss("hookless", "hookless").replace("hookless.hooks", "hookless.nowhere"))
    broken("borrowed", site.loss("borrowed", "fake_1"))
    broken("evil-finder", site.loss("evil", "evil_finder"))
    broken("deep", "api = 1\nlosses." + "a." * 3000 + "a = 1\n")
    (site.path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'evil_finder':\n"
        "            sys.exit('no')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import os\n"
        "if 'NO_ARCHIVE' not in os.environ:\n"
        f"    sys.path.append({str(site.path / 'zipped.egg')!r})\n"
    )
    assert len(list(site.path.glob("*.dist-info"))) == 100
    return site


@pytest.fixture(scope="module")
def hundred_rows(hundred):
    return hundred.rows()


def test_every_part_of_every_plugin_is_listed(hundred, hundred_rows):
    keys = ["kind", "name", "framework", "title", "distribution", "version", "state", "reason"]
    assert all(list(row) == keys for row in hundred_rows)
    for number in range(100 - len(BROKEN)):
        own = of(hundred_rows, f"fake-{number}")
        assert [(row["kind"], row["name"], row["framework"], row["state"]) for row in own] == [
            ("models", f"fake-{number}", "tensorflow", "ok"),
            ("losses", f"fake-{number}", "any", "ok"),
            ("datasets", f"fake-{number}", "any", "ok"),
        ]
        assert {row["version"] for row in own} == {"1.0"}
        assert {row["reason"] for row in own} == {""}


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_broken_plugin_is_named_with_its_reason(hundred_rows, distribution):
    state, words = BROKEN[distribution]
    own = of(hundred_rows, distribution)
    assert {row["state"] for row in own} == {state}
    assert words in own[0]["reason"]
    assert len(own[0]["reason"]) < 500


def test_where_no_archive_is_on_the_path_the_same_is_found_without_importlib_metadata(hundred, hundred_rows):
    rows = hundred.rows(env={"NO_ARCHIVE": "1"})
    (zipped,) = of(rows, "zipped")
    assert (zipped["state"], zipped["name"]) == ("missing-package", "")
    assert [row for row in rows if row is not zipped] == [
        row for row in hundred_rows if row["distribution"] != "zipped"
    ]
    code = "import sys\nfrom ganzoo_core.discovery import catalog\ncatalog.scan()\n"
    code += "print('importlib.metadata' in sys.modules)\n"
    # Of these plugins some ask for ganzoo's version, which importlib.metadata knows.
    assert hundred.python("-c", code, env={"NO_ARCHIVE": "1", "GANZOO_PLUGINS": "fake-1,gone"}).stdout == "False\n"
    assert hundred.python("-c", code, env={"GANZOO_PLUGINS": "fake-1,gone"}).stdout == "True\n"


def test_doctor_names_each_problem_and_says_what_to_do(hundred):
    done = hundred.run("doctor")
    assert done.returncode == 1
    for distribution, (state, words) in BROKEN.items():
        lines = [line for line in done.stdout.splitlines() if line.split("\t")[0].split("/")[0] == distribution]
        assert len(lines) == 1
        assert state in lines[0]
        assert words in lines[0]
    assert f"{len(BROKEN)} problems found" in done.stdout
    assert hundred.run("doctor", "fake-7", "--quick").returncode == 0
    alone = hundred.run("doctor", "bad-toml", "--json")
    assert alone.returncode == 1
    (check,) = json.loads(alone.stdout)["checks"]
    assert (check["name"], check["state"]) == ("bad-toml", "bad-manifest")


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["list", "losses", "--json"],
        ["info", "models/fake-3"],
        ["info", "losses/fake-3", "--json"],
        ["--help"],
        ["run", "--help"],
        ["doctor"],
        ["run", "fake-3", "--loss", "fake-4", "--data", "fake-5", "--dry-run"],
        ["run", "fake-3", "--loss", "fkae", "--dry-run"],
    ],
    ids=" ".join,
)
def test_looking_imports_no_plugin_and_no_framework(hundred, words):
    code = (
        "import sys\n"
        "from ganzoo_core.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)\n"
    )
    done = hundred.python("-c", code, *words)
    assert "Traceback" not in done.stderr
    modules = set(done.stdout.splitlines()[-1].split()[1:])
    packages = {path.name for path in hundred.path.iterdir() if path.is_dir()}
    assert "ganzoo_core.cli" in modules
    assert not modules & (HEAVY | packages)
    assert not any(name.startswith(("fake_", "ganzoo_losses", "ganzoo_dcgan")) for name in modules)


def test_the_filters_work_before_anything_is_looked_at(hundred):
    only = hundred.rows(env={"GANZOO_PLUGINS": "fake-1, Fake_2"})
    assert {row["distribution"] for row in only} == {"fake-1", "fake-2"}
    assert hundred.rows(env={"GANZOO_PLUGINS": ""}) == []
    without = hundred.rows("--no-plugin", "fake-1", "--no-plugin", "evil-finder")
    names = {row["distribution"] for row in without}
    assert "fake-2" in names
    assert not names & {"fake-1", "evil-finder"}
    done = hundred.run("list", "--no-plugin", "fake-1OO")
    assert done.returncode == 2
    assert "did you mean" in done.stderr
    (row,) = hundred.rows(env={"GANZOO_PLUGINS": "fkae-1"})
    assert (row["distribution"], row["state"]) == ("fkae-1", "not-installed")
    assert "did you mean" in row["reason"]
    assert "nothing is installed" in hundred.run("list", env={"GANZOO_PLUGINS": ""}).stdout


def test_a_kind_of_which_nothing_is_installed_is_not_all_there_is(hundred):
    done = hundred.run("list", "trackers", env={"GANZOO_PLUGINS": "fake-1"})
    assert (done.returncode, done.stdout) == (0, "no trackers are installed; `ganzoo list` shows what is\n")


def test_a_reader_that_leaves_early_is_no_error(hundred, start):
    environment = {**os.environ, "PYTHONPATH": str(hundred.path)}
    listing = start("-m", "ganzoo_core", "list", env=environment)
    listing.stdout.close()
    assert listing.stderr.read() == ""
    assert listing.wait(60) == 0


def test_a_folder_seen_by_this_process_leaves_nothing_behind_for_the_next_one(make_site):
    for title in ("first", "second"):
        site = make_site()
        code = {"__init__.py": f"title = {title!r}"}
        site.add("twin", f'api = 1\n[losses.twin]\ntitle = "{title}"\nhooks = "twin"\n', files=code)
        with site.seen_here("twin"):
            assert importlib.import_module("twin").title == title
            assert [part.title for part in catalog.scan().parts] == [title]


def test_a_folder_seen_by_this_process_leaves_nothing_behind_when_a_test_fails(make_site):
    site = make_site()
    site.add("failing", files={"__init__.py": ""})

    def fail():
        with site.seen_here("failing"):
            importlib.import_module("failing")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "failing" not in sys.modules


def test_a_folder_seen_by_this_process_takes_nothing_from_another_whose_name_begins_alike(site):
    other = type(site)(site.path.with_name(site.path.name + "0"))
    other.add("tenth", files={"__init__.py": ""})
    with other.seen_here("tenth"):
        package = importlib.import_module("tenth")
        with site.seen_here("tenth"):
            pass
        assert sys.modules.get("tenth") is package
