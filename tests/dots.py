"""A plugin for tests of scores: noise with classes, features that any change of a batch changes, and their sums."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PLUGINS = "dots,ganzoo-cgan-torch,ganzoo-losses,ganzoo-schedules"
MANIFEST = """
api = 1
[datasets.dots]
title = "Noise"
hooks = "dots"
image = { height = 16, width = 16, channels = 1, classes = 2 }
[extractors.places]
title = "Features that depend on an image's place in its batch"
hooks = "dots"
default = true
has.logits = true
[metrics.sums]
title = "Sums that any bit changes"
hooks = "dots"
default = true
main = true
lower = ["sums"]
"""
CODE = """
import os
import time
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset(split):
    images = np.random.default_rng(len(split)).integers(0, 256, (30, 16, 16, 1), dtype=np.uint8)
    return gz.ImageSource(images, np.arange(30) % 2, ("a", "b"))

def look(images, batch):
    rows = np.sin(images.reshape(len(images), -1).astype(np.float32))
    for start in range(0, len(images), batch):
        rows[start : start + batch] += rows[start : start + batch].mean()
    return rows, rows[:, :2] * 2

def sums(real, fake, seed):
    labels = -1.0 if fake.labels is None else float((fake.labels * np.arange(len(fake.labels))).sum())
    features = float((fake.features * np.arange(len(fake.features))[:, None]).sum(dtype=np.float32))
    return {"sums": features, "logits": float(fake.logits.sum()), "asked": labels}
"""


@contextmanager
def install(site: Any, cache: Path, *, manifest: str, code: str) -> Iterator[pytest.MonkeyPatch]:
    """Install the plugin, and make it and a model with classes the only ones, for child processes too.

    Args:
        site: from `make_site`.
        cache: the cache folder.
        manifest, code: what is added to those of this file; the code has the hooks `extractor` and `metric`.
    """
    site.add("dots", MANIFEST + manifest, files={"__init__.py": CODE + code})
    with site.seen_here(PLUGINS) as patch:
        patch.setenv("GANZOO_CACHE", str(cache))
        patch.setenv("PYTHONPATH", str(site.path))
        yield patch
