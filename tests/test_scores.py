"""Scores in a run's folder: written durably, compared only where they are alike, the best and a collapse found."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import generators, layout, scores
from ganzoo_core.runs.scores import Score
from ganzoo_core.storage import atomic


def score(fid, images=100, **protocol):
    return Score(images, {"fid": fid}, {"data": "lights", "samples": 10, **protocol}, better={"fid": "lower"})


numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
better = st.dictionaries(names, st.sampled_from(["lower", "higher"]), max_size=2)


@given(st.lists(st.tuples(st.none() | st.integers(0, 10**9), st.dictionaries(names, numbers, max_size=3), better)))
def test_what_is_written_is_read(tmp_path_factory, found):
    run = tmp_path_factory.mktemp("run")
    written = [
        Score(images, values, {"data": "ü"}, {"share": values}, sides, values, {"x": [1]})
        for images, values, sides in found
    ]
    for one in written:
        scores.append(run, one)
    assert scores.read(run) == written


def test_a_line_that_was_torn_is_passed_over_and_goes(tmp_path):
    scores.append(tmp_path, score(1.0))
    with (tmp_path / "scores.jsonl").open("ab") as file:
        file.write(b'{"images": 3, "sc')
    assert [one.scores["fid"] for one in scores.read(tmp_path)] == [1.0]
    scores.append(tmp_path, score(2.0))
    assert [one.scores["fid"] for one in scores.read(tmp_path)] == [1.0, 2.0]
    assert (tmp_path / "scores.jsonl").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "line", ["[]", "3", "{}", '{"images": 3}', "nonsense", '{"images": "x", "scores": {}, "protocol": {}}']
)
def test_a_line_that_is_no_score_is_named(tmp_path, line):
    scores.append(tmp_path, score(1.0))
    with (tmp_path / "scores.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match=r"scores.jsonl: line 2 is no score"):
        scores.read(tmp_path)


def test_a_number_that_is_none_is_null(tmp_path):
    scores.append(tmp_path, score(math.inf))
    assert json.loads((tmp_path / "scores.jsonl").read_text())["scores"] == {"fid": None}
    assert math.isnan(scores.read(tmp_path)[0].scores["fid"])


def test_the_best_is_among_those_of_the_newest_protocol():
    found = [score(1.0, 10, samples=5), score(3.0, 10), score(2.0, 20), score(2.0, 30), score(9.0, 40)]
    assert scores.find_best(found) == found[2]
    assert scores.find_best([*found, score(8.0, 20)]) == found[3]  # scored again, and the last time counts
    assert scores.find_best([]) is None
    assert scores.find_best([score(math.nan)]) is None
    assert scores.find_best([replace(one, better={"fid": "higher"}) for one in found]).images == 40


def test_the_latest_of_each_number_of_images():
    found = [score(1.0, 20), score(2.0, 10), score(3.0, 20), score(4.0, None)]
    assert [(one.images, one.scores["fid"]) for one in scores.select_latest(found)] == [(10, 2.0), (20, 3.0)]


def test_what_training_found_goes_when_the_run_goes_back(tmp_path):
    for images in (10, 20, 30):
        scores.append(tmp_path, replace(score(1.0, images), extra={"during": "training"}))
    scores.append(tmp_path, replace(score(1.0, 30), extra={"during": "evaluate"}))
    scores.remove_later_scores(tmp_path, 10)
    assert [(one.images, one.extra["during"]) for one in scores.read(tmp_path)] == [(10, "training"), (30, "evaluate")]
    scores.remove_later_scores(tmp_path / "none", 10)


@pytest.mark.parametrize(
    ("values", "collapsed"),
    [
        ([], False),
        ([5, 5, 5], False),
        ([1, 3, 3], False),
        ([1, 3, 3, 3], True),
        ([1, 3, 1.9, 3], False),
        ([1, 2, 2, 2], False),
        ([4, 2, 3, 5, 6, 7], True),
        ([4, 2, 5, 6, 7, 3], False),
        ([1, math.nan, math.nan, math.nan], True),
        ([math.nan, 3, 3, 3], False),
    ],
)
def test_collapse_is_three_scores_running_over_twice_the_best(values, collapsed):
    assert scores.has_collapsed(values) is collapsed


def test_unlike_protocols_are_refused_and_marked_when_forced():
    extractor = {"name": "a/b", "version": "1", "weights": "f" * 64, "device": "cpu"}
    first = score(1.0, extractor=extractor, seed=0, versions={"torch": "2"}, metrics={"m": {"k": 3}}, ema=False)
    same = score(
        9.0,
        extractor={**extractor, "version": "2", "device": "NVIDIA H200"},
        seed=1,
        versions={"torch": "3"},
        metrics={"n": {"k": 5}},
        ema=True,
    )
    assert scores.find_differences(first, same) == []
    assert scores.check_comparable([first, same, first]) == []
    other = score(1.0, extractor={**extractor, "weights": "0" * 64}, metrics={"m": {"k": 5}}, samples=20)
    told = scores.find_differences(first, other)
    assert len(told) == 3
    assert "samples is 10 and 20" in told
    assert "extractor weights is ffffffffffff… and 000000000000…" in told
    with pytest.raises(
        UsageError, match=r"these scores were computed with different protocols: .*samples is 10 and 20"
    ):
        scores.check_comparable([first, same, other])
    assert scores.check_comparable([first, same, other], force=True) == told
    assert scores.check_comparable([]) == []


def snapshot(folder, card):
    files = {layout.WEIGHTS: b"", layout.CARD: json.dumps(card).encode()}
    atomic.write_folder(folder, files)


def test_the_best_generator_is_found_by_its_score(tmp_path, make_card):
    for images in (10, 20):
        snapshot(tmp_path / "snapshots" / str(images), make_card(images=images))
    snapshot(tmp_path / "generator", make_card(images=30))
    for images, fid in ((10, 3.0), (20, 1.0), (30, 2.0)):
        scores.append(tmp_path, score(fid, images))
    assert generators.find_generator(tmp_path, "best") == tmp_path / "snapshots" / "20"
    scores.append(tmp_path, score(0.5, 30))
    assert generators.find_generator(tmp_path, "best") == tmp_path / "generator"
    scores.append(tmp_path, score(0.1, 15))
    with pytest.raises(UsageError, match=r"the best score .* is that at 15 images, of which no snapshot is kept"):
        generators.find_generator(tmp_path, "best")
    assert generators.list_generators(tmp_path, "all") == [
        tmp_path / "snapshots" / "10", tmp_path / "snapshots" / "20", tmp_path / "generator",
    ]  # fmt: skip


def test_data_that_were_moved_are_the_same_data():
    first, moved = (score(1.0, data=f"folder:{place}", data_sha256="a" * 64) for place in ("old", "new"))
    assert scores.find_differences(first, moved) == []
    other = score(1.0, data="folder:new", data_sha256="b" * 64)
    assert any(words.startswith("data is folder:old and folder:new") for words in scores.find_differences(first, other))
    assert scores.find_differences(score(1.0, data="folder:old"), score(1.0, data="folder:new")) != []


@pytest.mark.parametrize(("which", "what"), [("epoch:3", "of epoch 3"), ("300", "at 300 images")])
def test_a_run_without_snapshots_says_so(tmp_path, which, what):
    with pytest.raises(UsageError, match=rf"has no snapshot {what}\. This run has no snapshots yet$"):
        generators.find_generator(tmp_path, which)
