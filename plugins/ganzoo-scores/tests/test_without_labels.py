"""A folder without labels, and no network: what looks at it, and whether each advice works there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.evaluation.request import make_request
from ganzoo_core.evaluation.worker import ScoringSession
from ganzoo_core.runs.scores import Score

pytest.importorskip("ganzoo_features")
BARE = "the images of folder have no labels, which classifier needs"


@pytest.fixture(scope="module", autouse=True)
def offline(cache, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_OFFLINE", "1")
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))  # where Inception's weights may lie, too
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """60 pictures of discs, without classes."""
    root = tmp_path_factory.mktemp("discs")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    for number in range(60):
        disc = (x - random.integers(4, 12)) ** 2 + (y - random.integers(4, 12)) ** 2 < random.integers(4, 30)
        colours = random.integers(0, 256, (2, 3))
        Image.fromarray(colours[disc.astype(int)].astype(np.uint8)).save(root / f"{number}.png")
    return root


def start(folder: Path, **asked) -> tuple[ScoringSession, list[str]]:
    said: list[str] = []
    request = make_request(data=f"folder:{folder}", data_settings={"data.size": 16}, **asked)
    return ScoringSession(request, said.append), said


def score(session: ScoringSession) -> Score:
    return Score(None, **session.score(np.full((40, 16, 16, 3), 90, np.uint8), None, 0))


def follow(advice: str, asked: dict[str, object]) -> list[dict[str, object]]:
    """What an error says to type instead of what was asked, each as arguments of `make_request`."""
    named, _, unfit = advice.partition(" and leave ")
    kept = {key: value for key, value in asked.items() if not (key == "metrics" and "--metrics" in unfit)}
    settings = {key: value for key, value in asked.get("settings", {}).items() if key not in unfit}
    names = re.findall(r"say --extractor ([\w-]+(?: or [\w-]+)*)", named)
    return [{**kept, "settings": settings, "extractor": name} for found in names for name in found.split(" or ")]


def test_a_folder_without_labels_is_scored_and_that_is_said(folder):
    session, said = start(folder)
    found = score(session)
    assert f"{BARE}: scored by the features of bundled" in said
    assert found.protocol["extractor"]["name"] == "ganzoo-features/bundled"
    assert found.protocol["passed_over"] == {"ganzoo-scores/classifier": BARE}
    assert next(iter(found.scores)) == "kid"
    assert found.doubts["fid"].startswith("fid needs more images than the extractor has features")
    assert {"kid", "kid_std", "precision"} <= set(found.real)
    assert not {"is", "modes"} & {*found.scores, *found.doubts}  # they need the classifier


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"extractor": "classifier"}, f"{BARE}; say --extractor bundled"),
        ({"extractor": "inception"}, "GANZOO_OFFLINE forbids a download"),
        ({"metrics": ["classes"]}, f"{BARE}; say --extractor bundled and leave --metrics out"),
        ({"extractor": "classifier", "metrics": ["is", "kid"]}, "say --extractor bundled and leave --metrics out"),
        ({"extractor": "classifier", "metrics": ["kid"]}, f"{BARE}; say --extractor bundled"),
        (
            {"metrics": ["is"], "settings": {"metric.is.splits": 2}},
            "say --extractor bundled and leave --metrics and --set metric.is.splits out",
        ),
        (
            {"settings": {"least_accuracy": 0.5}},
            f"{BARE}; say --extractor bundled and leave --set extractor.classifier.least_accuracy out",
        ),
    ],
)
def test_what_is_advised_without_labels_works_there(folder, asked, words):
    """The circle: `evaluate` sent to labels and to Inception, and Inception to the classifier."""
    with pytest.raises(gz.UsageError) as error:
        start(folder, **asked)
    assert words in str(error.value)
    ways = follow(str(error.value), asked)
    assert ways
    for way in ways:
        assert score(start(folder, **way)[0]).scores
    assert "inception" not in re.findall(r"--extractor ([\w-]+)", str(error.value))


def test_a_named_metric_that_refuses_says_what_works_there(folder):
    with pytest.raises(gz.UsageError, match="fid needs more images") as error:
        score(start(folder, metrics=["fid"])[0])
    assert "--metrics kid" in str(error.value)
    assert "--set metric.fid.allow_few=true" in str(error.value)
    assert score(start(folder, metrics=["kid"])[0]).scores
    assert score(start(folder, metrics=["fid"], settings={"metric.fid.allow_few": "true"})[0]).scores
