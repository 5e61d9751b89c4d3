"""When a run in float32 offers bfloat16, which would be faster and as good."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ganzoo_core.engines import bfloat16
from ganzoo_core.training import assemble

NATIVE, EMULATED = {"avx512_bf16": True}, {"architecture": "x86_64"}


@pytest.mark.parametrize(
    ("asked", "speedup"),
    [
        ({"preset": "grey"}, 1.4),
        ({"preset": "grey", "assigned": {"train.lr": 1e-3, "train.seed": 3}}, 1.4),
        ({"preset": "grey", "assigned": {"model.width": 8}}, 0.0),
        ({"preset": "grey", "assigned": {"generator.width": 8}}, 0.0),
        ({"preset": "grey", "assigned": {"train.batch_size": 8}}, 0.0),
        ({"preset": "grey", "config": {"data.size": 16}}, 0.0),
        ({"preset": "rate"}, 0.0),
        ({"preset": "none"}, 0.0),
        ({"preset": "grey", "loss": "gp"}, 0.0),
        ({"preset": "grey", "config": {"use.loss": "pairs"}}, 0.0),
        ({"preset": "grey", "config": {"use.with": "r1"}}, 0.0),
        ({"preset": "grey", "config": {"use.loss": "plain", "use.with": []}}, 1.4),  # as the file of a run has it
        ({"preset": "grey", "discriminator": "dense"}, 0.0),
    ],
)
def test_a_speedup_is_known_only_of_what_was_measured(resolve, asked, speedup):
    assert resolve("conv", **asked).bfloat16_speedup == speedup


@pytest.mark.parametrize(
    ("assigned", "device", "features", "offered"),
    [
        ({}, "cpu", NATIVE, True),
        ({}, "cpu", EMULATED, False),
        ({}, "cuda", NATIVE, False),
        ({"engine.precision": "bfloat16"}, "cpu", NATIVE, False),
        ({"engine.precision": "float32"}, "cpu", NATIVE, False),
        ({"engine.compile": True}, "cpu", NATIVE, False),
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
        assert "the preset grey trains 1.4 times as fast" in said
        assert "--set engine.precision=bfloat16" in said


@pytest.mark.parametrize(("state", "offered"), [("on", True), ("off", False), ("unknown", False)])
def test_it_is_not_offered_where_tensorflow_may_refuse_it(resolve, monkeypatch, state, offered):
    monkeypatch.setattr(bfloat16, "read_cpu_features", lambda: NATIVE)
    engine = SimpleNamespace(describe=lambda: {"device": "cpu", "onednn": state})
    built = SimpleNamespace(mix=resolve("conv", preset="grey"), engine=engine)
    assert bool(assemble._offer_bfloat16(built)) is offered
