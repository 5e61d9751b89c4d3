"""A modifier of what is drawn, and not of training."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import ganzoo_core as gz


@gz.hookimpl(wrapper=True)
def build_generator() -> Generator[None, Any, Any]:
    network = yield

    def darken(module: Any, given: Any, out: Any) -> Any:
        return out if module.training else out * 0.5 - 0.5

    network.register_forward_hook(darken)
    return network
