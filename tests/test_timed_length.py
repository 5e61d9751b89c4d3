"""`--minutes`: a length in time, which becomes images before the first step."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import mix, settings
from ganzoo_core.distributed.ranks import SINGLE_PROCESS
from ganzoo_core.mix.flags import collect_flags
from ganzoo_core.runs import folder, layout
from ganzoo_core.settings.lengths import MAX_MINUTES, parse_minutes
from ganzoo_core.training import timed_length

SMALL = {
    "generator.width": 4, "discriminator.width": 4, "model.latent_dim": 8, "data.size": 16, "train.batch_size": 16,
    "train.report_every": "7steps", "train.checkpoint_every": "10steps", "train.checkpoint_keep": 1000,
    "train.sample_every": "off", "train.snapshot_every": "off", "train.sample_count": 4, "engine.threads": 1,
}  # fmt: skip
MINUTES = 0.01


def ended(run: Path) -> tuple[str, list[dict[str, float]]]:
    """The SHA-256 of all weights, buffers and moments at the end, and the statistics without clock times."""
    newest = folder.RunFolder(run).find_newest_checkpoint()
    lines = folder.RunFolder(run).read_stats()
    clocks = {"seconds", "images_per_second"}
    state = hashlib.sha256((newest / layout.STATE).read_bytes()).hexdigest()
    return state, [{key: value for key, value in line.items() if key not in clocks} for line in lines]


def length(run: Path) -> int:
    """The images that `config.yaml` says the run is long."""
    return int(settings.read_run_config(run / layout.CONFIG)["train.length"])


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        ("dcgan-torch", {"use.schedule": "cosine", "train.ema_halflife": 100}),
        ("dcgan-torch", {"use.loss": "wgan-gp", "use.with": "spectral-norm", "train.critic_steps": 2}),
        ("cgan-torch", {}),
        ("convgan-tf", {"use.schedule": "cosine", "use.with": "spectral-norm", "train.ema_halflife": 100}),
        pytest.param("progan-tf", {"schedule.stable_images": 0, "schedule.fade_images": 0}, marks=pytest.mark.slow),
    ],
    ids=["cosine", "critic steps", "conditional", "TensorFlow", "growing"],
)
def test_minutes_are_the_run_of_as_many_images_to_the_bit_also_when_resumed(
    tmp_path, capfd, monkeypatch, model, changed
):
    """Measuring is real; what comes out of it is fixed, since a busy machine may find too few steps to resume in."""
    monkeypatch.setattr(
        timed_length, "_solve_length", lambda schedule_for, rates, seconds, step_images: 25 * step_images
    )
    made = {**SMALL, **changed}
    timed = gz.train(model, settings=made, minutes=MINUTES, out=tmp_path / "timed").folder
    images = length(timed)
    step = made["train.batch_size"] * made.get("train.critic_steps", 1)
    assert images == 25 * step
    told = capfd.readouterr().err
    assert re.search(rf"0\.01 minutes at [\d,]+ img/s are {images:,} images \({images // step:,} steps", told)
    assert re.search(r'train.length: "\d+"  # --minutes: 0.01 minutes at', (timed / layout.CONFIG).read_text())
    said = gz.train(model, settings=made, images=images, out=tmp_path / "said", quiet=True).folder
    assert ended(timed) == ended(said)
    for steps in (20, 25):  # interrupted after the conversion: back to the first checkpoint, and on
        shutil.rmtree(timed / "checkpoints" / str(steps * step))
    gz.resume(timed, quiet=True)
    assert length(timed) == images
    assert re.search(r'train.length: "\d+"  # --minutes: 0.01 minutes at', (timed / layout.CONFIG).read_text())
    assert ended(timed) == ended(said)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again_with_its_length(tmp_path):
    made = {**SMALL, "use.schedule": "cosine"}
    timed = gz.train("dcgan-torch", settings=made, minutes=MINUTES, out=tmp_path / "timed", quiet=True).folder
    before, images = ended(timed), length(timed)
    shutil.rmtree(timed / "checkpoints")
    gz.resume(timed, restart=True, quiet=True)
    assert (ended(timed), length(timed)) == (before, images)


def test_networks_given_as_objects_begin_as_they_were(tmp_path):
    import torch

    def objects():
        torch.manual_seed(3)
        D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, 1))
        return {"generator": torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Unflatten(1, (1, 8, 8))),
                "discriminator": D, "loss": "hinge"}  # fmt: skip

    data = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    own = {name: value for name, value in SMALL.items() if "width" not in name and name != "data.size"}
    # Adam's first steps move far where they begin from moments of the steps that were thrown away.
    own |= {"train.lr": 0.01, "train.ema_halflife": 50}
    timed = gz.train(**objects(), data=data, settings=own, minutes=0.001, out=tmp_path / "timed", quiet=True).folder
    said = gz.train(**objects(), data=data, settings=own, images=length(timed), out=tmp_path / "said", quiet=True)
    assert ended(timed) == ended(said.folder)


def test_growing_networks_given_as_objects_are_refused(tmp_path):
    import torch

    class Grows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def grow(self, resolution):
            pass

    def schedule(images):
        return {"resolution": 8, "fade": 1.0}

    with pytest.raises(gz.UsageError, match="say the length in images"):
        gz.train(generator=Grows(), discriminator=Grows(), loss="hinge", schedule=schedule, minutes=1, quiet=True,
                 data=np.zeros((64, 8, 8, 1), np.uint8), out=tmp_path / "run")  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_new_run_from_a_checkpoint_takes_no_minutes(tmp_path):
    run = gz.train("dcgan-torch", settings=SMALL, steps=1, out=tmp_path / "run", quiet=True)
    with pytest.raises(gz.UsageError, match=r"train.length is 1minutes.*say --images"):
        gz.resume(run.folder, settings={"train.length": "1minutes"}, quiet=True)


@pytest.mark.parametrize("count", [0, -1, float("nan"), float("inf"), MAX_MINUTES * 2, True, "10"])
def test_minutes_that_are_none_are_refused(count):
    with pytest.raises(gz.UsageError, match=r"--minutes is .*; expected a number above 0, and of at most 1,000,000"):
        gz.train("dcgan-torch", minutes=count)


@pytest.mark.parametrize(
    ("unit", "count", "length"),
    [
        ("minutes", 1e-9, "0.000000001minutes"), ("epochs", 2.5, "2.5epochs"), ("images", 10**15, f"{10**15}images"),
        ("steps", 5, "5steps"), ("epochs", 1.0, "1epochs"),
    ],
)  # fmt: skip
def test_a_length_is_kept_as_it_was_given(unit, count, length):
    assert collect_flags(**{unit: count}) == {"train.length": (length, f"--{unit}")}


@pytest.mark.parametrize("other", ["images", "epochs", "steps"])
def test_minutes_beside_another_length_are_refused(other):
    with pytest.raises(gz.UsageError, match=f"--{other} and --minutes both say how long; give one"):
        gz.train("dcgan-torch", minutes=1, **{other: 3})


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("10minutes", 10), ("1 minute", 1), ("0.5minutes", 0.5), ("1_000 Minutes", 1000), ("10", None), ("2epochs", None)],
)
def test_minutes_are_read(text, minutes):
    assert parse_minutes(text) == minutes
    assert settings.read_value("train.length", "duration", text) == text


@pytest.mark.parametrize(
    "text", ["0minutes", "1e7minutes", "1e999minutes", "-1minutes", "minutes", "1minuets", "2hours"]
)
def test_a_length_that_is_none_is_refused(text):
    with pytest.raises(gz.UsageError, match=r"train.length is .*expected a length"):
        settings.read_value("train.length", "duration", text)


def test_minutes_are_for_the_length_alone():
    with pytest.raises(gz.UsageError, match=r"train.report_every is '1minutes'; expected a length"):
        gz.train("dcgan-torch", settings={"train.report_every": "1minutes"})


class Timed:
    """A trainer whose steps take the seconds of a clock that the test turns."""

    plan = SimpleNamespace(images_per_step=4)

    def __init__(self, monkeypatch, costs):
        self.now, self.costs, self.seen = 0.0, costs, []
        monkeypatch.setattr(timed_length.time, "perf_counter", lambda: self.now)

    def step(self, step, images, values):
        self.seen.append((step, images, values.get("resolution", 0)))
        first = sum(resolution == values.get("resolution", 0) for *_, resolution in self.seen) <= 1
        self.now += 9.0 if first else self.costs[values.get("resolution", 0)]

    def pop_means(self):
        return {}


def test_the_speed_is_the_median_after_the_slow_first_steps(monkeypatch):
    trainer = Timed(monkeypatch, {0: 0.05})
    rates = timed_length._measure_rates(trainer, lambda images: {"lr_g": 1.0}, SINGLE_PROCESS, 600)
    assert rates == {0: pytest.approx(4 / 0.05)}
    assert [(step, images) for step, images, _ in trainer.seen] == [(n, 4 * n) for n in range(len(trainer.seen))]
    assert sum(0.05 for _ in trainer.seen) < 600 * timed_length.MAX_SHARE + 1


def test_a_growing_run_takes_the_time_that_was_asked_for(monkeypatch):
    costs = {4: 0.01, 8: 0.03, 16: 0.2}

    def schedule_for(total):
        return lambda images: {"resolution": 4 if images < total / 2 else 8 if images < total * 0.75 else 16}

    trainer = Timed(monkeypatch, costs)
    rates = timed_length._measure_rates(trainer, schedule_for(timed_length.MAX_TIMED_IMAGES), SINGLE_PROCESS, 600)
    images = timed_length._solve_length(schedule_for, rates, 600, 4)
    schedule = schedule_for(images)
    seconds = sum(costs[schedule(seen)["resolution"]] for seen in range(0, images, 4))
    assert images % 4 == 0
    assert seconds == pytest.approx(600, rel=0.01)


def test_stages_counted_in_images_are_timed_as_well(monkeypatch):
    costs = {4: 0.01, 8: 0.05}

    def schedule_for(total):
        if total < 1000:
            raise gz.UsageError("too short")
        return lambda images: {"resolution": 4 if images < 1000 else 8}

    rates = timed_length._measure_rates(
        Timed(monkeypatch, costs), schedule_for(timed_length.MAX_TIMED_IMAGES), SINGLE_PROCESS, 60
    )
    images = timed_length._solve_length(schedule_for, rates, 60, 4)
    seconds = sum(costs[4 if seen < 1000 else 8] for seen in range(0, images, 4))
    assert seconds == pytest.approx(60, rel=0.02)


GROWING = {**SMALL, "schedule.stable_images": 0, "schedule.fade_images": 0}


def fix_length_of_one_step(monkeypatch, changed):
    """What is told where a growing run's minutes become a single step; measuring is left out."""
    from ganzoo_core import building
    from ganzoo_core.discovery import catalog
    from ganzoo_core.training import setup

    request = mix.Request(
        picks={"model": "progan-tf"}, assigned={**GROWING, "train.length": "0.0001minutes", **changed}
    )
    loaded = setup.load(mix.resolve(catalog.scan(), request), None)
    trainer = SimpleNamespace(plan=SimpleNamespace(images_per_step=16))
    monkeypatch.setattr(building, "build_trainer", lambda *_: trainer)
    monkeypatch.setattr(timed_length, "_measure_rates", lambda *_: {4: 1e3, 8: 1e3, 16: 1e3})
    told = []
    found, _ = timed_length.fix_length(loaded.mix, None, loaded.fit, loaded.source, SINGLE_PROCESS, told.append)
    assert found.settings["train.length"] == "16"
    return told


def test_a_growing_run_too_short_to_grow_says_so_and_is_not_refused(monkeypatch):
    """A busy machine may have made it short."""
    told = fix_length_of_one_step(monkeypatch, {})
    assert "takes no step at 8 or 16 pixels, so its generator does not learn them; say more minutes" in told[-1]


def test_stages_that_take_longer_than_the_minutes_are_refused_with_both(monkeypatch):
    told = (
        "^0.0001 minutes are 16 images at the speed that was measured, and the stages up to 16 pixels take 500 images"
    )
    with pytest.raises(gz.UsageError, match=told):
        fix_length_of_one_step(monkeypatch, {"schedule.stable_images": 100, "schedule.fade_images": 100})


def test_a_length_too_short_for_a_step_is_one_step():
    assert timed_length._solve_length(lambda images: lambda seen: {}, {0: 100.0}, 0.001, 64) == 64


def test_the_command_offers_it_and_sweeps_know_it(tmp_path, capsys, monkeypatch):
    from ganzoo_core import cli

    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "dcgan-torch", "--minutes", "2.5", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]["train.length"]
    assert told == {"value": "2.5minutes", "origin": "--minutes"}
    for words, expected in (
        ("run dcgan-torch --minutes 1 --images 5", "not allowed with"),
        ("run dcgan-torch --minutes ten", "--minutes"),
        ("run dcgan-torch --minutes 0", "--minutes is 0.0; expected a number above 0"),
        ("sweep dcgan-torch --over train.length=1epoch --minutes 3", "train.length is swept, and --minutes says"),
    ):
        try:
            code = cli.main(words.split())
        except SystemExit as error:
            code = error.code
        told = capsys.readouterr().err
        assert code == 2
        assert expected in told
        assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())
