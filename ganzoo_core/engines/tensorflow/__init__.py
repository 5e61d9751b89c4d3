"""The TensorFlow engine, with networks in Keras 3."""

from ganzoo_core.engines.tensorflow import import_tensorflow

# Must come first: all other modules here import TensorFlow at the top.
import_tensorflow.import_quietly()

from ganzoo_core.engines.tensorflow.engine import Engine  # noqa: E402

__all__ = ["Engine"]
