"""A chart as an SVG that needs no script."""

from __future__ import annotations

import itertools
import math
import re
from importlib import resources
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ganzoo_core import python_api, report
from ganzoo_core.html import chart as charts
from ganzoo_core.html.chart import draw_chart, draw_sheet, measure_height
from ganzoo_core.html.scales import WIDTH, label_ticks, make_ticks, smooth_values
from ganzoo_core.report import comparison_page, plot, run_groups

ASSETS = resources.files("ganzoo_core.html") / "assets"
SVG = "{http://www.w3.org/2000/svg}"


def chart(*curves, **more):
    """Curves through these values, 100 images apart."""
    series = [
        {"name": f"curve {place}", "colour": place, "x": [100 * (at + 1) for at in range(len(values))], "y": values}
        for place, values in enumerate(curves)
    ]
    return {"id": "c", "title": "Title", "unit": "images", "series": series, "smooth": False, **more}


def paths(root, kind="strong"):
    """The paths of one kind, in the series' order."""
    return [path for path in root.iter(f"{SVG}path") if path.get("class") == kind]


def points(path):
    """The corners of a curve that is drawn in straight lines."""
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d"))]


def test_a_curve_goes_through_its_values_on_straight_scales():
    root = ElementTree.fromstring(draw_chart(chart([0.0, 0.25, 1.0, 0.5], range=[0, 1])))
    (path,) = paths(root)
    (x1, y0), (x2, quarter), (x3, y1), (x4, half) = points(path)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)
    assert x4 - x3 == pytest.approx(x3 - x2, abs=0.11)
    assert y1 < half < quarter < y0  # downwards grows
    assert (quarter - y0) / (y1 - y0) == pytest.approx(0.25, abs=0.005)
    assert (half - y0) / (y1 - y0) == pytest.approx(0.5, abs=0.005)
    # The axis begins at no images: the first point stands a quarter of the way to the last.
    left = float(next(root.iter(f"{SVG}line")).get("x1"))
    assert (x1 - left) / (x4 - left) == pytest.approx(0.25, abs=0.005)


def test_a_gap_is_left_where_there_is_no_number_and_a_step_is_a_corner():
    (path,) = paths(ElementTree.fromstring(draw_chart(chart([1.0, None, 2.0, 3.0]))))
    assert [letter for letter in path.get("d") if letter.isalpha()] == ["M", "M", "L"]
    (path,) = paths(ElementTree.fromstring(draw_chart(chart([4.0, 8.0], step=True, scale="log2"))))
    assert [letter for letter in path.get("d") if letter.isalpha()] == ["M", "V", "H"]


def test_who_cannot_see_it_is_told_where_each_curve_begins_and_ends():
    root = ElementTree.fromstring(draw_chart(chart([1.0, 5.0, 2.5], [None, 0.125], [None])))
    assert root.get("role") == "img"
    told = "Title: curve 0 from 1 to 2.5, curve 1 from 0.125 to 0.125, curve 2 without a value."
    assert root.get("aria-label") == told


def test_names_that_have_no_room_beside_each_other_stand_below_each_other():
    few, many = chart([1.0], [2.0]), chart(*[[float(place)] for place in range(9)])
    for shown, rows in ((few, 1), (many, 2)):
        root = ElementTree.fromstring(draw_chart(shown))
        entries = [group for group in root.iter(f"{SVG}g") if group.get("class") == "entry"]
        texts = [entry.find(f"{SVG}text") for entry in entries]
        assert [text.text for text in texts] == [series["name"] for series in shown["series"]]
        assert len({text.get("y") for text in texts}) == rows
        assert max(float(text.get("x")) + 6 * len(text.text) for text in texts) <= WIDTH
    assert measure_height(many) > measure_height(few)  # the legend takes no room from the curves


def test_a_long_name_is_broken_into_lines_and_stays_whole():
    words = [f"setting.number{place}=value" for place in range(12)]
    shown = chart([1.0, 2.0], [2.0, 1.0])
    shown["series"][0]["name"] = " ".join(words)
    root = ElementTree.fromstring(draw_chart(shown))
    entry = next(group for group in root.iter(f"{SVG}g") if group.get("class") == "entry")
    lines = [text.text for text in entry.iter(f"{SVG}text")]
    assert len(lines) > 1
    assert " ".join(lines).split() == words


def test_a_band_reaches_from_the_least_to_the_largest():
    shown = chart([1.0, 2.0, 1.5], range=[0, 4])
    shown["series"][0] |= {"lo": [0.0, 1.0, None], "hi": [2.0, 4.0, None]}
    root = ElementTree.fromstring(draw_chart(shown))
    (band,) = (path for path in root.iter(f"{SVG}path") if path.get("opacity") == "0.15")
    corners = sorted(points(band))
    assert corners[0][0] == corners[1][0] < corners[2][0] == corners[3][0]  # the third has no edges
    two, none, four, one = (y for _, y in corners)
    assert none > two
    assert (none - np.array([one, two, four])) / (none - four) == pytest.approx([0.25, 0.5, 1], abs=0.001)


def contrast(one, other):
    """WCAG 2's contrast ratio of two colours."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#131518"])  # as in page.css
@pytest.mark.parametrize("colour", charts.COLOURS)
def test_a_curve_can_be_seen_on_light_and_on_dark_pages(colour, paper):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast(colour, paper) >= 3


def test_one_constant_changes_the_colour_of_every_chart(runs, stats_line, monkeypatch):
    before = charts.COLOURS[0]
    assert before not in "".join(asset.read_text() for asset in ASSETS.iterdir())
    folders = [runs(name, settings={"train.seed": (seed, "--seed")}) for seed, name in enumerate("ab")]
    compared = run_groups.compare_runs(folders)

    def render_all():
        return {
            "page": report.render(folders[0]),
            "notebook": python_api.Run(folders[0])._repr_html_(),
            "curves.svg": plot.write(folders[0]).read_text(encoding="utf-8"),
            "comparison": comparison_page.render(compared),
        }

    old = render_all()
    assert all(text.count(before) >= 2 for text in old.values())
    monkeypatch.setattr(charts, "COLOURS", ("#123456", *charts.COLOURS[1:]))
    assert render_all() == {name: text.replace(before, "#123456") for name, text in old.items()}


def test_every_output_draws_the_same_curves(runs, stats_line):
    lines = [stats_line(10 * n, **{"generator/adversarial": math.sin(n)}) for n in range(1, 2000)]
    folder = runs(lines=lines)  # so many lines that they are merged and have bands

    def shapes(text):
        """Each curve's look and its corners, in the range to which its group is transformed."""
        found = []
        for group, content in re.findall(r"<g ([^>]*data-range=[^>]*)>(.*?)</g>", text, flags=re.DOTALL):
            moved = re.search(r'transform="matrix\(1 0 0 (\S+) 0 (\S+)\)"', group)
            factor, shift = map(float, moved.groups()) if moved else (1.0, 0.0)
            for path in ElementTree.fromstring(f"<g>{content}</g>").iter("path"):
                corners = np.array(points(path)) * [1, factor] + [0, shift]
                found.append((re.findall(r'stroke[a-z-]*="[^"]*"', group), {**path.attrib, "d": ""}, corners))
        return found

    notebook = shapes(python_api.Run(folder)._repr_html_())
    assert len(notebook) > 4
    assert any(np.ptp(corners[:, 1]) > 50 for _, _, corners in notebook)  # pixels: the sine goes up and down
    for output in (plot.write(folder).read_text(encoding="utf-8"), report.render(folder)):
        for drawn, expected in zip(shapes(output), notebook, strict=False):
            assert drawn[:2] == expected[:2]
            assert drawn[2].shape == expected[2].shape
            assert np.abs(drawn[2] - expected[2]).max() < 0.2  # pixels; the page scales rounded numbers
        assert len(shapes(output)) >= len(notebook)


def test_a_curve_of_an_interactive_chart_lies_where_it_does_in_another():
    shown = chart([1.0, 5.0, 3.0], [4000.0, 1000.0, 2500.0], [-7.0, None, 0.001])
    root, static = (ElementTree.fromstring(draw_chart(shown, interactive=choice)) for choice in (True, False))
    groups = [group for group in root.iter(f"{SVG}g") if group.get("stroke")]
    for group, plain in zip(groups, paths(static), strict=True):
        _, _, _, factor, _, shift = map(float, (group.get("transform") or "(1 0 0 1 0 0)")[:-1].split("(")[1].split())
        for (x, y), expected in zip(points(paths(group)[0]), points(plain), strict=True):
            assert (x, factor * y + shift) == pytest.approx(expected, abs=0.1)


def test_a_sheet_holds_all_charts_below_each_other():
    shown = [chart([1.0, 2.0]), chart([3.0], [1.0]), chart([1.0], title="long " * 40)]
    root = ElementTree.fromstring(draw_sheet(shown))
    drawn = root.findall(f"{SVG}svg")
    edges = [(float(one.get("y")), float(one.get("y")) + float(one.get("height"))) for one in drawn]
    assert len(edges) == 3
    assert all(below[0] > above[1] for above, below in itertools.pairwise(edges))
    assert float(root.get("height")) >= edges[-1][1]


def test_one_spike_does_not_flatten_the_rest():
    values = [1.0 + 0.1 * (place % 7) for place in range(200)]
    values[3] = 1e6
    (path,) = paths(ElementTree.fromstring(draw_chart(chart(values))))
    heights = [y for place, (_, y) in enumerate(points(path)) if place != 3]
    assert max(heights) - min(heights) > 50  # pixels


@given(
    st.lists(st.lists(st.none() | st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=70), max_size=4),
    st.booleans(),
)
def test_any_values_give_a_picture_whose_curves_stay_inside(curves, smooth):
    shown = chart(*curves, smooth=smooth)
    root = ElementTree.fromstring(draw_chart(shown, interactive=True))
    assert root.get("viewBox") == f"0 0 {WIDTH} {measure_height(shown)}"
    (window,) = root.findall(f"{SVG}svg")
    left, top, width, height = map(float, window.get("viewBox").split())  # what lies outside of it is not drawn
    assert 0 <= left < left + width <= WIDTH
    assert 0 <= top < top + height <= measure_height(shown)
    for path in root.iter(f"{SVG}path"):
        for x, y in points(path):
            assert left <= x <= left + width
            assert math.isfinite(y)


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
    ("values", "words"),
    [
        ([0.0, 0.5, 1.0], ["0", "0.5", "1"]),
        ([0.0, 50.0, 100.0], ["0", "50", "100"]),
        ([0.1 * place for place in (-1, 0, 1, 2, 3)], ["-0.1", "0", "0.1", "0.2", "0.3"]),
        ([0.0, 1000.0, 2000.0], ["0", "1000", "2000"]),
        ([0.0, 5000.0, 10_000.0], ["0", "5k", "10k"]),
        ([0.0, 5e5, 1e6, 1.5e6], ["0", "0.5M", "1M", "1.5M"]),
        ([4002.0, 4004.0], ["4002", "4004"]),
        ([40_002.0, 40_004.0], ["40.002k", "40.004k"]),
        ([0.5001, 0.5002], ["0.5001", "0.5002"]),
        ([4.0, 8.0, 16.0], ["4", "8", "16"]),
        ([0.0], ["0"]),
        ([], []),
    ],
)
def test_labels_are_short_and_tell_ticks_apart(values, words):
    assert label_ticks(values) == words


def test_a_running_mean_is_of_equally_many_on_both_sides():
    values = [0.0, 3.0, 6.0, None, 4.0, 8.0]
    assert smooth_values(values) == [0.0, 3.0, 4.5, None, 6.0, 8.0]  # of three around, less at the ends
