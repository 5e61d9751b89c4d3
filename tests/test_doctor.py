"""`ganzoo doctor`: what is wrong, what to do about it, and, with --deep, what each part does when it is imported."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from ganzoo_core import cli
from ganzoo_core.cli import doctor
from ganzoo_core.frameworks import FRAMEWORKS

MODEL = "[models.{0}]\ntitle = 'M'\nframework = '{1}'\nhooks = '{2}.hooks'\n"
HOOKS = "import ganzoo_core as gz\n@gz.hookimpl\ndef loss(name):\n    pass\n"
IMPORTS = {
    "good": (HOOKS, "ok", "imported in "),
    "talks": ("print('{\"seconds\": 0')\n" + HOOKS, "ok", "imported in "),
    "asks": ("try:\n    input()\nexcept EOFError:\n    pass\n" + HOOKS, "ok", "imported in "),
    "raises": ("raise ValueError('no\\nway')", "import-fails", "raised ValueError: no way"),
    "leaves": ("raise SystemExit(0)", "import-fails", "raised SystemExit: 0"),
    "vanishes": ("import os\nos._exit(0)", "import-fails", "ended the process with 0"),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "import-fails", "ended the process with -9"),
    "hookless": ("", "import-fails", "has no hook loss"),
}


@pytest.fixture(scope="module")
def deep(make_site):
    site = make_site()
    for name, (source, _, _) in IMPORTS.items():
        site.add(name, site.loss(name, name), files={"__init__.py": "", "hooks.py": source})
    done = site.run("doctor", "--deep", "--json", env={"GANZOO_PLUGINS": ",".join(IMPORTS)})
    assert done.returncode == 1
    assert done.stderr == ""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@pytest.mark.parametrize("name", IMPORTS)
def test_deep_imports_each_part_alone(deep, name):
    _, state, words = IMPORTS[name]
    check = deep[f"{name}/{name}"]
    assert check["state"] == state
    assert words in check["detail"]


def test_deep_gives_up_on_a_part_that_hangs(here, monkeypatch, capsys):
    here.add("hangs", here.loss("hangs", "hangs"), files={"__init__.py": "import time\ntime.sleep(600)\n"})
    monkeypatch.setenv("PYTHONPATH", str(here.path))
    monkeypatch.setattr(doctor, "IMPORT_TIMEOUT", 3.0)
    assert cli.main(["doctor", "hangs", "--deep", "--quick"]) == 1
    assert "hangs/hangs\timport-hangs\timporting hangs.hooks took over 3 s" in capsys.readouterr().out


def test_a_framework_that_is_missing_is_named_with_what_needs_it(site):
    site.add("flow", "api = 1\n" + MODEL.format("flow", "tensorflow", "flow"))
    site.add("torchy", "api = 1\n" + MODEL.format("torchy", "torch", "torchy"))
    (site.path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = sys.modules['torch'] = None\n")
    done = site.run("doctor", env={"GANZOO_PLUGINS": "flow,torchy"})
    assert done.returncode == 1
    assert "torch is not installed, so torchy cannot run; pip install ganzoo-core[torch]" in done.stdout
    assert "tensorflow is not installed, so flow cannot run; " in done.stdout
    assert re.search(r"\b2 problems found", done.stdout)
    assert site.run("doctor", env={"GANZOO_PLUGINS": ""}).returncode == 0


def test_it_says_which_pythons_tensorflow_has_wheels_for(here, monkeypatch, capsys):
    flow = FRAMEWORKS["tensorflow"]
    assert flow.explain_missing_wheels((3, 12)) == ""
    assert flow.explain_missing_wheels((3, 14)) == "TensorFlow has wheels for Python 3.11 to 3.13, not 3.14"
    here.add("flow", "api = 1\n" + MODEL.format("flow", "tensorflow", "flow"))
    old = replace(flow, pythons=((3, 0), (3, 1)), modules=("not_installed",))
    monkeypatch.setitem(FRAMEWORKS, "tensorflow", old)
    assert cli.main(["doctor", "flow", "--quick"]) == 1
    said = capsys.readouterr().out
    assert "TensorFlow has wheels for Python 3.0 to 3.1" in said
    assert "so flow cannot run; TensorFlow has wheels" in said
    assert "make an environment with one of them" in said


def test_parts_that_cannot_work_together_are_named(site):
    site.add("one", site.loss("one", "one", "default = true\n"))
    site.add("two", site.loss("two", "two", "default = true\n"))
    wants = MODEL.format("wants", "torch", "wants") + "[models.wants.defaults]\nuse.loss = 'noe'\nuse.with = ['gone']\n"
    site.add("wants", "api = 1\n" + wants)
    done = site.run("doctor", "--json", env={"GANZOO_PLUGINS": "one,two,wants"})
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["losses"]["state"] == "several-defaults"
    assert "one/one and two/two" in checks["losses"]["detail"]
    assert checks["wants/wants"]["state"] == "missing-part"
    assert "its own loss: no loss is called 'noe'; did you mean one" in checks["wants/wants"]["detail"]
    assert checks["one/one"]["state"] == "ok"


def test_it_can_look_at_one_part_or_one_distribution(site):
    site.add("several", site.loss("first", "several", "[losses.second]\ntitle = 3\nhooks = 'several.hooks'\n"))
    names = {"GANZOO_PLUGINS": "several"}

    def looked_at(name):
        done = site.run("doctor", name, "--quick", "--json", env=names)
        return done.returncode, [check["name"] for check in json.loads(done.stdout)["checks"]]

    assert looked_at("first") == (0, ["several/first"])
    assert looked_at("losses/first") == (0, ["several/first"])
    assert looked_at("several/first") == (0, ["several/first"])
    assert looked_at("second") == looked_at("several/second") == (1, ["several/second"])
    assert looked_at("Several") == (1, ["several/first", "several/second"])


ENGINE = """
import importlib.metadata as metadata
from ganzoo_core.engines import create_engine
from ganzoo_core.errors import UsageError
getter = metadata.Distribution.entry_points
try:
    create_engine("torch", {"engine.device": "cpu"})
except UsageError as error:
    print(error)
assert metadata.Distribution.entry_points is getter
"""


def test_broken_metadata_is_named_by_doctor_and_where_a_framework_stumbles(site):
    site.add("not-ours", entry_points="[console_scripts]\nnot a line\n")
    site.add("upgraded", entry_points="")
    info = site.path / "upgraded-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: upgraded\nVersion: 2.0\n")
    findings = json.loads(site.run("doctor", "--json", env={"GANZOO_PLUGINS": ""}).stdout)["checks"]
    details = {each["name"]: each["detail"] for each in findings if each["state"] == "broken-metadata"}
    assert set(details) == {"not-ours", "upgraded"}
    assert "its entry points cannot be read" in details["not-ours"]
    assert "recorded twice" in details["upgraded"]
    # A framework that reads all entry points on import, as PyTorch and Triton do.
    (site.path / "torch").mkdir()
    (site.path / "torch" / "__init__.py").write_text("import importlib.metadata\nimportlib.metadata.entry_points()\n")
    done = site.python("-c", ENGINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PyTorch cannot be imported (")
    assert "the metadata of not-ours and upgraded is broken, see `ganzoo doctor`" in done.stdout


def test_broken_metadata_is_named_before_pytorch_reads_it_in_a_network(site):
    """PyTorch itself reads all entry points only while it builds a network, where the error would blame a plugin."""
    pytest.importorskip("torch")
    site.add("not-ours", entry_points="[console_scripts]\nnot a line\n")
    done = site.python("-c", ENGINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PyTorch cannot be imported (")
    assert "the metadata of not-ours is broken, see `ganzoo doctor`" in done.stdout


def test_the_cache_is_said(site, tmp_path):
    cache = tmp_path / "cache"
    for name, size in {"arrays/1/images.npy": 2_000_000, "arrays/2/x": 500_000, "data/mnist": 100, "loose": 9}.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(bytes(size))
    (cache / "arrays" / "link").symlink_to(cache / "data")
    env = {"GANZOO_PLUGINS": "", "GANZOO_CACHE": str(cache)}
    said = " ".join(site.run("doctor", env=env).stdout.split())
    assert f"cache: {cache} (arrays 2.5 MB, data 0.0 MB); any folder in it may be deleted at any time" in said
    assert json.loads(site.run("doctor", "--json", env=env).stdout)["cache"] == {
        "folder": str(cache),
        "bytes": {"arrays": 2_500_000, "data": 100},
    }
    assert "(empty)" in site.run("doctor", env={**env, "GANZOO_CACHE": str(cache / "none")}).stdout
