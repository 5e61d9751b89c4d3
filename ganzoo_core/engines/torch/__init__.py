"""The PyTorch engine."""

from ganzoo_core.engines.torch.engine import Engine

__all__ = ["Engine"]
