"""Settings that the user set and that have no effect are told, with what to type so that they have."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import mix
from ganzoo_core.cli import main
from ganzoo_core.settings import read_facts

RATES = "the schedule warming gives lr_g, which wins; with another schedule the setting wins"
SWINGING = "the schedule swinging gives {}, which wins; with --set {} the setting wins"
TOLD = [  # the mix, what is set in it, the note
    (
        {}, {"momentum": "0.9"},
        "train.momentum=0.9 (--set) changes nothing: train.optimizer is adam; it counts with --set "
        "train.optimizer=sgd or --set train.optimizer=rmsprop",
    ),
    (
        {}, {"optimizer": "sgd", "betas": "0.5,0.9"},
        "train.betas=0.5,0.9 (--set) changes nothing: train.optimizer is sgd; it counts with --set "
        "train.optimizer=adam or --set train.optimizer=adamw",
    ),
    (
        {}, {"evaluate_count": "500"},
        "train.evaluate_count=500 (--set) changes nothing: train.evaluate_every is off; it counts with --set "
        "train.evaluate_every=5epochs",
    ),
    (
        {}, {"lr": "1e-3", "lr_g": "1e-4", "lr_d": "3e-4"},
        "train.lr=0.001 (--set) changes nothing: train.lr_g and train.lr_d are set, and win",
    ),
    (
        {}, {"optimizer_d": "sgd", "betas_d": "0.5,0.9"},
        "train.betas_d=0.5,0.9 (--set) changes nothing: train.optimizer_d is sgd; it counts with --set "
        "train.optimizer_d=adam or --set train.optimizer_d=adamw",
    ),
    (
        {}, {"weight_decay": "0.1"},
        "train.weight_decay=0.1 (--set) changes nothing: train.optimizer is adam; it counts with --set "
        "train.optimizer=adamw",
    ),
    (
        {}, {"momentum_g": "0.9", "optimizer_d": "sgd"},
        "train.momentum_g=0.9 (--set) changes nothing: train.optimizer is adam; it counts with --set "
        "train.optimizer=sgd or --set train.optimizer=rmsprop",
    ),
    (
        {}, {"optimizer": "sgd", "optimizer_g": "adam", "optimizer_d": "rmsprop"},
        "train.optimizer=sgd (--set) changes nothing: train.optimizer_g and train.optimizer_d are set, and win",
    ),
    (
        {}, {"depth": "4", "generator.depth": "5", "discriminator.depth": "6"},
        "model.depth=4 (--set) changes nothing: generator.depth and discriminator.depth are set, and win",
    ),
    (
        {"loss": "pairs", "schedule": "swinging"}, {"gamma_ends": "0,2", "loss.gamma": "1"},
        "loss.gamma=1.0 (--set) changes nothing: " + SWINGING.format("gamma", "schedule.gamma_ends=0,0"),
    ),
    (
        {"schedule": "swinging"}, {"halflife": "9", "ema_halflife": "5"},
        "train.ema_halflife=5 (--set) changes nothing: " + SWINGING.format("ema_halflife", "schedule.halflife=0"),
    ),
    (
        {"schedule": "swinging"}, {"beta2_ends": ".9,.99", "betas": "0,.95"},
        "train.betas=0.0,0.95 (--set) counts in part only: " + SWINGING.format("beta2", "schedule.beta2_ends=0,0"),
    ),
    (
        {"schedule": "swinging"}, {"beta2_ends": ".9,.99", "optimizer_g": "sgd", "betas": "0,.95"},
        "train.betas=0.0,0.95 (--set) counts in part only: " + SWINGING.format("beta2", "schedule.beta2_ends=0,0"),
    ),
    (
        {"schedule": "swinging"}, {"beta2_ends": ".9,.99", "betas_d": "0,.95"},
        "train.betas_d=0.0,0.95 (--set) counts in part only: " + SWINGING.format("beta2", "schedule.beta2_ends=0,0"),
    ),
    ({"schedule": "warming"}, {"lr": "1e-3"}, f"train.lr=0.001 (--set) changes nothing: {RATES}"),
    (
        {"schedule": "warming"}, {"lr_g": "1e-3"},
        f"train.lr_g=0.001 (--set) changes nothing: {RATES}",
    ),
    (
        {"schedule": "swinging"}, {"gamma_ends": "1,2"},
        "schedule.gamma_ends=1.0,2.0 (--set) changes nothing: no part of this mix takes gamma from the schedule",
    ),
    (
        {"schedule": "swinging"}, {"beta2_ends": ".9,.99", "optimizer": "sgd"},
        "schedule.beta2_ends=0.9,0.99 (--set) changes nothing: no part of this mix takes beta2 from the schedule",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("picks", "assigned", "note"), TOLD, ids=[",".join(assigned) for _, assigned, _ in TOLD])
def test_a_setting_without_effect_is_told(resolve, picks, assigned, note):
    assert resolve("dense", assigned=assigned, **picks).warnings == (note,)


@pytest.mark.parametrize(
    ("picks", "assigned"),
    [
        ({}, {}),
        ({}, {"betas": "0,0.9", "adam_eps": "1e-7", "lr": "1e-3", "lr_g": "1e-4"}),
        ({}, {"optimizer": "rmsprop", "momentum": "0.9", "rmsprop_decay": "0.9"}),
        ({}, {"optimizer": "sgd", "momentum": "0.9"}),
        ({}, {"optimizer_d": "sgd", "momentum": "0.9", "betas": "0,0.9"}),
        ({}, {"optimizer_g": "adamw", "weight_decay": "0.1", "adam_eps": "1e-7"}),
        ({}, {"optimizer_d": "sgd", "momentum_d": "0.9", "betas_g": "0,0.9"}),
        ({}, {"evaluate_every": "1epoch", "evaluate_count": "500"}),
        ({"loss": "pairs", "schedule": "swinging"}, {"loss.gamma": "1", "betas": "0,0.9", "ema_halflife": "5"}),
        ({"loss": "pairs", "schedule": "swinging"}, {"gamma_ends": "1,2"}),
        ({"schedule": "warming"}, {"betas": "0,0.9"}),
        ({}, {"depth": "4", "generator.depth": "5"}),
        ({"discriminator": "conv"}, {"width": "9", "generator.width": "7"}),
    ],
)
def test_settings_with_an_effect_are_not_told(resolve, picks, assigned):
    assert resolve("dense", assigned=assigned, **picks).warnings == ()


def test_what_the_parts_set_for_each_other_is_marked_and_not_told(resolve):
    """`penalised` brings r1 and its weight; the core's own defaults are not even marked."""
    found = resolve("penalised", modifiers=["r1-again"])
    assert set(mix.explain_unread(found)) == {"with.r1.gamma"}
    assert not [note for note in found.warnings if "with.r1.gamma" in note]
    (note,) = [
        note
        for note in resolve("penalised", modifiers=["r1-again"], assigned={"with.r1.gamma": "2"}).warnings
        if "with.r1.gamma" in note
    ]
    assert note == "with.r1.gamma=2.0 (--set) changes nothing: the modifier r1 is not picked; --with r1 picks it"


def test_of_a_file_only_what_differs_from_the_mix_is_told(resolve):
    """The file of a run names every setting."""
    assert resolve("dense", config={"train.momentum": "0.0", "train.rmsprop_decay": "0.99"}).warnings == ()
    (note,) = resolve("dense", config={"train.momentum": "0.5"}, config_name="mine.yaml").warnings
    assert note.startswith("train.momentum=0.5 (mine.yaml) changes nothing")
    flags = {"config": {"train.momentum": "0.5"}, "assigned": {"train.momentum": "0"}}
    (note,) = resolve("dense", **flags).warnings
    assert note.startswith("train.momentum=0.0 (--set) changes nothing")


def test_an_unknown_setting_is_refused_as_before(resolve):
    assert "there is no setting 'loss.gamma' in this mix" in resolve.refusal("dense", assigned={"loss.gamma": "1"})


def test_the_memory_layout_of_pytorch_has_no_effect_in_tensorflow(resolve):
    (note,) = resolve("flow", assigned={"channels_last": "false"}).warnings
    assert note == "engine.channels_last=false (--set) changes nothing: TensorFlow does not use it"


def test_a_dry_run_tells_who_wins(capsys):
    words = ["run", "dcgan-torch", "--data", "digits", "--loss", "relativistic", "--schedule", "cosine", "--dry-run"]
    words += ["--set", "model.norm=none", "--set", "gamma_ends=1,0.1", "--set", "loss.gamma=3"]
    note = (
        "loss.gamma=3.0 (--set) changes nothing: the schedule cosine gives gamma, which wins; "
        "with --set schedule.gamma_ends=0,0 the setting wins"
    )
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"note: {note}\n" in told
    assert "loss.gamma\t3.0\t--set, but the schedule cosine gives gamma, which wins\n" in told
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["warnings"], found["unread"]) == ([note], ["loss.gamma"])
    assert main([*words[:-4], "--set", "loss.gamma=3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["warnings"], found["unread"]) == ([], [])


def test_settings_for_another_loss_are_told_where_a_model_declares_them(capsys):
    """progan-tf sets `loss.drift` for its own loss, so the setting is known with any other."""
    words = ["run", "progan-tf", "--loss", "hinge", "--schedule", "constant", "--set", "loss.drift=1", "--dry-run"]
    assert main([*words, "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["warnings"]
    assert note == "loss.drift=1.0 (--set) changes nothing: the loss hinge does not read it"


@pytest.mark.parametrize(
    ("assigned", "notes"),
    [
        ({"lr_g": 0.5}, ["train.lr_g=0.5 (--set) changes nothing: the schedule function gives lr_g, which wins"]),
        ({"ema_halflife": 7}, []),
    ],
)
def test_the_values_of_a_schedule_in_python_win_and_that_is_told_at_the_start(tmp_path, assigned, notes):
    def own_rates(images: int) -> dict[str, float]:
        return {"lr_g": 1e-3, "lr_d": 1e-3}

    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 1), dtype=np.uint8)
    settings = {"model.width": 4, "train.batch_size": 4, "train.length": "1steps", "engine.threads": 1, **assigned}
    run = gz.train(
        "dcgan-torch",
        data=images,
        schedule=own_rates,
        preset="none",
        settings=settings,
        out=tmp_path / "run",
        quiet=True,
    )
    kept = read_facts(run.folder / "config.yaml").warnings
    assert [note.split(";")[0] for note in kept if "changes nothing" in note] == notes
