"""Score generated images: one child process draws them in the run's framework, another scores them."""

from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.evaluation.evaluate import choose_sample_count, evaluate
from ganzoo_core.evaluation.request import make_request

__all__ = ["Scorer", "choose_sample_count", "evaluate", "make_request"]
