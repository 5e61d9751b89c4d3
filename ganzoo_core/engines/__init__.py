"""Engines: one for each framework, all with one interface; no framework is imported before `create`."""

from ganzoo_core.engines.create import EXTRAS, available_cores, create, ops_of
from ganzoo_core.engines.plan import CHUNK, Plan

__all__ = ["CHUNK", "EXTRAS", "Plan", "available_cores", "create", "ops_of"]
