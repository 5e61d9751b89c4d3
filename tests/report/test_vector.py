"""A chart as an SVG that needs no script."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ganzoo_core.html.chart import HEIGHT, WIDTH, draw_chart, format_thousands, make_ticks, smooth_values

SVG = "{http://www.w3.org/2000/svg}"


def chart(*curves, **more):
    """Curves through these values, 100 images apart."""
    series = [
        {"name": f"curve {place}", "colour": place, "x": [100 * (at + 1) for at in range(len(values))], "y": values}
        for place, values in enumerate(curves)
    ]
    return {"id": "c", "title": "Title", "unit": "images", "series": series, "smooth": False, **more}


def points(path):
    """The corners of a curve that is drawn in straight lines."""
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d"))]


def test_a_curve_goes_through_its_values_on_straight_scales():
    root = ElementTree.fromstring(draw_chart(chart([0.0, 0.25, 1.0, 0.5], range=[0, 1])))
    (path,) = root.findall(f"{SVG}path")
    (x1, y0), (x2, quarter), (x3, y1), (x4, half) = points(path)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)
    assert x4 - x3 == pytest.approx(x3 - x2, abs=0.11)
    assert y1 < half < quarter < y0  # downwards grows
    assert (quarter - y0) / (y1 - y0) == pytest.approx(0.25, abs=0.005)
    assert (half - y0) / (y1 - y0) == pytest.approx(0.5, abs=0.005)
    # The axis begins at no images: the first point stands a quarter of the way to the last.
    left = float(root.find(f"{SVG}line").get("x1"))
    assert (x1 - left) / (x4 - left) == pytest.approx(0.25, abs=0.005)


def test_a_gap_is_left_where_there_is_no_number_and_a_step_is_a_corner():
    (path,) = ElementTree.fromstring(draw_chart(chart([1.0, None, 2.0, 3.0]))).findall(f"{SVG}path")
    assert [letter for letter in path.get("d") if letter.isalpha()] == ["M", "M", "L"]
    (path,) = ElementTree.fromstring(draw_chart(chart([4.0, 8.0], step=True, scale="log2"))).findall(f"{SVG}path")
    assert [letter for letter in path.get("d") if letter.isalpha()] == ["M", "V", "H"]


def test_who_cannot_see_it_is_told_where_each_curve_begins_and_ends():
    root = ElementTree.fromstring(draw_chart(chart([1.0, 5.0, 2.5], [None, 0.125], [None])))
    assert root.get("role") == "img"
    told = "Title: curve 0 from 1 to 2.5, curve 1 from 0.125 to 0.125, curve 2 without a value."
    assert root.get("aria-label") == told


def test_names_that_have_no_room_beside_each_other_stand_below_each_other():
    few, many = chart([1.0], [2.0]), chart(*[[float(place)] for place in range(9)])
    for shown, rows in ((few, 1), (many, 2)):
        marks = ElementTree.fromstring(draw_chart(shown)).findall(f"{SVG}rect")
        assert len(marks) == len(shown["series"])
        assert len({mark.get("y") for mark in marks}) == rows
        assert max(float(mark.get("x")) for mark in marks) < WIDTH - 50


def test_one_spike_does_not_flatten_the_rest():
    values = [1.0 + 0.1 * (place % 7) for place in range(200)]
    values[3] = 1e6
    (path,) = ElementTree.fromstring(draw_chart(chart(values))).findall(f"{SVG}path")
    heights = [y for place, (_, y) in enumerate(points(path)) if place != 3]
    assert max(heights) - min(heights) > 50  # pixels


@given(
    st.lists(st.lists(st.none() | st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=70), max_size=4),
    st.booleans(),
)
def test_any_values_give_a_picture_whose_curves_stay_inside(curves, smooth):
    root = ElementTree.fromstring(draw_chart(chart(*curves, smooth=smooth)))
    assert root.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    for path in root.findall(f"{SVG}path"):
        for x, y in points(path):
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
@example(879609.9999999999, 1e-6, 5)
def test_ticks_are_round_evenly_spread_and_within(low, size, about):
    high = low + size
    found = make_ticks(low, high, about)
    assert 1 <= len(found) <= about + 1
    rounding = 4 * math.ulp(max(abs(low), abs(high)))  # what neighbouring doubles can tell apart out there
    assert all(low - 1e-6 * size - rounding <= value <= high + 1e-6 * size + rounding for value in found)
    steps = np.diff(found)
    if len(steps):
        assert np.allclose(steps, steps[0], rtol=1e-6, atol=rounding)
        digit = f"{steps[0]:.0e}"[0]
        assert digit in "125"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (500, "500"), (1000, "1k"), (1500, "1500"), (20_000, "20k"), (1_500_000, "1500k"), (2e6, "2M")],
)
def test_counts_are_short(value, words):
    assert format_thousands(value) == words


def test_a_running_mean_is_of_equally_many_on_both_sides():
    values = [0.0, 3.0, 6.0, None, 4.0, 8.0]
    assert smooth_values(values) == [0.0, 3.0, 4.5, None, 6.0, 8.0]  # of three around, less at the ends
