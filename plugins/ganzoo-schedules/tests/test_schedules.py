"""Schedules under pluggy: end points, shapes, and the rules that hold for every run length."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import tomllib
from importlib.resources import files

import pluggy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core import hookspecs

MANIFEST = tomllib.loads((files("ganzoo_schedules") / "ganzoo.toml").read_text())["schedules"]
BASE = {"lr_g": 2e-4, "lr_d": 4e-4, "beta2": 0.999, "ema_halflife": 500}
NAMES = st.sampled_from(sorted(MANIFEST))
SPEC = gz.Spec(height=32, width=32, channels=1, classes=0, latent_dim=8, framework="tensorflow")
TOTALS = st.integers(1, 10**9)


def make(name, total_images=1000, **options):
    card = MANIFEST[name]
    manager = pluggy.PluginManager("ganzoo")
    manager.add_hookspecs(hookspecs)
    manager.register(importlib.import_module(card["hooks"]))
    manager.check_pending()
    own = card.get("defaults", {}).get("schedule", {})
    assert set(options) <= {*own, *BASE}
    assert not set(own) & set(BASE)  # a setting of that name would hide the base value
    return manager.hook.schedule(
        name=name, spec=SPEC, total_images=total_images, options={**BASE, **own, **options}, modifiers={}
    )


def test_constant_is_the_default_and_stays():
    assert [name for name, card in MANIFEST.items() if card.get("default")] == ["constant"]
    schedule = make("constant")
    assert schedule(0) == schedule(999) == schedule(10**9) == {"lr_g": 2e-4, "lr_d": 4e-4}


def test_linear_decay_by_hand():
    schedule = make("linear-decay", start=0.5, final=0.0)
    for images, factor in [(0, 1), (500, 1), (600, 0.8), (750, 0.5), (999, 0.002), (1000, 0), (5000, 0)]:
        assert schedule(images) == pytest.approx({"lr_g": 2e-4 * factor, "lr_d": 4e-4 * factor}, rel=1e-9)


def test_linear_decay_from_the_start_to_a_tenth():
    schedule = make("linear-decay", start=0.0, final=0.1)
    for images, factor in [(0, 1), (250, 0.775), (500, 0.55), (1000, 0.1), (2000, 0.1)]:
        assert schedule(images)["lr_g"] == pytest.approx(2e-4 * factor, rel=1e-9)


def test_cosine_by_hand():
    schedule = make("cosine", final=0.2)
    for images, left in [(0, 1), (500, 0.5), (1000 / 3, 0.75), (250, (1 + math.sqrt(0.5)) / 2), (1000, 0), (7000, 0)]:
        factor = 0.2 + 0.8 * left
        assert schedule(images) == pytest.approx({"lr_g": 2e-4 * factor, "lr_d": 4e-4 * factor}, rel=1e-9)


def test_cosine_moves_what_r3gan_moves():
    schedule = make(
        "cosine", gamma_ends=[1.0, 0.1], beta2_ends=[0.9, 0.99], ema_halflife_ends=[0.0, 5000.0], final=0.25
    )
    assert schedule(0) == {"lr_g": 2e-4, "lr_d": 4e-4, "gamma": 1.0, "beta2": 0.9, "ema_halflife": 0.0}
    halfway = {"lr_g": 1.25e-4, "lr_d": 2.5e-4, "gamma": 0.55, "beta2": 0.945, "ema_halflife": 2500.0}
    assert schedule(500) == pytest.approx(halfway, rel=1e-9)
    assert schedule(1000) == {"lr_g": 5e-5, "lr_d": 1e-4, "gamma": 0.1, "beta2": 0.99, "ema_halflife": 5000.0}


def test_a_burn_in_ends_at_its_own_number_of_images_and_stays():
    """CIFAR-10's of R3GAN: over 20 M images, whatever the run's length."""
    settings = {
        "images": 20_000_000, "final": 0.25, "gamma_ends": [0.05, 0.005], "beta2_ends": [0.9, 0.99],
        "ema_halflife_ends": [0.0, 5e6], "augment_ends": [0.0, 0.55],
    }  # fmt: skip
    last = {"lr_g": 5e-5, "lr_d": 1e-4, "gamma": 0.005, "beta2": 0.99, "ema_halflife": 5e6, "augment": 0.55}
    for total in (1000, 100_000_000):
        schedule = make("cosine", total, **settings)
        begun = {"lr_g": 2e-4, "lr_d": 4e-4, "gamma": 0.05, "beta2": 0.9, "ema_halflife": 0.0, "augment": 0.0}
        assert schedule(0) == begun
        for images, gone in [(5_000_000, (1 - math.sqrt(0.5)) / 2), (10_000_000, 0.5)]:
            expected = {name: begun[name] + gone * (last[name] - begun[name]) for name in last}
            assert schedule(images) == pytest.approx(expected, rel=1e-9)
        assert schedule(20_000_000) == schedule(10**9) == last


@given(name=NAMES, total=TOTALS, final=st.floats(0, 2), start=st.floats(0, 0.999), data=st.data())
def test_rules_for_all_runs(name, total, final, start, data):
    """Pure, bounded by both ends, monotone; the first value at 0 images, the last from the end on."""
    given_options = {"final": final, "start": start}
    own = MANIFEST[name].get("defaults", {}).get("schedule", {})
    schedule = make(name, total, **{key: value for key, value in given_options.items() if key in own})
    end = final if "final" in own else 1.0
    points = sorted(data.draw(st.lists(st.integers(0, 2 * total), min_size=2, max_size=6)))
    for rate in ("lr_g", "lr_d"):
        values = [schedule(images)[rate] for images in points]
        assert values == [schedule(images)[rate] for images in points]
        assert values == sorted(values, reverse=end < 1.0)
        low, high = sorted((BASE[rate], BASE[rate] * end))
        assert all(low <= value <= high for value in values)
        assert schedule(0)[rate] == BASE[rate]
        assert schedule(total)[rate] == schedule(total + 1)[rate] == BASE[rate] * end


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_order_of_asking_does_not_matter(name):
    forwards, backwards = make(name), make(name)
    points = range(0, 1500, 100)
    assert [forwards(p) for p in points] == [backwards(p) for p in reversed(points)][::-1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear-decay", {"start": 1.0}, r"schedule\.start is 1; expected a fraction"),
        ("linear-decay", {"start": -0.1}, r"schedule\.start"),
        ("linear-decay", {"final": -1.0}, r"schedule\.final is -1"),
        ("cosine", {"final": -1.0}, r"schedule\.final is -1"),
        ("cosine", {"gamma_ends": [1.0]}, r"schedule\.gamma_ends is 1; expected two numbers"),
        ("cosine", {"gamma_ends": [1.0, -1.0]}, r"schedule\.gamma_ends is 1,-1"),
        ("cosine", {"beta2_ends": [0.9, 1.0]}, r"from 0 to below 1"),
        ("cosine", {"augment_ends": [0.0, 1.1]}, r"schedule\.augment_ends is 0,1\.1; .* from 0 to 1, the first"),
        ("cosine", {"ema_halflife_ends": [0.0, math.inf]}, r"of at least 0"),
    ],
)
def test_senseless_settings_are_refused(name, options, message):
    with pytest.raises(gz.UsageError, match=message):
        make(name, **options)


def test_no_schedule_brings_a_framework():
    modules = ", ".join(card["hooks"] for card in MANIFEST.values())
    program = f"import sys, {modules}; print({{'torch', 'tensorflow', 'keras'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "set()"
