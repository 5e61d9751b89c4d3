"""Resolve a request to a Mix: find the parts, merge their settings, check that they fit together."""

from ganzoo_core.mix.effects import add_schedule_notes, explain_unread
from ganzoo_core.mix.finding import make_object_card
from ganzoo_core.mix.fit import DataFit, make_data_fit, make_network_spec
from ganzoo_core.mix.mix import SLOTS, Mix
from ganzoo_core.mix.request import Request
from ganzoo_core.mix.resolve import fit_batch_size, pick_preset, resolve

__all__ = [
    "SLOTS",
    "DataFit",
    "Mix",
    "Request",
    "add_schedule_notes",
    "explain_unread",
    "fit_batch_size",
    "make_data_fit",
    "make_network_spec",
    "make_object_card",
    "pick_preset",
    "resolve",
]
