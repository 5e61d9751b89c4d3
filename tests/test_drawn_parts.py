"""Images that are drawn and looked at in parts have the scores of all at once, to the bit; errors are still told."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import evaluation
from ganzoo_core.cli import main
from ganzoo_core.discovery import answers
from ganzoo_core.errors import PluginError, UsageError
from ganzoo_core.evaluation import drawn_parts
from ganzoo_core.evaluation.drawn_parts import choose_part_size, draw_parts
from ganzoo_core.evaluation.request import make_request
from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.processes import Child, ChildEnded
from ganzoo_core.runs import scores
from tests.dots import install

MANIFEST = """
[extractors.places.defaults]
extractor.places.fails = 0  # at the part of this number
extractor.places.ends = 0
[metrics.nearness]
title = "How near an image is to its target"
hooks = "dots"
default = true
needs = ["pairs"]
lower = ["distance"]
"""
CODE = """
class Places:
    batch = 32
    facts = {"weights": "none"}
    def __init__(self, options):
        self.options, self.calls = options, 0
    def extract(self, images):
        self.calls += len(images) == 32
        if len(images) == 32 and self.calls == self.options["fails"]:
            raise RuntimeError("it is out of order")
        if len(images) == 32 and self.calls == self.options["ends"]:
            os._exit(7)
        return look(images, self.batch)

@gz.hookimpl
def extractor(options):
    return Places(options)

@gz.hookimpl
def metric(name):
    def nearness(real, fake, seed):
        gap = np.abs(fake.images.astype(float) - fake.targets.images).sum()
        return {"distance": float(gap + np.abs(fake.features - fake.targets.features).sum())}
    return sums if name == "sums" else nearness
"""
RANDOM = np.random.default_rng(2)
DRAWN = RANDOM.integers(0, 256, (200, 16, 16, 1), dtype=np.uint8)
TARGETS = RANDOM.integers(0, 256, (200, 16, 16, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def dots(make_site, tmp_path_factory):
    site = make_site()
    with install(site, tmp_path_factory.mktemp("cache"), manifest=MANIFEST, code=CODE):
        yield site


def make_scorer(**settings):
    asked = {f"extractor.places.{name}": value for name, value in settings.items()}
    return evaluation.Scorer(make_request(data="dots", data_settings={}, settings=asked))


@pytest.fixture(scope="module")
def scorer(dots):
    with make_scorer() as made:
        yield made


@pytest.fixture(params=[1, 10**6], ids=["ahead", "in turn"])
def order(request, monkeypatch):
    """Whether a part is drawn while the one before is looked at, on any machine."""
    monkeypatch.setattr(drawn_parts, "LEAST_CORES", request.param)
    return "ahead" if request.param == 1 else "in turn"


def cut(images, size):
    return (images[first : first + size] for first in range(0, len(images), size))


def test_a_part_is_made_of_whole_batches():
    assert [choose_part_size(batch) for batch in (1, 32, 64, 50, 512)] == [512, 512, 512, 1600, 512]
    assert choose_part_size(0) > 10**9


@pytest.mark.parametrize("batch", [0, 2.0, True, "8"])
def test_a_batch_is_a_number_of_images(batch):
    extractor = SimpleNamespace(facts={}, extract=print, batch=batch)
    assert "whose batch is" in answers.check_extractor(extractor)
    extractor.batch = 8
    assert answers.check_extractor(extractor) == ""


@pytest.mark.parametrize("targets", [None, TARGETS], ids=["alone", "pairs"])
@pytest.mark.parametrize("labels", [None, np.arange(200) % 2], ids=["bare", "labelled"])
def test_scores_of_parts_are_those_of_all_at_once_to_the_bit(scorer, labels, targets, order):
    more = {"seed": 1, "seen": 5, "ema": False}
    whole = scorer.score(DRAWN, labels, targets=targets, **more)
    for size in (32, 64, 128):
        assert scorer.score_parts(cut(DRAWN, size), labels, targets=targets, **more) == whole
    # These features tell where a batch began, so parts of another size would be noticed.
    assert scorer.score_parts(cut(DRAWN, 48), labels, targets=targets, **more) != whole
    assert list(scorer._folder.iterdir()) == []


def test_a_part_is_drawn_while_the_one_before_is_looked_at_or_with_few_cores_after_it(scorer, monkeypatch, order):
    events = []

    def draw():
        for part in cut(DRAWN, 64):
            events.append("drawn")
            yield part

    receive = scorer._receive
    monkeypatch.setattr(scorer, "_receive", lambda part: (receive(part), events.append("looked at")))
    scorer.score_parts(draw(), None, targets=None, seed=0, seen=None, ema=None)
    in_turn = ["drawn", "looked at"] * 4
    assert events == (["drawn", *["drawn", "looked at"] * 3, "looked at"] if order == "ahead" else in_turn)


def test_an_error_in_drawing_is_told_and_the_next_score_is_right(scorer, order):
    whole = scorer.score(DRAWN)

    def draw():
        yield DRAWN[:64]
        raise UsageError("nothing more can be drawn")

    more = {"targets": None, "seed": 0, "seen": None, "ema": None}
    with pytest.raises(UsageError, match="nothing more can be drawn"):
        scorer.score_parts(draw(), None, **more)
    assert scorer.score_parts(cut(DRAWN, 64), None, **more) == whole
    with pytest.raises(UsageError, match="there are 0 images to score; give more"):
        scorer.score_parts(iter(()), None, **more)
    assert scorer.score(DRAWN) == whole


def test_an_extractor_that_fails_in_the_middle_is_named(dots, order):
    with make_scorer(fails=2) as scorer:
        drawn = []
        parts = (drawn.append(1) or part for part in cut(DRAWN, 32))
        with pytest.raises(PluginError, match=r"places \(dots 1.0\): extract raised RuntimeError: it is out of order"):
            scorer.score_parts(parts, None, targets=None, seed=0, seen=None, ema=None)
        assert len(drawn) == (3 if order == "ahead" else 2)  # the second part failed, while the third was drawn
        assert scorer.score(DRAWN).scores["sums"] != 0


def test_a_process_that_ends_in_the_middle_is_an_error_that_says_so(dots):
    with make_scorer(ends=2) as scorer:
        with pytest.raises(ChildEnded, match="the process that scores the images ended with 7"):
            scorer.score_parts(cut(DRAWN, 32), None, targets=None, seed=0, seen=None, ema=None)
        scorer.restart()
        assert scorer.score(DRAWN).scores["sums"] != 0


@pytest.fixture
def sent(monkeypatch):
    """How many images each request asks a process to draw or to look at."""
    requests, plain = [], Child.send

    def send(self, request):
        requests.append(request)
        plain(self, request)

    monkeypatch.setattr(Child, "send", send)
    return requests


@pytest.mark.slow
def test_a_run_has_the_same_scores_with_and_without_parts_while_it_trains_and_later(
    dots, sent, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(drawn_parts, "PART_IMAGES", 64)
    settings = {
        "data.size": 16, "train.batch_size": 8, "train.sample_count": 4, "model.width": 2, "engine.threads": 1,
        "train.evaluate_every": "16", "train.evaluate_count": 200,
    }  # fmt: skip
    gz.train("cgan-torch", data="dots", preset="none", images=16, out=tmp_path / "run", device="cpu", settings=settings)
    (during,) = scores.read(tmp_path / "run")
    assert len([request for request in sent if "is_first" in request]) == 4

    def evaluate():
        del sent[:]
        words = ["evaluate", str(tmp_path / "run"), "-n", "200", "--json", "--quiet", "--device", "cpu"]
        assert main([*words, "--set", "engine.threads=1"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["scores"]
        return found, [request["part"] for request in sent if "part" in request]

    capsys.readouterr()
    in_parts, parts = evaluate()
    assert parts == [[0, 64], [64, 128], [128, 192], [192, 256]]
    monkeypatch.setattr(drawn_parts, "PART_IMAGES", 10**6)
    at_once, parts = evaluate()
    assert parts == [[0, 1_000_000]]
    assert in_parts == at_once
    assert in_parts["scores"] == during.scores
    assert in_parts["scores"]["asked"] != -1


def test_a_drawing_process_that_fails_in_the_middle_is_an_error(dots, tmp_path, monkeypatch, order):
    answered = [{"count": 150, "conditional": False, "paired": False}, UsageError("it diverged")]

    class Drawer:
        sent = 0

        def send(self, request):
            self.sent += 1

        def receive(self, say):
            answer = answered.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    child, facts = Drawer(), {}
    parts = draw_parts(child, {"n": 150}, tmp_path, 64, facts, print)
    assert next(parts) == {"images": str(tmp_path / "images-0.npy"), "labels": None, "targets": None}
    assert child.sent == (2 if order == "ahead" else 1)  # the second is drawn while the first is looked at
    with pytest.raises(UsageError, match="it diverged"):
        next(parts)


def test_parts_of_a_generator_are_those_of_all_its_images(dots, tmp_path):
    settings = {"data.size": 16, "train.batch_size": 8, "train.sample_count": 4, "model.width": 2, "engine.threads": 1}
    run = gz.train(
        "cgan-torch", data="dots", preset="none", images=8, out=tmp_path / "run", device="cpu", settings=settings,
        quiet=True,
    )  # fmt: skip
    generator = SavedGenerator(run.folder / "generator", device="cpu", settings={"engine.threads": 1})
    labels = generator.labels(150)
    drawn = [generator.generate_part(first, first + 64, 150, seed=4, labels=labels, on=None) for first in (0, 64, 128)]
    np.testing.assert_array_equal(np.concatenate(drawn), generator.generate(150, seed=4))
