"""How a network is called, compared with what its code takes before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo_core.api import Spec


@dataclass(frozen=True)
class NetworkCall:
    """The call of one network.

    Attributes:
        positional: `z` or `images`, and `labels` if the network takes them.
        keywords: its conditions, `latent`, and the schedule's values that it takes.
    """

    positional: tuple[str, ...]
    keywords: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"({', '.join((*self.positional, *(f'{name}=…' for name in self.keywords)))})"

    def find_problem(self, function: Callable[..., Any]) -> str:
        """Why a network's `forward` or `call` cannot be called so, in words; "" if it can, or has no signature."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # compiled code
            return ""
        try:
            signature.bind(*self.positional, **dict.fromkeys(self.keywords))
        except TypeError as error:
            name = getattr(function, "__name__", "call")
            return f"whose {name} is to be called as {name}{self}, and which refuses it: {error}"
        return ""


def make_network_call(spec: Spec, slot: str, values: Mapping[str, Any]) -> NetworkCall:
    """The call of the network that is built for a slot, `generator` or `discriminator`.

    Args:
        spec: the network's own.
        slot: which network.
        values: the schedule's values that it takes.
    """
    first = "z" if slot == "generator" else "images"
    return NetworkCall((first, "labels") if spec.classes else (first,), (*spec.conditions, *values))
