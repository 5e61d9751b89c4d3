"""Score images: they are drawn in the run's own framework, in a process of its own, and scored in another."""

from ganzoo_core.evaluation.client import Scorer
from ganzoo_core.evaluation.evaluate import evaluate, samples_for
from ganzoo_core.evaluation.request import pose

__all__ = ["Scorer", "evaluate", "pose", "samples_for"]
