"""Scores during training: the same images each time, kept, the best known, a collapse told once, failures survived."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ganzoo_core.data.classes import Classes
from ganzoo_core.data.framing import Framing
from ganzoo_core.errors import GanzooError
from ganzoo_core.evaluation import client
from ganzoo_core.evaluation.during_training import TrainingEvaluator
from ganzoo_core.processes import ChildEnded
from ganzoo_core.runs import scores
from ganzoo_core.runs.scores import Score


class Engine:
    """Draws grey images; what it was asked is kept."""

    def __init__(self):
        self.firsts = []

    def draw(self, G, z, labels, values, *, conditions, alone, noise_seed, first):
        assert (conditions, alone) == ({}, False)
        self.firsts.append(first)
        self.asked = z, labels, values
        return np.full((len(z), 8, 8, 1), G, np.uint8)


class Scorer:
    """A score is the grey value."""

    part_size = 100

    def __init__(self):
        self.closed = False

    def score_parts(self, parts, labels, *, targets, seed, seen, ema, **more):
        assert targets is None
        parts = list(parts)
        self.sizes = [len(part) for part in parts]
        images = np.concatenate(parts)
        self.given = images, labels
        if images.mean() == 13:
            raise GanzooError("the process that scores ended")
        return Score(seen, {"fid": float(images.mean())}, {"ema": ema}, better={"fid": "lower"}, extra=more)

    def close(self):
        self.closed = True


class Mortal(Scorer):
    """A scorer whose process ends at some of its calls: `ends` says at which, `stays_dead` at which starts."""

    def __init__(self, ends=(), stays_dead=()):
        super().__init__()
        self.ends, self.stays_dead = ends, stays_dead
        self.calls = self.starts = 0
        self.lives = True

    def score_parts(self, parts, labels, **more):
        self.calls += 1
        if self.calls in self.ends or not self.lives:
            self.lives = False
            raise ChildEnded(f"the process ended at call {self.calls}")
        return super().score_parts(parts, labels, **more)

    def restart(self):
        self.starts += 1
        if self.starts in self.stays_dead:
            raise ChildEnded(f"the process ended at start {self.starts}")
        self.lives = True


class Reporter:
    def __init__(self):
        self.said, self.warned = [], []
        self.say, self.warn = self.said.append, self.warned.append


@pytest.fixture
def watch(tmp_path):
    plan = SimpleNamespace(takes_g=("fade",), ema=None, latent_dim=3, latent="normal", drawn_alone=False)
    framing = Framing((6, 6), (8, 8), "pad", 0)
    return TrainingEvaluator(
        Scorer(), run=tmp_path, plan=plan, classes=Classes("ab"), framing=framing, count=5, reporter=Reporter()
    )


def seen(watch, *values):
    engine = Engine()
    for value in values:
        images = 10 * (1 + len(scores.read(watch.run)))
        yield watch.evaluate(engine, value, images=images, values={"fade": 0.5, "lr_g": 1.0}), engine


def test_the_same_noise_each_time_with_what_the_generator_takes(watch):
    (_, first), (found, second) = seen(watch, 50, 40)
    np.testing.assert_array_equal(first.asked[0], second.asked[0])
    assert second.asked[0].shape == (5, 3)
    assert second.asked[1].tolist() == [0, 1, 0, 1, 0]
    assert second.asked[2] == {"fade": 0.5}
    assert watch.scorer.given[0].shape == (5, 6, 6, 1)  # the padding is cut away
    assert (found.images, found.extra, found.protocol) == (20, {"during": "training"}, {"ema": False})
    assert [score.images for score in scores.read(watch.run)] == [10, 20]
    assert watch.reporter.said == ["  10 images · fid 50", "  20 images · fid 40"]


def test_the_best_is_known(watch):
    assert [watch.is_best(found) for found, _ in seen(watch, 50, 40, 45, 30)] == [True, True, False, True]
    assert not watch.is_best(None)


def test_a_collapse_is_told_once_and_again_after_a_recovery(watch):
    told = []
    for _ in seen(watch, 20, 50, 50, 50, 50, 15, 90, 90, 90):
        told.append(len(watch.reporter.warned))
    assert told == [0, 0, 0, 1, 1, 1, 1, 1, 2]
    assert "fid was over twice its best, 20 at 10 images, at 3 evaluations running" in watch.reporter.warned[0]


def test_a_failure_never_stops_the_run(watch):
    list(seen(watch, 50, 13))
    assert watch.reporter.warned == [
        "at 20 images there is no score: the process that scores ended; training goes on",
    ]
    watch.run.joinpath("scores.jsonl").unlink()
    watch.run.joinpath("scores.jsonl").mkdir()
    assert watch.evaluate(Engine(), 50, images=30, values={}) is None
    watch.run.joinpath("scores.jsonl").rmdir()
    watch.close()
    assert watch.scorer.closed


def test_a_run_that_goes_back_finds_its_scores_again(watch):
    list(seen(watch, 50, 40, 30))
    scores.remove_later_scores(watch.run, 20)
    assert [score.images for score in scores.read(watch.run)] == [10, 20]


def test_a_process_that_was_killed_is_started_again_and_the_score_is_the_same(watch):
    watch.scorer = Mortal(ends=(1, 3, 5))
    assert [found.scores for found, _ in seen(watch, 50, 40, 30)] == [{"fid": 50.0}, {"fid": 40.0}, {"fid": 30.0}]
    assert watch.scorer.starts == 3
    assert watch.reporter.warned == [f"the process ended at call {call}; it is started again" for call in (1, 3, 5)]
    assert not watch.scorer.closed


def test_a_process_that_ends_again_at_its_start_counts_twice(watch):
    watch.scorer = Mortal(ends=(1,), stays_dead=(1,))
    watch_of = [found for found, _ in seen(watch, 50, 50)]
    assert watch_of[0] is None
    # The second evaluation finds no process; that is the third failure in a row.
    assert watch_of[1] is None
    assert watch.scorer.closed


def test_after_three_failures_in_a_row_nothing_is_scored_and_that_is_said_once(watch):
    watch.scorer = Mortal(ends=(2, 3, 4))
    found = [score for score, _ in seen(watch, 50, 40, 30, 20)]
    assert [score is None for score in found] == [False, True, True, True]
    assert watch.scorer.closed
    assert (watch.scorer.starts, watch.scorer.calls) == (2, 4)
    told = [text for text in watch.reporter.warned if "scored no more" in text]
    assert len(told) == 1
    assert "scoring failed 3 times in a row" in told[0]
    assert f"`ganzoo evaluate {watch.run} --checkpoint all`" in told[0]


def test_failures_that_are_not_in_a_row_do_not_add_up(watch):
    found = [score for score, _ in seen(watch, 50, 13, 13, 40, 13, 13, 30, 13, 13, 13, 20)]
    assert [score is None for score in found] == [value == 1 for value in (0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1)]


class Impatient(Scorer):
    """Its process ends when it was shown two parts, at the first call."""

    part_size = 2
    calls = 0

    def score_parts(self, parts, labels, **more):
        self.calls += 1
        if self.calls == 1:
            iterator = iter(parts)
            next(iterator), next(iterator)
            raise ChildEnded("the process ended")
        return super().score_parts(parts, labels, **more)

    def restart(self):
        pass


def test_what_was_drawn_in_parts_is_shown_to_a_new_process_and_not_drawn_again(watch):
    watch.scorer, engine = Impatient(), Engine()
    found = watch.evaluate(engine, 50, images=10, values={})
    assert found.scores == {"fid": 50.0}
    assert (watch.scorer.calls, watch.scorer.sizes) == (2, [2, 2, 1])
    assert engine.firsts == [0, 2, 4]
    assert watch.scorer.given[1].tolist() == [0, 1, 0, 1, 0]


def test_an_error_in_drawing_is_not_taken_for_one_of_scoring(watch):
    class Broken(Engine):
        def draw(self, *given, **more):
            raise OSError("it cannot draw")

    with pytest.raises(OSError, match="it cannot draw"):
        watch.evaluate(Broken(), 50, images=10, values={})


class Scripted:
    """A process that ends at the first `ends` starts, then answers."""

    ends = 0
    closed = 0

    def __init__(self, module, task, *, environment):
        self.task = task

    def ask(self, request, say):
        if Scripted.ends:
            Scripted.ends -= 1
            raise ChildEnded("the process ended")
        return {"facts": {}, "reference_count": 7, "data_changes": [], "class_names": [], "batch": 0, "conditions": {}}

    def close(self):
        Scripted.closed += 1


@pytest.mark.parametrize(("ends", "attempts", "starts"), [(0, 1, True), (1, 1, False), (2, 3, True), (3, 3, False)])
def test_a_scorer_may_be_tried_several_times(ends, attempts, starts, monkeypatch):
    monkeypatch.setattr(client, "Child", Scripted)
    Scripted.ends, Scripted.closed, said = ends, 0, []
    question = SimpleNamespace(as_json=dict)
    if starts:
        assert client.Scorer(question, say=said.append, attempts=attempts).reference_count == 7
    else:
        with pytest.raises(ChildEnded):
            client.Scorer(question, say=said.append, attempts=attempts)
    assert Scripted.closed == min(ends, attempts)
    assert said == ["the process ended; it is started again"] * min(ends, attempts - 1)
