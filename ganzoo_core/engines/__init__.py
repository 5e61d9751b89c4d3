"""Run networks: there is one engine for each framework, and all have one interface.

No framework is imported before `create`.
"""

from ganzoo_core.engines.create import EXTRAS, available_cores, create, ops_of
from ganzoo_core.engines.plan import CHUNK, Plan

__all__ = ["CHUNK", "EXTRAS", "Plan", "available_cores", "create", "ops_of"]
