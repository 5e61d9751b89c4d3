"""Lower learning rates, long after the contract's runs have ended."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import ganzoo_core as gz


@gz.hookimpl(wrapper=True)
def schedule() -> Generator[None, Any, Any]:
    inner = yield
    return lambda images: {name: value * (0.5 if images > 5000 else 1.0) for name, value in inner(images).items()}
