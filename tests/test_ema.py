"""The decay of G's moving average: a half-life in images, and the share of the images seen that bounds it."""

from __future__ import annotations

import pytest

from ganzoo_core.engines.ema import compute_ema_decay

from .plans import make_plan


@pytest.mark.parametrize(
    ("rampup", "images", "expected"),
    [(0.05, 1_000, 50), (0.05, 8_000, 400), (0.05, 80_000, 500), (0.5, 800, 400), (0.0, 8, 500), (2.0, 8, 16)],
)
def test_the_half_life_is_bounded_by_a_share_of_the_images_seen(rampup, images, expected):
    """After `expected` images at this decay half of the old average is left: batches of 8."""
    decay = compute_ema_decay(make_plan(batch_size=8, halflife=500, rampup=rampup), images, {})
    assert decay ** (expected / 8) == pytest.approx(0.5)
    scheduled = compute_ema_decay(make_plan(batch_size=8, halflife=9, rampup=rampup), images, {"ema_halflife": 500})
    assert scheduled == decay


def test_nothing_is_averaged_at_a_half_life_of_0():
    assert compute_ema_decay(make_plan(halflife=0, rampup=0.0), 100, {}) == 0
    assert compute_ema_decay(make_plan(halflife=5), 100, {"ema_halflife": 0.0}) == 0
    assert compute_ema_decay(make_plan(halflife=5), 0, {}) == 0
