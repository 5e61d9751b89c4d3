"""What a generator with conditions is drawn from: pictures, arrays, archives, the test part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ganzoo_core as gz

from .conftest import Site

pytest.importorskip("torch")

SETTINGS = {"train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1, "train.snapshot_every": "16"}


@pytest.fixture(scope="module")
def train(conditioned: Site, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives a run of 32 images of a model and a way to derive its source, each trained once."""
    made: dict[tuple[str, str], Path] = {}

    def run(model: str, derive: str = "", **settings: Any) -> Path:
        key = (model, derive, *map(str, settings.items()))
        if key not in made:
            asked = {**SETTINGS, "data.derive": derive, **settings}
            folder = tmp_path_factory.mktemp("runs") / f"{model}-1"
            gz.train(model, data="pairs16", images=32, out=folder, quiet=True, device="cpu", settings=asked)
            made[key] = folder
        return made[key]

    return run


def test_a_run(train):
    run = train("painter-torch", "grey")
    print(gz.load(run).generate(on="test").shape)
    run = train("blender-torch")
    print(gz.load(run).generate(on="test").shape)
