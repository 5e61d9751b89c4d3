"""A modifier of datasets."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

import ganzoo_core as gz


@gz.hookimpl(wrapper=True)
def dataset() -> Generator[None, gz.ImageSource, gz.ImageSource]:
    source = yield
    return replace(source, images=255 - np.asarray(source.images))
