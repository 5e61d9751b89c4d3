"""What a loss does in a phase beside returning terms: what `step.every` and `step.log` are in every framework."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ganzoo_core.api import Loss, Ops, Step, Tensor
from ganzoo_core.arguments import is_integer
from ganzoo_core.engines.loss_memory import name_dtype, name_loss
from ganzoo_core.engines.loss_step import SCORE_STATISTICS, BoundDiscriminator, check_terms
from ganzoo_core.errors import PluginError
from ganzoo_core.messages import format_value

MAX_PERIOD = 2**63  # beyond what counts rounds
REAL_DTYPE = r"bool|(bfloat|float|u?int)\d+"  # numpy's names of them


@dataclass(frozen=True)
class Round:
    """The place in the run at which a loss is called.

    Attributes:
        step: rounds before this one: an int, or an int64 scalar tensor in a graph.
        images: real images seen before this round, in the same type.
        is_first: whether this is no phase of D after the round's first; a bool, or a tensor in a graph.
        due: n -> whether a term of every n-th round is due, where `step` is a tensor and code is chosen by it.
    """

    step: Any
    images: Any
    is_first: Any = True
    due: Mapping[int, bool] | None = None

    def is_due(self, n: int) -> bool:
        """Whether a term of every n-th round is due; for numbers, or for an n in `due`."""
        if self.due is not None and n in self.due:
            return self.due[n]
        return bool(self.is_first) and int(self.step) % n == 0


class PhaseTerms(NamedTuple):
    """What a loss returned and did in one phase.

    Attributes:
        terms: scalars to minimise, by name.
        logged: scalars that are reported only, by name; constants to differentiation.
        lazy: names of the terms, and of what was logged, that are results of `step.every`.
        periods: the n of each call of `step.every`.
    """

    terms: Mapping[str, Tensor]
    logged: Mapping[str, Tensor]
    lazy: tuple[str, ...]
    periods: tuple[int, ...]

    def make_report(self, *, turns: int) -> dict[str, Tensor]:
        """The scalars to report, by name.

        Args:
            turns: phases of this kind in a round. A lazy term is 0 in all but the first, and is multiplied by their
                number, so that its mean over the phases is its mean over the rounds.
        """
        scalars = {**self.terms, **self.logged}
        return {name: value * turns if turns > 1 and name in self.lazy else value for name, value in scalars.items()}

    def rests(self, here: Round) -> bool:
        """Whether a term was left out here that is due in another round."""
        return not all(here.is_due(n) for n in self.periods)


class LossServices(ABC):
    """`api.StepServices`, which keeps what was logged and what was lazy until `call_loss` takes it.

    Args:
        D: scores that a lazy term asks for are not recorded, since it does not ask for them in each round.
        ops: the operations of the framework.
        read_weights: network -> its learnable weights by name; `generator` and `discriminator` are asked for.
    """

    def __init__(self, D: BoundDiscriminator, ops: Ops, read_weights: Callable[[str], Mapping[str, Tensor]]) -> None:
        self._D, self._ops, self._read_weights = D, ops, read_weights
        self._logged: dict[str, Tensor] = {}
        self._lazily_logged: list[str] = []
        self._results: list[Tensor] = []
        self._periods: list[int] = []
        self._is_inside = False  # a term of `every`

    @abstractmethod
    def choose(self, n: int, term: Callable[[], Tensor]) -> Tensor:
        """n · term() if it is due, else 0; a float32 scalar."""

    def every(self, n: int, term: Callable[[], Tensor]) -> Tensor:
        if not is_integer(n) or not 1 <= n < MAX_PERIOD:
            raise PluginError(
                f"the loss calls step.every with n = {n!r}; expected a whole number of rounds, at least 1, below 2^63"
            )
        if not callable(term):
            raise PluginError(
                f"step.every gets {_describe(term)} as its term; expected a function, which is called where it is due: "
                f"step.every({n}, lambda: …)"
            )
        if self._is_inside:
            raise PluginError("the loss calls step.every in a term of step.every; call both one after the other")
        self._is_inside, self._D.is_recording = True, False
        try:
            result = self.choose(n, lambda: self._check_scalar(term(), "step.every gets", "from its term"))
        finally:
            self._is_inside, self._D.is_recording = False, True
        self._results.append(result)
        self._periods.append(n)
        return result

    def log(self, name: str, value: Tensor) -> None:
        if self._is_inside:
            raise PluginError(
                f"the loss calls step.log({name!r}) in a term of step.every, where it would be missing from other "
                "rounds; log what step.every returns"
            )
        if not isinstance(name, str) or name in self._logged:
            problem = "twice in a phase" if isinstance(name, str) else "by a name that is no text"
            raise PluginError(f"the loss logs {name!r} {problem}; give each value a name of its own")
        if self._is_lazy(value):
            self._lazily_logged.append(name)
        self._logged[name] = self._ops.stop_gradient(self._check_scalar(value, "step.log gets", f"as {name!r}"))

    def weights(self, network: str) -> Mapping[str, Tensor]:
        if network not in ("generator", "discriminator"):
            raise PluginError(f'the loss asks for the weights of {network!r}; expected "generator" or "discriminator"')
        return self._read_weights(network)

    def take(self, terms: Mapping[str, Tensor]) -> PhaseTerms:
        """Return the terms of the phase that ends here with what came beside them, and begin another phase."""
        lazy = [name for name, term in terms.items() if self._is_lazy(term)] + self._lazily_logged
        result = PhaseTerms(terms, self._logged, tuple(lazy), tuple(self._periods))
        self._logged, self._lazily_logged, self._results, self._periods = {}, [], [], []
        return result

    def _is_lazy(self, value: Tensor) -> bool:
        return any(value is result for result in self._results)

    def _check_scalar(self, value: Tensor, gets: str, where: str) -> Tensor:
        shape = getattr(value, "shape", ())
        if len(shape) != 0:
            raise PluginError(f"{gets} the shape {list(shape)} {where}; expected a scalar, such as step.ops.mean gives")
        if not re.fullmatch(REAL_DTYPE, name_dtype(value)):
            raise PluginError(f"{gets} {_describe(value)} {where}; expected a scalar, such as step.ops.mean gives")
        return self._ops.cast(value, "float32")


def _describe(value: Any) -> str:
    """What a loss handed over in the place of something else: a tensor's type, since its numbers say little."""
    return f"a {type(value).__name__} of {name_dtype(value)}" if hasattr(value, "dtype") else format_value(value)


class PlainServices(LossServices):
    """For code that runs as it is called, and not as a graph.

    Args:
        here: with numbers, or with all n in `due`.
    """

    def __init__(
        self,
        D: BoundDiscriminator,
        ops: Ops,
        here: Round,
        read_weights: Callable[[str], Mapping[str, Tensor]],
    ) -> None:
        super().__init__(D, ops, read_weights)
        self._here = here

    def choose(self, n: int, term: Callable[[], Tensor]) -> Tensor:
        return n * term() if self._here.is_due(n) else self._ops.cast(0.0, "float32")


def call_loss(loss: Loss, phase: str, view: Step, services: LossServices) -> PhaseTerms:
    """Call the loss for one phase, `discriminator` or `generator`, and check what it returns and logs.

    Raises:
        PluginError: if the terms are no named scalars, or the loss logs something by a name that is reported already.
    """
    result = services.take(check_terms(getattr(loss, phase)(view), loss, phase))
    reported = {*result.terms, *(SCORE_STATISTICS if phase == "discriminator" else ())}
    for name in result.logged:
        if name in reported:
            raise PluginError(
                f"the loss {name_loss(loss)} logs {name!r} in {phase}, and {phase}/{name} is reported already; "
                "log it by another name"
            )
    return result
