"""Ranks that score a generator together while it trains, here as threads of one process with real scoring processes."""

from __future__ import annotations

import contextlib
import errno
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from ganzoo_core.data.classes import Classes
from ganzoo_core.data.framing import Framing
from ganzoo_core.distributed.file_exchange import FileExchange
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.evaluation import Scorer, drawn_parts
from ganzoo_core.evaluation.during_training import MAX_FAILURES, TrainingEvaluator
from ganzoo_core.evaluation.request import make_request
from ganzoo_core.generation.data_rows import DataRows
from ganzoo_core.runs import layout, scores
from ganzoo_core.training.clock import Clock
from ganzoo_core.training.runner import Runner
from tests.dots import install
from tests.test_drawn_parts import CODE, MANIFEST

PART, COUNT = 64, 260  # five parts, of which the last is short
SECONDS = 120
SEEN, TARGETS = np.random.default_rng(2).integers(0, 256, (2, COUNT, 16, 16, 1), dtype=np.uint8)
HELD_OUT = DataRows(TARGETS, {"seen": SEEN}, np.arange(COUNT) // 3 % 2, COUNT)


class Engine:
    """Draws from all that it is given; what it was asked for is kept."""

    def __init__(self):
        self.firsts = []

    def draw(self, G, z, labels, values, *, conditions, alone, noise_seed, first):
        self.firsts.append(first)
        bright = np.abs(z.sum(axis=1) * 40 + labels * 7 + first + G).astype(np.uint8)
        given = conditions.get("seen", np.zeros((len(z), 16, 16, 1), np.uint8))
        return given + bright[:, None, None, None]


class Reporter:
    def __init__(self):
        self.said, self.warned = [], []
        self.say, self.warn = self.said.append, self.warned.append


@pytest.fixture(scope="module")
def dots(make_site, tmp_path_factory):
    site, code = make_site(), CODE.replace("len(images) == 32", f"len(images) == {PART}")
    with install(site, tmp_path_factory.mktemp("cache"), manifest=MANIFEST, code=code) as patch:
        patch.setattr(drawn_parts, "PART_IMAGES", PART)
        yield site


def make_scorer(number=0, **settings):
    asked = {f"extractor.places.{name}": value for name, value in settings.items()}
    return Scorer(make_request(data="dots", data_settings={}, settings=asked), extracts_only=number > 0)


@pytest.fixture(scope="module")
def scorers(dots):
    """Those of three ranks."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(make_scorer(number)) for number in range(3)]


def make_evaluators(run, scorers, held_out=None):
    """Those of ranks with these scorers; of a process on its own, if there is one."""
    world_size = len(scorers)
    plan = SimpleNamespace(takes_g=(), ema=None, latent_dim=3, latent="normal", drawn_alone=False)
    launches = [Launch("srun", Rank(each, world_size, each, world_size), "here:1") for each in range(world_size)]
    return [
        TrainingEvaluator(
            scorer, run=run, plan=plan, classes=Classes("ab"), framing=Framing((16, 16), (16, 16), "none"),
            count=COUNT, held_out=held_out, reporter=Reporter(), timeout=20.0,
            launch=launch if world_size > 1 else Launch(),
        )
        for scorer, launch in zip(scorers, launches, strict=True)
    ]  # fmt: skip


def evaluate(evaluators, images=10):
    """Evaluate in all ranks at once; their scores and engines."""
    engines = [Engine() for _ in evaluators]
    with ThreadPoolExecutor(len(evaluators)) as pool:
        waiting = [
            pool.submit(each.evaluate, engine, 3, images=images, values={})
            for each, engine in zip(evaluators, engines, strict=True)
        ]
        return [each.result(timeout=SECONDS) for each in waiting], engines


def score_alone(run, scorer, held_out=None):
    run.mkdir()
    (score,), _ = evaluate(make_evaluators(run, [scorer], held_out))
    return score.scores


@pytest.mark.parametrize("held_out", [None, HELD_OUT], ids=["bare", "held out"])
def test_ranks_score_as_one_to_the_bit_and_each_draws_its_own_parts(scorers, tmp_path, held_out):
    alone = score_alone(tmp_path / "alone", scorers[0], held_out)
    assert ("distance" in alone) == (held_out is not None)
    found, engines = evaluate(make_evaluators(tmp_path, scorers, held_out))
    assert found[0].scores == alone
    assert found[1:] == [None, None]
    assert [engine.firsts for engine in engines] == [[0, 3 * PART], [PART, 4 * PART], [2 * PART]]
    assert len(scores.read(tmp_path)) == 1
    assert not (tmp_path / layout.RANKS).exists()


def test_a_scoring_process_of_another_rank_that_is_killed_is_started_again_and_rank_0_says_so(scorers, tmp_path):
    alone = score_alone(tmp_path / "alone", scorers[0])
    ranks = make_evaluators(tmp_path, scorers[:2])
    scorers[1]._child._process.kill()
    found, _ = evaluate(ranks)
    assert found[0].scores == alone
    (warned,) = ranks[0].reporter.warned
    assert warned.startswith("rank 1: the process that scores the images ")
    assert warned.endswith("; it is started again")
    assert ranks[1].reporter.warned == ranks[1].reporter.said == []


def test_a_process_that_ends_in_the_middle_is_asked_for_the_rest_alone(scorers, tmp_path):
    """The extractor ends at its second whole part, whenever it is started."""
    alone = score_alone(tmp_path / "alone", scorers[0])
    with make_scorer(1, ends=2) as mortal:
        ranks = make_evaluators(tmp_path, [scorers[0], mortal])
        mortal.conditions = scorers[0].conditions  # this option is one
        found, engines = evaluate(ranks)
    assert found[0].scores == alone
    assert len(ranks[0].reporter.warned) == 1
    assert engines[1].firsts == [PART, 3 * PART, 3 * PART]


def test_a_scoring_process_that_always_ends_costs_the_scores_and_all_ranks_give_up_together(dots, tmp_path):
    with make_scorer() as zero, make_scorer(1, ends=1) as mortal:
        ranks = make_evaluators(tmp_path, [zero, mortal])
        mortal.conditions = zero.conditions
        for images in range(1, 1 + MAX_FAILURES):
            assert not ranks[0].has_given_up
            assert evaluate(ranks, images)[0] == [None, None]
    assert ranks[0].has_given_up
    *warned, last = ranks[0].reporter.warned
    assert len(warned) == MAX_FAILURES
    assert all("there is no score: rank 1: the process that scores the images ended" in each for each in warned)
    assert "scoring failed 3 times in a row" in last
    assert ranks[1].reporter.warned == []
    assert scores.read(tmp_path) == []


def test_a_full_disk_of_another_rank_is_told_by_rank_0(scorers, tmp_path, monkeypatch):
    def refuse(exchange, name, record):
        if name.endswith("failed.json"):
            return plain(exchange, name, record)
        raise OSError(errno.ENOSPC, "No space left on device", "part 1")

    plain = FileExchange.put
    monkeypatch.setattr(FileExchange, "put", refuse)
    ranks = make_evaluators(tmp_path, scorers[:2])
    assert evaluate(ranks)[0] == [None, None]
    assert ranks[0].reporter.warned == [
        "at 10 images there is no score: rank 1: part 1: No space left on device; training goes on"
    ]
    assert ranks[1].reporter.warned == []


def test_a_rank_whose_disk_takes_no_word_for_rank_0_says_itself_what_is_wrong(scorers, tmp_path, monkeypatch, capsys):
    def refuse(exchange, name, record):
        raise OSError(errno.ENOSPC, "No space left on device", "part 1")

    monkeypatch.setattr(FileExchange, "put", refuse)
    ranks = make_evaluators(tmp_path, scorers[:2])
    for rank in ranks:
        rank.timeout = 2.0
    assert evaluate(ranks)[0] == [None, None]
    (warned,) = ranks[0].reporter.warned  # rank 1 may have come and left before rank 0 looked
    assert warned.startswith("at 10 images there is no score: rank 1 of 2 ")
    said = " ".join(capsys.readouterr().err.split())
    assert said == "note: rank 1 cannot help with the score at 10 images: part 1: No space left on device"


def test_a_rank_draws_with_rank_0s_generator_and_gets_its_own_back():
    """Batch norm's running statistics are each rank's own."""
    G, drawn_with = {"weight": 5, "mean": 1}, []
    said_by_rank_0 = iter([1, 1, 0])  # it scores, with the others, and this is not the best

    def evaluate(engine, network, **more):
        drawn_with.append(dict(network))

    runner = Runner.__new__(Runner)
    runner.engine = SimpleNamespace(read_weights=dict, load_weights=lambda network, saved: network.update(saved))
    runner.trainer = SimpleNamespace(inference_generator=G)
    runner.watch = SimpleNamespace(is_shared=True, has_given_up=False, evaluate=evaluate, is_best=bool)
    runner.clock, runner.leads, runner.images, runner.values = Clock(), False, 8, {}
    runner.together = SimpleNamespace(
        rank=Rank(1, 2, 1, 2),
        broadcast_int=lambda own: next(said_by_rank_0),
        broadcast_network=lambda network: network.update(mean=7),
        on_all_ranks=lambda act: act(),
    )
    runner._check_finite = lambda tensors: None
    runner._evaluate()
    assert drawn_with == [{"weight": 5, "mean": 7}]
    assert G == {"weight": 5, "mean": 1}
