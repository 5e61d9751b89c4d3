"""What a notebook shows of runs and generators, without a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from html.parser import HTMLParser

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.data.classes import Classes
from ganzoo_core.generation import notebook_view
from ganzoo_core.report import notebook
from ganzoo_core.runs.folder import read_card
from ganzoo_core.terminal.progress import Progress, Reporter


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


def test_a_run_shows_its_state_its_newest_grid_its_curves_and_its_settings_folded(runs):
    folder = runs()
    shown = Elements(python_api.Run(folder)._repr_html_())
    assert f"tiny on dots · Finished after 1,000 images · {folder}" in shown.words
    (image,) = shown.of("img")
    assert image["src"].startswith("data:image/png;base64,")
    assert image["alt"] == "The newest grid of generated images"
    told = [svg["aria-label"].split(":")[0] for svg in shown.of("svg") if "aria-label" in svg]
    assert told == ["Loss terms", "What D gets right, as a share"]
    assert all("open" not in details for details in shown.of("details"))
    assert "train.lr" in shown.words
    assert "--set" in shown.words
    assert not shown.of("script")


def test_no_text_of_a_run_becomes_markup(runs, stats_line, hostile):
    lines = [stats_line(100 * place, **{f"generator/{hostile}": 1.0, hostile: float(place)}) for place in (1, 2)]
    folder = runs(lines=lines, settings={"use.model": (hostile, hostile), "train.x": (hostile, hostile)})
    shown = Elements(python_api.Run(folder)._repr_html_())
    assert not shown.of("script")
    assert len(shown.of("img")) == 1
    assert hostile in shown.words


def test_a_run_that_is_gone_or_damaged_says_so(runs, tmp_path):
    gone = Elements(python_api.Run(tmp_path / "a<b>")._repr_html_())
    assert gone.words.startswith(f"{tmp_path / 'a<b>'} is not there; name a run's folder")
    folder = runs(lines=[], samples=0, finished=False)
    (folder / "samples/latest.png").write_bytes(b"no picture")
    shown = Elements(python_api.Run(folder)._repr_html_())
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

    def __init__(self, folder, name, write_card):
        self.folder, self.classes = folder, Classes([f"{name} {number}" for number in range(12)], [3])
        self.spec, self.images_seen, self.latent = gz.Spec(4, 4, 1, 12, 7, "torch"), 5, "normal"
        folder.mkdir()
        write_card(folder, images=5, class_names=self.classes.names)
        self.card = read_card(folder)

    def describe_needs(self):
        return {}

    def generate(self, n, *, labels):
        self.labels = labels
        return np.zeros((n, 4, 4, 1), np.uint8)


def test_a_conditional_one_shows_a_row_a_class_and_no_name_becomes_markup(tmp_path, hostile, write_card):
    generator = Fake(tmp_path / "generator", hostile, write_card)
    shown = Elements(notebook_view.render_generator(generator))
    assert generator.labels.reshape(10, -1).tolist() == [[number] * 8 for number in (0, 1, 2, *range(4, 11))]
    assert f"{hostile} 10 …" in shown.words
    assert f"{hostile} 3" not in shown.words  # it had no training images
    assert "made by: an object" in shown.words
    assert len(shown.of("img")) == 1


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
    with notebook.NotebookReporter(sent.append) as live:
        live.say(f"run folder: {hostile}")
        live.begin(runs())
        assert len(sent) == 1
        for images in (100, 200, 300):
            clock.now += 0.9
            live.report(progress(images))
        assert len(sent) == 2
        assert re.search(r"(?<![\d,])300 images", sent[1]["text/plain"])
        assert live.is_stale() is False
        clock.now += 2.1
        assert live.is_stale() is True
        live.report(progress(400))
        live.report(progress(500))
        live.report_epoch(progress(500))
        assert len(sent) == 3
        live.warn(hostile)
    assert re.search(r"(?<![\d,])500 images", sent[-1]["text/plain"])
    shown = Elements(sent[-1]["text/html"])
    assert shown.words.count(hostile) == 2
    assert "note: " in shown.words
    assert not shown.of("script")
    assert len(shown.of("img")) == 1
    assert shown.of("svg")


def test_a_display_takes_no_more_than_a_twentieth_of_the_time(runs, clock):
    def send(bundle):
        clock.now += 1.0

    live = notebook.NotebookReporter(send)
    live.say("it took a second")
    clock.now += 19.9
    assert not live.is_stale()
    clock.now += 0.2
    assert live.is_stale()


def test_nothing_is_drawn_of_a_run_without_statistics(tmp_path, clock):
    sent = []
    live = notebook.NotebookReporter(sent.append, laptop_preset="small")
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
    assert (
        isinstance(notebook.make_reporter(quiet=False, cpu=True, laptop_preset=""), notebook.NotebookReporter)
        is expected
    )
    quiet = notebook.make_reporter(quiet=True, cpu=True, laptop_preset="")
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
    monkeypatch.setattr(notebook, "_relay_sends", [])
    lines = []
    notebook.relay_displays(lines.append)
    reporter = notebook.make_reporter(quiet=False, cpu=True, laptop_preset="")
    reporter.say("first")
    reporter.say("second")
    assert all("\n" not in line for line in lines)
    show = notebook.make_relay_display()
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
