"""The PyTorch engine."""

from ganzoo_core.engines.protocol import EngineFactory
from ganzoo_core.engines.torch.engine import Engine
from ganzoo_core.engines.torch.ops import make_ops_like

__all__ = ["Engine", "make_ops_like"]

_checked: EngineFactory = Engine  # so that mypy compares it with the protocol
