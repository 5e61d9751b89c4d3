"""Do the parts fit each other? What is chosen, noted or refused, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ganzoo_core import mix
from ganzoo_core.discovery.catalog import Catalog
from ganzoo_core.discovery.manifest import Problem
from ganzoo_core.errors import PluginError, UsageError


def test_a_penalty_replaces_batch_norm_that_nobody_asked_for(resolve):
    found = resolve("conv", loss="gp")
    assert found.get_options("discriminator")["norm"] == "layer"
    assert found.get_options("generator")["norm"] == "batch"
    (note,) = found.warnings
    assert note == "gp needs a discriminator without batchnorm: discriminator.norm=layer instead of batch"
    assert "since gp needs" in found.settings.find_origin("discriminator.norm")
    assert resolve("conv", loss="gp", assigned={"model.norm": "none"}).warnings == ()
    assert resolve("conv", loss="gp", assigned={"discriminator.norm": "none"}).warnings == ()
    assert resolve("dense", loss="gp").warnings == ()


@pytest.mark.parametrize("asked", [{"assigned": {"discriminator.norm": "batch"}}, {"config": {"model.norm": "batch"}}])
def test_a_penalty_refuses_batch_norm_that_was_asked_for(resolve, asked):
    said = resolve.refusal("conv", loss="gp", **asked)
    assert "gp needs a discriminator without batchnorm" in said
    assert said.endswith("say --set discriminator.norm=layer")


def test_needs_that_no_setting_meets(resolve):
    assert "fixed has none" in resolve.refusal("fixed", loss="gp")  # it denies second derivatives
    assert "dense has none; pick another loss or model" in resolve.refusal("dense", loss="classes")
    asked = {"generator": "dense", "discriminator": "conv", "loss": "gp"}
    assert resolve(**asked).get_options("discriminator")["norm"] == "layer"


def test_a_loss_that_compares_with_targets_needs_a_generator_with_conditions(resolve):
    assert resolve("painter", loss="pixels").warnings == ()
    assert resolve(generator="painter", discriminator="dense", loss="pixels").warnings == ()
    for asked in ({"model": "dense"}, {"generator": "dense", "discriminator": "painter"}):
        said = resolve.refusal(**asked, loss="pixels")
        assert said == "pixels needs a generator with conditions, and dense has none; pick another loss or model"


def test_a_condition_that_the_discriminator_alone_takes_is_told(resolve):
    (note,) = resolve(generator="dense", discriminator="painter").warnings
    assert note == (
        "the discriminator painter takes the condition `source`, and the generator dense draws without it, so it "
        "cannot draw what belongs to it; pick a generator that takes `source`, or a discriminator that does not"
    )
    (note,) = resolve(generator="painter", discriminator="described").warnings
    assert "takes the condition `attributes`, and the generator painter draws without it" in note
    assert resolve(generator="painter", discriminator="dense").warnings == ()


def test_batch_norm_that_no_setting_turns_off(installed, resolve):
    parts = [replace(p, has={"batchnorm_in_discriminator": True}) if p.name == "fixed" else p for p in installed.parts]
    said = resolve.refusal("fixed", loss="gp", catalog=Catalog(tuple(parts), ()))
    assert said == "gp needs a discriminator without batchnorm, and fixed has it; pick another loss or model"


def test_a_doubled_penalty_is_told(resolve):
    (note,) = resolve("dense", loss="pairs", modifiers=["r1"]).warnings
    assert "r1 adds what pairs already has (r1 penalty), so it counts twice" in note
    assert resolve("dense", loss="pairs", modifiers=["r1"], assigned={"loss.gamma": "0"}).warnings == ()
    assert resolve("dense", modifiers=["r1"]).warnings == ()
    (note,) = resolve("dense", modifiers=["r1", "r1-again"]).warnings
    assert "r1-again adds what r1 already has" in note
    assert resolve("dense", modifiers=["r1", "r1-again"], assigned={"with.r1.gamma": "0"}).warnings == ()


def test_a_penalty_that_two_settings_turn_on_is_doubled_where_both_do(installed, resolve):
    claim = [{"setting": "loss.gamma", "above": 0.0}, {"setting": "train.optimizer", "is": "adam"}]
    parts = [replace(p, has={"r1_penalty": claim}) if p.name == "pairs" else p for p in installed.parts]
    asked = {"loss": "pairs", "modifiers": ["r1"], "catalog": Catalog(tuple(parts), ())}
    (note,) = resolve("dense", **asked, assigned={"train.optimizer": "adam"}).warnings
    assert "r1 adds what pairs already has" in note
    assert resolve("dense", **asked, assigned={"train.optimizer": "sgd"}).warnings == ()
    assert resolve("dense", **asked, assigned={"train.optimizer": "adam", "loss.gamma": "0"}).warnings == ()


def test_the_one_that_a_penalty_doubles_is_named(installed, resolve):
    """Neither the part itself, nor one whose setting turns its penalty off."""
    own = [replace(p, has={"r1_penalty": True}) if p.name == "dense" else p for p in installed.parts]
    (note,) = resolve("dense", modifiers=["r1"], catalog=Catalog(tuple(own), ())).warnings
    assert note == (
        "r1 adds what the model already has (r1 penalty), so it counts twice; leave r1 out, or set the other to 0"
    )
    asked = {"loss": "pairs", "modifiers": ["r1", "r1-again"], "assigned": {"loss.gamma": "0"}}
    (note,) = resolve("dense", **asked).warnings
    assert note.startswith("r1-again adds what r1 already has")


def test_modifiers_come_from_the_model_or_the_user(resolve):
    found = resolve("penalised")
    assert found.get_modifier_options() == {"r1": {"gamma": 3.0}}
    assert resolve("penalised", modifiers=[]).modifiers == ()
    assert resolve("dense", assigned={"with": "r1"}).get_modifier_options() == {"r1": {"gamma": 10.0}}
    assert "r1 is picked twice" in resolve.refusal("dense", modifiers=["r1", "dist/r1"])
    assert "did you mean r1" in resolve.refusal("dense", modifiers=["r2"])


def test_one_framework_a_mix(resolve):
    said = resolve.refusal(generator="conv", discriminator="flow")
    assert said == (
        "the generator conv is written in torch and the discriminator flow in tensorflow; pick both from one framework"
    )
    assert "flow-only is for tensorflow, but conv is written in torch" in resolve.refusal("conv", loss="flow-only")
    assert "sn is for tensorflow, but conv" in resolve.refusal("conv", modifiers=["sn"])
    assert resolve("flow", loss="flow-only", modifiers=["sn"]).framework == "tensorflow"
    said = resolve.refusal(generator="labelled", discriminator="conv")
    assert said == "labelled is conditional and conv is not; pick two of a kind"


def test_a_setting_may_make_networks_conditional(installed, resolve):
    told = {"conditional": {"setting": "model.told", "is": True}}
    own = [
        replace(p, **told, defaults={**p.defaults, "model.told": False}) if p.name in ("conv", "dense") else p
        for p in installed.parts
    ]
    catalog = Catalog(tuple(own), ())
    assert not resolve("conv", catalog=catalog).conditional
    found = resolve("conv", catalog=catalog, assigned={"told": "on"})
    assert found.conditional
    assert fit(found, 16, classes=10).spec.classes == 10
    with pytest.raises(UsageError) as caught:
        fit(found, 16)
    assert str(caught.value) == (
        "conv is conditional, and grey has no labels; say --set model.told=false, or a folder with one folder a class"
    )
    both = {"generator": "labelled", "discriminator": "conv", "catalog": catalog}
    assert resolve.refusal(**both) == (
        "labelled is conditional and conv is not; say --set discriminator.told=true or pick two of a kind"
    )
    assert resolve(**both, assigned={"discriminator.told": "true"}).conditional
    asked = {"generator": "dense", "discriminator": "conv", "catalog": catalog}
    assert resolve.refusal(**asked, assigned={"discriminator.told": "true"}) == (
        "conv is conditional and dense is not; say --set generator.told=true or say --set discriminator.told=false or "
        "pick two of a kind"
    )
    assert resolve.refusal("conv", catalog=catalog, assigned={"generator.told": "true"}) == (
        "the generator conv is conditional and the discriminator conv is not; say --set generator.told=false or "
        "say --set discriminator.told=true or pick two of a kind"
    )


def test_simultaneous_updates_take_one_critic_step(resolve):
    said = resolve.refusal("dense", loss="gp", assigned={"updates": "simultaneous"})
    assert "train.critic_steps is 5; say --set updates=alternating or --set critic_steps=1" in said
    found = resolve("dense", loss="gp", assigned={"updates": "simultaneous", "critic_steps": "1"})
    assert found.settings["train.updates"] == "simultaneous"


def fit(mixed, height, width=None, channels=1, classes=0, background=None):
    return mix.make_data_fit(
        mixed,
        height=height,
        width=width or height,
        channels=channels,
        classes=classes,
        background=background,
        conditions={},
    )


def test_sizes_fit_the_networks(resolve):
    assert fit(resolve("conv"), 8).framing.target_size == (16, 16)
    assert fit(resolve("conv"), 28, background=0).framing.method == "pad"
    assert fit(resolve(generator="conv", discriminator="dense"), 8).framing.target_size == (32, 32)
    assert fit(resolve("fixed"), 20, 30).framing.target_size == (20, 30)
    assert fit(resolve("conv", assigned={"size": "64"}), 8).framing.target_size == (64, 64)
    for asked, size, expected in (
        ({"model": "conv"}, 256, "choose one with --set data.size=64"),
        ({"model": "conv", "assigned": {"size": "20"}}, 8, "data.size is 20; this model takes 16, 32, 64 pixels"),
        ({"generator": "conv", "discriminator": "huge"}, 8, "pick two that share a size"),
    ):
        with pytest.raises(UsageError) as caught:
            fit(resolve(**asked), size)
        assert expected in str(caught.value)


def test_channels_and_labels_fit_the_networks(resolve):
    assert fit(resolve("conv"), 16, channels=3).spec.channels == 3
    assert fit(resolve("conv", assigned={"channels": "1"}), 16, channels=3).spec.channels == 1
    assert "expected 0 or 1 or 3" in resolve.refusal("conv", assigned={"channels": "2"})
    spec = fit(resolve("labelled", assigned={"latent_dim": "7"}), 16, classes=10).spec
    assert (spec.classes, spec.latent_dim, spec.framework) == (10, 7, "torch")
    assert fit(resolve("conv"), 16, classes=10).spec.classes == 0
    with pytest.raises(UsageError, match="labelled is conditional, and grey has no labels"):
        fit(resolve("labelled"), 16)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "no model is named; installed are conv, dense"),
        ({"generator": "conv"}, "no discriminator is picked; name a model, or --discriminator as well"),
        ({"model": "cnov"}, "did you mean conv?"),
        ({"model": "conv", "loss": "plian"}, "did you mean plain"),
        ({"model": "conv", "loss": "r1"}, "r1 is a modifier"),
        ({"model": "r1"}, "r1 is a modifier"),
        ({"model": "orphan"}, "the model's own loss: no loss is called 'gone'"),
        ({"model": "conv", "assigned": {"lrr": "1"}}, "--set: there is no setting 'lrr' in this mix; did you mean"),
        (
            {"model": "conv", "config": {"lr": "x"}, "config_name": "a.yaml"},
            "a.yaml: train.lr is 'x'; expected a number",
        ),
        ({"model": "conv", "flags": {"train.batch_size": (0, "--batch-size")}}, "--batch-size: train.batch_size is 0"),
        (
            {"model": "conv", "assigned": {"norm": "bacth"}},
            "model.norm is 'bacth'; expected batch or layer or none; did",
        ),
        ({"model": "conv", "assigned": {"optimizer": "adm"}}, "did you mean adam?"),
        ({"model": "conv", "assigned": {"betas": "0.5"}}, "expected 2 numbers"),
        ({"model": "conv", "assigned": {"betas": "0.5,1"}}, "below 1"),
        ({"model": "conv", "assigned": {"gp_weight": "1"}}, "there is no setting 'gp_weight' in this mix"),
        ({"model": "penalised", "assigned": {"depth": "1"}}, "there is no setting 'depth'"),
        ({"model": "conv", "config": {"train.betas": {"a": "b"}}}, "expected numbers"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_a_sentence(resolve, asked, expected):
    assert expected in resolve.refusal(**asked)


def test_names_that_two_distributions_have(installed, resolve):
    plain = installed.find("losses", "plain")
    theirs = replace(plain, distribution="theirs", aliases=(), default=False)
    both = Catalog((*installed.parts, theirs), ())
    assert "say dist/plain or theirs/plain" in resolve.refusal("conv", catalog=both)
    found = resolve("conv", loss="theirs/plain", catalog=both)
    assert found.parts["loss"] == theirs
    assert found.settings["use.loss"] == "theirs/plain"
    assert resolve("conv", config={"use.loss": found.settings["use.loss"]}, catalog=both).parts["loss"] == theirs


def test_defaults_and_problems_of_the_catalog(installed, resolve):
    two = [replace(part, default=True) if part.name == "big" else part for part in installed.parts]
    said = resolve.refusal("conv", catalog=Catalog(tuple(two), ()))
    assert "dist/big and dist/grey all say they are the default dataset" in said
    none = [part for part in installed.parts if part.kind != "datasets"]
    assert "no dataset is named" in resolve.refusal("conv", catalog=Catalog(tuple(none), ()))
    ill = Problem("bad-manifest", "it is ill", "sick", "2", "losses", "ill")
    with pytest.raises(PluginError, match="ill of sick 2 cannot be used: it is ill"):
        resolve("conv", loss="ill", catalog=Catalog(installed.parts, (ill,)))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"model": "conv", "assigned": {"norm": "bacth"}},
            "model.norm is 'bacth'; expected batch or layer or none; did you mean batch?",
        ),
        ({"model": "conv", "assigned": {"norm": "z"}}, "model.norm is 'z'; expected batch or layer or none"),
        (
            {"model": "conv", "assigned": {"channels": "2"}},
            "data.channels is 2; expected 0 or 1 or 3",
        ),
        (
            {"model": "conv", "assigned": {"betas": "0.5,1"}},
            "--set: train.betas is '0.5,1'; expected 2 numbers of at least 0 and below 1",
        ),
        (
            {"model": "conv", "assigned": {"betas": "0,0.9,0.9"}},
            "--set: train.betas is '0,0.9,0.9'; expected 2 numbers of at least 0 and below 1",
        ),
        (
            {"model": "conv", "assigned": {"betas": "-0.1,0.9"}},
            "--set: train.betas is '-0.1,0.9'; expected 2 numbers of at least 0 and below 1",
        ),
        (
            {"model": "conv", "assigned": {"accumulate": "5", "batch_size": "64"}},
            "train.accumulate is 5, and a batch of 64 images cannot be divided into as many equal parts; "
            "say --set accumulate=4 or --batch-size 65",
        ),
        (
            {"model": "conv", "assigned": {"accumulate": "3", "batch_size": "2"}},
            "train.accumulate is 3, and a batch of 2 images cannot be divided into as many equal parts; "
            "say --set accumulate=2 or --batch-size 3",
        ),
        (
            {"model": "conv", "assigned": {"accumulate": "0"}},
            "--set: train.accumulate is '0'; expected a number above 0",
        ),
        (
            {"model": "conv", "assigned": {"betas_d": "0.5"}},
            "--set: train.betas_d is '0.5'; expected 2 numbers of at least 0 and below 1",
        ),
        (
            {"model": "conv", "assigned": {"optimizer_d": "adm"}},
            "train.optimizer_d is 'adm'; expected adam or adamw or rmsprop or sgd; did you mean adam?",
        ),
        (
            {"model": "conv", "assigned": {"optimiser_d": "sgd"}},
            "--set: there is no setting 'optimiser_d' in this mix; did you mean train.optimizer_d or "
            "train.optimizer_g or train.optimizer?",
        ),
        (
            {"model": "dense", "loss": "gp", "assigned": {"updates": "simultaneous"}},
            "train.updates=simultaneous takes one step of D for one of G, but train.critic_steps is 5; "
            "say --set updates=alternating or --set critic_steps=1",
        ),
        (
            {"model": "conv", "loss": "flow-only"},
            "flow-only is for tensorflow, but conv is written in torch; pick another",
        ),
        (
            {"model": "conv", "loss": "gp", "assigned": {"discriminator.norm": "batch"}},
            "gp needs a discriminator without batchnorm, but discriminator.norm is batch (--set); "
            "say --set discriminator.norm=layer",
        ),
        (
            {"model": "dense", "loss": "classes"},
            "classes needs a discriminator with classes output, and dense has none; pick another loss or model",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_whole_sentence(resolve, asked, sentence):
    assert resolve.refusal(**asked) == sentence


def test_betas_and_channels_at_their_edges(resolve):
    for betas in ("0,0", "0,0.999", "0.5,0"):
        assert resolve("conv", assigned={"betas": betas}).settings["train.betas"] == [
            float(b) for b in betas.split(",")
        ]
    for channels in (0, 1, 3):
        assert resolve("conv", assigned={"channels": str(channels)}).settings["data.channels"] == channels


def test_a_modifier_that_the_model_brings_and_the_user_leaves_out_is_told(resolve):
    assert resolve("penalised").warnings == ()
    note = "penalised comes with r1, which is left out; --with {} keeps it"
    assert resolve("penalised", modifiers=[]).warnings == (note.format("r1"),)
    assert resolve("penalised", modifiers=["r1-again"]).warnings == (note.format("r1,r1-again"),)


def test_choices_of_the_other_network_s_model_do_not_bind(resolve):
    """`model.*` is about both networks, and each one's own name about it alone."""
    mixed = {"generator": "conv", "discriminator": "dense"}
    assert resolve(**mixed, assigned={"generator.width": "8"}).get_options("generator")["width"] == 8
    for asked in ("model.width", "discriminator.width"):
        said = resolve.refusal(**mixed, assigned={asked: "8"})
        assert said.startswith("discriminator.width is 8; expected 7 or 9")
    said = resolve.refusal("dense", assigned={"model.width": "8"})
    assert said.startswith("model.width is 8; expected 7 or 9")


def test_each_item_of_a_list_is_one_of_the_choices(installed, resolve):
    listed = {"defaults": {"model.ways": ["a", "b"]}, "choices": {"model.ways": ("a", "b")}}
    with_list = Catalog(tuple(replace(p, **listed) if p.name == "fixed" else p for p in installed.parts), ())
    assert resolve("fixed", assigned={"ways": "b"}, catalog=with_list).settings["model.ways"] == ["b"]
    said = resolve.refusal("fixed", assigned={"ways": "b,c"}, catalog=with_list)
    assert said.startswith("model.ways holds 'c'; expected some of a or b")


def test_a_value_outside_the_bounds_of_a_card(installed, resolve):
    bounds = {"at_least": {"model.width": 2}, "below": {"model.width": 300}}
    bounded = Catalog(tuple(replace(p, **bounds) if p.name == "conv" else p for p in installed.parts), ())
    assert resolve("conv", assigned={"model.width": "2"}, catalog=bounded).settings["model.width"] == 2
    for key in ("model.width", "generator.width", "discriminator.width"):
        said = resolve.refusal("conv", assigned={key: "300"}, catalog=bounded)
        assert said == f"{key} is 300; expected a number of at least 2 and below 300"
    mixed = {"generator": "conv", "discriminator": "dense"}
    assert resolve(**mixed, assigned={"discriminator.width": "9"}, catalog=bounded)
    assert "generator.width is 1" in resolve.refusal(**mixed, assigned={"generator.width": "1"}, catalog=bounded)


def test_a_need_that_no_choice_of_the_setting_meets(installed, resolve):
    parts = [replace(p, choices={}) if p.name == "conv" else p for p in installed.parts]
    said = resolve.refusal("conv", loss="gp", catalog=Catalog(tuple(parts), ()))
    assert said == "gp needs a discriminator without batchnorm, but model.norm is batch; set another value"


def test_what_data_and_networks_do_not_share_is_a_whole_sentence(resolve):
    with pytest.raises(UsageError) as caught:
        fit(resolve(generator="conv", discriminator="huge"), 8)
    assert str(caught.value) == (
        "conv takes images of [16, 32, 64] pixels and huge of [256]; pick two that share a size"
    )
    with pytest.raises(UsageError) as caught:
        fit(resolve("labelled"), 16)
    assert str(caught.value) == (
        "labelled is conditional, and grey has no labels; pick an unconditional model, or "
        "a folder with one folder a class"
    )
    assert fit(resolve(generator="fixed", discriminator="conv"), 20).framing.target_size == (32, 32)
    spec = fit(resolve("fixed"), 20, 30, channels=3).spec
    assert (spec.height, spec.width, spec.channels, spec.classes) == (20, 30, 3, 0)


ATTENTION = {"setting": "model.attention", "is": True}


@pytest.fixture
def with_attention(installed):
    """The parts of mix.toml, a model with attention that a setting turns off, and two losses that ask for it."""
    conv = next(part for part in installed.parts if part.name == "conv")
    plain = next(part for part in installed.parts if part.name == "plain")
    seeing = replace(conv, name="seeing", has={"attention": ATTENTION}, defaults={"model.attention": True})
    seeing = replace(seeing, choices={"model.attention": (True, False)})
    more = (seeing, replace(plain, name="wants", aliases=(), default=False, needs=("attention",)))
    more = (*more, replace(plain, name="avoids", aliases=(), default=False, needs=("no_attention",)))
    return Catalog((*installed.parts, *more), ())


def test_a_feature_of_neither_network_alone_is_looked_for_in_both(with_attention, resolve):
    """Whichever of the two models has it: `has` of a generator used to be looked up in the discriminator alone."""
    for pair in (("seeing", "dense"), ("dense", "seeing")):
        asked = {"generator": pair[0], "discriminator": pair[1], "catalog": with_attention}
        assert resolve(**asked, loss="wants").warnings == ()
        slot = "generator" if pair[0] == "seeing" else "discriminator"
        found = resolve(**asked, loss="avoids")
        assert found.warnings == (f"avoids needs a model without attention: {slot}.attention=False instead of True",)
        assert found.get_options(slot)["attention"] is False
        said = resolve.refusal(**asked, loss="avoids", assigned={f"{slot}.attention": "true"})
        assert said.endswith(f"say --set {slot}.attention=False")
        off = {f"{slot}.attention": "false"}
        assert resolve(**asked, loss="avoids", assigned=off).warnings == ()
        assert resolve(**asked, loss="wants").get_options(slot)["attention"] is True


def test_a_feature_of_both_networks_is_turned_off_in_both(with_attention, resolve):
    found = resolve("seeing", loss="avoids", catalog=with_attention)
    assert [found.get_options(slot)["attention"] for slot in ("generator", "discriminator")] == [False, False]
    assert len(found.warnings) == 2


def test_a_feature_that_neither_network_has_names_both(with_attention, resolve):
    asked = {"generator": "conv", "discriminator": "dense", "loss": "wants", "catalog": with_attention}
    assert resolve.refusal(**asked) == (
        "wants needs a model with attention, and conv and dense have none; pick another loss or model"
    )


def test_a_feature_named_after_the_generator_is_the_generator_s(installed, resolve):
    parts = [replace(p, has={"attention_in_generator": True}) if p.name == "conv" else p for p in installed.parts]
    parts = [replace(p, needs=("attention_in_generator",)) if p.name == "pairs" else p for p in parts]
    catalog = Catalog(tuple(parts), ())
    assert resolve(generator="conv", discriminator="dense", loss="pairs", catalog=catalog).warnings == ()
    said = resolve.refusal(generator="dense", discriminator="conv", loss="pairs", catalog=catalog)
    assert said == "pairs needs a generator with attention, and dense has none; pick another loss or model"
