"""--data digits."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from ganzoo_datasets import digits


def test_all_digits_as_scikit_learn_ships_them():
    import sklearn.datasets

    source = digits.dataset(split="all", options={})
    assert source.images.shape == (1797, 8, 8, 1)
    assert source.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert source.background == 0
    file = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    if not file.is_file():
        pytest.skip("scikit-learn keeps its file elsewhere in this version")
    with gzip.open(file, "rt") as text:
        rows = [[int(float(value)) for value in row] for row in csv.reader(text)]
    for image, label, row in zip(source.images, source.labels, rows, strict=True):
        assert label == row[-1]
        assert [round(value * 255 / 16) for value in row[:-1]] == image.reshape(-1).tolist()


def test_a_fixed_fifth_is_the_test_part():
    train, test = digits.dataset(split="train", options={}), digits.dataset(split="test", options={})
    assert (len(train.images), len(test.images)) == (1438, 359)
    assert "held out" in train.notes[0]
    assert np.array_equal(digits.dataset(split="test", options={}).images, test.images)


def test_the_second_start_does_not_read_again(monkeypatch):
    digits.dataset(split="all", options={})
    monkeypatch.setattr(digits, "_read", lambda: pytest.fail("read again"))
    assert len(digits.dataset(split="all", options={}).images) == 1797
