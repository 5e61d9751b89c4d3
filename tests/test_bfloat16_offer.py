"""Where a run in float32 says that bfloat16 would be faster, and as good."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ganzoo_core.engines import bfloat16
from ganzoo_core.training import assemble

NATIVE, EMULATED = {"avx512_bf16": True}, {"architecture": "x86_64"}


@pytest.mark.parametrize(
    ("asked", "gain"),
    [
        ({"preset": "grey"}, 1.4),
        ({"preset": "grey", "assigned": {"model.width": 8}}, 1.4),
        ({"preset": "rate"}, 0.0),
        ({"preset": "none"}, 0.0),
        ({"preset": "grey", "loss": "gp"}, 0.0),
        ({"preset": "grey", "config": {"use.loss": "pairs"}}, 0.0),
        ({"preset": "grey", "config": {"use.with": "r1"}}, 0.0),
        ({"preset": "grey", "config": {"use.loss": "plain", "use.with": []}}, 1.4),  # as the file of a run has it
        ({"preset": "grey", "discriminator": "dense"}, 0.0),
    ],
)
def test_a_gain_is_known_of_what_was_measured_alone(resolve, asked, gain):
    assert resolve("conv", **asked).bfloat16_gain == gain


@pytest.mark.parametrize(
    ("assigned", "device", "features", "offered"),
    [
        ({}, "cpu", NATIVE, True),
        ({}, "cpu", EMULATED, False),
        ({}, "cuda", NATIVE, False),
        ({"engine.precision": "bfloat16"}, "cpu", NATIVE, False),
        ({"engine.precision": "float32"}, "cpu", NATIVE, False),  # who says so has chosen
        ({"engine.compile": True}, "cpu", NATIVE, False),  # of which nothing was measured
    ],
)
def test_it_is_offered_where_the_processor_has_it_and_nobody_chose(
    resolve, monkeypatch, assigned, device, features, offered
):
    monkeypatch.setattr(bfloat16, "read_cpu_features", lambda: features)
    found = resolve("conv", preset="grey", assigned=assigned)
    built = SimpleNamespace(mix=found, engine=SimpleNamespace(describe=lambda: {"device": device}))
    said = assemble._offer_bfloat16(built)
    assert bool(said) is offered
    if offered:
        assert "the preset grey trained 1.4 times as fast" in said
        assert "--set engine.precision=bfloat16" in said


@pytest.mark.parametrize(("state", "offered"), [("on", True), ("off", False), ("unknown", False)])
def test_it_is_not_offered_where_tensorflow_may_refuse_it(resolve, monkeypatch, state, offered):
    monkeypatch.setattr(bfloat16, "read_cpu_features", lambda: NATIVE)
    engine = SimpleNamespace(describe=lambda: {"device": "cpu", "onednn": state})
    built = SimpleNamespace(mix=resolve("conv", preset="grey"), engine=engine)
    assert bool(assemble._offer_bfloat16(built)) is offered
