"""One manifest at a time: what a card holds, and every way to get a field wrong."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from ganzoo_core.discovery import manifest

MODEL = """
[models.m]
title = "A model"
framework = "torch"
hooks = "pack.hooks"
"""
LOSS = """
[losses.m]
title = "A loss"
hooks = "pack.hooks"
"""
OTHER = {
    "schedules": LOSS.replace("losses", "schedules"),
    "datasets": LOSS.replace("losses", "datasets"),
    "modifiers": LOSS.replace("losses", "modifiers"),
    "trackers": LOSS.replace("losses", "trackers"),
    "extractors": LOSS.replace("losses", "extractors"),
    "metrics": LOSS.replace("losses", "metrics"),
}


@pytest.fixture
def read(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "hooks.py").write_text("raise RuntimeError\n")

    def read(text: str | bytes):
        """The parts and the problems."""
        content = text.encode() if isinstance(text, str) else text
        (folder / "ganzoo.toml").write_bytes(content)
        return manifest.read(folder / "ganzoo.toml", distribution="dist", version="3", package="pack")[:2]

    return read


def test_everything_a_card_can_hold(read):
    text = """
    api = 1
    [models.big-gan_2]
    title = "A model"
    framework = "tensorflow"
    paper = "arXiv:1511.06434"
    hooks = "pack.hooks"
    aliases = ["bg"]
    default = true
    conditional = true
    output = "linear"
    latent = "sphere"
    image_sizes = [64, 32, 64]
    takes = ["resolution", "fade"]
    has.attention = true
    has.batchnorm_in_discriminator = { setting = "model.norm", is = "batch" }
    [models.big-gan_2.defaults]
    use.loss = "hinge"
    use.with = ["r1"]
    with.r1.gamma = 5
    model.norm = "batch"
    model.widths = [512, 256]
    "model.rate" = 1e-3
    generator.norm = "none"
    train.lr = 1e-4
    [models.big-gan_2.choices]
    model.norm = ["batch", "none"]
    [models.big-gan_2.at_least]
    model.widths = 1
    [models.big-gan_2.above]
    model.rate = 0
    [models.big-gan_2.below]
    model.rate = 1.0
    [models.big-gan_2.help]
    model.norm = "the normalisation"
    train.lr = "as in the paper"
    [models.big-gan_2.presets.tiny]
    model.widths = [8, 4]
    discriminator.norm = "none"
    [models.big-gan_2.bfloat16]
    tiny = 2
    """
    (part,), problems = read(text)
    assert problems == []
    assert part.qualified_name == "dist/big-gan_2"
    assert part.frameworks == ("tensorflow",)
    assert part.image_sizes == (32, 64)
    assert part.takes == ("resolution", "fade")
    assert (part.conditional, part.output, part.latent, part.default) == (True, "linear", "sphere", True)
    assert part.defaults == {
        "use.loss": "hinge", "use.with": ["r1"], "with.r1.gamma": 5, "model.norm": "batch",
        "model.widths": [512, 256], "model.rate": 1e-3, "generator.norm": "none", "train.lr": 1e-4,
    }  # fmt: skip
    assert part.choices == {"model.norm": ("batch", "none")}
    assert (part.above, part.at_least, part.below) == ({"model.rate": 0}, {"model.widths": 1}, {"model.rate": 1.0})
    assert part.help == {"model.norm": "the normalisation", "train.lr": "as in the paper"}
    assert part.bfloat16 == {"tiny": 2.0}
    assert part.presets == {"tiny": {"model.widths": [8, 4], "discriminator.norm": "none"}}
    assert (part.paper, part.aliases) == ("arXiv:1511.06434", ("bg",))


def test_parts_of_every_kind(read):
    text = "api = 1" + MODEL + LOSS + "".join(OTHER.values())
    text += "".join(f'[losses."{name}"]\ntitle = "T"\nhooks = "pack"\n' for name in ("a", "0.5-x_y"))
    parts, problems = read(text)
    assert problems == []
    assert sorted({part.kind for part in parts}) == sorted(manifest.KINDS)
    assert {part.frameworks for part in parts if part.kind != "models"} == {()}


def test_a_byte_order_mark_is_no_fault(read):
    parts, problems = read(b"\xef\xbb\xbfapi = 1" + LOSS.encode())
    assert (len(parts), problems) == (1, [])


BAD_MODEL = [
    ('title = ""', "title is '': expected one line of text"),
    ('title = "a\\nb"', "expected one line of text"),
    ('title = "\\u001b[2J"', "expected one line of text"),
    ("title = 3", "title is 3"),
    ("title = 3\ntitel = 'x'", "manifest has 'titel'"),
    ('framework = "jax"', "expected torch or tensorflow"),
    ("framework = 1", "expected a list of names"),
    ('frameworks = ["torch"]', "both framework and frameworks"),
    ("hooks = 'pack/hooks.py'", "expected a module"),
    ("hooks = 'pack.1x'", "expected a module"),
    ("hooks = 'other.hooks'", "outside of the package pack"),
    ("hooks = 'pack.missing'", "which the package does not hold"),
    ("paper = []", "paper is []"),
    ("aliases = 'x'", "expected a list of names"),
    ("aliases = ['dist/x']", "lower case letters, digits"),
    ("aliases = ['UPPER']", "lower case letters, digits"),
    ("default = 1", "expected true or false"),
    ("conditional = 'no'", "expected true, false, or { setting, is }"),
    ("conditional = { setting = 'model.norm' }", "expected true, false, or { setting, is }"),
    ("conditional = { setting = 'train.lr', is = 1 }", "with a setting of the model"),
    ("conditional = { setting = 'model.norm', is = [] }", "expected true, false"),
    ("conditional = { setting = 'model.told', is = true }", "asks for model.told, which [defaults] does not declare"),
    ("output = 'sigmoid'", "expected tanh or linear"),
    ("latent = []", "expected normal or uniform or sphere"),
    ("image_sizes = []", "expected a list of pixels"),
    ("image_sizes = [32, '64']", "expected a list of pixels"),
    ("image_sizes = [0]", "expected a list of pixels"),
    ("image_sizes = [true]", "expected a list of pixels"),
    ("takes = ['fade in']", "expected a list of identifiers"),
    ("has = 3", "expected features"),
    ("has.x = 'yes'", "x: expected true, false"),
    ("has.x = { setting = 'model.a' }", "x: expected true, false"),
    ("has.x = { setting = 5, is = 1 }", "x: expected true, false"),
    ("has.x = [{ setting = 'model.a', is = 1 }]", "x: expected true, false"),
    ("has.x = { setting = 'model.a', is = [1] }", "x: expected true, false"),
    ("has.x = { setting = 'model.a', is = 1 }", "asks for model.a, which [defaults] does not declare"),
    ("has.'a b' = true", "expected a list of identifiers"),
    ("defaults.model.a = 'x'\nhas.x = { setting = 'model.a', above = 1 }", "compares model.a, which is no number"),
    ("defaults = 3", "expected a table of settings"),
    ("defaults.width = 3", "'width' is no setting's name"),
    ("defaults.'model.a b' = 3", "'model.a b' is no setting's name"),
    ("defaults.'model.a=b' = 3", "is no setting's name"),
    ("defaults.'model.a' = 3\ndefaults.model.a = 4", "model.a is set twice"),
    ("defaults.modle.width = 3", "a part of this kind may set model.*"),
    ("defaults.track.x.y = 3", "a part of this kind may set"),
    ("defaults.train.gradient_accumulation = 3", "does not have; upgrade ganzoo-core: pip install -U ganzoo-core"),
    ("defaults.train.batchsize = 3", "did you mean train.batch_size?"),
    ("defaults.use.model = 'x'", "a model may pick use.loss"),
    ("defaults.use.data = 'x'", "a model may pick use.loss"),
    ("defaults.model.a = 1979-05-27", "a setting is a number, a text"),
    ("defaults.model.a = []", "is an empty list"),
    ("defaults.model.a = [[1]]", "expected names"),
    ("defaults.model.a = [1, 'x']", "expected names"),
    ("defaults.model.a = nan", "expected a number"),
    ("defaults.model.a = inf", "expected a number"),
    ("defaults.train.lr = 0", "train.lr is 0; expected a number above 0"),
    ("defaults.train.batch_size = 1.5", "expected a whole number"),
    ("defaults.train.length = 'long'", "expected a length"),
    ("choices = 3", "choices is 3"),
    ("choices.model.a = 'x'", "expected a list of values"),
    ("choices.model.a = []", "expected a list of values"),
    ("choices.model.a = [1]", "choices is about model.a"),
    ("defaults.model.a = 1\nchoices.model.a = [2, 3]", "is 1, which is not among its choices"),
    ("defaults.model.a = 1\nchoices.model.a = [1, 'x']", "expected a whole number"),
    ("defaults.model.a = ['x', 'y']\nchoices.model.a = ['x']", "is ['x', 'y'], which is not among its choices"),
    ("at_least.model.a = 'x'", "expected a number for each setting"),
    ("below.model.a = 1", "below is about model.a, which [defaults] does not declare"),
    ("defaults.model.a = 'x'\nat_least.model.a = 1", "at_least compares model.a, which is no number"),
    ("defaults.model.a = [1, 0]\nat_least.model.a = 1", "defaults model.a is [1, 0]; expected a number of at least 1"),
    ("help = 3", "help is 3"),
    ("help.model.a = 'x'", "help is about model.a"),
    ("defaults.model.a = 1\nhelp.model.a = 3", "expected one line of text"),
    ("presets = []", "expected a table for each preset"),
    ("bfloat16 = 1.4", "expected a number between 1 and 100 for each preset"),
    ("presets.x.train.lr = 1.0\nbfloat16.x = 0.9", "expected a number between 1 and 100"),
    ("presets.x.train.lr = 1.0\nbfloat16.x = 1e3", "expected a number between 1 and 100"),
    ("presets.x.train.lr = 1.0\nbfloat16.x = true", "expected a number between 1 and 100"),
    ("presets.digits.train.lr = 1.0\nbfloat16.digit = 2", "about digit, which is no preset; did you mean digits?"),
    ("presets.x = 3", "expected a table of settings"),
    ("presets.none = {}", "'none' is what a user says"),
    ("presets.'a b' = {}", "lower case letters, digits"),
    ("presets.x.model.a = 3", "which [defaults] does not declare"),
    ("defaults.model.width = 1\npresets.x.model.wdith = 3", "did you mean model.width?"),
    ("defaults.model.a = 1\npresets.x.model.a = 'wide'", "presets.x: model.a is 'wide'; expected a whole number"),
    ("defaults.model.a = 1\npresets.x.generator.a = 0.5", "expected a whole number"),
]


@pytest.mark.parametrize(("lines", "expected"), BAD_MODEL, ids=[lines for lines, _ in BAD_MODEL])
def test_a_malformed_model_is_refused_in_words(read, lines, expected):
    keys = {line.split("=")[0].strip() for line in lines.splitlines()}
    kept = [line for line in MODEL.splitlines() if line.split("=")[0].strip() not in keys]
    parts, problems = read("api = 1" + LOSS + "\n".join(kept) + "\n" + lines + "\n")
    assert [part.kind for part in parts] == ["losses"]
    (problem,) = problems
    assert (problem.kind, problem.name, problem.distribution, problem.version) == ("models", "m", "dist", "3")
    assert problem.state in ("bad-manifest", "missing-module")
    assert problem.reason.startswith("ganzoo.toml [models.m] ")
    assert expected in problem.reason


BAD_OTHERS = [
    ("losses", "needs = 'x'", "expected a list of names"),
    ("losses", "needs = ['second order']", "expected a list of identifiers"),
    ("losses", "decision = 'both'", "expected a number or 'pair'"),
    ("losses", "decision = true", "expected a number or 'pair'"),
    ("losses", "decision = nan", "expected a number or 'pair'"),
    ("losses", "probability = 'softmax'", "expected sigmoid"),
    ("losses", "takes = ['ga mma']", "expected a list of identifiers"),
    ("schedules", "gives.gamma = false", "expected true, or { setting, above }"),
    ("schedules", "gives.gamma = { setting = 'schedule.a', is = 1 }", "expected true, or { setting, above }"),
    ("schedules", "gives.gamma = { setting = 'schedule.a', above = 0 }", "gives.gamma asks for schedule.a, which"),
    ("schedules", "gives.g = { setting = 'schedule.a', above = 0 }\ndefaults.schedule.a = ['x']", "is no number"),
    ("losses", "has.x = []", "x: expected a list of { setting, is } and { setting, above }"),
    ("losses", "has.x = [true]", "x: expected a list of { setting, is } and { setting, above }"),
    ("losses", "has.x = [{ setting = 'loss.a', above = 0 }]", "has.x asks for loss.a, which [defaults] does not"),
    ("losses", "clip_discriminator = 0", "expected a number above 0"),
    ("losses", "clip_discriminator = 'train.lr'", "the name of one of the loss's settings"),
    ("losses", "clip_discriminator = 'loss.clip'", "asks for loss.clip, which [defaults] does not declare"),
    ("losses", "clip_discriminator = 'loss.clip'\ndefaults.loss.clip = 'x'", "which is no number"),
    ("losses", "clip_discriminator = 'loss.clip'\ndefaults.loss.clip = [1.0]", "which is no number"),
    ("losses", "defaults.model.width = 3", "may set loss.*, train.*"),
    ("losses", "defaults.use.with = []", "may set loss.*, train.*"),
    ("losses", "default = 'yes'", "expected true or false"),
    ("schedules", "defaults.loss.x = 3", "may set schedule.*, train.*"),
    ("datasets", "defaults.train.lr = 3", "may set data.*"),
    ("datasets", "argument = 'maybe'", "expected none or optional or required or path"),
    ("datasets", "image = 3", "expected { height, width"),
    ("datasets", "image = { height = 8, width = 8, channels = 2, classes = 0 }", "1 or 3 channels"),
    ("datasets", "image = { height = 0, width = 8, channels = 1, classes = 0 }", "whole numbers of pixels"),
    ("datasets", "image = { height = 8, width = 8, channels = 1, classes = -1 }", "whole numbers of pixels"),
    ("datasets", "image = { height = 8, width = 8.5, channels = 1, classes = 0 }", "whole numbers of pixels"),
    ("datasets", "image = { height = 8 }", "expected { height, width"),
    ("modifiers", "defaults.with.other.x = 3", "its own settings are with.m.*"),
    ("modifiers", "defaults.loss.x = 3", "may set with.*"),
    ("modifiers", "doubles = [3]", "expected a list of names"),
    ("trackers", "defaults.with.m.x = 3", "may set track.*"),
    ("extractors", "defaults.extractor.other.x = 3", "its own settings are extractor.m.*"),
    ("metrics", "defaults.train.lr = 3", "may set metric.*"),
    ("metrics", "lower = [3]", "expected a list of names"),
]


@pytest.mark.parametrize(("kind", "lines", "expected"), BAD_OTHERS, ids=[f"{k}: {t}" for k, t, _ in BAD_OTHERS])
def test_a_malformed_part_of_another_kind_is_refused_in_words(read, kind, lines, expected):
    table = LOSS if kind == "losses" else OTHER[kind]
    parts, problems = read("api = 1" + MODEL + table + lines + "\n")
    assert [part.kind for part in parts] == ["models"]
    assert [problem.kind for problem in problems] == [kind]
    assert expected in problems[0].reason


WHOLE = [
    ("", "api-mismatch", "says no api, this"),
    ("api = 0", "api-mismatch", "upgrade dist"),
    ("api = 2", "api-mismatch", "upgrade ganzoo"),
    ("api = true", "api-mismatch", "must write `api = 1`"),
    ("api = 1.0", "api-mismatch", "must write `api = 1`"),
    ("api = [1]", "api-mismatch", "must write `api = 1`"),
    ("api = -1", "api-mismatch", "must write `api = 1`"),
    ("api = ''", "api-mismatch", "must write `api = 1`"),
    ("api = '1'", "api-mismatch", "must write `api = 1`"),
    ("api = 1", "bad-manifest", "names no part"),
    ("api = 1\nmodels = 3", "bad-manifest", "which is no table of parts"),
    ("api = 1\n[model.x]\ntitle = 'T'", "bad-manifest", "did you mean models?"),
    ("api = 1\n[models.'A b']\n", "bad-manifest", "has a name that is not lower case"),
    ("api = 1\n[models.''']\n", "bad-manifest", "cannot be read"),
    ('api = 1\n[models.""]\n', "bad-manifest", "has a name that is not"),
    ("api = 1\n[models]\nx = 3", "bad-manifest", "expected a table"),
    ("api = 1\n[models.x]", "bad-manifest", "has no title"),
    ("api = 1\n[models.x]\ntitle = 'T'", "bad-manifest", "has no hooks"),
    ("api = 1\n[models.x]\ntitle = 'T'\nhooks = 'pack'", "bad-manifest", "has no framework"),
    (
        "api = 1\n[models.x]\ntitle='T'\nhooks='pack'\nframeworks=['torch','tensorflow']",
        "bad-manifest",
        "one framework",
    ),
    ("api = 1\n[models.x]\ntitle='T'\nhooks='pack'\nframeworks=[]", "bad-manifest", "one framework"),
    ("api = 1\napi = 1", "bad-manifest", "cannot be read"),
    ("api = 1\nx = " + "[" * 5000, "bad-manifest", "cannot be read"),
    ("api = 1\n[losses.m.defaults]\nloss." + "a." * 1900 + "a = 1", "bad-manifest", "[losses.m]"),
    ("api = 1\na" + ".a" * 90_000 + " = 1", "bad-manifest", "a line has more than 2000 dots outside of quotes"),
    ("api = 1\x00", "bad-manifest", "cannot be read"),
]


@pytest.mark.parametrize(("text", "state", "expected"), WHOLE, ids=[text[:30] for text, _, _ in WHOLE])
def test_a_manifest_wrong_as_a_whole(read, text, state, expected):
    parts, problems = read(text)
    assert parts == []
    (problem,) = problems
    assert problem.state == state
    assert expected in problem.reason
    assert len(problem.reason) < 400


def test_names_that_cannot_be_told_apart(read):
    text = "api = 1\n" + "".join(
        f"[losses.{name}]\ntitle = 'T'\nhooks = 'pack'\naliases = {aliases}\n"
        for name, aliases in (("a-b", []), ("a_b", []), ("c", ["d"]), ("d", []), ("e", ["e", "f"]), ("g", ["f"]))
    )
    parts, problems = read(text)
    assert [part.name for part in parts] == ["a-b", "d", "e"]
    reasons = {problem.name: problem.reason for problem in problems}
    assert set(reasons) == {"a_b", "c", "g"}
    assert "goes by 'd', as d does" in reasons["c"]


def test_hooks_are_found_as_python_would(read, tmp_path):
    folder = tmp_path / "pack"
    (folder / "sub/deeper").mkdir(parents=True)
    (folder / "sub/deeper/__init__.py").write_text("")
    (folder / "compiled.abi3.so").write_text("")
    (folder / "notes.txt").write_text("")
    (folder / "empty").mkdir()

    def state(hooks: str) -> str:
        parts, problems = read("api = 1" + LOSS.replace("pack.hooks", hooks))
        return "ok" if parts else problems[0].state

    for hooks in ("pack", "pack.hooks", "pack.sub.deeper", "pack.compiled"):
        assert state(hooks) == "ok"
    for hooks in ("pack.notes", "pack.empty", "pack.sub.nothing", "pack.hooks.py"):
        assert state(hooks) == "missing-module"


SENTENCES = [
    (
        "",
        "says no api, this ganzoo-core speaks 1; its author must write `api = 1`, or a range such as `api = '>=1,<3'`",
    ),
    ("api = 0", "says api = 0, this ganzoo-core speaks 1; upgrade dist: pip install -U dist"),
    ("api = 2", "says api = 2, this ganzoo-core speaks 1; upgrade ganzoo-core: pip install -U ganzoo-core"),
    (
        "api = true",
        "says api = True, this ganzoo-core speaks 1; its author must write `api = 1`, or a range such as "
        "`api = '>=1,<3'`",
    ),
    ("api = 1", "names no part"),
    ("api = 1\nmodels = 3", "has 'models', which is no table of parts"),
    (
        "api = 1\n[x.y]",
        f"names no part; its manifest has 'x', which ganzoo-core {version('ganzoo-core')} does not expect there and "
        "ignores; upgrade ganzoo-core: pip install -U ganzoo-core",
    ),
    ("api = 1\n[models.x]\ntitle = 'T'\nhooks = 'pack'", "[models.x] has no framework"),
    ("api = 1\n[models.x]\nframework = 'torch'\nhooks = 'pack'", "[models.x] has no title"),
    ("api = 1\n[models]\nx = 3", "[models.x] is 3; expected a table"),
]


@pytest.mark.parametrize(("text", "sentence"), SENTENCES, ids=[text[:30] for text, _ in SENTENCES])
def test_what_is_wrong_with_a_manifest_is_a_whole_sentence(read, text, sentence):
    parts, (problem,) = read(text)
    assert (parts, problem.reason) == ([], f"ganzoo.toml {sentence}")


PARTS_SENTENCES = [
    ("presets.x.track.y.z = 3", "presets.x sets track.y.z; a part of this kind may set model.*, generator.*, "
     "discriminator.*, use.*, loss.*, schedule.*, with.*, data.*, train.*, engine.*"),
    ("presets.x.model.a = 3", "presets.x sets model.a, which [defaults] does not declare"),
    ("choices.model.a = [1]", "choices is about model.a, which [defaults] does not declare"),
    ("defaults.model.a = 1\nchoices.model.a = [2, 3]", "defaults model.a is 1, which is not among its choices"),
    ("defaults.model.a = 'x'\nhas.x = { setting = 'model.a', above = 1 }",
     "has.x compares model.a, which is no number"),
    ("defaults.model.a = []", "defaults model.a is an empty list, so the kind of its items is unknown"),
    ("defaults.use.data = 'x'", "defaults sets use.data; a model may pick use.loss, use.schedule, use.with"),
    ("defaults.train.batchsize = 3",
     f"defaults sets train.batchsize, which ganzoo-core {version('ganzoo-core')} does not have; "
     "did you mean train.batch_size? If not, upgrade ganzoo-core: pip install -U ganzoo-core"),
    ("hooks = 'other.hooks'", "hooks is other.hooks, outside of the package pack"),
    ("hooks = 'pack.missing'", "hooks is pack.missing, which the package does not hold"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "sentence"), PARTS_SENTENCES, ids=[lines for lines, _ in PARTS_SENTENCES])
def test_what_is_wrong_with_a_part_is_a_whole_sentence(read, lines, sentence):
    kept = "\n".join(line for line in MODEL.splitlines() if not lines.startswith("hooks") or "hooks" not in line)
    parts, (problem,) = read(f"api = 1{kept}\n{lines}\n")
    state = "missing-module" if "does not hold" in sentence else "bad-manifest"
    assert (parts, problem.state, problem.reason) == ([], state, f"ganzoo.toml [models.m] {sentence}")


def test_what_a_model_declares_it_may_set_in_a_preset_for_one_network(read):
    """And the core's own settings without declaring them."""
    lines = "defaults.model.a = 1\npresets.x.discriminator.a = 2\npresets.x.model.latent_dim = 3\n"
    ((part,), problems) = read("api = 1" + MODEL + lines)
    assert (problems, part.presets) == ([], {"x": {"discriminator.a": 2, "model.latent_dim": 3}})


@pytest.mark.parametrize("count", [500, 501])
def test_the_first_500_parts_of_a_kind_are_read(read, count):
    text = "api = 1\n" + "".join(f"[losses.l{n}]\ntitle = 'T'\nhooks = 'pack'\n" for n in range(count))
    parts, problems = read(text)
    assert [part.name for part in parts] == [f"l{n}" for n in range(500)]
    assert [(problem.state, problem.reason) for problem in problems] == [
        ("bad-manifest", "ganzoo.toml has 501 losses; expected at most 500, and the others are left out")
    ] * (count - 500)


@pytest.mark.parametrize(("size", "is_read"), [(200_000, True), (200_001, False)])
def test_a_manifest_has_at_most_200_000_bytes(read, size, is_read):
    text = "api = 1" + LOSS + "#"
    parts, problems = read(text + "x" * (size - len(text)))
    assert (len(parts), len(problems)) == (is_read, not is_read)
    assert all("is larger than 200,000 bytes" in problem.reason for problem in problems)


def test_a_name_that_is_taken_is_a_bad_manifest(read):
    text = "api = 1\n" + "".join(f"[losses.{name}]\ntitle = 'T'\nhooks = 'pack'\n" for name in ("a-b", "a_b"))
    _, (problem,) = read(text)
    found = (problem.state, problem.kind, problem.name, problem.reason)
    assert found == ("bad-manifest", "losses", "a_b", "ganzoo.toml [losses.a_b] goes by 'a_b', as a-b does")
