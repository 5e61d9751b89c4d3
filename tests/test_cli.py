"""The commands as a person types them: what they print, and one sentence and the right exit code for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganzoo_core.settings import CORE_SETTINGS

BROKEN = """
[datasets.gone]
title = "Its module needs what is not installed"
hooks = "pack.gone"
[datasets.leaves]
title = "Leaves when it is imported"
hooks = "pack.leaves"
[datasets.silent]
title = "Returns nothing"
hooks = "pack.silent"
[datasets.unread]
title = "Has no images for us, and says so"
hooks = "pack.unread"
[datasets.tiny]
title = "Two black images"
hooks = "pack.tiny"
[datasets.marked]
title = "[bold]no markup[/bold] :smile: [/]"
hooks = "pack.tiny"
[modifiers.forgetful]
title = "Forgets to return"
hooks = "pack.forgetful"
"""
HOOK = "import ganzoo_core as gz\n@gz.hookimpl\ndef dataset(name):\n"
FILES = {
    "__init__.py": HOOK + "    raise gz.DataError('never read')\n",
    "gone.py": "import nothing_like_it\n",
    "leaves.py": "print('{')\nraise SystemExit(0)\n",
    "silent.py": HOOK + "    print('{')\n",
    "unread.py": HOOK + "    raise gz.DataError('no images\\nwere found')\n",
    "tiny.py": "import numpy as np\n" + HOOK + "    return gz.ImageSource(np.zeros((2, 16, 16, 1), np.uint8))\n",
    "forgetful.py": HOOK.replace("hookimpl", "hookimpl(wrapper=True)") + "    yield\n",
}


@pytest.fixture(scope="module")
def zoo(make_site):
    """The parts of mix.toml as a distribution, beside broken ones."""
    site = make_site()
    manifest = (Path(__file__).parent / "mix.toml").read_text(encoding="utf-8")
    site.add("dist", manifest + BROKEN, package="pack", files=FILES)
    return site


@pytest.fixture
def run(zoo, tmp_path):
    def run(*words, code=0, **env):
        done = zoo.run(*words, env={"GANZOO_PLUGINS": "dist", **env}, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        if code:
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert done.stderr.startswith("ganzoo")
        return done

    return run


def test_a_dry_run_shows_each_value_with_its_origin(run, tmp_path):
    (tmp_path / "my.yaml").write_text("model: {norm: none}\nseed: 7\n")
    words = ["run", "conv", "--loss", "gp", "--config", "my.yaml", "--set", "lr=2e-4", "--batch-size", "5"]
    told = json.loads(run(*words, "--steps", "9", "--dry-run", "--json").stdout)
    assert told["parts"] == {
        "generator": "dist/conv",
        "discriminator": "dist/conv",
        "data": "dist/grey",
        "loss": "dist/gp",
        "schedule": "dist/constant",
    }
    assert (told["schema"], told["framework"], told["preset"]) == (1, "torch", "grey")
    assert (told["size"], told["warnings"], told["modifiers"]) == ([16, 16, 1], [], [])
    expected = {
        "train.lr": (2e-4, "--set"),
        "train.batch_size": (5, "--batch-size"),
        "train.length": ("9steps", "--steps"),
        "train.seed": (7, "my.yaml"),
        "model.norm": ("none", "my.yaml"),
        "model.width": (32, "conv preset grey"),
        "train.critic_steps": (5, "gp"),
        "train.betas": ([0.5, 0.999], "core"),
        "use.loss": ("gp", "--loss"),
        "use.model": ("conv", "MODEL"),
        "use.data": ("grey", "the default"),
    }
    assert {key: tuple(told["settings"][key].values()) for key in expected} == expected
    assert set(CORE_SETTINGS) <= set(told["settings"])
    lines = run(*words, "--dry-run").stdout.splitlines()
    assert "train.lr\t0.0002\t--set" in lines
    assert "loss\tdist/gp\t1.0" in lines
    noted = run("run", "conv", "--loss", "gp", "--dry-run")
    assert "note: gp needs a discriminator without batchnorm: discriminator.norm=layer" in noted.stdout
    assert not [path for path in tmp_path.iterdir() if path.name != "my.yaml"]


def test_info_lists_every_setting_that_applies(run):
    facts = json.loads(run("info", "conv", "--json").stdout)
    assert facts["schema"] == 1
    part = facts["part"]
    rows = {row["setting"]: row for row in part["settings"]}
    assert {key for key in CORE_SETTINGS if key.startswith(("train.", "data.", "engine.", "model."))} < set(rows)
    assert rows["model.norm"]["default"] == "batch"
    assert rows["model.norm"]["choices"] == ["batch", "layer", "none"]
    assert (rows["train.lr"]["default"], rows["train.lr"]["origin"]) == (3e-4, "conv")
    assert rows["train.lr"]["help"] == CORE_SETTINGS["train.lr"].help
    assert (rows["use.loss"]["default"], rows["train.seed"]["origin"]) == ("plain", "core")
    assert part["image_sizes"] == [16, 32, 64]
    assert part["conditional"] is False
    assert part["framework"] == "torch"
    assert part["bfloat16"] == {"grey": 1.4}
    assert part["presets"] == {"grey": {"model.width": 32, "train.batch_size": 16}, "rate": {"train.lr": 6e-4}}
    text = run("info", "conv").stdout
    for words in (
        "image sizes: 16, 32, 64",
        "conditional: no",
        "batchnorm in discriminator where model.norm is batch",
        "\nmodel.norm\tbatch\tconv\t",
        "\ntrain.betas\t0.5,0.999\tcore\t",
        "\ntrain.lr_g\t-\tcore\t",
        "preset grey (1.4 times as fast in bfloat16): model.width=32, train.batch_size=16",
    ):
        assert words in text


def test_info_of_a_model_with_parts_of_its_own_choice(run):
    rows = {row["setting"]: row for row in json.loads(run("info", "penalised", "--json").stdout)["part"]["settings"]}
    assert (rows["with.r1.gamma"]["default"], rows["with.r1.gamma"]["origin"]) == (3.0, "penalised")
    assert run("info", "orphan").stdout


def test_info_of_other_kinds_holds_what_means_something_for_them(run):
    text = run("info", "gp").stdout
    assert "needs: second_order, no_batchnorm_in_discriminator" in text
    assert "loss.weight\t10.0\tgp" in text
    assert "conditional" not in text
    assert "latent" not in text
    text = run("info", "files").stdout
    assert "argument: required" in text
    assert {"data.size\t64\tfiles", "data.count\t3\tfiles", "data.split\ttrain\tcore"} <= {
        "\t".join(line.split("\t")[:3]) for line in text.splitlines()
    }
    assert "image: height 8, width 8, channels 1, classes 10" in run("info", "grey").stdout
    assert "with.r1.gamma\t10.0\tr1" in run("info", "r1").stdout


MISTAKES = [
    ("lits", "did you mean list?"),
    ("list modles", "KIND is 'modles'; did you mean models?"),
    ("list --jsn", "Unknown option `--jsn`; did you mean --json?"),
    ("info", "NAME"),
    ("info cnov", "did you mean conv (a model)"),
    ("info conv extra", "Unexpected argument 'extra'"),
    ("doctor cnov", "did you mean conv"),
    ("run", "no model is named; installed are conv"),
    ("run cnov", "did you mean conv?"),
    ("run conv --loss plian", "did you mean plain"),
    ("run conv --data gery", "did you mean grey"),
    ("run conv --with r2", "did you mean r1"),
    ("run conv --preset gray", "it has grey, rate"),
    ("run conv --lss plain", "Unknown option `--lss`; did you mean --loss?"),
    ("run conv --set lr", "write --set key=value"),
    ("run conv --set =3", "write --set key=value"),
    ("run conv --set lrr=3", "--set: there is no setting 'lrr' in this mix; did you mean train.lr"),
    ("run conv --set lr=", "--set: train.lr is ''; expected a number"),
    ("run conv --set lr=fast", "expected a number"),
    ("run conv --set lr=-1", "expected a number above 0"),
    ("run conv --set lr=nan", "expected a number"),
    ("run conv --set lr=inf", "expected a number"),
    ("run conv --set train.length=0", "expected a length above 0"),
    ("run conv --set sample_every=often", "expected a length"),
    ("run conv --set split=tarin", "expected train or test or all; did you mean train?"),
    ("run conv --set norm=bacth", "did you mean batch?"),
    ("run conv --set use.lossy=x", "did you mean use.loss"),
    ("run conv --batch-size 0", "--batch-size: train.batch_size is 0"),
    ("run conv --batch-size x", "--batch-size"),
    ("run conv --seed -1", "train.seed is -1; expected a number of at least 0"),
    ("run conv --images 0", "--images"),
    ("run conv --epochs nan", "--epochs is nan"),
    ("run conv --epochs inf", "--epochs is inf"),
    ("run conv --images 5 --steps 5", "not allowed with"),
    ("run conv --device gpu", "--device is 'gpu'; did you mean cpu?"),
    ("run conv --config missing.yaml", "missing.yaml cannot be read"),
    ("run conv --config .", "cannot be read"),
    ("run conv --config /dev/zero", "/dev/zero is no regular file"),
    ("run conv --config bad.yaml", "bad.yaml: there is no setting 'train.lrr'"),
    ("run conv --config twice.yaml", "line 2: 'lr' is set twice"),
    ("run conv --data files", "needs an argument: --data files:"),
    ("run conv --data grey:x", "takes no argument"),
    ("run conv --data big", "choose one with --set data.size=64"),
    ("run --generator conv", "--discriminator as well"),
    ("run --generator conv --discriminator flow", "pick both from one framework"),
    ("run labelled --data big", "labelled is conditional, and big has no labels"),
    ("run conv --loss gp --set discriminator.norm=batch", "say --set discriminator.norm=layer"),
    ("run conv --loss gp --set updates=simultaneous --set norm=none", "--set critic_steps=1"),
    ("run conv --data unread", "no images were found"),
    ("run conv --no-plugin dits", "--no-plugin dits: no such plugin is installed; did you mean dist?"),
    ("show conv", "holds no plain.py to show"),
    ("show gp", "gp is a loss"),
    ("generate nowhere", "nowhere is not there"),
]


ALL_IN_ONE_PROCESS = """
import contextlib, io, json, sys
from ganzoo_core.cli import main
told = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def answers(zoo, tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    (place / "bad.yaml").write_text("train: {lrr: 1}\n")
    (place / "twice.yaml").write_text("lr: 1\nlr: 2\n")
    commands = json.dumps([words.split() for words, _ in MISTAKES])
    done = zoo.python("-c", ALL_IN_ONE_PROCESS, commands, env={"GANZOO_PLUGINS": "dist"}, cwd=place)
    assert done.stderr == ""
    assert len(list(place.iterdir())) == 2
    return dict(zip((words for words, _ in MISTAKES), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_answered_in_a_sentence(answers, words, expected):
    code, out, err = answers[words]
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1
    assert err.startswith(("ganzoo: ", f"ganzoo {words.split()[0]}: "))


def test_a_mistake_ends_the_process_with_2(run):
    assert "did you mean train.lr" in run("run", "conv", "--set", "lrr=3", code=2).stderr
    assert "did you mean --loss?" in run("run", "conv", "--lss", "x", code=2).stderr
    assert "none is installed: pip install ganzoo-core[torch]" in run("run", code=2, GANZOO_PLUGINS="").stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run conv --data gone", "gone (dist 1.0): importing pack.gone raised ModuleNotFoundError"),
        ("run conv --data leaves --json", "leaves (dist 1.0): importing pack.leaves raised SystemExit: 0"),
        ("run conv --data silent --json", "silent (dist 1.0): dataset returned nothing"),
        ("run conv --data tiny --with forgetful", "forgetful (dist 1.0): dataset returned nothing; a modifier must"),
    ],
)
def test_a_plugin_that_fails_is_named(zoo, tmp_path, words, expected):
    done = zoo.run(*words.split(), env={"GANZOO_PLUGINS": "dist"}, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    *printed, said = done.stderr.splitlines()
    assert expected in said
    assert set(printed) <= {"{"}  # what a part prints is not lost, and is not on stdout
    assert not list(tmp_path.iterdir())


def test_a_title_is_shown_as_it_is_written(run):
    assert "[bold]no markup[/bold] :smile: [/]" in run("list").stdout


def test_help_for_who_says_nothing(zoo):
    done = zoo.run()
    assert done.returncode == 2
    assert "list" in done.stdout
    assert zoo.run("--version").stdout.startswith("ganzoo ")
    for command in ("list", "info", "run", "generate", "show", "doctor"):
        done = zoo.run(command, "--help")
        assert done.returncode == 0
        assert f"usage: ganzoo {command}" in done.stdout
