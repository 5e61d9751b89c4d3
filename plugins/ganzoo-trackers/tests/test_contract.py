"""What ganzoo holds every plugin to."""

from __future__ import annotations

from typing import ClassVar

from ganzoo_core.testing import Contract


class TestContract(Contract):
    plugin = "ganzoo-trackers"
    settings: ClassVar[dict[str, str]] = {"track.wandb.mode": "offline"}  # also where somebody is logged in
