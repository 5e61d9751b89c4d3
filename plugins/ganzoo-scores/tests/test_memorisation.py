"""Copies, held-out images and noise are told apart; each number against plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.evaluation import Scorer, make_request
from ganzoo_core.evaluation.worker import ScoringSession
from ganzoo_scores import memorisation


def features(rows: np.ndarray) -> gz.Features:
    return gz.Features(rows.astype(np.float32))


def draw(count: int, seed: int, width: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def find_nearest(row: np.ndarray, others: np.ndarray, *, but: int = -1) -> tuple[float, int]:
    """Distance and index, one pair after the other."""
    pairs = [(math.dist(row.tolist(), other.tolist()), i) for i, other in enumerate(others) if i != but]
    return min(pairs)


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 999))
def test_authentic_images_are_those_of_the_definition(trained: int, drawn: int, seed: int) -> None:
    training, fake = draw(trained, seed), draw(drawn, seed + 1)
    fake[: drawn // 2] = training[np.arange(drawn // 2) % trained] + 0.3 * fake[: drawn // 2]
    expected = []
    for row in fake:
        distance, index = find_nearest(row, training)
        expected.append(distance > find_nearest(training[index], training, but=index)[0])
    assert memorisation.find_authentic(training, fake).tolist() == expected
    found = memorisation.score(features(fake), features(fake), 0, training=features(training))
    assert found == {"authpct": pytest.approx(100 * sum(expected) / drawn)}


@settings(max_examples=20)
@given(st.integers(0, 999))
def test_the_statistic_is_that_of_the_definition(seed: int) -> None:
    """Over pairs, one after the other: U, its mean and deviation without a difference, and the weighted mean of z."""
    training, held_out, fake = draw(40, seed), draw(25, seed + 1), draw(130, seed + 2)
    held_out[3] = fake[5] = training[0]  # a tie
    cells = tuple(np.random.default_rng(seed).integers(0, 4, len(rows)) for rows in (training, held_out, fake))
    cells[2][cells[2] == 3] = 2
    cells[2][:19] = 3  # one too few
    total, weight = 0.0, 0
    for cell in range(3):
        near = training[cells[0] == cell]
        real = [find_nearest(row, near)[0] for row in held_out[cells[1] == cell]]
        drawn = [find_nearest(row, near)[0] for row in fake[cells[2] == cell]]
        above = sum((a > b) + 0.5 * (a == b) for a in drawn for b in real)
        m, n = len(drawn), len(real)
        if m >= 20 and n and len(near):
            total += n * (above - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)
            weight += n
    assert memorisation.compare_distances(training, held_out, fake, *cells) == pytest.approx(total / weight, rel=1e-5)


def test_copies_held_out_images_and_noise_are_told_apart() -> None:
    training, held_out, fresh = draw(400, 0, 8), draw(200, 1, 8), draw(300, 2, 8)
    kinds = {
        "copies": training[:300],
        "near": training[:300] + 0.01 * draw(300, 3, 8),
        "fresh": fresh,
        "noise": 30 * draw(300, 4, 8),
    }
    found = {
        name: {
            **memorisation.score(features(held_out), features(rows), 0, training=features(training)),
            **memorisation.score(
                features(held_out), features(rows), 0, training=features(training), held_out=features(held_out)
            ),
        }
        for name, rows in kinds.items()
    }
    assert found["copies"]["authpct"] == found["near"]["authpct"] == 0
    assert 20 < found["fresh"]["authpct"] < 80
    assert found["noise"]["authpct"] == 100
    assert max(found["copies"]["c_t"], found["near"]["c_t"]) < -4
    assert abs(found["fresh"]["c_t"]) < 2
    assert found["noise"]["c_t"] > 4


def test_the_cells_do_not_depend_on_the_order_of_calls() -> None:
    sets = draw(60, 0), draw(60, 1), draw(60, 2)
    first, second = (memorisation.assign_cells(*sets, count=3, seed=7) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert set(first[0].tolist()) == {0, 1, 2}
    same = np.ones((5, 3), np.float32)  # fewer different images than cells
    assert all(len(cells) == 5 for cells in memorisation.assign_cells(same, same, same, count=3, seed=0))


def test_distances_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = draw(50, 0)
    whole = memorisation.find_nearest(rows, rows, itself=False)
    monkeypatch.setattr(memorisation, "BATCH", 7)
    for a, b in zip(whole, memorisation.find_nearest(rows, rows, itself=False), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("trained", "drawn", "cells", "words"),
    [
        (1, 30, 0, "memorisation needs 2 training images, and there is 1"),
        (30, 19, 0, "memorisation needs 20 scored images where held-out ones lie"),
        (30, 30, -1, "metric.memorisation.cells is -1; expected 1 or more, or 0"),
    ],
)
def test_what_cannot_be_told_is_refused_in_words(trained: int, drawn: int, cells: int, words: str) -> None:
    fake, held_out = features(draw(drawn, 1)), features(draw(30, 2))
    with pytest.raises(gz.UsageError, match=words):
        memorisation.score(held_out, fake, 0, training=features(draw(trained, 0)), held_out=held_out, cells=cells)


def test_of_digits_from_end_to_end(scorer: Scorer, digits: Callable[[str], gz.ImageSource]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 1), dtype=np.uint8)
    copies, held_out, noisy = (
        scorer.score(images) for images in (digits("train").images, digits("test").images, noise)
    )
    assert copies.scores["c_t"] < -4
    assert abs(held_out.scores["c_t"]) < 1
    assert noisy.scores["c_t"] > 4
    assert abs(copies.real["c_t"]) < 3
    assert "authpct" not in copies.scores


def test_of_digits_of_which_none_are_held_out(digits: Callable[[str], gz.ImageSource]) -> None:
    request = make_request(
        data="digits", data_settings={"data.holdout": 0}, extractor="bundled", metrics=["memorisation"]
    )
    session, noise = ScoringSession(request, print), np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8)
    assert session.score(digits("train").images[:50], None, 0)["scores"] == {"authpct": 0}
    found = session.score(noise, None, 0)
    assert (found["scores"], found["real"]) == ({"authpct": 100}, {})  # halves of training images are copies
