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
        ({"preset": "grey", "assigned": {"model.width": 8}}, 1.4),
        ({"preset": "rate"}, 0.0),
        ({"preset": "none"}, 0.0),
        ({"preset": "grey", "loss": "gp"}, 0.0),
        ({"preset": "grey", "config": {"use.loss": "pairs"}}, 0.0),
        ({"preset": "grey", "discriminator": "dense"}, 0.0),
    ],
)
def test_a_speedup_is_known_only_of_the_parts_that_were_measured(resolve, asked, speedup):
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
