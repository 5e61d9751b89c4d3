"""A modifier that changes nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import ganzoo_core as gz


@gz.hookimpl(wrapper=True)
def build_discriminator() -> Generator[None, Any, Any]:
    network = yield
    return network
