"""Which extractor looks at the images where nobody says, which scores mean little, and the floor of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ganzoo_core import evaluation
from ganzoo_core.api import Features
from ganzoo_core.cli.evaluate import describe_protocol
from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.catalog import scanning
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.halves import split_in_halves
from ganzoo_core.evaluation.metrics import compute_scores
from ganzoo_core.evaluation.request import ScoreRequest, make_request
from ganzoo_core.evaluation.worker import ScoringSession
from ganzoo_core.runs import scores

MANIFEST = """
api = 1
[datasets.tiles]
title = "Squares of eight greys"
hooks = "tiles"
[datasets.tiles.defaults]
data.kind = "labelled"
[extractors.knowing]
title = "Learns the classes"
hooks = "tiles"
default = true
needs = ["labels"]
has.classes = true
[extractors.knowing.defaults]
extractor.knowing.power = 1
[extractors.plain]
title = "Needs nothing"
hooks = "tiles"
default = true
[extractors.odd]
title = "Is a word to say"
hooks = "tiles"
[metrics.gap]
title = "The difference of the means, of 30 images or more"
hooks = "tiles"
default = true
main = true
min_images = 30
lower = ["gap"]
[metrics.gap.defaults]
metric.gap.scale = 1
[metrics.sizes]
title = "How many there are"
hooks = "tiles"
default = true
main = true
lower = ["sizes"]
[metrics.classes]
title = "Needs classes"
hooks = "tiles"
default = true
needs = ["classes"]
higher = ["agreement"]
[metrics.classes.defaults]
metric.classes.weight = 1
"""
CODE = """
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset(split, options):
    count = 24 if split == "test" else 60
    labels = np.arange(count) % (1 if options["kind"] == "lone" else 2)
    images = np.repeat(np.uint8(30 * (np.arange(count) % 8)), 16).reshape(count, 4, 4, 1)
    labelled = options["kind"] != "bare"
    return gz.ImageSource(images, labels.astype(np.int64) if labelled else None, ("a", "b") if labelled else ())

class Extractor:
    facts = {"weights": "none"}
    def extract(self, images):
        return images.reshape(len(images), -1)[:, :2].astype(np.float32), None

@gz.hookimpl
def extractor(name, source):
    if name == "knowing" and len(np.unique(source("train").labels)) < 2:
        raise gz.UsageError("there is one class; say that there are two")
    return Extractor()

@gz.hookimpl
def metric(name):
    def score(real, fake, seed):
        if name == "gap" and len(fake.features) < 5:
            raise gz.UsageError("gap needs 5 images; say more")
        if name == "classes":
            return {"agreement": 1.0}
        if name == "sizes":
            means = real.features.mean() + fake.features.mean()
            return {"sizes": len(real.features) + len(fake.features) / 1000, "sizes_std": 0.5, "sum": float(means)}
        return {"gap": float(abs(real.features.mean() - fake.features.mean()))}
    return score
"""


@pytest.fixture(scope="module", autouse=True)
def tiles(make_site, tmp_path_factory):
    site = make_site()
    site.add("tiles", MANIFEST, files={"__init__.py": CODE})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site.path)
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PYTHONPATH", str(site.path))  # of the scoring process
        patch.setenv("GANZOO_PLUGINS", "tiles")
        catalog.clear_cache()
        yield site
    catalog.clear_cache()


def start(kind="labelled", **asked):
    said = []
    request = make_request(data="tiles", data_settings={"data.kind": kind}, **asked)
    session = ScoringSession(ScoreRequest.from_json(request.as_json()), said.append)
    return session, said


def score(session, count=10, size=4):
    return scores.Score(None, **session.score(np.full((count, size, size, 1), 60, np.uint8), None, 0))


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("labelled", "knowing", None),
        ("bare", "plain", "the images of tiles have no labels, which knowing needs"),
        ("lone", "plain", "there is one class"),
    ],
)
def test_the_first_default_that_can_serve_the_data_looks_at_them(kind, name, reason):
    session, said = start(kind)
    protocol = score(session).protocol
    assert protocol["extractor"]["name"] == f"tiles/{name}"
    assert protocol.get("passed_over", {}) == ({"tiles/knowing": reason} if reason else {})
    assert ("agreement" in score(session).scores) is (name == "knowing")  # the metrics that fit it
    assert (f"{reason}: scored by the features of plain" in said) is (reason is not None)
    assert (f"by tiles/plain, since {reason}; seed 0" in describe_protocol(protocol)) is (reason is not None)


def test_scores_of_two_extractors_are_never_alike_whoever_chose_them():
    labelled, bare = (score(start(kind)[0]) for kind in ("labelled", "bare"))
    assert "extractor is tiles/knowing and tiles/plain" in scores.find_differences(labelled, bare)
    named = score(start("bare", extractor="plain")[0])
    assert scores.find_differences(bare, named) == []


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        ("bare", {"extractor": "knowing"}, "have no labels, which knowing needs; say --extractor plain"),
        ("lone", {"extractor": "knowing"}, "there is one class; say that there are two, or say --extractor plain"),
        (
            "lone",
            {"settings": {"power": 2}},
            "say that there are two, or say --extractor plain and leave --set extractor.knowing.power out",
        ),
        (
            "bare",
            {"metrics": ["classes"]},
            "have no labels, which knowing needs; say --extractor plain and leave --metrics out",
        ),
        (
            "bare",
            {"metrics": ["classes"], "extractor": "knowing"},
            "have no labels, which knowing needs; say --extractor plain and leave --metrics out",
        ),
    ],
)
def test_what_the_user_named_is_never_replaced_and_the_advice_helps(kind, asked, words):
    with pytest.raises(UsageError) as error:
        start(kind, **asked)
    assert str(error.value).endswith(words)
    assert score(start(kind, extractor="plain")[0]).scores


def test_where_each_default_needs_something_the_advice_is_to_install(here, monkeypatch):
    monkeypatch.setenv("GANZOO_PLUGINS", "lone")
    plain = '"Needs nothing"\nhooks = "tiles"\n'
    manifest = MANIFEST.replace(f"{plain}default = true", plain).replace("tiles", "lone")
    here.add("lone", manifest, files={"__init__.py": CODE})
    with pytest.raises(UsageError, match=r'needs; pip install "ganzoo-core\[scores\]" brings an extractor that needs'):
        ScoringSession(make_request(data="lone", data_settings={"data.kind": "bare"}), print)


def test_an_extractor_that_was_left_out_would_help_and_the_advice_says_so(here, monkeypatch):
    monkeypatch.setenv("GANZOO_PLUGINS", "lone,spare")
    plain = '[extractors.plain]\ntitle = "Needs nothing"\nhooks = "tiles"\ndefault = true\n'
    for name, manifest in (("lone", MANIFEST.replace(plain, "")), ("spare", f"api = 1\n{plain}")):
        here.add(name, manifest.replace("tiles", name), files={"__init__.py": CODE})
    monkeypatch.setattr(scanning, "_left_out", ["spare"])
    request = make_request(data="lone", data_settings={"data.kind": "bare"})
    monkeypatch.setattr(scanning, "_left_out", [])  # the scoring process leaves nothing out
    with pytest.raises(UsageError) as error:
        ScoringSession(request, print)
    assert str(error.value).endswith("which knowing needs; say --extractor plain and leave --no-plugin spare out")


def test_two_defaults_with_the_same_needs_are_one_too_many(here, monkeypatch):
    monkeypatch.setenv("GANZOO_PLUGINS", "tiles,rival")
    here.add(
        "rival",
        'api = 1\n[extractors.rival]\ntitle = "x"\nhooks = "rival"\ndefault = true\n',
        files={"__init__.py": ""},
    )
    installed = catalog.scan()
    for check in (lambda: installed.check_defaults("extractors"), start):
        with pytest.raises(UsageError, match=r"tiles/plain and rival/rival all say they are the default extractor"):
            check()
    catalog.clear_cache()
    monkeypatch.setenv("GANZOO_PLUGINS", "tiles")
    catalog.scan().check_defaults("extractors")


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("extractors", 'needs = ["colour"]', "needs is ['colour']: expected a list of labels, which data may have"),
        ("metrics", "min_images = 0", "min_images is 0: expected a number of images above 0"),
    ],
)
def test_a_manifest_that_asks_for_something_else_is_a_problem(here, monkeypatch, table, line, words):
    monkeypatch.setenv("GANZOO_PLUGINS", "wrong")
    here.add("wrong", f'api = 1\n[{table}.it]\ntitle = "x"\nhooks = "wrong"\n{line}\n', files={"__init__.py": ""})
    assert any(words in problem.reason for problem in catalog.scan().problems)


def test_a_score_of_few_images_stands_last_and_says_why():
    session, said = start()
    found = score(session, 40)
    doubt = "gap means little below 30 images, and 24 are in the reference"
    assert next(iter(found.scores)) == "sizes"
    assert list(found.scores)[-1] == "gap"
    assert found.doubts == {"gap": doubt}
    assert said.count(doubt) == 1
    score(session, 40)
    assert said.count(doubt) == 1  # once a session
    assert scores.find_main_score(found) == "sizes"
    assert scores.find_main_score(replace(found, doubts={})) == "gap"
    assert scores.list_names([found]) == ["sizes", "sum", "agreement", "gap"]
    assert found.format("sizes") == "24.04 ± 0.5"
    many = score(start(reference="train")[0], 40)
    assert (next(iter(many.scores)), many.doubts) == ("gap", {})


def test_a_default_metric_that_refuses_is_left_out_and_a_named_one_is_an_error():
    session, said = start()
    found = score(session, 3)
    assert "gap" not in found.scores
    assert "gap" not in found.better
    assert found.doubts["gap"] == "gap needs 5 images"  # the advice is not for a page
    assert "gap needs 5 images" in said
    assert scores.list_names([found])[-1] == "gap"
    for asked in ({"metrics": ["gap", "sizes"]}, {"settings": {"metric.gap.scale": 2}}):
        with pytest.raises(UsageError, match="gap needs 5 images; say more"):
            score(start(**asked)[0], 3)


def test_settings_of_a_metric_that_does_not_fit_the_extractor_are_left_out_with_the_reason():
    settings = {"metric.classes.weight": 2}
    session, said = start("bare", settings=settings)
    words = "classes needs classes, which the extractor plain does not give"
    assert score(session).doubts["agreement"] == words
    assert words in said
    assert "agreement" not in score(start("labelled", settings=settings)[0]).doubts
    assert "agreement" not in score(start("bare")[0]).doubts  # nobody asked for it


@pytest.mark.parametrize("labels", [0, "a", [0] * 12, ["a"] * 12])
def test_labels_of_images_mean_nothing_where_the_data_have_no_classes(labels):
    said = []
    with evaluation.Scorer(make_request(data="tiles", data_settings={"data.kind": "bare"}), say=said.append) as scorer:
        found = scorer.score(np.full((12, 4, 4, 1), 60, np.uint8), labels)
    assert found.protocol["labels"] is None
    assert "the data have no classes: labels are left out" in said


def test_if_no_metric_can_be_computed_the_advice_is_what_helps_each():
    def refuse(words):
        def metric(real, fake, seed):
            raise UsageError(words)

        return metric

    parts = [catalog.scan().find("metrics", name) for name in ("gap", "sizes")]
    few = Features(np.zeros((1, 2), np.float32))
    loaded = list(zip(parts, map(refuse, ("gap has 1; draw; add", "sizes has 1; add")), strict=True))
    with pytest.raises(UsageError) as error:
        compute_scores(loaded, few, few, 0)
    assert str(error.value) == "no metric can be computed from 1 image against 1: gap has 1; sizes has 1; add"
    few_words = ("gap needs 4, and 1 is scored; add", "sizes needs 5, and 1 is scored and 1 is in the reference; add")
    loaded = list(zip(parts, map(refuse, few_words), strict=True))
    with pytest.raises(UsageError) as error:
        compute_scores(loaded, few, few, 0)
    assert str(error.value) == "no metric can be computed from 1 image against 1: gap needs 4; sizes needs 5; add"
    with pytest.raises(UsageError, match=r"^gap needs 4, and 1 is scored; add$"):
        compute_scores(loaded[:1], few, few, 0)


def test_the_floor_is_one_half_of_the_reference_against_the_other():
    session, _ = start()
    mean = session.real_features.features.mean()
    real = score(session).real
    assert real["sizes"] == 12 + 12 / 1000
    assert real["sum"] == pytest.approx(2 * mean)  # together they are the reference
    assert score(session, size=8).real["sizes"] == real["sizes"]
    first, second = split_in_halves(25)
    assert (len(first), len(second), len({*first, *second})) == (12, 12, 24)
    assert [len(half) for half in split_in_halves(20_000)] == [5000, 5000]
    assert score(start(score_real_images=False)[0]).real == {}


def test_the_best_generator_goes_by_a_score_that_is_not_in_doubt():
    doubt = {"gap": "few"}
    found = [
        scores.Score(images, {"gap": gap, "sizes": sizes}, {}, doubts=doubt)
        for images, gap, sizes in ((1, 1.0, 9.0), (2, 5.0, 3.0))
    ]
    assert scores.find_best(found).images == 2
    assert scores.find_best([replace(one, doubts={}) for one in found]).images == 1


def test_a_collapse_is_more_than_noise_around_zero():
    assert scores.has_collapsed([0.0, 0.1, 0.1, 0.1])
    assert not scores.has_collapsed([0.0, 0.1, 0.1, 0.1], spread=0.03)
    assert scores.has_collapsed([0.0, 0.2, 0.2, 0.2], spread=0.03)
