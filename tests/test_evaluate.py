"""Scores without a framework: an extractor and metrics in numpy, images from files, and what is kept with a score."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from ganzoo_core import evaluation
from ganzoo_core.cli import main
from ganzoo_core.cli.evaluate import describe_protocol
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import PluginError, UsageError
from ganzoo_core.evaluation.request import has_ema, make_request

MANIFEST = """
api = 1
[datasets.lights]
title = "Grey squares, dark and light"
hooks = "lights.data"
image = { height = 4, width = 4, channels = 1, classes = 2 }
[extractors.mean]
title = "The mean of an image"
hooks = "lights.extractor"
default = true
has.logits = true
[extractors.mean.defaults]
extractor.mean.power = 1.0
[extractors.torchy]
title = "Needs what is not there"
hooks = "lights.extractor"
frameworks = ["tensorflow"]
[metrics.gap]
title = "The difference of the means"
hooks = "lights.gap"
default = true
lower = ["fid"]
[metrics.gap.defaults]
metric.gap.scale = 2.0
[metrics.named]
title = "Needs classes"
hooks = "lights.gap"
needs = ["classes"]
default = true
[metrics.copies]
title = "Counts what copies are told by"
hooks = "lights.copies"
default = true
needs = ["training_images"]
max_training_images = 59
higher = ["held_out"]
[metrics.broken]
title = "Raises"
hooks = "lights.broken"
[metrics.strange]
title = "Returns something else"
hooks = "lights.strange"
"""
FILES = {
    "__init__.py": "",
    "data.py": """
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset(split, options):
    count = 20 if split == "test" else 60
    labels = np.arange(count) % 2
    images = np.repeat(np.uint8(40 + 100 * labels), 16).reshape(count, 4, 4, 1)
    source = gz.ImageSource(images, labels.astype(np.int64), ("dark", "light"))
    return source if options["holdout"] else gz.hold_out(source, split, options)
""",
    "extractor.py": """
import ganzoo_core as gz

class Mean:
    facts = {"weights": "none", "resizer": "none", "balanced_accuracy": 0.75}
    def __init__(self, power): self.power = power
    def extract(self, images):
        print("this goes to stderr")
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True) ** self.power, None

@gz.hookimpl
def extractor(name, data, source, say, options):
    say(f"{name} looks at {len(source('test').images)} of {data}")
    return Mean(options["power"])
""",
    "gap.py": """
import ganzoo_core as gz

@gz.hookimpl
def metric(options):
    def score(real, fake, seed):
        if len(fake.features) < 3:
            raise gz.UsageError("gap needs 3 images")
        gap = float(abs(real.features.mean() - fake.features.mean()))
        return {"fid": options["scale"] * gap + seed, "within": {name: gap for name in real.class_names}}
    return score
""",
    "copies.py": """
import ganzoo_core as gz

@gz.hookimpl
def metric():
    def score(real, fake, seed, *, training, held_out):
        return {"training": len(training.features), "held_out": -1 if held_out is None else len(held_out.features)}
    return score
""",
    "broken.py": """
import ganzoo_core as gz

@gz.hookimpl
def metric():
    def score(real, fake, seed):
        raise RuntimeError("it is broken")
    return score
""",
    "strange.py": "import ganzoo_core as gz\n\n@gz.hookimpl\ndef metric():\n    return lambda real, fake, seed: 3\n",
}


@pytest.fixture(scope="module")
def lights(make_site, tmp_path_factory):
    """A distribution of a dataset, extractors and metrics, seen by this process and its children."""
    site = make_site()
    site.add("lights", MANIFEST, files=FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site.path)
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PYTHONPATH", str(site.path))
        patch.setenv("GANZOO_PLUGINS", "lights")
        catalog.clear_cache()
        yield site
    catalog.clear_cache()


def ask(**more):
    return make_request(**{"data": "lights", "data_settings": {}, **more})


@pytest.fixture(scope="module")
def scorer(lights):
    said = []
    with evaluation.Scorer(ask(settings={"scale": "3"}), say=said.append) as made:
        made.said = said
        yield made


def grey(value, count=10, size=4, channels=1):
    return np.full((count, size, size, channels), value, np.uint8)


# The reference has the mean 90: half of its images are 40, half 140.


def test_a_score_and_all_that_it_depends_on(scorer):
    found = scorer.score(grey(100), seed=1, seen=500, ema=True, during="training")
    assert found.scores == {"fid": pytest.approx(3 * 10 + 1)}
    assert found.classes == {"within": {"dark": 10.0, "light": 10.0}}
    assert found.better == {"fid": "lower"}
    # A reference of 10 images of each grey: one more of a kind in one half moves the means apart by 20.
    assert (found.real["fid"] - 1) / (3 * 20) % 1 == pytest.approx(0)
    assert (found.images, found.extra) == (500, {"during": "training"})
    protocol = found.protocol
    assert (protocol["data"], protocol["reference"], protocol["reference_count"]) == ("lights", "test", 20)
    assert (protocol["samples"], protocol["seed"], protocol["ema"], protocol["size"]) == (10, 1, True, [4, 4, 1])
    assert protocol["extractor"] == {
        "name": "lights/mean", "version": "1.0", "features": 1, "options": {"power": 1.0},
        "weights": "none", "resizer": "none", "balanced_accuracy": 0.75,
    }  # fmt: skip
    assert protocol["metrics"] == {"lights/gap": {"scale": 3.0}}
    assert {"python", "numpy", "ganzoo", "lights"} <= set(protocol["versions"])
    assert scorer.said == ["mean looks at 20 of lights"]
    assert scorer.facts["balanced_accuracy"] == 0.75


@pytest.mark.parametrize(
    ("settings", "reference", "told"),
    [
        ({}, "test", False),
        ({"data.holdout": 0}, "test", True),
        ({"data.split": "all"}, "test", True),
        ({"data.holdout": 0}, "train", False),  # the protocol says already that these are training images
    ],
)
def test_a_score_says_where_nothing_was_held_out(lights, settings, reference, told):
    with evaluation.Scorer(ask(data_settings=settings, reference=reference, score_real_images=False)) as scorer:
        protocol = scorer.score(grey(100)).protocol
    assert protocol.get("nothing_held_out", False) is told
    assert ("nothing was held out, so training images are among these" in describe_protocol(protocol)) is told


@pytest.mark.parametrize(
    ("settings", "reference", "training", "held_out", "halves"),
    [
        ({}, "test", 60, 20, 10),
        ({}, "train", 60, 20, None),
        ({"data.share": 0.5}, "test", 30, 20, 10),
        ({"data.split": "test"}, "test", 20, 60, None),
        ({"data.holdout": 0}, "test", 60, -1, None),
        ({"data.holdout": 0, "data.share": 0.25}, "test", 15, 45, None),  # the rest of them was not trained on
        ({"data.split": "all"}, "test", 60, -1, None),
    ],
)
def test_copies_are_told_by_what_was_trained_on_and_what_was_not(
    lights, settings, reference, training, held_out, halves
):
    asked = ask(data_settings=settings, reference=reference, metrics=["copies"])
    with evaluation.Scorer(asked) as scorer:
        found = scorer.score(grey(100))
    assert found.scores == {"training": training, "held_out": held_out}
    assert found.real.get("held_out") == halves


def test_many_training_images_are_looked_at_only_if_that_was_asked_for(lights):
    for settings, is_there in (({}, False), ({"data.share": 0.9}, True)):
        with evaluation.Scorer(ask(data_settings=settings)) as scorer:
            assert ("training" in scorer.score(grey(100)).scores) is is_there


def test_images_are_brought_to_the_size_and_channels_of_the_data(scorer):
    found = scorer.score(grey(100, size=8, channels=3))
    assert found.scores["fid"] == pytest.approx(30)
    assert found.protocol["drawn_size"] == [8, 8, 3]


def test_a_refusal_is_an_answer_and_the_next_question_is_heard(scorer):
    with pytest.raises(UsageError, match="gap needs 3 images"):
        scorer.score(grey(100, 2))
    with pytest.raises(UsageError, match="there is 1 image to score"):
        scorer.score(grey(100, 1))
    assert scorer.score(grey(90)).scores["fid"] == 0


def test_a_metric_that_raises_is_named(lights):
    with (
        evaluation.Scorer(ask(metrics=["broken"])) as made,
        pytest.raises(PluginError, match=r"broken \(lights 1.0\): it raised RuntimeError: it is broken"),
    ):
        made.score(grey(9))
    with (
        evaluation.Scorer(ask(metrics=["strange"])) as made,
        pytest.raises(PluginError, match=r"strange \(lights 1.0\): returned a int; expected scores by name"),
    ):
        made.score(grey(9))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"data": "nothing"}, "no dataset is called 'nothing'"),
        ({"extractor": "means"}, "no extractor is called 'means'; did you mean mean?"),
        ({"extractor": "gap"}, "no extractor is called 'gap'; gap is a metric"),
        ({"metrics": ["gab"]}, "no metric is called 'gab'; did you mean gap?"),
        ({"metrics": []}, "no metric is named"),
        ({"metrics": ["named"]}, "the metric named needs classes, which the extractor mean does not give"),
        ({"reference": "tset"}, "the reference is 'tset'; expected test, train, all"),
        ({"settings": {"scales": 1}}, "there is no setting 'scales' in this mix; did you mean metric.gap.scale?"),
        ({"settings": {"scale": "much"}}, "metric.gap.scale is 'much'; expected a number"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(lights, asked, words):
    with pytest.raises(UsageError) as error:
        ask(**asked)
    assert words in str(error.value)


def test_without_anything_to_score_with_one_sentence_says_what_to_install(lights, monkeypatch):
    monkeypatch.setenv("GANZOO_PLUGINS", "")
    with pytest.raises(UsageError, match="no dataset"):
        ask()
    monkeypatch.setenv("GANZOO_PLUGINS", "lights")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as error:
        ask(extractor="torchy")
    assert str(error.value) == 'torchy needs tensorflow, which is not installed; pip install "ganzoo-core[scores]"'


def test_without_an_extractor_one_sentence_says_what_to_install(here, monkeypatch):
    monkeypatch.setenv("GANZOO_PLUGINS", "dim")
    here.add("dim", MANIFEST[: MANIFEST.index("[extractors.mean]")].replace("lights", "dim"), files=FILES)
    with pytest.raises(UsageError) as error:
        ask(data="dim")
    assert str(error.value).startswith("nothing that images are scored with is installed")
    assert str(error.value).endswith('pip install "ganzoo-core[scores]"')


def test_images_from_anywhere_are_scored_and_not_kept(lights, tmp_path, capsys):
    np.savez(tmp_path / "drawn.npz", images=grey(100))
    assert main(["evaluate", "--images", str(tmp_path / "drawn.npz"), "--data", "lights", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["run"], told["scores"][0]["scores"]) == (1, None, {"fid": 20.0})
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.npz"]

    assert main(["evaluate", "--images", str(tmp_path / "drawn.npz"), "--data", "lights", "--no-real"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "10 images against 20 of lights, test split, by lights/mean, "
        "whose balanced accuracy on the test images is 75.00%; seed 0"
    )
    assert lines[2].split("\t") == ["fid", "20", "-", "lower is better"]
    assert lines[-1].split("\t") == ["light", "10"]


def test_pictures_from_anywhere_are_read_by_settings_and_what_was_done_is_said(lights, tmp_path, capsys):
    for number in range(3):
        Image.new("L", (30, 20), 100).save(tmp_path / f"{number}.png")
    (tmp_path / "words.png").write_text("no picture")
    words = ["evaluate", "--images", str(tmp_path), "--data", "lights", "--json"]
    assert main(words) == 2
    assert "1 of 4 files cannot be read as images: words.png (not an image" in capsys.readouterr().err
    assert main([*words, "--set", "data.skip_bad=true"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["scores"][0]["scores"] == {"fid": 20.0}
    assert "skipped 1 of 4 files that cannot be read: words.png" in told.err
    assert "the images are 30×20 pixels and the data 4×4: they were cropped to its aspect and resized" in told.err
    assert main(["evaluate", "--data", "lights", str(tmp_path), "--set", "data.size=8"]) == 2
    assert "settings of data.* say how --images are read, and there are none" in capsys.readouterr().err


def test_the_command_refuses_in_words(lights, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for words, expected in (
        (["evaluate"], "images from anywhere are compared with a dataset; say --data NAME, or name a run"),
        (["evaluate", "--data", "lights"], "name a run to evaluate, or images with --images"),
        (["evaluate", str(run)], "holds no config.yaml, so it is no run's folder"),
        (["evaluate", str(tmp_path / "none")], "holds no config.yaml, so it is no run's folder"),
    ):
        assert main(words) == 2
        assert expected in capsys.readouterr().err
    (run / "config.yaml").write_text('use.data: "lights"\ndata.size: 0\n')
    for which, expected in (
        ("last", "holds no saved generator"),
        ("all", "holds no saved generator, so there is nothing to evaluate"),
        ("best", "was not evaluated, so none of its snapshots is the best yet"),
        ("17", "has no snapshot at 17 images. This run has no snapshots yet"),
    ):
        assert main(["evaluate", str(run), "--checkpoint", which]) == 2
        assert expected in capsys.readouterr().err
    (run / "config.yaml").write_text('use.data: "(object)"\n')
    assert main(["evaluate", str(run)]) == 2
    assert "learnt from an object that was given in Python, which cannot be found again; say --data NAME" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("setting", "line", "is_average"), [(0, {}, False), (500, {}, True), (0, {"ema_halflife": 9}, True)]
)
def test_whether_the_generator_is_a_moving_average_is_known(tmp_path, setting, line, is_average):
    (tmp_path / "config.yaml").write_text(f"train.ema_halflife: {setting}\n")
    (tmp_path / "stats.jsonl").write_text(json.dumps({"images": 3, **line}) + "\n")
    assert has_ema(tmp_path) is is_average


@pytest.mark.parametrize(("reference", "count"), [(20, 1000), (5000, 5000), (60_000, 10_000)])
def test_how_many_are_drawn_where_nobody_says(reference, count):
    assert evaluation.choose_sample_count(reference) == count
