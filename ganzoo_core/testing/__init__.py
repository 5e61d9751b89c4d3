"""The contract's checks of a plugin, as tests that its author inherits.

    from ganzoo_core.testing import Contract

    class TestContract(Contract):
        plugin = "my-gan"

`ganzoo doctor my-gan` runs the same checks from the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganzoo_core.testing.checks import CHECKS, Broken, Check
from ganzoo_core.testing.runner import Case, Result, cases, run

if TYPE_CHECKING:
    from ganzoo_core.testing.contract import Contract

__all__ = ["CHECKS", "Broken", "Case", "Check", "Contract", "Result", "cases", "run"]


def __getattr__(name: str) -> Any:
    if name == "Contract":  # imported late, since it needs pytest
        from ganzoo_core.testing.contract import Contract

        return Contract
    raise AttributeError(f"module 'ganzoo_core.testing' has no attribute {name!r}")
