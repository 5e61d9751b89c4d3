"""The progressive schedule: its stages by hand, and the rules that hold for every plan."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_schedules import progressive

SPEC = gz.Spec(height=16, width=16, channels=1, classes=0, latent_dim=8, framework="tensorflow")
RATES = {"lr_g": 2e-4, "lr_d": 4e-4}


def make(
    total_images: int, *, size: int = 16, start: int = 4, stable_images: int = 0, fade_images: int = 0
) -> gz.Schedule:
    options = {**RATES, "beta2": 0.99, "ema_halflife": 0, "start_resolution": start}
    options |= {"stable_images": stable_images, "fade_images": fade_images}
    return progressive.schedule(replace(SPEC, height=size, width=size), total_images, options)


def stage(schedule: gz.Schedule, images: int) -> tuple[float, float]:
    values = schedule(images)
    return values["resolution"], values["fade"]


def test_the_stages_by_hand() -> None:
    schedule = make(5000, stable_images=1000, fade_images=500)
    expected = {
        0: (4, 1.0),
        999: (4, 1.0),
        1000: (8, 0.0),
        1250: (8, 0.5),
        1499: (8, 0.998),
        1500: (8, 1.0),
        2499: (8, 1.0),
        2500: (16, 0.0),
        2600: (16, 0.2),
        3000: (16, 1.0),
        5000: (16, 1.0),
        10**9: (16, 1.0),
    }
    assert {images: stage(schedule, images) for images in expected} == expected


def test_learning_rates_stay_as_they_are_set_and_nothing_else_is_given() -> None:
    for images in (0, 700, 5000):
        values = make(5000, stable_images=1000, fade_images=500)(images)
        assert {name: values[name] for name in RATES} == RATES
        assert set(values) == {"resolution", "fade", *RATES}
        assert isinstance(values["resolution"], int)


def test_without_lengths_all_phases_are_equally_long() -> None:
    """Three stable phases and two fades: 1000 images are 200 each."""
    schedule = make(1000)
    starts = [200, 600]
    assert [stage(schedule, images) for images in starts] == [(8, 0.0), (16, 0.0)]
    assert [stage(schedule, images - 1) for images in starts] == [(4, 1.0), (8, 1.0)]
    assert [stage(schedule, images + 200) for images in starts] == [(8, 1.0), (16, 1.0)]


def test_one_length_that_is_missing_gets_what_the_other_leaves() -> None:
    """1000 images with fades of 350 leave 300, 100 a stable phase; with stable phases of 100 they leave 350 a fade."""
    for schedule in (make(1000, fade_images=350), make(1000, stable_images=100)):
        assert stage(schedule, 99) == (4, 1.0)
        assert stage(schedule, 100) == (8, 0.0)
        assert stage(schedule, 275) == (8, 0.5)
        assert stage(schedule, 450) == (8, 1.0)
        assert stage(schedule, 550) == (16, 0.0)
        assert stage(schedule, 900) == (16, 1.0)


def test_images_of_the_first_resolution_need_no_stages() -> None:
    for schedule in (make(10, size=4), make(10, size=4, stable_images=600_000, fade_images=600_000)):
        assert stage(schedule, 0) == stage(schedule, 10**6) == (4, 1.0)


def test_it_may_start_higher_and_reaches_the_longer_side() -> None:
    assert stage(make(100, start=8, stable_images=30, fade_images=30), 30) == (16, 0.0)
    options = {**RATES, "start_resolution": 4, "stable_images": 0, "fade_images": 0}
    wide = progressive.schedule(replace(SPEC, height=4, width=8), 90, options)
    assert stage(wide, 90) == (8, 1.0)


def test_a_plan_longer_than_the_run_is_refused_and_says_what_to_change() -> None:
    """16 pixels: three stable phases and two fades."""
    stage_plan = {"stable_images": 1000, "fade_images": 500}
    assert stage(make(4000, **stage_plan), 3000) == (16, 1.0)
    with pytest.raises(gz.UsageError) as told:
        make(3999, **stage_plan)
    message = str(told.value)
    for words in ("16 pixels", "4,000 images", "3,999", "stable_images", "fade_images", "train.length"):
        assert words in message
    with pytest.raises(gz.UsageError, match="the run is 650 images long"):
        make(650, fade_images=350)
    with pytest.raises(gz.UsageError, match="the run is 250 images long"):
        make(250, stable_images=100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 5}, r"schedule\.start_resolution is 5 and the images are 16 pixels"),
        ({"start": 0}, r"schedule\.start_resolution is 0"),
        ({"start": 32}, r"schedule\.start_resolution is 32"),
        ({"size": 28}, r"the images are 28 pixels, .* set data\.size"),
        ({"stable_images": -1}, r"schedule\.stable_images is -1; expected a number of images"),
        ({"fade_images": -2}, r"schedule\.fade_images is -2"),
    ],
)
def test_senseless_settings_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(gz.UsageError, match=message):
        make(100_000, **options)


PLANS = st.builds(
    dict,
    doublings=st.integers(0, 8),
    stable_images=st.integers(0, 10**6),
    fade_images=st.integers(0, 10**6),
    spare=st.integers(0, 10**6),
)


@given(plan=PLANS, data=st.data())
def test_rules_for_all_plans(plan: dict[str, int], data: st.DataObject) -> None:
    """Pure; fade in [0,1]; the resolution never falls, each is met in turn; the end is the images' own size."""
    doublings, spare = plan.pop("doublings"), plan.pop("spare")
    total = 1 + spare + (doublings + 1) * plan["stable_images"] + doublings * plan["fade_images"]
    schedule = make(total, size=4 << doublings, **plan)
    points = sorted(data.draw(st.lists(st.integers(0, 2 * total), min_size=2, max_size=8)))
    values = [schedule(images) for images in points]
    assert values == [schedule(images) for images in points]
    for before, after in pairwise(values):
        assert before["resolution"] <= after["resolution"]
        if before["resolution"] == after["resolution"]:
            assert before["fade"] <= after["fade"]
    for value in values:
        assert 0.0 <= value["fade"] <= 1.0
        assert value["resolution"] in [4 << level for level in range(doublings + 1)]
        assert value["resolution"] > 4 or value["fade"] == 1.0
    assert stage(schedule, total) == (4 << doublings, 1.0)
    if all(plan.values()):
        period = plan["stable_images"] + plan["fade_images"]
        for level in range(doublings):
            begin = plan["stable_images"] + level * period
            assert stage(schedule, begin) == (8 << level, 0.0)
            assert stage(schedule, begin - 1) == (4 << level, 1.0)
            assert stage(schedule, begin + plan["fade_images"]) == (8 << level, 1.0)
