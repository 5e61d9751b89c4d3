"""Runs beside each other: which share a row, in what the rows differ, their scores, what each draws of one noise."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.errors import UsageError
from ganzoo_core.report import comparison_page, run_groups, sample_sheets


def score(images, fid, **protocol):
    return {"images": images, "scores": {"fid": fid, "fid_std": 1.0, "recall": fid / 100},
            "better": {"fid": "lower", "recall": "higher"},
            "protocol": {"samples": 100, "seed": 0, **protocol}}  # fmt: skip


def loss(name):
    return {"use.loss": (name, "--loss")}


@pytest.fixture
def zoo(runs):
    """Three seeds of each of two losses, of which one brings settings of its own, and a run without a score."""
    for seed in (0, 1, 2):
        for name, fid in (("hinge", 10 + seed), ("gp", 6 + 2 * seed)):
            more = {"loss.weight": (10.0, "gp")} if name == "gp" else {}
            settings = {**loss(name), **more, "train.seed": (seed, "--seed")}
            runs(f"{name}-{seed}", settings=settings, scores=[score(500, 99), score(1000, fid)])
    runs("new", settings={**loss("hinge"), "train.lr": (0.5, "--set")})
    return runs.place


def test_runs_that_differ_in_their_seed_alone_share_a_row(zoo):
    found = run_groups.compare_runs(run_groups.find_runs([zoo]))
    assert [(group.name, group.seeds, group.images) for group in found.groups] == [
        ("loss=gp lr=0.0002", "0, 1, 2", "1,000"),
        ("loss=hinge lr=0.0002", "0, 1, 2", "1,000"),
        ("loss=hinge lr=0.5", "0", "1,000"),
    ]
    assert found.differing_settings == ["use.loss", "train.lr", "loss.weight"]
    assert [group.format_setting("loss.weight") for group in found.groups] == ["10.0", "–", "–"]
    first = found.groups[0]
    assert first.list_values("fid") == [6, 8, 10]
    assert first.format_spread("fid") == "8 ± 2"  # the standard deviation of 6, 8, 10 with n - 1
    assert found.groups[1].format_spread("fid") == "11 ± 1"
    assert found.groups[2].format_spread("fid") == "–"
    assert found.metrics == {"fid": "lower", "recall": "higher"}
    assert found.notes == ["without a score yet: 1 of 7 runs; `ganzoo evaluate RUN` gives them one"]


def test_scores_found_in_unlike_ways_are_refused_unless_forced_and_then_marked(runs):
    runs("a", settings=loss("a"), scores=[score(1000, 1)])
    runs("b", settings=loss("b"), scores=[score(1000, 2, samples=7, seed=5)])
    paths = run_groups.find_runs([runs.place])
    with pytest.raises(UsageError, match="samples is 100 and 7"):
        run_groups.compare_runs(paths)
    found = run_groups.compare_runs(paths, force=True)
    assert found.protocol_differences == ["samples is 100 and 7"]
    assert comparison_page.mark_other_protocols(found) == ["", " *"]
    assert "* Computed with another protocol than the others" in comparison_page.render(found)


def test_rows_are_ranked_by_a_score_that_is_not_in_doubt(runs):
    def of_few(fid, kid):
        scores = {"fid": fid, "kid": kid, "kid_std": 0.5}
        return {"images": 9, "scores": scores, "doubts": {"fid": "few"}, "better": {}, "protocol": {"samples": 9}}

    runs("a", settings=loss("a"), scores=[of_few(1.0, 8.0)])
    runs("b", settings=loss("b"), scores=[of_few(2.0, 4.0)])
    found = run_groups.compare_runs(run_groups.find_runs([runs.place]))
    assert list(found.metrics) == ["kid", "fid"]
    assert [group.name for group in found.groups] == ["loss=b", "loss=a"]
    assert found.groups[0].format_spread("kid") == "4 ± 0.5"  # of a single run, the score's own
    assert found.doubts == {"fid": "few"}
    assert [group.find_doubt("fid") for group in found.groups] == ["few", "few"]
    page = comparison_page.render(found)
    assert '<span class="doubt" title="few">2</span>' in page
    assert "Grey or left out: few." in page


def test_a_row_is_grey_for_its_own_reason_alone(runs):
    """Compared by force: what is little in one run is enough in another."""
    for name, doubts in (("a", {"fid": "few"}), ("b", {}), ("c", {"fid": "fewer"})):
        line = {"images": 9, "scores": {"fid": 7.0}, "better": {}, "protocol": {"samples": name}}
        runs(name, settings=loss(name), scores=[{**line, "doubts": doubts}])
    found = run_groups.compare_runs(run_groups.find_runs([runs.place]), force=True)
    assert {group.name: group.find_doubt("fid") for group in found.groups} == {
        "loss=a": "few", "loss=b": "", "loss=c": "fewer",
    }  # fmt: skip
    assert found.doubts == {"fid": "few; fewer"}
    page = comparison_page.render(found)
    assert [page.count(f'<span class="doubt" title="{reason}">') for reason in ("few", "fewer", "few; fewer")] == [
        1,
        1,
        0,
    ]
    assert "Grey or left out: few; fewer." in page


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["gone"], "gone is not there"),
        (["empty"], "empty is no run's folder and holds none"),
        (["runs/a"], "there is one run to compare"),
        (["runs/a", "runs/../runs/a"], "there is one run to compare"),
    ],
)
def test_runs_that_cannot_be_compared(runs, tmp_path, monkeypatch, names, said):
    runs("a")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        run_groups.find_runs([Path(name) for name in names])


def test_damaged_runs_are_compared_as_far_as_they_go(runs):
    runs("a", lines=[], samples=0, finished=False)
    broken = runs("b", scores=[{"images": 3, "scores": {"fid": "x"}, "protocol": []}])
    (broken / "config.yaml").write_bytes(b"\xff\0")
    (broken / "samples/1000.png").write_bytes(b"no picture")
    found = run_groups.compare_runs([runs.place / "a", broken])
    text = comparison_page.render(found)
    assert "This could not be shown" not in text
    assert "No run was evaluated" in text


def test_curves_of_several_seeds(runs):
    def curve(x, y):
        return {"x": x, "y": y}

    alone = comparison_page.merge_curves([{**curve([1, 2], [3, 4]), "lo": [2, 2], "hi": [5, 5]}])
    assert alone == {"x": [1, 2], "y": [3, 4], "lo": [2, 2], "hi": [5, 5]}
    both = comparison_page.merge_curves([curve([10, 20, 30], [1, 2, 3]), curve([10, 30], [5, None])])
    assert both == {"x": [10, 20, 30], "y": [3, 2, 3], "lo": [1, 2, 3], "hi": [5, 2, 3]}
    between = comparison_page.merge_curves([curve([0, 10, 20, 30], [0, 0, 0, 0]), curve([5, 25], [10, 30])])
    assert between["y"] == [0, (0 + 15) / 2, (0 + 25) / 2, 0]  # on the line from (5, 10) to (25, 30)


def test_curves_and_tables_hold_each_row(zoo):
    found = run_groups.compare_runs(run_groups.find_runs([zoo]))
    shown = comparison_page.make_charts(found)
    assert [chart["title"] for chart in shown] == [
        "D adversarial",
        "G adversarial",
        "D accuracy real",
        "D accuracy fake",
    ]
    assert [series["name"] for series in shown[0]["series"]] == [group.name for group in found.groups]
    drawn = comparison_page.make_score_charts(found, 4)
    fid = next(chart for chart in drawn if chart["title"] == "fid")
    assert fid["series"][0] == {
        "name": "loss=gp lr=0.0002", "colour": 0,
        "x": [500, 1000], "y": [99, 8], "lo": [99, 6], "hi": [99, 10],
    }  # fmt: skip
    text = comparison_page.render(found)
    assert re.search(r"(?<![\d.,])8 ± 2(?![\d.])", text)
    assert "<td>0.5</td>" in text


def ganzoo(*words, cwd, code=0):
    command = [sys.executable, "-m", "ganzoo_core", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_command_prints_a_table_and_leaves_a_page(zoo):
    done = ganzoo("compare", zoo, "--quick", cwd=zoo)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["loss=gp lr=0.0002", "0, 1, 2", "1,000", "gp", "0.0002", "10.0", "8 ± 2", "0.08 ± 0.02"]
    assert (zoo / "compare.html").exists()
    told = json.loads(ganzoo("compare", "hinge-0", "gp-1", "--quick", "--json", cwd=zoo).stdout)
    assert told["schema"] == 1
    assert told["page"] == "compare.html"
    assert told["rows"][0]["scores"]["fid"] == {"mean": 8.0, "std": None, "n": 1, "values": [8.0]}
    assert told["differ"] == ["use.loss", "loss.weight"]
    done = ganzoo("compare", "hinge-0", cwd=zoo, code=2)
    assert done.stderr.count("\n") == 1


def test_each_row_draws_from_the_same_noise(trained, tmp_path):
    """Of one trained run and a copy of it: the same pictures, those that `generate` gives."""
    shutil.copytree(trained, tmp_path / "a")
    shutil.copytree(trained, tmp_path / "b")
    config = tmp_path / "b/config.yaml"
    config.write_text(config.read_text().replace("train.lr: ", "train.lr: 9"))
    shutil.copytree(trained, tmp_path / "c", ignore=shutil.ignore_patterns("generator"))
    config = tmp_path / "c/config.yaml"
    config.write_text(config.read_text().replace("train.lr: ", "train.lr: 8"))
    found = run_groups.compare_runs(run_groups.find_runs([tmp_path]))
    sheets = sample_sheets.draw_sheets(found, seed=3, device="cpu", say=lambda text: None)
    expected = gz.grid(gz.load(trained).generate(16, seed=3))
    assert sheets[0].uri == sheets[1].uri
    assert "holds no saved generator" in sheets[2].reason
    with Image.open(io.BytesIO(base64.b64decode(sheets[0].uri.partition(",")[2]))) as picture:
        factor = picture.width // expected.width
        drawn = np.asarray(picture)[::factor, ::factor]
    np.testing.assert_array_equal(drawn, np.asarray(expected))
    assert math.isclose(factor, 320 // max(expected.size))


def test_the_page_in_a_browser(browser, zoo):
    page = browser.open(
        comparison_page.write(run_groups.compare_runs(run_groups.find_runs([zoo])), zoo / "compare.html"), width=380
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    plot = page.locator("[data-chart=c0] .plot > svg")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 80)
    assert page.locator("[data-chart=c0] .tip").inner_text().startswith("1,000 images\nloss=gp lr=0.0002\n1.001")
    assert page.locator("figure img").count() == 3


def test_hostile_names_stay_names(browser, runs, hostile):
    for number in (0, 1):
        runs(f"{number}{hostile.replace('/', '|')}", settings={"use.loss": (hostile + str(number), "--loss")},
             scores=[{"images": 1, "scores": {hostile: 1}, "protocol": {hostile: number}}])  # fmt: skip
    found = run_groups.compare_runs(run_groups.find_runs([runs.place]), force=True)
    page = browser.open(comparison_page.write(found, runs.place / "compare.html"))
    assert page.locator("img[src=x]").count() == 0
    assert hostile in page.locator("#settings").text_content()
