"""Build, train and run networks: one engine per framework, all with the same interface.

No framework is imported before `create_engine`.
"""

from ganzoo_core.data.cores import count_available_cores
from ganzoo_core.engines.create import check_device, create_engine, make_ops
from ganzoo_core.engines.plan import DRAW_BATCH_SIZE, LossFacts, Plan

__all__ = [
    "DRAW_BATCH_SIZE",
    "LossFacts",
    "Plan",
    "check_device",
    "count_available_cores",
    "create_engine",
    "make_ops",
]
