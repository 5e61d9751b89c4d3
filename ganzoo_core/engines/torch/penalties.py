"""Check that penalties have a gradient in D, and give weights that only a resting term reaches a gradient of zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ganzoo_core.engines.loss_services import PhaseTerms, Round
from ganzoo_core.engines.loss_step import make_penalty_error


class PenaltyCheck:
    """Checks each penalty once: in the first round in which it is not at rest."""

    def __init__(self) -> None:
        self._checked: set[str] = set()

    def check(self, phase: PhaseTerms, params: Sequence[torch.Tensor], here: Round) -> None:
        """Raise PluginError for a penalty without a gradient in D, whose parameters these are."""
        for name, term in phase.terms.items():
            if not name.endswith("penalty") or name in self._checked:
                continue
            gradients: tuple[torch.Tensor | None, ...] = (None,)
            if term.requires_grad:
                gradients = torch.autograd.grad(term, params, retain_graph=True, allow_unused=True)
            if any(gradient is not None for gradient in gradients):
                self._checked.add(name)
            elif not phase.rests(here):
                raise make_penalty_error(name)


def fill_resting_gradients(params: Sequence[torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """In a round in which a term rests, set the gradients to 0 of parameters that no other term reaches.

    Without a gradient the optimizer would pass over them, so that their moments would decay in some rounds only. They
    are known by the optimizer's state: in the first round every term is due. (After a growth, which empties that state,
    such parameters rest until their term is due.)
    """
    for param in params:
        if param.grad is None and param in optimizer.state:
            param.grad = torch.zeros_like(param)
