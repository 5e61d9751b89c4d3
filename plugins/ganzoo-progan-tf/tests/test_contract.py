"""What ganzoo holds every plugin to."""

import pytest

from ganzoo_core.testing import Contract

pytestmark = pytest.mark.slow  # TensorFlow traces each resolution of each run anew: two minutes


class TestContract(Contract):
    plugin = "ganzoo-progan-tf"
