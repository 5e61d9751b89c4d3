"""Make a Mix of cards and the user's words: the parts, their settings, and the check that they fit each other."""

from ganzoo_core.mix.finding import object_card
from ganzoo_core.mix.fit import Fit, fit
from ganzoo_core.mix.mix import SLOTS, Mix
from ganzoo_core.mix.request import Request
from ganzoo_core.mix.resolve import fit_batch, pick_preset, resolve

__all__ = ["SLOTS", "Fit", "Mix", "Request", "fit", "fit_batch", "object_card", "pick_preset", "resolve"]
