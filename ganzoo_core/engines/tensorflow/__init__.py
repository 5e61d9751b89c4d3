"""Train and draw in TensorFlow, with networks in Keras 3."""

from ganzoo_core.engines.tensorflow import import_tensorflow

# Everything else here imports TensorFlow at its top: it must be imported with care first.
import_tensorflow.import_quietly()

from ganzoo_core.engines.tensorflow.engine import Engine  # noqa: E402

__all__ = ["Engine"]
