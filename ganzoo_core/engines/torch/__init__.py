"""The PyTorch engine."""

import os

# Must come before PyTorch is imported: it would read the entry points of all installed packages, and load extensions
# for devices that this engine does not use.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

from ganzoo_core.engines.torch.engine import Engine

__all__ = ["Engine"]
