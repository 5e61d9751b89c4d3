"""Two hundred plugins, twenty of them broken each in another way: every command still works, and says what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile

import pytest

from ganzoo_core.cli import COMMANDS

COUNT = 200
# distribution: the state that `list` gives it, and words of the reason
BROKEN = {
    "bad-toml": ("bad-manifest", "cannot be read"),
    "binary-manifest": ("bad-manifest", "cannot be read"),
    "huge-manifest": ("bad-manifest", "larger than 200,000 bytes"),
    "nested": ("bad-manifest", ""),
    "no-manifest": ("no-manifest", "package-data"),
    "single-file": ("no-manifest", "single file"),
    "zipped": ("no-manifest", "archive"),
    "newer": ("api-mismatch", "says api = 2, this ganzoo-core speaks 1; upgrade ganzoo-core"),
    "older": ("api-mismatch", "says api = 0, this ganzoo-core speaks 1; upgrade older"),
    "dotted": ("bad-entry-point", "'dotted.hooks:main'"),
    "no-entry-points": ("bad-entry-point", "entry points cannot be read"),
    "no-package": ("missing-package", "pip install no-package"),
    "evil-finder": ("missing-package", "SystemExit"),
    "copycat": ("package-taken", "also that of good-0"),
    "no-hooks-module": ("missing-module", "no_hooks_module.nowhere"),
    "borrowed": ("bad-manifest", "outside of the package borrowed"),
    "bad-name": ("bad-manifest", "has a name that is not"),
    "unknown-key": ("bad-manifest", "did you mean title?"),
    "foreign-setting": ("bad-manifest", "a part of this kind may set loss.*, train.*"),
    "unknown-kind": ("bad-manifest", "names no part; its manifest has 'lozzes'"),
}
# What no manifest can tell: the words with which `run` refuses it, beside its name and version.
LATE = {
    "raises": ("raise RuntimeError('a fault of its own')\n", "a fault of its own"),
    "leaves": ("raise SystemExit(0)\n", "SystemExit"),
    "hookless": ("", "loss"),
    "defaulting": ("import ganzoo_core as gz\n@gz.hookimpl\ndef loss(name, options=None):\n    pass\n", "default"),
    "mistaken": ("import ganzoo_core as gz\n@gz.hookimpl\ndef loss(nmae):\n    pass\n", "nmae"),
    "silent": ("import ganzoo_core as gz\n@gz.hookimpl\ndef loss(name):\n    pass\n", "returned nothing"),
}
# The mix that is trained beside them.
WELL = {
    "well_model": """
import ganzoo_core as gz

@gz.hookimpl
def build_generator(spec):
    from torch import nn
    shape = (spec.channels, spec.height, spec.width)
    size = spec.channels * spec.height * spec.width
    return nn.Sequential(nn.Linear(spec.latent_dim, size), nn.Tanh(), nn.Unflatten(1, shape))

@gz.hookimpl
def build_discriminator(spec):
    from torch import nn
    size = spec.channels * spec.height * spec.width
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 1), nn.Flatten(0))
""",
    "well_data": """
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset():
    return gz.ImageSource(np.arange(32 * 16, dtype=np.uint8).reshape(32, 4, 4, 1))
""",
    "well_loss": """
import ganzoo_core as gz

class Plain:
    def discriminator(self, step):
        ops = step.ops
        return {"adversarial": ops.mean(ops.softplus(-step.D(step.real)) + ops.softplus(step.D(step.fake)))}

    def generator(self, step):
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}

@gz.hookimpl
def loss():
    return Plain()
""",
    "well_still": """
import ganzoo_core as gz

@gz.hookimpl
def schedule():
    return lambda images: {}
""",
}
MIX = ["run", "well-model", "--loss", "well-loss", "--data", "well-data", "--schedule", "well-still"]
SHORT = ["--steps", "2", "--batch-size", "4", "--device", "cpu", "--set", "engine.threads=1"]


def well_manifest(name):
    kind = {"model": "models", "data": "datasets", "loss": "losses", "still": "schedules"}[name.partition("_")[2]]
    own = "framework = 'torch'\n" if kind == "models" else ""
    part = name.replace("_", "-")
    defaults = f"[models.{part}.defaults]\nmodel.latent_dim = 3\n" if kind == "models" else ""
    return f'api = 1\n[{kind}.{part}]\ntitle = "A {part}"\nhooks = "{name}.hooks"\n{own}{defaults}'


@pytest.fixture(scope="module")
def crowd(make_site):
    """The site; but for the well ones' and the late ones', every package raises when it is imported."""
    site = make_site()

    def broken(name, manifest=None, **more):
        site.add(name, manifest, **more)

    def part(name, package, more=""):
        return site.loss(name, package, more)

    broken("bad-toml", "api = 1\n[losses.x\n")
    broken("binary-manifest", bytes(range(256)) * 10)
    broken("huge-manifest", "api = 1\n#" + "x" * 300_000)
    broken("nested", "api = 1\nlosses." + "a." * 3000 + "a = 1\n")
    broken("no-manifest")
    broken("single-file", package="elsewhere_1", entry_points="[ganzoo.plugins]\nx = single_file\n")
    (site.path / "single_file.py").write_text("raise RuntimeError\n")
    broken("zipped", package="elsewhere_2", entry_points="[ganzoo.plugins]\nx = zipped\n")
    with zipfile.ZipFile(site.path / "zipped.egg", "w") as egg:
        egg.writestr("zipped/__init__.py", "raise RuntimeError\n")
        egg.writestr("zipped/ganzoo.toml", part("zipped", "zipped"))
    broken("newer", part("newer", "newer").replace("api = 1", "api = 2"))
    broken("older", part("older", "older").replace("api = 1", "api = 0"))
    broken("dotted", part("dotted", "dotted"), entry_points="[ganzoo.plugins]\nx = dotted.hooks:main\n")
    broken("no-entry-points", part("x", "no_entry_points"), entry_points="[ganzoo.plugins]\nno equals sign\n")
    broken("no-package", package="elsewhere_3", entry_points="[ganzoo.plugins]\nx = no_package\n")
    broken("evil-finder", part("evil-finder", "evil_finder"))
    broken("copycat", package="elsewhere_4", entry_points="[ganzoo.plugins]\nx = good_0\n")
    broken("no-hooks-module", part("x", "no_hooks_module").replace(".hooks", ".nowhere"))
    broken("borrowed", part("borrowed", "good_1"))
    broken("bad-name", part("x", "bad_name").replace("losses.x", 'losses."not a name"'))
    broken("unknown-key", part("unknown-key", "unknown_key").replace("title", "titel"))
    broken("foreign-setting", part("foreign-setting", "foreign_setting", "defaults.data.size = 3\n"))
    broken("unknown-kind", "api = 1\n[lozzes.x]\ntitle = 'X'\nhooks = 'unknown_kind.hooks'\n")

    for name, (code, _) in LATE.items():
        broken(name, part(name, name), files={"__init__.py": "", "hooks.py": code})
    for name, code in WELL.items():
        site.add(name.replace("_", "-"), well_manifest(name), files={"__init__.py": "", "hooks.py": code})
    site.add("rival-a", part("shared", "rival_a", "defaults.loss.weight = 1.0\n"))
    site.add("rival-b", part("shared", "rival_b", "defaults.loss.weight = 2.0\n"))
    # Oddities that are no fault: metadata without a name, in no encoding, none at all.
    site.add("nameless", part("nameless", "nameless"), metadata="")
    site.add("latin", part("latin", "latin"), metadata="Name: latin\nAuthor: Andr\u00e9\n".encode("latin-1"))
    site.add("unsaid", part("unsaid", "unsaid"))
    (site.path / "unsaid-1.0.dist-info" / "METADATA").unlink()

    for number in range(COUNT - len(list(site.path.glob("*.dist-info")))):
        site.add(f"good-{number}", part(f"good-{number}", f"good_{number}"))
    (site.path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'evil_finder':\n"
        "            sys.exit('no')\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.path.append({str(site.path / 'zipped.egg')!r})\n"
    )
    return site


@pytest.fixture(scope="module")
def rows(crowd):
    """`list --json`, by distribution."""
    found = {}
    for row in crowd.rows():
        found.setdefault(row["distribution"], []).append(row)
    return found


# Many commands in one process, which imports PyTorch once.
COMMANDS_IN_ONE = """
import contextlib, io, json, sys
from ganzoo_core.cli import main
answers = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def several(crowd, commands, cwd=None, env=None):
    """What commands answer, each as `Site.run` returns it."""
    done = crowd.python("-c", COMMANDS_IN_ONE, json.dumps(commands), cwd=cwd, env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [
        subprocess.CompletedProcess(words, *answer)
        for words, answer in zip(commands, json.loads(done.stdout), strict=True)
    ]


def refused(done, code, *words):
    """One sentence, the exit code, and no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    said = done.stderr.splitlines()
    assert len(said) == 1, done.stderr
    assert said[0].startswith("ganzoo ")
    for word in words:
        assert word in said[0]


def test_the_crowd_is_as_large_as_it_is_said_to_be(crowd, rows):
    assert len(list(crowd.path.glob("*.dist-info"))) == COUNT
    assert len(BROKEN) == 20
    own = {path.name.partition("-")[0].replace("_", "-") for path in crowd.path.glob("*.dist-info")}
    assert own <= set(rows)
    faults = {name for name in own for row in rows[name] if row["state"] not in ("ok", "name-taken")}
    assert faults == set(BROKEN)


@pytest.mark.parametrize("distribution", BROKEN)
def test_list_names_each_with_its_reason(rows, distribution):
    state, words = BROKEN[distribution]
    (row,) = rows[distribution]
    assert row["state"] == state
    assert words in row["reason"]
    assert 10 < len(row["reason"]) < 400
    assert "Error" not in row["reason"] or distribution in ("no-entry-points", "nested")


def test_no_two_are_broken_in_one_way(rows):
    plain = {re.sub(rf"\b({name}|{name.replace('-', '_')})\b", "X", rows[name][0]["reason"]) for name in BROKEN}
    assert len(plain) == len(BROKEN)


def test_all_others_are_as_well_as_alone(rows):
    for name in ("nameless", "latin", "unsaid", "good-0", "good-1", "well-model", *LATE):
        assert [row["state"] for row in rows[name]] == ["ok"], name
    assert {row["state"] for name in ("rival-a", "rival-b") for row in rows[name]} == {"name-taken"}


def test_the_list_for_people_holds_them_too(crowd):
    for words in (["list"], ["list", "losses"]):
        done = crowd.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        for name, (state, reason) in BROKEN.items():
            lines = [line for line in done.stdout.splitlines() if f"\t{name} 1.0\t{state}: " in line]
            assert len(lines) == 1, name
            assert reason in lines[0]


def test_doctor_names_them_and_no_other(crowd, rows):
    commands = ("doctor --json", "doctor newer --quick", "doctor good-7 --quick", "doctor raises --quick --deep")
    whole, broken, well, late = several(crowd, [words.split() for words in commands])
    assert [done.returncode for done in (whole, broken, well, late)] == [1, 1, 0, 1]
    assert {done.stderr for done in (whole, broken, well, late)} == {""}
    wrong = {check["name"].partition("/")[0] for check in json.loads(whole.stdout)["checks"] if check["state"] != "ok"}
    assert wrong & set(rows) == {*BROKEN, "rival-a", "rival-b"}
    assert "upgrade ganzoo" in broken.stdout
    assert "a fault of its own" in late.stdout


ASKED = {
    "info good-3": (0, "A loss (good-3)"),
    "info well-model --json": (0, '"latent"'),
    "info foreign-setting": (3, "data.size"),
    "info newer/newer": (3, "upgrade ganzoo"),
    "info older/older": (3, "upgrade older"),
    "info qqq": (2, "`ganzoo doctor` what is wrong"),
    "info shared": (2, "rival-a/shared or rival-b/shared"),
    "show well-model": (2, "holds no plain.py"),
    "show good-3": (2, "good-3 is a loss"),
    "generate runs/none": (2, "runs/none"),
    "resume runs/none": (2, "runs/none"),
    "judge runs/none x.png": (2, "runs/none"),
    "report runs/none": (2, "runs/none"),
    "compare runs/none": (2, "runs/none"),
    "evaluate runs/none": (2, "runs/none"),
    "doctor qqq": (2, "`ganzoo list` shows"),
    "list --no-plugin goood-3": (2, "did you mean good-3"),
}


def test_every_command_works_beside_them(crowd, tmp_path):
    for done in several(crowd, [words.split() for words in ASKED], tmp_path):
        code, expected = ASKED[" ".join(done.args)]
        if code:
            assert done.stdout == ""
            refused(done, code, expected)
        else:
            assert (done.returncode, done.stderr) == (0, "")
            assert expected in done.stdout
    assert not list(tmp_path.iterdir())


def test_help_needs_no_plugin(crowd):
    code = "import sys\nfrom ganzoo_core import cli\nwhole, commands = cli.make_parser()\n"
    code += "for one in (whole, *commands.values()):\n    one.print_help()\nprint('COMMANDS', *commands)\n"
    code += "print('MODULES', *sys.modules)\n"
    done = crowd.python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    *_, commands, modules = done.stdout.splitlines()
    assert len(commands.split()) == 1 + len(COMMANDS)
    assert not {path.name for path in crowd.path.iterdir() if path.is_dir()} & set(modules.split())


@pytest.fixture
def readable(crowd):
    """The site without the entry points that cannot be read: PyTorch reads those of all packages itself, and fails."""
    (broken,) = crowd.path.glob("no_entry_points-*/entry_points.txt")
    kept = broken.rename(broken.with_suffix(".kept"))
    yield crowd
    kept.rename(broken)


def test_entry_points_that_stop_pytorch_are_named(crowd, tmp_path):
    (done,) = several(crowd, [[*MIX, *SHORT]], tmp_path)
    refused(done, 2, "PyTorch cannot be imported", "the metadata of no-entry-points is broken, see `ganzoo doctor`")
    assert not list(tmp_path.iterdir())


def test_a_good_mix_is_trained_and_drawn_from(readable, tmp_path):
    qualified = [word if word.startswith(("-", "run")) else f"{word}/{word}" for word in MIX]
    trained = [[*words, *SHORT, "--out", folder, "--json"] for words, folder in ((MIX, "bare"), (qualified, "whole"))]
    *runs, drawn = several(readable, [*trained, ["generate", "bare", "-n", "4", "--out", "four.png"]], tmp_path)
    for done in runs:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["last"]["images"] == 8
    weights = {next((tmp_path / name / "generator").glob("*.safetensors")).read_bytes() for name in ("bare", "whole")}
    assert len(weights) == 1
    assert (drawn.returncode, drawn.stdout) == (0, "four.png\n")


def test_what_breaks_when_it_is_imported_is_named(readable, tmp_path):
    commands = [[loss if word == "well-loss" else word for word in MIX] + [*SHORT, "--quiet"] for loss in LATE]
    for loss, done in zip(LATE, several(readable, commands, tmp_path), strict=True):
        refused(done, 3, f"{loss} 1.0", LATE[loss][1])
    assert not list(tmp_path.iterdir())


def dry(loss, *more):
    return [loss if word == "well-loss" else word for word in MIX] + ["--dry-run", "--json", *more]


def test_a_name_that_two_have_is_said_with_the_distribution(crowd):
    both, first, second, freed, gone = several(
        crowd,
        [
            dry("shared"),
            dry("rival-a/shared"),
            dry("Rival_B/shared"),
            dry("shared", "--no-plugin", "rival-a"),
            dry("rival-a/shared", "--no-plugin", "rival-a"),
        ],
    )
    refused(both, 2, "rival-a/shared or rival-b/shared")
    weights = [json.loads(done.stdout)["settings"]["loss.weight"]["value"] for done in (first, second)]
    assert weights == [1.0, 2.0]
    assert json.loads(freed.stdout)["parts"]["loss"] == "rival-b/shared"
    refused(gone, 2, "no loss is called 'rival-a/shared'")


def test_a_broken_part_is_refused_with_its_reason(crowd):
    newer, foreign = several(crowd, [dry("newer/newer"), dry("foreign-setting")])
    refused(newer, 3, "newer 1.0", "upgrade ganzoo")
    refused(foreign, 3, "foreign-setting 1.0", "may set loss.*, train.*")


def test_the_environment_can_name_the_few_that_count(crowd):
    few = {"GANZOO_PLUGINS": "well-model, WELL_data, well-loss, well-still, older"}
    commands = [["list", "--json"], dry("well-loss"), dry("good-3"), dry("well-loss", "--no-plugin", "well-data")]
    listed, taken, left_out, without = several(crowd, commands, env=few)
    left = {(row["distribution"], row["state"]) for row in json.loads(listed.stdout)["parts"]}
    assert left == {(f"well-{name}", "ok") for name in ("model", "data", "loss", "still")} | {("older", "api-mismatch")}
    assert taken.returncode == 0
    refused(left_out, 2, "no loss is called 'good-3'")
    refused(without, 2, "no dataset is called 'well-data'")
    refused(crowd.run(*dry("well-loss"), env={"GANZOO_PLUGINS": ""}), 2, "no model is called 'well-model'")
