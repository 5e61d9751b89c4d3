"""The least of a run's health: too few steps, and a D that tells training images from generated ones without fail."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.engines.loss_step import compute_score_statistics
from ganzoo_core.runs import health
from ganzoo_core.settings import Settings, SettingValue, read_facts
from ganzoo_core.storage.records import SEPARATION_TERM
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training import assemble
from ganzoo_core.training.resuming import StartPoint

SHORT = "most GANs draw little more than noise"
WON = "D told every training image from every generated one"


def plan(decision, probability=None):
    return SimpleNamespace(loss=SimpleNamespace(decision=decision, probability=probability))


def tensors(framework):
    """What makes a tensor of an array."""
    if framework == "numpy":
        return np.asarray
    module = importlib.import_module(framework)
    return module.from_numpy if framework == "torch" else module.constant


@pytest.mark.parametrize("framework", ["numpy", "torch", "tensorflow"])
@pytest.mark.parametrize("decision", [0.0, 0.5, "pair", None])
@pytest.mark.parametrize("shape", [(7,), (7, 2, 3)], ids=["scores", "patches"])
def test_separated_is_what_a_loop_over_all_pairs_finds(framework, decision, shape):
    generator = np.random.default_rng(0)
    make, seen = tensors(framework), set()
    for shift in (0.0, 1.0, 2.0, 4.0, 30.0, -30.0):
        real, fake = (generator.normal(size=shape).astype(np.float32) for _ in range(2))
        real = real + np.float32(shift)
        expected = all(r.sum() > f.sum() for r in real for f in fake)
        found = compute_score_statistics(
            {"real": make(real), "fake": make(fake)}, plan(decision), engines.make_ops(framework, make(real))
        )
        assert float(found[SEPARATION_TERM]) == float(expected)
        assert ("discriminator/accuracy_real" in found) is (decision is not None)
        seen.add(expected)
    assert seen == {True, False}


@pytest.mark.parametrize("framework", ["numpy", "torch", "tensorflow"])
def test_equal_scores_and_numbers_that_are_none_separate_nothing(framework):
    make = tensors(framework)
    for real, fake in (([1, 1], [1, 0]), ([np.nan, 2], [0, 0]), ([2, 2], [np.nan, 0])):
        scores = {"real": make(np.array(real, np.float32)), "fake": make(np.array(fake, np.float32))}
        found = compute_score_statistics(scores, plan(0.0), engines.make_ops(framework, scores["real"]))
        assert float(found[SEPARATION_TERM]) == 0


def lines(*separated, every=100, accuracy=True):
    return [
        {
            "images": 10 * every * n,
            "step": every * n,
            SEPARATION_TERM: value,
            **({health.ACCURACY_REAL: 1.0} if accuracy else {}),
        }
        for n, value in enumerate(separated, 1)
    ]


@pytest.mark.parametrize(
    ("told", "at"),
    [
        (lines(0, 0, 1, 1, 1), 5000),
        (lines(0, 0, 1, 1, 1, 1, 1, 1), 5000),
        (lines(1, 1, 1, 1), None),  # two of them are of the first steps, which do not count
        (lines(1, 1, 1, 1, 1), 5000),
        (lines(0, 0, 1, 1, 0.99, 1, 1), None),
        (lines(0, 0, 1, 1, None, 1, 1), None),
        (lines(0, 0, 1, 1, 0.99, 1, 1, 1, 0), 8000),
        (lines(*[1] * 9, accuracy=False), None),  # a critic without a decision
        (lines(*[1] * 40, every=5), None),
        (lines(*[1] * 43, every=5), 2150),
    ],
)
def test_it_is_found_once_at_the_third_report_in_a_row(told, at):
    watched = health.SeparationDetector()
    found = [line["images"] for line in told if watched.update(line)]
    assert found == ([] if at is None else [at])
    assert watched.detected_at == at


def test_going_back_takes_the_kept_lines_and_tells_nothing_twice():
    told = lines(0, 0, 1, 1, 1, 1)
    whole, resumed, back = health.SeparationDetector(), health.SeparationDetector(), health.SeparationDetector()
    assert [whole.update(line) for line in told].index(True) == 4
    resumed.rewind(told[:3])
    assert [resumed.update(line) for line in told[3:]] == [False, True, False]
    resumed.rewind(told[:3])  # after a divergence, in the same process
    assert not any(resumed.update(line) for line in told[3:])
    back.rewind(told)
    assert not any(back.update(line) for line in lines(*[1] * 20)[6:])


def white(count=32, size=8):
    """Images that are nothing like noise."""
    return np.full((count, size, size, 1), 250, np.uint8)


WINNING = {
    "train.lr_g": 1e-9, "train.lr_d": 0.01, "train.batch_size": 8, "train.report_every": "20steps",
    "train.checkpoint_every": "70steps", "model.width": 4, "model.latent_dim": 8, "train.sample_count": 4,
    "data.size": 16, "train.sample_every": "off", "train.snapshot_every": "off",
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "loss"), [("dcgan-torch", "hinge"), ("dcgan-torch", "relativistic"), ("convgan-tf", "least-squares")]
)
def test_a_run_whose_d_wins_says_so_once_and_so_does_its_report(tmp_path, capfd, model, loss):
    run = gz.train(
        model, loss=loss, data=white(size=16), settings=WINNING, preset="none", steps=280, out=tmp_path / "run"
    )
    told = capfd.readouterr().err
    assert told.count(WON) == 1
    assert f"`ganzoo resume {run.folder} --set lr_d=0.0025` begins a new run" in told
    assert "D separated" not in told
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert page.count(WON) == 1
    assert "lr_d=0.0025" in page
    ended = run.stats[-1]["images"]
    assert f"ganzoo resume {run.folder} --set lr_d=0.0025 --images {2 * ended}" in page  # nothing is left of this one
    at = next(line["images"] for line in run.stats if line["step"] == 260)
    assert f"up to {at:,} images" in told
    assert [line[SEPARATION_TERM] for line in run.stats[-3:]] == [1, 1, 1]
    gz.resume(run.folder, steps=340, picks={"data": gz.ImageSource(white(size=16))})
    assert WON not in capfd.readouterr().err


def test_a_short_run_says_what_helps_and_keeps_it(tmp_path, capfd):
    settings = {key: value for key, value in WINNING.items() if not key.startswith("train.lr")}
    run = gz.train("dcgan-torch", data=white(), settings=settings, steps=2, out=tmp_path / "run")
    told = capfd.readouterr().err
    assert told.count(SHORT) == 1
    assert "this run takes 2 steps of the generator" in told
    assert "--steps 5000 or --minutes 10 in place of --steps trains for longer" in told
    (kept,) = [note for note in read_facts(run.folder / "config.yaml").warnings if SHORT in note]
    assert f"note: {kept}\n" in told
    assert SHORT in (run.folder / "report.html").read_text(encoding="utf-8")
    gz.resume(run.folder, steps=3, picks={"data": gz.ImageSource(white())})
    assert SHORT not in capfd.readouterr().err
    longer = f"`ganzoo resume {run.folder} --steps 5000` trains for longer"  # which has no --minutes
    assert longer in " ".join(read_facts(run.folder / "config.yaml").warnings)
    shutil.rmtree(run.folder / "checkpoints")
    gz.resume(run.folder, restart=True, picks={"data": gz.ImageSource(white())})
    told = " ".join(capfd.readouterr().err.split())
    assert longer in told
    assert "--minutes" not in told
    gz.train("dcgan-torch", data=white(), settings=settings, steps=2, out=tmp_path / "quiet", quiet=True)
    assert SHORT not in capfd.readouterr().err


def test_two_thousand_steps_are_enough_and_so_is_what_a_preset_chose_for_the_data():
    from ganzoo_core import mix
    from ganzoo_core.discovery import catalog

    resolved = mix.resolve(catalog.scan(), mix.Request(picks={"model": "dcgan-torch", "data": "digits"}))
    assert resolved.settings.find_origin("train.length") == "dcgan-torch preset digits"
    assert health.explain_short_run(resolved, 100) == ""
    said = replace(resolved, settings=resolved.settings.replace("train.length", "100steps", "--steps"))
    for origin, written in (("--minutes: 0.1 minutes at 9 images/s", "--minutes"), ("my.yaml", "train.length=54")):
        entry = SettingValue("54", origin, by_user=True)
        other = replace(resolved, settings=Settings({**resolved.settings.entries, "train.length": entry}))
        assert f" in place of {written} trains for longer" in health.explain_short_run(other, 5)
    assert "takes 1,999 steps" in health.explain_short_run(said, 1999)
    assert "takes 1 step of" in health.explain_short_run(said, 1)
    assert health.explain_short_run(said, 2000) == ""


def test_the_sentence_is_whole_where_nothing_is_known_of_the_rate(tmp_path):
    told = health.explain_separation(1000, run=tmp_path, lr_d="fast")
    assert "lr_d" not in told
    assert "stop improving; `ganzoo list modifiers`" in told
    assert json.dumps(told)


def test_of_a_run_that_is_over_the_advice_leaves_something_to_train(tmp_path):
    """With a schedule that hangs on the length no run may be made longer: then it begins anew."""
    told = health.explain_separation(
        900, run=tmp_path, lr_d=0.01, final_images=1000, schedule="ganzoo-schedules/constant"
    )
    assert f"`ganzoo resume {tmp_path} --set lr_d=0.0025 --images 2000` begins a new run here" in told
    told = health.explain_separation(
        900, run=tmp_path, lr_d=0.01, final_images=1000, schedule="ganzoo-schedules/cosine"
    )
    assert f"`ganzoo run --config {tmp_path}/config.yaml --set lr_d=0.0025` trains anew" in told
    told = health.explain_separation(900, run=tmp_path, lr_d=0.01, schedule="cosine")
    assert f"`ganzoo resume {tmp_path} --set lr_d=0.0025` begins a new run here" in told


def resolved(data, **more):
    from ganzoo_core import mix
    from ganzoo_core.discovery import catalog

    return mix.resolve(catalog.scan(), mix.Request(picks={"model": "dcgan-torch", "data": data}, **more))


FOLDER = gz.ImageSource(white())
LONG = {"train.length": ("90000000", "--images")}


@pytest.mark.parametrize(
    ("data", "more", "images", "longer", "expected"),
    [
        (FOLDER, {}, 10**7, False, "small"),
        (FOLDER, {"flags": LONG}, 9 * 10**7, False, "small"),
        ("mnist", {}, 6 * 10**6, False, "small"),
        ("mnist", {"flags": LONG}, 9 * 10**7, False, ""),  # as long, whatever the preset
        ("digits", {}, 80_000, False, ""),  # `small` is longer
        (FOLDER, {"preset": "few"}, 80_000, False, ""),
        (FOLDER, {"preset": "small"}, 10**7, False, ""),
        (FOLDER, {}, 64_000, True, "small"),
        (FOLDER, {"flags": {"train.length": ("64", "--images")}}, 64, True, ""),
        (FOLDER, {"preset": "few"}, 64, True, ""),
    ],
)
def test_the_laptop_s_preset_is_advised_where_it_would_help(data, more, images, longer, expected):
    found = health.find_laptop_preset(resolved(data, **more), images, epoch_images=2000, is_too_short=longer)
    assert found == expected


@pytest.mark.parametrize(("longer", "expected"), [(False, "small"), (True, "")])
def test_a_laptop_s_preset_may_count_minutes(longer, expected):
    """How many images those are is unknown here, so it is not said to train for longer."""
    asked = resolved("mnist")
    model = asked.parts["generator"]
    presets = {**model.presets, "small": {**model.presets["small"], "train.length": "10minutes"}}
    parts = {**asked.parts, "generator": replace(model, presets=presets)}
    found = health.find_laptop_preset(replace(asked, parts=parts), 6 * 10**6, epoch_images=60_000, is_too_short=longer)
    assert found == expected


@pytest.mark.parametrize(
    ("beginning", "cpu", "expected"),
    [(StartPoint(), True, "small"), (StartPoint(), False, ""), (StartPoint(checkpoint=Path("100")), True, "")],
)
def test_the_laptop_s_preset_is_advised_where_it_can_be_said(beginning, cpu, expected):
    reporter, intervals = Reporter(cpu=cpu), SimpleNamespace(end=64_000, step_images=64)
    told = assemble._advise_on_length(resolved(FOLDER), intervals, gz.ImageSource(white(2000)), beginning, reporter)
    assert reporter.laptop_preset == expected
    assert ("--steps 5000 or --minutes 10 or --preset small trains for longer" in told) is bool(expected)
    assert "this run takes 1,000 steps of the generator" in told
