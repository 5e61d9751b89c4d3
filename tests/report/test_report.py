"""A run's report: what it holds, what it says where something is missing, and that nothing in a folder can stop it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core import report
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.html import markup
from ganzoo_core.report import curves, live, nearest_and_walk, pictures, plot, run_record

from ..conftest import run_here

NUMBERS = st.floats(-1e6, 1e6) | st.just(math.nan)


class Seen(HTMLParser):
    """A page as a browser's parser sees it: its words, its elements, and its data."""

    def __init__(self, text):
        super().__init__()
        self.words, self.elements, self.within = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if "script" in self.within and dict(self.elements[-1][1]).get("id") == "data":
            self.data = json.loads(data)
        elif not {"script", "style"} & set(self.within):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def see(folder, **more):
    return Seen(report.write(folder, **more).read_text(encoding="utf-8"))


def test_the_page_holds_everything_and_says_where_it_is_from(runs):
    scores = [{"images": n, "scores": {"fid": 40.0 / n, "kid": 0.5}, "protocol": {"samples": 9}} for n in (500, 1000)]
    folder = runs(scores=scores)
    page = see(folder)
    assert "tiny on dots Finished after 1,000 images" in page.text
    assert [chart["title"] for chart in page.data["charts"]] == [
        "Loss terms",
        "What D gets right, as a share",
        "fid",
        "kid",
    ]
    losses = page.data["charts"][0]["series"]
    assert [series["name"] for series in losses] == ["D adversarial", "G adversarial"]
    assert losses[0]["x"] == [100 * n for n in range(1, 11)]
    assert losses[0]["y"] == [float(f"{1 + 1 / (100 * n):.5g}") for n in range(1, 11)]
    assert "Never changed: lr_g 0.0002." in page.text
    assert re.search(r"samples: 9\b", page.text)
    assert "train.lr 0.0002 --set" in page.text
    assert "hinge" in page.text
    assert "config.yaml" in next(word for word in page.words if word.startswith("ganzoo run --config"))
    encoded = base64.b64encode((folder / "samples/1000.png").read_bytes()).decode()
    shown = [attributes["src"] for tag, attributes in page.elements if tag == "img" and "src" in attributes]
    assert shown[0] == f"data:image/png;base64,{encoded}"
    assert len(page.data["slides"]["samples"]["frames"]) == 5
    assert "Not computed yet: a walk through the latent space" in page.text


def test_nothing_is_fetched_and_only_the_page_s_own_script_may_run(runs):
    text = report.write(runs()).read_text(encoding="utf-8")
    page = Seen(text)
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            assert name not in ("style", "srcset", "action"), tag
            if name in ("src", "href"):
                assert value.startswith(("data:image/", "#"))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_every_part_of_a_run_may_be_missing_torn_or_nonsense(runs, tmp_path):
    """No bytes in a file of the run can stop the report; what cannot be read is said."""
    empty = tmp_path / "nothing"
    (empty / "samples").mkdir(parents=True)
    page = see(empty)
    assert page.text.count("There are") >= 2
    assert "config.yaml cannot be read" in page.text
    folder = runs(scores=[{"images": 1, "scores": {"fid": 1}}])
    rubbish = [
        b"",
        b"\0\xff\xfe",
        b"[]\n{}\nnull",
        b'{"images": 1e999}\n' * 3,
        b"{" * 5000,
        b'{"images": ' + b"9" * 5000,
    ]
    for name in ("config.yaml", "stats.jsonl", "scores.jsonl", "samples/400.png", "samples/real.png",
                 "generator/generator.json", "report/measured.json"):  # fmt: skip
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        kept = path.read_bytes() if path.exists() else None
        for content in [*rubbish, *([kept[: len(kept) // 2]] if kept else ())]:
            path.write_bytes(content)
            assert "Make it again" in see(folder).text
        path.unlink()
        path.mkdir()
        assert "Make it again" in see(folder).text
        path.rmdir()
        if kept is not None:
            path.write_bytes(kept)
    (folder / "stats.jsonl").write_text('{"images": 10, "x/y": 1}\nnonsense\n{"images": 20, "x/y": 2}\n{"ima')
    page = see(folder)
    # The last one is only half-written.
    assert re.search(r"\b1 line of stats\.jsonl could not be read and is left out", page.text)
    assert page.data["charts"][0]["series"][0]["y"] == [1, 2]


KEYS = ["images", "scores", "protocol", "classes", "better", "fid", "x/y", "resolution", "walk", "frames", "size",
        "nearest", "shown", "neighbours", "drawn", "training", "ratios", "uri", "distance", "notes"]  # fmt: skip
LENGTHS = st.lists(st.floats(0, 9))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(KEYS), x), max_leaves=25
)


@given(
    st.fixed_dictionaries({"images": st.integers(0, 9)}, optional=dict.fromkeys(KEYS[1:], JSON))
    | st.fixed_dictionaries(
        {
            "images": st.integers(0, 9),
            "nearest": st.fixed_dictionaries(
                {"drawn": LENGTHS, "training": LENGTHS, "ratios": LENGTHS, "shown": st.lists(JSON)}
            ),
            "scores": st.dictionaries(st.text(), SCALARS),
        }
    )
    | JSON
)  # fmt: skip
def test_whatever_json_is_there_the_page_is_written(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("run")
    (folder / "report").mkdir()
    for name in ("stats.jsonl", "scores.jsonl", "report/measured.json"):
        (folder / name).write_text(json.dumps(value))
    (folder / "config.yaml").write_text(f"use.model: {json.dumps(value)}  # x\n")
    text = report.render(folder)
    assert "This could not be shown: " not in text or "Error" not in text


# What turns a page's text around or is no letter is told of in tests/test_outside_text.py.
VISIBLE = st.text(st.characters(exclude_categories=("C", "Zl", "Zp", "Zs")) | st.just(" "))


@given(VISIBLE, VISIBLE)
def test_text_stays_text(name, word):
    element = markup.tag("p", name, title=word)
    seen = Seen(element)
    assert [tag for tag, _ in seen.elements] == ["p"]
    assert seen.elements[0][1] == {"title": word}
    assert "".join(seen.words) == name
    script = markup.make_json_script("data", {name: word})
    assert len(Seen(script).elements) == 1
    assert not re.search(r"[<>&]", script[len('<script type="application/json" id="data">') : -len("</script>")])
    assert json.loads(script[len('<script type="application/json" id="data">') : -len("</script>")]) == {name: word}


def test_hostile_names_stand_in_the_page_as_text(runs, stats_line, hostile):
    lines = [stats_line(10 * n, **{hostile: n, f"generator/{hostile}": n}) for n in (1, 2)]
    page = see(runs(hostile.replace("/", "|"), lines=lines, settings={"use.model": (hostile, hostile)}))
    assert [tag for tag, attributes in page.elements if attributes.get("src") == "x"] == []
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert page.text.count(hostile) >= 4


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 50)), min_size=1, max_size=400), st.integers(1, 60))
def test_thinning_keeps_means_extremes_and_the_end(pairs, buckets):
    values = [value for value, _ in pairs]
    images = list(np.cumsum([step for _, step in pairs]).astype(float))
    curve = curves.downsample(images, values, buckets)
    assert len(curve["x"]) == len(curve["y"]) <= buckets
    assert curve["x"][-1] == images[-1]
    numbers = [value for value in values if value == value]
    if not numbers:
        assert {*curve["y"]} == {None}
        return
    low, high = (min(curve.get("lo", curve["y"]), key=lambda v: math.inf if v is None else v),
                 max(curve.get("hi", curve["y"]), key=lambda v: -math.inf if v is None else v))  # fmt: skip
    assert math.isclose(low, min(numbers), rel_tol=1e-4)
    assert math.isclose(high, max(numbers), rel_tol=1e-4)


def test_a_hundred_thousand_lines_become_few_points(runs, stats_line):
    lines = [stats_line(10 * n, **{"generator/adversarial": float(n == 77_777)}) for n in range(1, 100_001)]
    folder = runs(lines=lines)
    page = see(folder)
    losses = page.data["charts"][0]["series"]
    assert all(len(series["x"]) <= 600 for series in losses)
    assert max(losses[1]["hi"]) == 1  # the one spike is still there
    assert "merged into at most 600 points" in page.text
    assert (folder / "report.html").stat().st_size < 1_000_000


def test_the_state_of_a_run(runs, stats_line):
    def state(name, *lines, **more):
        return run_record.read(runs(name, lines=lines, **more)).state

    assert state("done", stats_line(1000)) == "Finished after 1,000 images"
    assert state("stopped", stats_line(400)) == "Stopped and saved at 400 of 1,000 images"
    assert state("going", stats_line(400), finished=False) == "Not finished: 400 of 1,000 images so far"
    bad = stats_line(300, **{"generator/adversarial": None})
    assert state("diverged", stats_line(200), bad, finished=False) == "Diverged at 300 of 1,000 images"
    assert state("young") == "Nothing reported yet"
    epochs = {"train.length": ("3epochs", "core"), "train.batch_size": (40, "x")}  # 150 images: four steps of 40
    assert state("epochs", stats_line(80), settings=epochs, finished=False) == "Not finished: 80 of 160 images so far"


def test_stages_of_a_run_that_grows(runs, stats_line, picture):
    path = [(4, 1.0), (4, 1.0), (8, 0.5), (8, 1.0), (8, 1.0), (16, 0.25)]
    lines = [stats_line(100 * n, resolution=r, fade=f) for n, (r, f) in enumerate(path, 1)]
    folder = runs(lines=lines, samples=0)
    for place, (resolution, fade) in enumerate(path, 1):
        picture(
            folder / f"samples/{100 * place}.png", 9 * place, facts={"resolution": str(resolution), "fade": str(fade)}
        )
    assert curves.find_stages(run_record.read(folder)) == [
        {"resolution": 4, "from": 0, "to": 200, "faded": 100},
        {"resolution": 8, "from": 200, "to": 500, "faded": 400},
        {"resolution": 16, "from": 500, "to": 600},
    ]
    page = see(folder)
    assert [a["data-frame"] for _, a in page.elements if "data-frame" in a] == ["1", "4", "5"]
    assert re.search(r"\b8×8 pixels 200 to 500 images; faded in by 400\.", page.text)
    assert re.search(r"(?<![\d,])500 to 600 images; not yet faded in\.", page.text)
    assert page.data["slides"]["samples"]["words"][2] == "300 images, resolution 8, fade 0.5"
    assert page.data["charts"][0]["marks"] == [[0, "4 px"], [200, "8 px"], [500, "16 px"]]


def test_many_samples_are_thinned_and_large_ones_shrunk(runs, picture):
    folder = runs(samples=0)
    for place in range(300):
        picture(folder / f"samples/{place}.png", place % 256, size=(4, 4))
    found = pictures.find_grids(folder / "samples")
    assert [picture.images for picture in found] == list(range(300))
    chosen = pictures.choose_pictures(found)
    assert len(chosen.pictures) == 120
    assert (chosen.pictures[0].images, chosen.pictures[-1].images) == (0, 299)
    gaps = np.diff([picture.images for picture in chosen.pictures])
    assert {*gaps} <= {2, 3}
    assert chosen.note == "Shown: 120 of 300 grids, evenly spread. All are in samples/."
    cap = 40_000
    small = pictures.choose_pictures(found[:7], max_bytes=sum(picture.file_size for picture in found[:7]) - 1)
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in small.uris)
    assert "shrunk to JPEG" in small.note
    shrunk = pictures.choose_pictures(found, max_bytes=cap // 4)
    assert sum(len(uri) for uri in shrunk.uris) <= cap


def test_pictures_that_are_none_are_left_out(runs, tmp_path):
    folder = runs(samples=2)
    (folder / "samples/500.png").write_bytes(b"<svg onload=alert(1)>")
    (folder / "samples/٣.png").write_bytes((folder / "samples/200.png").read_bytes())  # a digit, and no ASCII
    (folder / "samples/600.png").symlink_to(folder / "samples/gone.png")
    assert [picture.images for picture in pictures.find_grids(folder / "samples")] == [200, 400]


def test_scores_of_unlike_protocols_are_told_apart(runs):
    def score(images, fid, samples):
        return {"images": images, "scores": {"fid": fid, "fid_std": 0.5}, "better": {"fid": "lower"},
                "classes": {"share": {"seven": 0.25}}, "protocol": {"samples": samples, "seed": images}}  # fmt: skip

    page = see(runs(scores=[score(100, 9, 50), score(200, 8, 50), score(200, 7, 60)]))
    assert "Scores of different protocols cannot be compared." in page.text
    assert re.search(r"\b100 9 ± 0\.5 1\b", page.text)
    assert re.search(r"\b200 8 ± 0\.5 1\b", page.text)
    assert re.search(r"\b200 7 ± 0\.5 2\b", page.text)
    assert re.search(r"seven 0\.25(?!\d)", page.text)
    drawn = [chart for chart in page.data["charts"] if chart["title"].startswith("fid")]
    assert [(chart["title"], chart["series"][0]["y"]) for chart in drawn] == [("fid, protocol 1", [9, 8])]


def test_scores_of_few_images_are_grey_and_last_with_the_reason_and_the_floor(runs):
    reason = "fid means little below 2,000 images, and 60 are in the reference"
    values = {"fid": 9.0, "kid": 0.5, "kid_std": 0.25, "recall": 0.1}
    real = {"kid": 0.125, "kid_std": 0.5}
    protocol = {"samples": 9, "real_halves": 30}
    entry = {"images": 100, "scores": values, "real": real, "doubts": {"fid": reason}, "protocol": protocol}
    page = see(runs(scores=[entry]))
    assert re.search(r"\bimages kid recall fid protocol 100 0\.5 ± 0\.25 0\.1 9 1\b", page.text)
    assert re.search(r"\breal halves 0\.125 ± 0\.5 – – 1\b", page.text)
    assert f"Grey or left out: {reason}." in page.text
    grey = [attributes["title"] for tag, attributes in page.elements if attributes.get("class") == "doubt"]
    assert set(grey) == {reason}


def test_what_older_runs_kept_of_real_images_is_not_called_halves(runs):
    """It was the scores of real images of the other part."""
    page = see(runs(scores=[{"images": 100, "scores": {"kid": 0.5}, "real": {"kid": 0.1}, "protocol": {"samples": 9}}]))
    assert "real halves" not in page.text.lower()


@pytest.mark.parametrize(("data", "words"), [("dots", "ganzoo evaluate"), ("(object)", "--data NAME` computes them")])
def test_a_run_without_scores_says_the_command_that_works_there(runs, data, words):
    page = see(runs(settings={"use.data": (data, "--data")}))
    assert "There are no scores yet." in page.text
    assert words in page.text
    assert ("given as an object in Python; with a dataset" in page.text) is (data == "(object)")


# --- What takes the networks, on generators of our own.


class Spec:
    height = width = 4
    channels, classes, latent_dim, conditions = 1, 0, 3, {}


class Copier:
    """Draws training images, and remembers the noise it was given."""

    spec, latent, images_seen = Spec(), "normal", 7

    def __init__(self, training):
        self.training, self.noise = training, []

    def generate(self, n, *, seed=0, on=None):
        return np.resize(self.training[5:9], (n, 4, 4, 1))

    def labels(self, n):
        return None

    def draw(self, z, labels, conditions=None, *, noise_seed=0):
        self.noise.append(z)
        return np.zeros((len(z), 4, 4, 1), np.uint8)


@pytest.fixture
def training():
    return np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)


def test_a_generator_that_copies_is_seen(training, runs):
    found = nearest_and_walk.find_nearest(Copier(training), training, "All.")
    assert {*found["drawn"]} == {*found["ratios"]} == {0.0}
    assert {shown["neighbours"][0]["index"] for shown in found["shown"]} <= {5, 6, 7, 8}
    assert min(found["training"]) > 10
    folder = runs()
    (folder / "report").mkdir()
    (folder / "report/measured.json").write_text(json.dumps({"images": 700, "nearest": found}))
    page = see(folder)
    assert re.search(r"\b64 of 64 generated images are less than a third as far from the nearest", page.text)
    assert "Of the generator after 700 images. The run is at 1,000 by now" in page.text


def test_grey_pictures_are_near_to_everything_and_copies_of_nothing(training, runs):
    generator = Copier(np.full_like(training, 128))
    found = nearest_and_walk.find_nearest(generator, training, "All.")
    assert max(found["drawn"]) < np.median(found["training"])
    assert min(found["ratios"]) > 0.8
    lengths = sorted(math.sqrt(((other.astype(float) - 128) ** 2).sum() / 16) for other in training)
    assert math.isclose(found["ratios"][0], lengths[0] / lengths[1], abs_tol=1e-3)
    folder = runs()
    (folder / "report").mkdir()
    (folder / "report/measured.json").write_text(json.dumps({"images": 1000, "nearest": found}))
    assert "None of 64 generated images are less than a third" in see(folder).text


def test_neighbours_are_those_of_a_plain_loop(training, monkeypatch):
    monkeypatch.setattr(nearest_and_walk, "CHUNK", 7)
    queries = np.random.default_rng(1).integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)
    places, distances = nearest_and_walk.find_neighbours(queries, training, 3)
    for query, found, lengths in zip(queries, places, distances, strict=True):
        expected = []
        for number, other in enumerate(training):
            difference = query.astype(float) - other.astype(float)
            expected.append((math.sqrt((difference**2).sum() / 16), number))
        expected.sort()
        assert [number for _, number in expected[:3]] == list(found)
        np.testing.assert_allclose([length for length, _ in expected[:3]], lengths)
    itself = np.array([3, 11])
    places, distances = nearest_and_walk.find_neighbours(training[itself], training, 1, own_places=itself)
    assert (places[:, 0] != itself).all()
    assert distances.min() > 0
    with pytest.raises(GanzooError, match="too few training images"):
        nearest_and_walk.find_neighbours(training[:1], training[:1], 1, own_places=np.array([0]))


def test_a_generator_that_still_grows_is_compared_at_its_size(training):
    blocks = nearest_and_walk.shrink(training, (2, 2))
    for y in (0, 1):
        for x in (0, 1):
            expected = training[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].astype(float).mean(axis=(1, 2))
            assert abs(blocks[:, y, x] - expected).max() <= 0.5
    with pytest.raises(GanzooError, match=r"\b3×3 pixels and the training images have 4×4"):
        nearest_and_walk.shrink(training, (3, 3))


def test_a_walk_turns_and_comes_back(training):
    generator = Copier(training)
    found = nearest_and_walk.draw_walk(generator)
    steps = np.array(generator.noise)  # [steps,walks,latent_dim]
    assert len(steps) == len(found["frames"]) == 33
    np.testing.assert_array_equal(steps[0], steps[-1])
    lengths = np.linalg.norm(steps, axis=2)
    angles = np.arccos(np.clip((steps[1:] * steps[:-1]).sum(2) / lengths[1:] / lengths[:-1], -1, 1))
    for leg in np.split(angles, 4):
        np.testing.assert_allclose(leg, np.broadcast_to(leg[0], leg.shape), rtol=1e-3)
    for start in range(0, 32, 8):  # lengths change evenly
        np.testing.assert_allclose(np.diff(lengths[start : start + 9], n=2, axis=0), 0, atol=1e-5)


def test_what_cannot_be_measured_is_said(runs):
    folder = runs(settings={"use.data": ("no-such-data", "--data")})
    shutil.rmtree(folder / "generator")
    nearest_and_walk.measure(folder)
    text = see(folder).text
    assert "This could not be shown: " in text
    assert "holds no saved generator" in text


# --- The command, the picture of curves, the server.


def test_the_command_writes_the_page_of_a_real_run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    told = json.loads(run_here("report", "run", "--json", cwd=tmp_path).stdout)
    assert told["report"] == str(Path("run/report.html"))
    page = Seen((tmp_path / "run/report.html").read_text(encoding="utf-8"))
    assert "This could not be shown" not in page.text
    assert "Looked at: all 1,438 training images." in page.text
    assert len(page.data["slides"]["walk"]["frames"]) == 33
    assert "distances" in {chart["id"] for chart in page.data["charts"]}
    command = next(word for word in page.words if word.startswith("ganzoo run --config"))
    again = json.loads(run_here(*command.split()[1:], "--dry-run", "--json", cwd=tmp_path).stdout)
    assert again["settings"]["train.length"]["value"] == "64images"
    assert again["settings"]["model.width"]["value"] == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone"], "gone is not there; name a run's folder"),
        (["empty"], "holds no config.yaml, no stats.jsonl and no samples/"),
        (["run", "--port", "80"], "--port is for --live"),
        (["run", "--seed", "-1"], "the seed is -1; expected a whole number from 0 to 2^63 - 1"),
        (["run", "--quick", "--out", "file/x.html"], "cannot be written"),
    ],
)
def test_bad_usage_is_a_sentence(runs, words, said):
    runs()
    (runs.place / "empty").mkdir()
    (runs.place / "file").write_text("")
    done = run_here("report", *words, cwd=runs.place, code=2)
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("ganzoo")]) == 1


def test_the_light_form_imports_no_framework(runs):
    code = (
        "import sys, pathlib; from ganzoo_core import report; report.write(pathlib.Path(sys.argv[1]));"
        "print({'torch', 'tensorflow', 'keras', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code, runs()], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "set()"


def test_curves_as_a_picture(runs, stats_line, hostile):
    lines = [stats_line(n, **{f"discriminator/{hostile}": 1.0 * n}) for n in range(1, 2000)]
    folder = runs(lines=lines, scores=[{"images": n, "scores": {"fid": n}} for n in (1, 2)])
    path = plot.write(folder)
    assert path == folder / "curves.svg"
    root = ElementTree.fromstring(path.read_bytes())
    told = [chart.get("aria-label").split(":")[0] for chart in root.findall("{http://www.w3.org/2000/svg}svg")]
    assert told == ["Loss terms", "What D gets right, as a share", "fid"]
    assert hostile.replace("_", " ") in "".join(root.itertext())
    first = path.read_bytes()
    assert plot.write(folder).read_bytes() == first
    with pytest.raises(UsageError, match="has no statistics yet"):
        plot.write(runs("young", lines=[]))


@pytest.fixture
def served(runs):
    folder = runs(finished=False)
    with live.make_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, server.server_address
        server.shutdown()
        thread.join(timeout=60)


def ask(address, path, method="GET", **headers):
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_the_server_answers_this_machine_alone(served):
    folder, address = served
    assert address[0] == "127.0.0.1"
    status, text, headers = ask(address, "/")
    assert status == 200
    assert "connect-src &#x27;self&#x27;" in text
    assert headers["Cache-Control"] == "no-store"
    before = ask(address, "/version")[1]
    with (folder / "stats.jsonl").open("a") as file:
        file.write('{"images": 5000}\n')
    assert ask(address, "/version")[1] != before
    assert re.search(r"(?<![\d,])5,000 of 1,000 images", ask(address, "/")[1])
    assert ask(address, "/", Host="evil.example:80")[0] == 403  # another name for this address
    for path in ("/config.yaml", "/../../etc/passwd", "/samples/real.png", "/report.html/x"):
        assert ask(address, path)[0] == 404
    assert ask(address, "/", method="POST")[0] == 501
    (folder / "config.yaml").unlink()
    assert ask(address, "/")[0] == 200


def test_a_port_that_is_taken(runs):
    folder = runs()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} cannot be had"):
            live.make_server(folder, port)
    with pytest.raises(UsageError, match="port 99999 cannot be had"):
        live.make_server(folder, 99_999)


def test_ctrl_c_ends_the_server_and_leaves_the_page(runs, start):
    import signal

    folder = runs()
    process = start("-m", "ganzoo_core", "report", folder, "--live", "--port", "0", stderr=None)
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rest.strip() == str(folder / "report.html")
    assert (folder / "report.html").exists()
