"""Parts and the user's words: which value wins, what fits what, and what is said where it does not."""

from __future__ import annotations

import itertools

import pytest

from ganzoo_core import mix, settings
from ganzoo_core.runs import config

LAYERS = {
    # what is asked -> the learning rate that it brings and the origin that is told; the core's is 2e-4
    "preset": ({"preset": "rate"}, 6e-4, "conv preset rate"),
    "schedule": ({"schedule": "falling"}, 5e-4, "falling"),
    "config": ({"config": {"train.lr": "7e-4"}, "config_name": "run.yaml"}, 7e-4, "run.yaml"),
    "set": ({"assigned": {"lr": "8e-4"}}, 8e-4, "--set"),
    "flag": ({"flags": {"train.lr": (9e-4, "--rate")}}, 9e-4, "--rate"),
}


@pytest.mark.parametrize("chosen", [c for n in range(6) for c in itertools.combinations(LAYERS, n)], ids="<".join)
def test_later_layers_win_and_every_value_keeps_its_origin(resolve, chosen):
    asked = {}
    for name in chosen:
        asked |= LAYERS[name][0]
    found = resolve("conv", **asked).settings
    value, origin = LAYERS[chosen[-1]][1:] if chosen else (3e-4, "conv")
    assert (found["train.lr"], found.find_origin("train.lr")) == (value, origin)
    assert (found["train.seed"], found.find_origin("train.seed")) == (0, "core")


def test_a_loss_of_the_users_own_choice_wins_over_the_model_and_the_models_own_does_not(resolve):
    found = resolve("conv", loss="gp").settings
    assert (found["train.lr"], found.find_origin("train.lr")) == (1e-4, "gp")
    assert (found["train.critic_steps"], found["loss.weight"]) == (5, 10.0)
    assert resolve("conv", loss="plain").settings["train.lr"] == 3e-4
    assert resolve("conv", loss="bce").settings["train.lr"] == 3e-4
    assert resolve("fixed").settings["train.lr"] == 2e-4


def test_presets_follow_the_data_unless_told(resolve):
    assert resolve("conv").preset == "grey"
    assert resolve("conv").settings["model.width"] == 32
    assert resolve("conv", data="big").settings["model.width"] == 128
    assert resolve("conv", preset="none").settings["model.width"] == 128
    assert resolve("conv", data="big", preset="grey").settings["train.batch_size"] == 16
    assert "it has grey, rate" in resolve.refusal("conv", preset="gray")


def test_data_has_settings_and_arguments(resolve):
    found = resolve("conv", data="files:/a/b:c")
    assert (found.data_argument, found.settings["use.data"]) == ("/a/b:c", "files:/a/b:c")
    assert (found.settings["data.size"], found.settings.find_origin("data.size")) == (64, "files")
    assert found.get_options("data")["count"] == 3
    assert "needs an argument" in resolve.refusal("conv", data="files")
    assert "takes no argument; found 'x'" in resolve.refusal("conv", data="grey:x")


def test_picks_by_any_road(resolve):
    for asked in (
        {"loss": "wgangp"},
        {"assigned": {"use.loss": "gp"}},
        {"assigned": {"loss": "GP"}},
        {"config": {"use.loss": "dist/gp"}},
        {"config": {"loss": "gp"}},
    ):
        found = resolve("conv", **asked)
        assert found.parts["loss"].name == "gp"
        assert found.settings["use.loss"] == "gp"
    found = resolve("conv", loss="plain", config={"use.loss": "pairs"}, assigned={"loss": "gp"})
    assert (found.settings["use.loss"], found.settings.find_origin("use.loss")) == ("plain", "--loss")
    assert resolve(assigned={"model": "conv", "data": "big"}).parts["data"].name == "big"
    assert "expected text" in resolve.refusal("conv", config={"use.loss": ["gp"]})
    assert "did you mean use.loss" in resolve.refusal("conv", config={"use.losss": "gp"})


def test_a_model_named_on_the_command_line_takes_the_place_of_those_in_a_file(resolve):
    file = {"use.model": "", "use.generator": "dense", "use.discriminator": "fixed"}
    assert [part.name for part in list(resolve(config=file).parts.values())[:2]] == ["dense", "fixed"]
    found = resolve("conv", config=file)
    assert {found.parts["generator"].name, found.parts["discriminator"].name} == {"conv"}
    found = resolve(generator="conv", config=file | {"use.model": "dense"})
    assert (found.parts["generator"].name, found.parts["discriminator"].name) == ("conv", "fixed")


def test_two_networks_keep_their_settings_apart(resolve):
    asked = {"generator": "conv", "discriminator": "dense", "preset": "none"}
    found = resolve(**asked)
    assert found.get_options("generator") == {"latent_dim": 100, "norm": "batch", "width": 128}
    assert found.get_options("discriminator") == {"latent_dim": 100, "width": 7, "depth": 2}
    assert found.settings["train.lr"] == 3e-4
    assert (found.settings["use.model"], found.settings["use.discriminator"]) == ("", "dense")

    def widths(**assigned):
        changed = resolve(assigned={key.replace("_", ".", 1): value for key, value in assigned.items()}, **asked)
        return changed.get_options("generator")["width"], changed.get_options("discriminator")["width"]

    assert widths(model_width=9) == (9, 9)
    assert widths(generator_width=9) == (9, 7)
    assert widths(discriminator_width=9) == (128, 9)
    assert widths(discriminator_width=9, model_width=7) == widths(model_width=7, discriminator_width=9) == (7, 9)
    assert "discriminator.width is 16; expected 7 or 9" in resolve.refusal(assigned={"width": "16"}, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "conv"},
        {"model": "conv", "loss": "gp", "assigned": {"betas": "0,0.9", "lr_g": "1e-5"}},
        {"model": "penalised", "data": "files:/tmp/😀 # x: {y}"},
        {"generator": "conv", "discriminator": "dense", "assigned": {"model.width": 7, "discriminator.width": 9}},
        {"model": "conv", "assigned": {"sample_at": "[1,5]epochs", "skip_bad": "on", "seed": "010"}, "modifiers": []},
    ],
    ids=["plain", "gp", "modifier", "two", "values"],
)
def test_the_config_of_a_run_gives_the_same_mix(resolve, tmp_path, asked):
    first = resolve(**asked)
    path = tmp_path / "config.yaml"
    path.write_text(config.format_config(first.settings, {"seconds": 3}), encoding="utf-8")
    again = resolve(config=settings.read_config(path), config_name="config.yaml")
    assert dict(again.settings) == dict(first.settings)
    assert again.parts == first.parts
    assert again.modifiers == first.modifiers
    assert again.data_argument == first.data_argument
    for slot in mix.SLOTS:
        assert again.get_options(slot) == first.get_options(slot)


def test_objects_stand_in_for_parts(resolve):
    class Plain:
        def discriminator(self, step):
            raise AssertionError("nothing is trained here")

        generator = discriminator

    given = Plain()
    found = resolve("conv", loss=given)
    assert found.objects == {"loss": given}
    assert (found.settings["use.loss"], found.settings.find_origin("use.loss")) == ("(object)", "--loss")
    # The config of such a run cannot bring the object back: it says so, and does not take another loss in silence.
    config = {"use.loss": "(object)", "use.data": "(object)"}
    assert resolve.refusal("conv", config=config, config_name="run/config.yaml") == (
        "run/config.yaml was written for Python objects (loss, data), which no file holds; give the same "
        'again, in Python: gz.resume(RUN, picks={"loss": …, "data": …}), or gz.train(loss=…, data=…) for a new run'
    )
    assert resolve("conv", loss=given, data="grey", config=config).objects == {"loss": given}
    assert "expected a model's name, a torch.nn.Module" in resolve.refusal(generator=3, discriminator="conv")


class Anything:
    """A loss of no interest, with the attributes that it is given."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def discriminator(self, step):
        raise AssertionError("nothing is trained here")

    generator = discriminator


def test_attributes_of_a_loss_object_stand_for_its_manifest(resolve):
    own = {"needs": ("second_order",), "has": {"r1_penalty": True}, "decision": 0.5, "clip_discriminator": 0.01}
    part = resolve("conv", loss=Anything(**own, probability="sigmoid")).parts["loss"]
    assert {name: getattr(part, name) for name in own} == own
    assert part.probability == "sigmoid"
    plain = resolve("conv", loss=Anything(needs=None)).parts["loss"]
    assert (plain.needs, plain.has, plain.decision) == (("real_in_generator_step",), {}, None)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"needs": "second_order"}, "the loss's attribute needs is 'second_order'; expected a list of names"),
        ({"has": ["r1_penalty"]}, "attribute has is ['r1_penalty']; expected features"),
        ({"has": {"x": {"setting": "loss.gamma", "above": 0}}}, "expected true or false for each feature"),
        ({"decision": "high"}, "attribute decision is 'high'; expected a number or 'pair'"),
        ({"clip_discriminator": "loss.clip"}, "expected a number above 0"),
        ({"probability": "tanh"}, "attribute probability is 'tanh'; expected sigmoid"),
    ],
)
def test_attributes_that_a_manifest_would_not_allow_are_refused(resolve, attributes, words):
    assert words in resolve.refusal("conv", loss=Anything(**attributes))
