"""The TensorFlow engine, with networks in Keras 3."""

from ganzoo_core.engines.protocol import EngineFactory
from ganzoo_core.engines.tensorflow import import_tensorflow

# Must come first: all other modules here import TensorFlow at the top.
import_tensorflow.import_quietly()

from ganzoo_core.engines.tensorflow.engine import Engine  # noqa: E402
from ganzoo_core.engines.tensorflow.ops import make_ops_like  # noqa: E402

__all__ = ["Engine", "make_ops_like"]

_checked: EngineFactory = Engine  # so that mypy compares it with the protocol
