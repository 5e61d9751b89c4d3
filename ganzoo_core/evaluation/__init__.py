"""Score images: they are drawn in the run's own framework, in a process of its own, and scored in another."""

from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.evaluation.evaluate import choose_sample_count, evaluate
from ganzoo_core.evaluation.request import make_request

__all__ = ["Scorer", "choose_sample_count", "evaluate", "make_request"]
