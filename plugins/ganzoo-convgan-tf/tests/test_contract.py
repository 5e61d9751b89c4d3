"""What ganzoo holds every plugin to."""

import pytest

from ganzoo_core.testing import Contract


@pytest.mark.slow
class TestContract(Contract):
    plugin = "ganzoo-convgan-tf"
