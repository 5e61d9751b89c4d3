"""What a generator's card asks for, held against the manifest of the part that it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ganzoo_core.errors import UsageError
from ganzoo_core.generation import card
from ganzoo_core.storage import decoding
from ganzoo_core.storage.records import Card

SOURCE = "runs/a/generator/generator.json"


def refusal(function, *arguments) -> str:
    with pytest.raises(UsageError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.fixture
def check(installed, make_card):
    """Checks a card with these fields changed against a part of mix.toml, with its own changed."""

    def checked(name="conv", part=None, **changes):
        found = replace(installed.find("models", name), **(part or {}))
        return lambda: card._check_card(decoding.convert(make_card(**changes), Card, "it"), found, SOURCE)

    return checked


def test_a_card_that_suits_its_part_is_taken(check, make_card):
    check()()
    check("labelled", class_names=["a", "b"])()
    for resolution in (1, 4.0, 8):
        check(part={"takes": ("resolution",)}, values={"resolution": resolution})()
    check(part={"takes": ("fade",)}, values={"fade": 0.5})()
    wide = {**make_card()["spec"], "height": 4, "width": 16}
    check(part={"takes": ("resolution",)}, spec=wide, values={"resolution": 16})()


def test_a_card_that_does_not_suit_its_part_is_refused_in_a_sentence(check):
    conv = "conv (dist 1)"
    assert refusal(check("flow")) == f"{SOURCE}: spec.framework is torch, and flow (dist 1) is written in tensorflow"
    assert refusal(check(class_names=["a", "b"])) == f"{SOURCE}: spec.classes is 2, and {conv} takes none"
    assert refusal(check("labelled")) == f"{SOURCE}: spec.classes is 0, and labelled (dist 1) takes classes"
    assert refusal(check(values={"fade": 1})) == f"{SOURCE}: values holds fade, which {conv} does not take"
    for value in (0, 0.5, 1.5, 9, -1):
        said = refusal(check(part={"takes": ("resolution",)}, values={"resolution": value}))
        assert said == f"{SOURCE}: values.resolution is {value:g}; expected 1 to 8, the size of its images"


def test_a_setting_may_decide_whether_classes_are_told(check):
    told = {"conditional": {"setting": "model.told", "is": True}, "defaults": {"model.told": False}}
    check(part=told)()
    check(part=told, options={"told": False})()
    check(part=told, options={"told": True}, class_names=["a", "b"])()
    said = refusal(check(part=told, class_names=["a", "b"]))
    assert said == f"{SOURCE}: spec.classes is 2, and conv (dist 1) takes none"
    said = refusal(check(part=told, options={"told": True}))
    assert said == f"{SOURCE}: spec.classes is 0, and conv (dist 1) takes classes"


def test_options_are_read_by_the_kind_of_their_default_and_held_against_the_choices(installed):
    conv = installed.find("models", "conv")

    def options(**given):
        return card._read_options(conv, given, "model", "generator", SOURCE)

    found = options(width=64, norm="layer", unknown="kept", latent_dim=5)
    assert {key: value.value for key, value in found.items()} == {
        "generator.width": 64, "generator.norm": "layer", "generator.unknown": "kept", "generator.latent_dim": 5,
    }  # fmt: skip
    assert {value.origin for value in found.values()} == {"generator.json"}
    assert refusal(lambda: options(norm="x")) == (
        f"{SOURCE}: options.norm is 'x'; conv (dist 1) takes batch, layer, none"
    )
    said = refusal(lambda: options(width="wide"))
    assert said == f"{SOURCE}, among its options: model.width is 'wide'; expected a whole number"
    assert refusal(lambda: options(latent_dim=0)).startswith(f"{SOURCE}, among its options: model.latent_dim is 0; ")
