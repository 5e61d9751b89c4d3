"""The PyTorch engine."""

import importlib.metadata
import os

from ganzoo_core.engines.protocol import EngineFactory

# Must come before PyTorch is imported: it would load extensions for devices that this engine does not use.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
importlib.metadata.entry_points()  # PyTorch reads them while it builds a network, where the error would blame a plugin

from ganzoo_core.engines.torch.engine import Engine  # noqa: E402
from ganzoo_core.engines.torch.ops import make_ops_like  # noqa: E402

__all__ = ["Engine", "make_ops_like"]

_checked: EngineFactory = Engine  # so that mypy compares it with the protocol
