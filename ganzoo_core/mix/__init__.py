"""Make a Mix of cards and the user's words: the parts, their settings, and the check that they fit each other."""

from ganzoo_core.mix.finding import make_object_card
from ganzoo_core.mix.fit import DataFit, make_data_fit
from ganzoo_core.mix.mix import SLOTS, Mix
from ganzoo_core.mix.request import Request
from ganzoo_core.mix.resolve import fit_batch_size, pick_preset, resolve

__all__ = [
    "SLOTS",
    "DataFit",
    "Mix",
    "Request",
    "fit_batch_size",
    "make_data_fit",
    "make_object_card",
    "pick_preset",
    "resolve",
]
