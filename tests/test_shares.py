"""`data.share`: a fixed part of the training images, the same for every run, a smaller one within a larger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ganzoo_core as gz
from ganzoo_core import building, mix
from ganzoo_core.cli import main
from ganzoo_core.data import fingerprint, shares
from ganzoo_core.discovery import catalog
from ganzoo_core.evaluation.request import make_request
from ganzoo_core.evaluation.worker import ScoringSession
from ganzoo_core.generation import data_rows
from ganzoo_core.settings import read_facts, read_run_config

TINY = {"model.width": 4, "train.batch_size": 8, "train.sample_count": 4, "engine.device": "cpu", "engine.threads": 1}
COUNTS = st.integers(1, 300)
SHARES = st.floats(0.001, 1)


def make_source(count: int, labels: list[int] | None = None, **more: object) -> gz.ImageSource:
    images = np.arange(count, dtype=np.int64).astype("<i8").view(np.uint8).reshape(count, 2, 4, 1)  # each is its number
    classes = {} if labels is None else {"labels": np.array(labels), "class_names": list("abcdefgh")}
    return gz.ImageSource(images, **classes, **more)  # type: ignore[arg-type]


def read_numbers(source: gz.ImageSource) -> list[int]:
    return [int(number) for number in np.ascontiguousarray(source.images).reshape(-1, 8).view("<i8")[:, 0]]


@given(COUNTS, SHARES, SHARES)
def test_a_smaller_share_is_part_of_a_larger_one(count: int, a: float, b: float) -> None:
    source = make_source(count)
    small, large = (read_numbers(shares.take_share(source, share)) for share in sorted((a, b)))
    assert set(small) <= set(large)
    assert large == sorted(large)
    assert abs(len(small) - min(a, b) * count) <= 0.5 or len(small) == 1
    assert read_numbers(shares.take_share(source, min(a, b))) == small


@given(st.lists(st.integers(0, 7), min_size=1, max_size=300), SHARES, SHARES)
def test_classes_keep_their_balance(labels: list[int], a: float, b: float) -> None:
    source = make_source(len(labels), labels)
    small, large = (shares.take_share(source, share) for share in sorted((a, b)))
    assert set(read_numbers(small)) <= set(read_numbers(large))
    assert small.labels is not None
    assert [labels[number] for number in read_numbers(small)] == small.labels.tolist()
    # The next image is of the class of which the smallest part was taken, so no class got its last one too early.
    whole, taken = (np.bincount(each, minlength=8) for each in (labels, small.labels))
    there = whole > 0
    assert ((taken - 1)[there] / whole[there]).max() <= (taken[there] / whole[there]).min()
    if len(small.images) >= there.sum():
        assert taken[there].min() >= 1


@given(st.integers(2, 200), SHARES, st.integers(0, 99))
def test_images_with_keys_stay_when_another_is_gone(count: int, share: float, seed: int) -> None:
    keys = np.random.default_rng(seed).random(count)
    source, gone = make_source(count, split_keys=keys), seed % count
    before = set(read_numbers(shares.take_share(source, share)))
    rest = replace(source, images=np.delete(source.images, gone, axis=0), split_keys=np.delete(keys, gone))
    after = set(read_numbers(shares.take_share(rest, share)))
    assert len(before ^ after - {gone}) <= 2  # the one gone, and the one in its place


def test_what_belongs_to_an_image_stays_beside_it() -> None:
    sizes = np.stack([np.arange(1, 51), np.arange(2, 52)], axis=1)
    source = make_source(50, [0] * 50, sizes=sizes, held_out=30, whole=80)
    part = shares.take_share(source, 0.2)
    numbers = np.array(read_numbers(part))
    np.testing.assert_array_equal(part.sizes, sizes[numbers])
    assert (len(numbers), part.held_out, part.whole) == (10, 30, 16)
    assert part.notes == ("data.share=0.2: this is a fixed part, of each class alike, 10 of 50 images",)
    assert shares.take_share(source, 1.0) is source
    assert make_source(50).whole == shares.take_share(make_source(50), 0.2).whole == 0


def load(data: object, share: float, **settings: object) -> gz.ImageSource:
    request = mix.Request(picks={"model": "dcgan-torch", "data": data}, assigned={"data.share": share, **settings})
    return building.load_data(mix.resolve(catalog.scan(), request))


@pytest.mark.parametrize("data", ["digits", "shapes", "stacked-digits", "emoji"])
def test_any_dataset_has_shares(data: str) -> None:
    whole, part = load(data, 1.0), load(data, 0.1)
    assert len(part.images) == round(0.1 * len(whole.images))
    assert part.labels is not None
    assert whole.labels is not None
    assert set(part.labels) == set(whole.labels)
    prints = [fingerprint.compute_fingerprint(each).sha256 for each in (whole, part, load(data, 0.1))]
    assert prints[0] != prints[1] == prints[2]


def test_a_share_is_of_what_is_not_held_out() -> None:
    def read(**settings: object) -> set[bytes]:
        return {image.tobytes() for image in load("digits", **settings).images}  # type: ignore[arg-type]

    held_out = read(share=1.0, **{"data.split": "test"})
    assert not read(share=0.3) & (held_out - read(share=1.0))
    assert len(load("digits", 0.5, **{"data.holdout": 0}).images) == round(1797 / 2)


def test_the_test_part_is_whole_whatever_the_share() -> None:
    """A generator with conditions is scored on as many images as one that was trained on all."""
    assigned = {"data.share": 0.1}
    resolved = mix.resolve(
        catalog.scan(), mix.Request(picks={"model": "dcgan-torch", "data": "digits"}, assigned=assigned)
    )
    expected = load("digits", 1.0, **{"data.split": "test"})
    assert np.array_equal(data_rows.load_test_part(resolved, None).images, expected.images)


@pytest.mark.parametrize(("total", "count"), [(100, 10), (5, 9), (7, 7)])
def test_fewer_rows_than_all_are_of_any_class(total: int, count: int) -> None:
    """Sets are often sorted by class, so the first rows would be of one."""
    chosen = data_rows.choose_rows(total, count, in_order=True)
    assert chosen.tolist() == sorted(data_rows.choose_rows(total, count).tolist())
    assert (chosen.tolist() == list(range(len(chosen)))) is (count >= total)


def test_a_run_says_and_keeps_its_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**TINY, "data.share": 0.1}
    run = gz.train("dcgan-torch", data="digits", out=tmp_path / "run", steps=2, settings=settings, preset="none")
    told = " ".join(capsys.readouterr().err.split())
    assert "data.share=0.1: this is a fixed part, of each class alike, 144 of 1,438 images" in told
    assert "data: 144 images in 10 classes" in told
    config = run.folder / "config.yaml"
    assert read_run_config(config)["data.share"] == "0.1"
    facts = read_facts(config)
    assert facts.data is not None
    assert facts.data.images == 144
    with pytest.raises(gz.UsageError, match="144 images were there and 288 are"):
        gz.resume(run.folder, steps=3, settings={"data.share": 0.2}, quiet=True)
    assert gz.resume(run.folder, steps=3, quiet=True).stats[-1]["step"] == 3


def test_a_preset_for_few_pictures_is_picked_by_the_share(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    images = np.zeros((2000, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "many.npz", images=images)
    words = [
        "run",
        "dcgan-torch",
        "--data",
        f"npz:{tmp_path / 'many.npz'}",
        "--steps",
        "1",
        "--out",
        str(tmp_path / "r"),
    ]
    tiny = [word for key in TINY for word in ("--set", f"{key}={TINY[key]}")] + ["--set", "size=32"]
    assert main([*words, *tiny, "--set", "data.share=0.25"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "the preset few is taken: it is for up to 1,000 images, and there are 500;" in told
    assert "500 of 2,000 images" in told  # `few` holds nothing out


def test_a_dry_run_counts_the_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    words = ["run", "dcgan-torch", "--data", f"folder:{tmp_path}", "--preset", "none", "--batch-size", "16"]
    assert main([*words, "--dry-run"]) == 0
    for more in (["--dry-run"], ["--out", str(tmp_path / "run")]):
        assert main([*words, "--set", "data.share=0.2", *more]) == 2
        assert "and a batch takes 16; say --batch-size" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1.5", "-0.1", "some"])
def test_what_is_no_share_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "dcgan-torch", "--set", f"data.share={share}", "--dry-run"]) == 2
    assert "data.share is" in capsys.readouterr().err


def test_scores_are_against_whole_parts_and_know_the_share(tmp_path: Path) -> None:
    """So runs on different shares are compared with the same images, by the same classifier."""
    run = gz.train(
        "dcgan-torch", data="digits", out=tmp_path / "run", steps=1, settings={**TINY, "data.share": 0.1}, quiet=True
    )
    settings = {key: value for key, value in read_run_config(run.folder / "config.yaml").items() if key[:5] == "data."}
    request = make_request(
        data="digits", data_settings=settings, run=run.folder, extractor="bundled", metrics=["memorisation"]
    )
    session = ScoringSession(request, lambda words: None)
    assert session.find_data_changes() == []
    assert len(session.real_features.features) == 359
    known = session._training_features
    assert len(known.training.features) == 144
    assert known.held_out is session.real_features


def test_conditions_stay_with_their_images() -> None:
    source = make_source(20, conditions={"camera": np.arange(20), "traits": np.arange(20, dtype=np.float32)[:, None]})
    part = shares.take_share(source, 0.3)
    assert part.conditions["camera"].tolist() == read_numbers(part)
    assert part.conditions["traits"][:, 0].tolist() == read_numbers(part)
