"""The parts of a training step that losses see, shared by all frameworks."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ganzoo_core.api import Ops, Tensor
from ganzoo_core.engines.loss_memory import name_loss
from ganzoo_core.engines.plan import Plan
from ganzoo_core.errors import PluginError

SCORE_STATISTICS = ("separated", "accuracy_real", "accuracy_fake", "probability_real", "probability_fake")
"""What `compute_score_statistics` reports of D beside the loss's terms."""
Arguments = Mapping[str, Any]
"""What a network is called with beside its first argument: `labels`, conditions, `latent`, schedule values."""


def make_arguments(
    given: Mapping[str, Tensor], values: Mapping[str, Any], *, takes: Collection[str], latent: Tensor | None = None
) -> dict[str, Any]:
    """The arguments of one network.

    Args:
        given: what belongs to a batch of reals: `labels` int64 [N], if the networks take them, and conditions by name.
        values: the schedule's values that the network takes.
        takes: names of its conditions.
        latent: z, for a discriminator that takes it.
    """
    arguments = {name: given[name] for name in ("labels", *takes) if name in given}
    return {**arguments, **({} if latent is None else {"latent": latent}), **values}


def drop_labels(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The conditions among what belongs to a batch of reals."""
    return {name: rows for name, rows in given.items() if name != "labels"}


def replace_arguments(bound: Arguments, replacements: Arguments, network: str) -> Arguments:
    """The bound arguments with replacements.

    Raises:
        PluginError: for a replacement of what the network is not called with.
    """
    unknown = [name for name in replacements if name not in bound]
    if unknown:
        known = ", ".join(bound) or "nothing beside its first argument"
        raise PluginError(f"the loss calls {network} with {', '.join(unknown)}; {network} is called with {known}")
    return {**bound, **replacements}


class BoundGenerator:
    """G with its arguments bound; see `api.BoundGenerator`.

    Args:
        forward: (z, arguments) -> images.
        arguments: bound ones.
    """

    def __init__(self, forward: Callable[[Tensor, Arguments], Tensor], arguments: Arguments) -> None:
        self._forward, self._arguments = forward, arguments

    def __call__(self, z: Tensor, **replacements: Tensor) -> Tensor:
        return self._forward(z, replace_arguments(self._arguments, replacements, "step.G"))


class BoundDiscriminator:
    """D with its arguments bound; see `api.BoundDiscriminator`. It records the scores of the real and the fake batch.

    Args:
        forward: (images, arguments) -> whatever D returns.
        arguments: bound ones.
        real, fake: the batches whose scores are recorded; compared by identity.
        share: score the real and the fake batch only once, and give both losses the same result.
    """

    def __init__(
        self,
        forward: Callable[[Tensor, Arguments], Any],
        arguments: Arguments,
        *,
        real: Tensor,
        fake: Tensor,
        share: bool = False,
    ) -> None:
        self._forward, self._arguments, self._share = forward, arguments, share
        self._watched = {"real": real, "fake": fake}
        self._scores: dict[str, Tensor] = {}
        self._shared: dict[str, Mapping[str, Tensor]] = {}
        self.is_recording = True  # not for scores that are asked for in some rounds only

    def __call__(self, images: Tensor, **replacements: Tensor) -> Tensor:
        return self.outputs(images, **replacements)["scores"]

    def outputs(self, images: Tensor, **replacements: Tensor) -> Mapping[str, Tensor]:
        """Everything D returns for these images; recorded only without replacements, which make it another question."""
        return self._compute_outputs(images, None if replacements else images, replacements)

    def call_as(self, images: Tensor, original: Tensor, **replacements: Tensor) -> Tensor:
        """Scores of `images`, which stand in for `original`; recorded as those of `original`."""
        return self._compute_outputs(images, original, replacements)["scores"]

    def get_scores(self) -> dict[str, Tensor]:
        """The recorded scores of `real` and `fake`, each [N] or patches [N,…]."""
        return dict(self._scores)

    def _compute_outputs(
        self, images: Tensor, original: Tensor | None, replacements: Arguments
    ) -> Mapping[str, Tensor]:
        arguments = replace_arguments(self._arguments, replacements, "step.D")
        name = ""
        if original is not None:  # as `real` is in a phase without reals
            name = next((name for name, batch in self._watched.items() if batch is original), "")
        # No gradient flows from a detached copy back to G, so results for copies are never shared.
        shares = self._share and name != "" and images is original and not replacements
        if shares and name in self._shared:
            return self._shared[name]
        outputs = as_outputs(self._forward(images, arguments))
        if shares and self.is_recording:
            self._shared[name] = outputs
        if name and self.is_recording:
            self._scores.setdefault(name, outputs["scores"])
        return outputs


def as_outputs(result: Any) -> Mapping[str, Tensor]:
    """Turn what D returned into a mapping with `scores`; scores of shape [N,1,…] become [N].

    Raises:
        PluginError: if D returned a mapping without `scores`.
    """
    outputs = dict(result) if isinstance(result, Mapping) else {"scores": result}
    if "scores" not in outputs:
        raise PluginError(f"the discriminator returned {sorted(outputs)}; a mapping must hold `scores`")
    scores = outputs["scores"]
    if len(scores.shape) > 1 and all(size == 1 for size in scores.shape[1:]):
        outputs["scores"] = scores[(slice(None), *(0,) * (len(scores.shape) - 1))]
    return outputs


def check_terms(terms: Any, loss: Any, phase: str) -> Mapping[str, Tensor]:
    """Return the loss's terms; raise PluginError unless they are a non-empty mapping of names to scalars."""
    if not isinstance(terms, Mapping) or not terms or not all(isinstance(name, str) for name in terms):
        raise PluginError(f"the loss {name_loss(loss)} returned {terms!r} in {phase}; expected named terms")
    for name, term in terms.items():
        shape = getattr(term, "shape", None)
        if shape is None or len(shape) != 0:
            description = type(term).__name__ if shape is None else f"the shape {list(shape)}"
            raise PluginError(
                f"the loss {name_loss(loss)} returned {description} as {name!r} in {phase}; expected a scalar"
            )
    return terms


def sum_terms(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of all terms, which is differentiated."""
    return functools.reduce(operator.add, terms.values())


def compute_score_statistics(scores: Mapping[str, Tensor], plan: Plan, ops: Ops) -> dict[str, Tensor]:
    """Measure how well D separates real from fake, with accuracies and probabilities if the loss defines them.

    `separated` is 1 if every real image of the batch has a higher score than every fake one, else 0. It needs no
    threshold, so it is reported for every loss; an image's score is the sum over its patches.

    Args:
        scores: of `real` and `fake`, detached from the graph.
        plan: its `loss.decision` and `loss.probability` say what scores mean.
        ops: the operations of the framework.

    Returns:
        Name in the report -> scalar; empty if the loss did not score both real and fake.
    """
    decision = plan.loss.decision
    if set(scores) != {"real", "fake"}:
        return {}
    real, fake = scores["real"], scores["fake"]
    statistics = {"separated": ops.mean(ops.min(ops.sum_per_sample(real)) > ops.max(ops.sum_per_sample(fake)))}
    if isinstance(decision, str):
        right = ops.mean(real > fake)
        statistics |= {"accuracy_real": right, "accuracy_fake": right}
    elif decision is not None:
        statistics |= {"accuracy_real": ops.mean(real > decision), "accuracy_fake": ops.mean(fake <= decision)}
    if plan.loss.probability == "sigmoid":
        statistics["probability_real"] = ops.mean(ops.sigmoid(real))
        statistics["probability_fake"] = ops.mean(ops.sigmoid(fake))
    return {f"discriminator/{name}": value for name, value in statistics.items()}


def make_mask_error() -> PluginError:
    """The error for `ops.take` with a mask, whose 0 and 1 would pass for rows."""
    return PluginError(
        "ops.take gets booleans, and takes the numbers of rows; weigh the rows of a mask by ops.where(mask, x, 0)"
    )


def make_penalty_error(name: str) -> PluginError:
    """The error for a penalty that cannot move D."""
    return PluginError(
        f"the loss term {name} has no gradient in the discriminator, so it would do nothing; "
        "the loss must keep the graph (ops.score_and_gradient), and D must allow second derivatives"
    )
