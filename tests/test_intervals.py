"""Lengths of a run."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core.settings.lengths import Interval, is_due, parse_list

COUNTS = st.decimals(0, 10**6, places=3).filter(lambda count: count == 0 or count >= Fraction(1, 1000))


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("20000", 20000),
        ("20_000 images", 20000),
        ("1image", 1),
        ("1epoch", 1438),
        ("2 Epochs", 2876),
        ("0.5epoch", 719),
        ("250steps", 250 * 320),
        ("1e3", 1000),
        ("2e-1epochs", 288),  # 287.6
        (7, 7),
        (1.5, 2),
        ("off", 0),
        ("never", 0),
        ("none", 0),
        ("0", 0),
        ("0steps", 0),
    ],
)
def test_lengths_in_images(text, images):
    assert Interval.parse(text).to_images(epoch_images=1438, step_images=320) == images


@given(COUNTS, st.sampled_from(["images", "epochs", "steps"]), st.integers(1, 10**6), st.integers(1, 10**4))
def test_a_length_is_rounded_up_in_the_decimals_written(count, unit, epoch_images, step_images):
    exact = Fraction(count) * {"images": 1, "epochs": epoch_images, "steps": step_images}[unit]
    found = Interval.parse(f"{count:f}{unit}").to_images(epoch_images=epoch_images, step_images=step_images)
    assert exact <= found < exact + 1


def test_floats_do_not_add_an_image():
    assert Interval.parse("0.07epochs").to_images(epoch_images=100, step_images=1) == 7


@pytest.mark.parametrize(
    "text", ["", "epoch", "-1", "+1", "1 2", "1e", "1_", "_1", "1__0", ".5", "1.epochs", "1epochsteps", "1e400", "inf"]
)
def test_what_is_no_length_is_refused(text):
    with pytest.raises(ValueError, match="expected a length"):
        Interval.parse(text)


@given(st.lists(st.integers(1, 10**6), min_size=1), st.sampled_from(["", "epochs", "steps"]))
def test_a_list_shares_its_unit(counts, unit):
    expected = [f"{count}{unit}" for count in counts]
    assert parse_list(f"{counts}{unit}") == expected
    assert parse_list(f"{counts} {unit}".upper()) == expected
    assert parse_list(", ".join(expected)) == expected
    assert parse_list(expected) == expected


def test_lists_that_are_none():
    assert parse_list("") == parse_list("[]") == parse_list([]) == []
    for wrong in (3, None, {"a": 1}):
        with pytest.raises(ValueError, match="expected a list of lengths"):
            parse_list(wrong)


@given(st.integers(0, 50), st.integers(0, 200), st.integers(1, 60))
def test_due_where_a_multiple_was_passed(every, before, step):
    passed = every > 0 and any(image % every == 0 for image in range(before + 1, before + step + 1))
    assert is_due(every, before, before + step) is passed
