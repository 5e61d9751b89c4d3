"""What ganzoo holds every plugin to."""

import pytest

from ganzoo_core.testing import Contract

pytest.importorskip("ganzoo_emoji")


class TestContract(Contract):
    plugin = "ganzoo-emoji"
    arguments = {"emoji": "activities"}  # noqa: RUF012
