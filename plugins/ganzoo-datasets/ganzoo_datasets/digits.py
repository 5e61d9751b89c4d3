"""`--data digits`: scikit-learn's handwritten digits, which need neither files nor a network."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets.cache import load_or_build


@gz.hookimpl
def dataset(split: str, options: gz.Options) -> gz.ImageSource:
    """1,797 images [8,8,1] of the digits 0 to 9; the set has no official test part."""
    # Cached too, since importing scikit-learn is slow.
    whole = load_or_build({"set": "digits", "scikit-learn": version("scikit-learn")}, _read)
    return gz.hold_out(whole, split, options)


def _read() -> gz.ImageSource:
    from sklearn.datasets import load_digits

    found = load_digits()
    return gz.ImageSource(
        images=np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None],  # 17 levels, 0 to 16
        labels=found.target.astype(np.int64),
        class_names=tuple("0123456789"),
        background=0,
    )
