"""What ganzoo holds every plugin to."""

from ganzoo_core.testing import Contract


class TestContract(Contract):
    plugin = "ganzoo-pixelwise-torch"
