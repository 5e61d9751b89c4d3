"""What a generator draws is under the licences of all that it learnt from, by whichever way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ganzoo_core as gz
from ganzoo_core.runs import licences
from ganzoo_core.runs.folder import read_card
from ganzoo_core.settings import read_facts

pytest.importorskip("torch")
pytest.importorskip("ganzoo_emoji")

TINY = {
    "model.width": 4, "model.latent_dim": 8, "data.size": 16, "data.channels": 3, "train.batch_size": 8,
    "train.sample_count": 4, "engine.threads": 1,
}  # fmt: skip
NAMED = "CC BY-SA 4.0"


def train(data: str, out: Path, **more) -> Path:
    run = gz.train("dcgan-torch", data=data, settings=TINY, preset="none", steps=1, out=out, quiet=True, **more)
    return run.folder


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on them."""
    return train("emoji:activities", tmp_path_factory.mktemp("emoji") / "run")


def license_of(run: Path) -> str:
    return read_card(run / "generator").license


def test_a_licence_goes_with_the_weights_from_run_to_run(emoji, tmp_path):
    assert license_of(emoji).startswith(NAMED)
    digits = train("digits", tmp_path / "digits", weights=emoji)
    assert license_of(digits) == license_of(emoji)
    assert read_facts(digits / "config.yaml").licences == [license_of(emoji)]
    gz.resume(digits, steps=2, quiet=True)
    assert license_of(digits) == license_of(emoji)
    longer = gz.resume(digits, settings={"train.lr": 1e-5}, steps=3, out=tmp_path / "longer", quiet=True)
    assert license_of(longer.folder) == license_of(emoji)
    third = train("digits", tmp_path / "third", weights=longer.folder / "generator")
    assert license_of(third) == license_of(emoji)
    again = train("emoji:activities", tmp_path / "again", weights=third)
    assert license_of(again) == license_of(emoji)  # named once
    assert license_of(train("digits", tmp_path / "own")) == ""


def test_the_licence_of_a_run_from_before_it_was_kept_is_that_of_its_card(emoji, tmp_path):
    config = emoji / "config.yaml"
    text = config.read_text(encoding="utf-8")
    try:
        config.write_text(re.sub(r"(?m)^  licences: .*\n", "", text), encoding="utf-8")
        assert read_facts(config).licences is None
        assert license_of(train("digits", tmp_path / "run", weights=emoji)) == license_of(emoji)
    finally:
        config.write_text(text, encoding="utf-8")


def test_both_are_named_and_each_once():
    assert licences.merge_licences(["a", "", "b", "a"]) == ["a", "b"]
    assert licences.merge_licences(["a; b", "b"]) == ["a; b"]
