"""What a notebook shows of runs and generators, without a notebook."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core import notebook, session
from ganzoo_core.console import Progress, Reporter
from ganzoo_core.report import vector

SVG = "{http://www.w3.org/2000/svg}"


class Elements(HTMLParser):
    """The elements of a piece of HTML, each as a browser opens it; and its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words = [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words += data

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


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


# --- curves


def test_a_curve_goes_through_its_values_on_straight_scales():
    root = ElementTree.fromstring(vector.draw(chart([0.0, 0.25, 1.0, 0.5], range=[0, 1])))
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
    (path,) = ElementTree.fromstring(vector.draw(chart([1.0, None, 2.0, 3.0]))).findall(f"{SVG}path")
    assert [letter for letter in path.get("d") if letter.isalpha()] == ["M", "M", "L"]
    (path,) = ElementTree.fromstring(vector.draw(chart([4.0, 8.0], step=True, scale="log2"))).findall(f"{SVG}path")
    assert [letter for letter in path.get("d") if letter.isalpha()] == ["M", "V", "H"]


def test_who_cannot_see_it_is_told_where_each_curve_begins_and_ends():
    root = ElementTree.fromstring(vector.draw(chart([1.0, 5.0, 2.5], [None, 0.125], [None])))
    assert root.get("role") == "img"
    told = "Title: curve 0 from 1 to 2.5, curve 1 from 0.125 to 0.125, curve 2 without a value."
    assert root.get("aria-label") == told


def test_names_that_have_no_room_beside_each_other_stand_below_each_other():
    few, many = chart([1.0], [2.0]), chart(*[[float(place)] for place in range(9)])
    for shown, rows in ((few, 1), (many, 2)):
        marks = ElementTree.fromstring(vector.draw(shown)).findall(f"{SVG}rect")
        assert len(marks) == len(shown["series"])
        assert len({mark.get("y") for mark in marks}) == rows
        assert max(float(mark.get("x")) for mark in marks) < vector.WIDTH - 50


def test_one_spike_does_not_flatten_the_rest():
    values = [1.0 + 0.1 * (place % 7) for place in range(200)]
    values[3] = 1e6
    (path,) = ElementTree.fromstring(vector.draw(chart(values))).findall(f"{SVG}path")
    heights = [y for place, (_, y) in enumerate(points(path)) if place != 3]
    assert max(heights) - min(heights) > 50  # pixels


@given(
    st.lists(st.lists(st.none() | st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=70), max_size=4),
    st.booleans(),
)
def test_any_values_give_a_picture_whose_curves_stay_inside(curves, smooth):
    root = ElementTree.fromstring(vector.draw(chart(*curves, smooth=smooth)))
    assert root.get("viewBox") == f"0 0 {vector.WIDTH} {vector.HEIGHT}"
    for path in root.findall(f"{SVG}path"):
        for x, y in points(path):
            assert 0 <= x <= vector.WIDTH
            assert 0 <= y <= vector.HEIGHT


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_round_evenly_spread_and_within(low, size, about):
    high = low + size
    found = vector.ticks(low, high, about)
    assert 1 <= len(found) <= about + 1
    assert all(low - 1e-6 * size <= value <= high + 1e-6 * size for value in found)
    steps = np.diff(found)
    if len(steps):
        assert np.allclose(steps, steps[0])
        digit = f"{steps[0]:.0e}"[0]
        assert digit in "125"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (500, "500"), (1000, "1k"), (1500, "1500"), (20_000, "20k"), (1_500_000, "1500k"), (2e6, "2M")],
)
def test_counts_are_short(value, words):
    assert vector.thousands(value) == words


def test_a_running_mean_is_of_equally_many_on_both_sides():
    values = [0.0, 3.0, 6.0, None, 4.0, 8.0]
    assert vector.smoothed(values) == [0.0, 3.0, 4.5, None, 6.0, 8.0]  # of three around, less at the ends


# --- runs and generators


def test_a_run_shows_its_state_its_newest_grid_its_curves_and_its_settings_folded(runs):
    folder = runs()
    shown = Elements(session.Run(folder)._repr_html_())
    assert f"tiny on dots · Finished after 1,000 images · {folder}" in shown.words
    (image,) = shown.of("img")
    assert image["src"].startswith("data:image/png;base64,")
    assert image["alt"] == "The newest grid of generated images"
    told = [svg["aria-label"].split(":")[0] for svg in shown.of("svg")]
    assert told == ["Loss terms", "What D gets right, as a share"]
    assert all("open" not in details for details in shown.of("details"))
    assert "train.lr" in shown.words
    assert "--set" in shown.words
    assert not shown.of("script")


def test_no_text_of_a_run_becomes_markup(runs, stats_line, hostile):
    lines = [stats_line(100 * place, **{f"generator/{hostile}": 1.0, hostile: float(place)}) for place in (1, 2)]
    folder = runs(lines=lines, settings={"use.model": (hostile, hostile), "train.x": (hostile, hostile)})
    shown = Elements(session.Run(folder)._repr_html_())
    assert not shown.of("script")
    assert len(shown.of("img")) == 1
    assert hostile in shown.words


def test_a_run_that_is_gone_or_damaged_says_so(runs, tmp_path):
    gone = Elements(session.Run(tmp_path / "a<b>")._repr_html_())
    assert gone.words.startswith(f"{tmp_path / 'a<b>'} is not there; name a run's folder")
    folder = runs(lines=[], samples=0, finished=False)
    (folder / "samples/latest.png").write_bytes(b"no picture")
    shown = Elements(session.Run(folder)._repr_html_())
    assert "Nothing reported yet" in shown.words
    assert not shown.of("img")


def test_a_saved_generator_shows_what_it_draws_and_its_card(trained):
    generator = gz.load(trained)
    shown = Elements(generator._repr_html_())
    assert len(shown.of("img")) == 1
    for words in ("made by: dcgan-torch of ganzoo-dcgan-torch", "images: 16×16×1", "trained on: 64 images"):
        assert words in shown.words


class Fake:
    """A conditional generator of twelve classes."""

    def __init__(self, folder, name):
        self.folder, self.class_names = folder, [f"{name} {number}" for number in range(12)]
        self.spec, self.images_seen = gz.Spec(4, 4, 1, 12, 7, "torch"), 5
        folder.mkdir()
        (folder / "generator.json").write_text(json.dumps({"part": None, "latent": "normal"}))

    def generate(self, n, *, labels):
        self.labels = labels
        return np.zeros((n, 4, 4, 1), np.uint8)


def test_a_conditional_one_shows_a_row_a_class_and_no_name_becomes_markup(tmp_path, hostile):
    generator = Fake(tmp_path / "generator", hostile)
    shown = Elements(notebook.of_generator(generator))
    assert generator.labels.reshape(10, -1).tolist() == [[number] * 8 for number in range(10)]
    assert f"{hostile} 9 …" in shown.words
    assert "made by: an object" in shown.words
    assert len(shown.of("img")) == 1


# --- a run that goes on


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(notebook.time, "monotonic", clock)
    return clock


def progress(images):
    return Progress(images, 1000, images // 10, 100, 0, 1, 100.0, 9.0, {"generator/adversarial": 0.5})


def test_a_display_is_drawn_at_most_every_two_seconds_and_at_the_end(runs, clock, hostile):
    sent = []
    with notebook.Live(sent.append) as live:
        live.say(f"run folder: {hostile}")
        live.begin(runs())
        assert len(sent) == 1
        for images in (100, 200, 300):
            clock.now += 0.9
            live.report(progress(images))
        assert len(sent) == 2
        assert "300 images" in sent[1]["text/plain"]
        assert live.is_stale() is False
        clock.now += 2.1
        assert live.is_stale() is True
        live.report(progress(400))
        live.report(progress(500))
        live.epoch(progress(500))
        assert len(sent) == 3
        live.warn(hostile)
    assert "500 images" in sent[-1]["text/plain"]
    shown = Elements(sent[-1]["text/html"])
    assert shown.words.count(hostile) == 2
    assert "note: " in shown.words
    assert not shown.of("script")
    assert len(shown.of("img")) == 1
    assert shown.of("svg")


def test_a_display_takes_no_more_than_a_twentieth_of_the_time(runs, clock):
    def send(bundle):
        clock.now += 1.0

    live = notebook.Live(send)
    live.say("it took a second")
    clock.now += 19.9
    assert not live.is_stale()
    clock.now += 0.2
    assert live.is_stale()


def test_nothing_is_drawn_of_a_run_without_statistics(tmp_path, clock):
    sent = []
    live = notebook.Live(sent.append, small=True)
    live.begin(tmp_path)
    live.estimate(3700)
    assert "--preset small" in sent[-1]["text/html"]
    live.estimate(60)
    assert len(sent) == 1
    assert "could not be shown" not in sent[-1]["text/html"]


def ipython(*names):
    """A module IPython whose shell has these classes, the last the root."""
    kind = object
    for name in reversed(names):
        kind = type(name, (kind,), {})
    module = types.ModuleType("IPython")
    module.get_ipython = kind if names else lambda: None
    return module


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (None, False),
        (ipython(), False),
        (ipython("TerminalInteractiveShell", "InteractiveShell"), False),
        (ipython("ZMQInteractiveShell", "InteractiveShell"), True),
        (ipython("Shell", "ZMQInteractiveShell"), True),  # Colab's
    ],
)
def test_only_a_kernel_gets_a_display_and_no_quiet_run(module, expected, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    if module is not None:
        monkeypatch.setitem(sys.modules, "IPython", module)
    assert notebook.is_notebook() is expected
    assert isinstance(notebook.reporter(quiet=False, cpu=True, small=False), notebook.Live) is expected
    quiet = notebook.reporter(quiet=True, cpu=True, small=False)
    assert type(quiet) is Reporter
    assert quiet.quiet


def test_another_process_draws_into_one_display_of_this_one(monkeypatch):
    told = []

    class Handle:
        def update(self, data, *, raw):
            told.append(("update", data, raw))

    module = types.ModuleType("IPython.display")

    def display(data, *, raw, display_id):
        told.append(("display", data, raw))
        return Handle() if display_id else None

    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython("ZMQInteractiveShell"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(notebook, "_sends", [])
    lines = []
    notebook.relay(lines.append)
    reporter = notebook.reporter(quiet=False, cpu=True, small=False)
    reporter.say("first")
    reporter.say("second")
    assert all("\n" not in line for line in lines)
    show = notebook.relayed()
    for line in lines:
        show(line)
    assert [(kind, data["text/plain"], raw) for kind, data, raw in told] == [
        ("display", "first", True),
        ("update", "second", True),
    ]


def test_ipython_is_not_imported_for_it():
    code = "import sys, ganzoo_core as gz; gz.train; gz.load; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"


def test_a_loss_is_tried_on_plain_lists():
    found = gz.loss("hinge").on([2.0, 0.5, -1.0], [-2, -0.5, 1])
    assert found["discriminator"]["adversarial"] == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 0.5 + 2) / 3)
    assert found["generator"]["adversarial"] == pytest.approx(0.5)
