"""What ganzoo holds every plugin to."""

from typing import Any, ClassVar

import pytest

from ganzoo_core.testing import Contract


@pytest.mark.slow
class TestContract(Contract):
    plugin = "ganzoo-r3gan-torch"


@pytest.mark.slow
class TestContractWithClasses(Contract):
    plugin = "ganzoo-r3gan-torch"
    settings: ClassVar[dict[str, Any]] = {"model.conditional": True}


@pytest.mark.slow
class TestContractOfThePapersBlocks(Contract):
    plugin = "ganzoo-r3gan-torch"
    settings: ClassVar[dict[str, Any]] = {"model.block": "grouped"}
