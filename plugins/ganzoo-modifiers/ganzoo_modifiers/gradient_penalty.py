"""R1 and R2: Mescheder, Geiger, Nowozin 2018 (arXiv:1801.04406), equations 9 and 10, on top of any loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ganzoo_core as gz


class WithGradientPenalty:
    """A loss plus, for D, (γ/2)·E‖∇D(x)‖² on one batch: summed over a sample's pixels, averaged over the batch.

    Other attributes are those of the wrapped loss.

    Args:
        loss: the wrapped loss.
        term: the name of the penalty among the terms.
        batch: what x is: `real` (R1) or `fake` (R2).
        gamma: γ; 10 for most of the paper's experiments. A schedule's `gamma` overrides it.
    """

    def __init__(self, loss: gz.Loss, *, term: str, batch: str, gamma: float) -> None:
        self._loss = loss
        self._term = term
        self._batch = batch
        self._gamma = gamma

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        images = getattr(step, self._batch)
        watched = _GradientRecorder(step.D, images, ops)
        terms = dict(self._loss.discriminator(replace(step, D=watched)))
        gradient = watched.gradient
        if gradient is None:  # the loss did not call D on these images, or used its other outputs
            _, gradient = ops.score_and_gradient(step.D, images)
        gamma = step.values.get("gamma", self._gamma)
        penalty = 0.5 * gamma * ops.mean(ops.sum_per_sample(ops.square(gradient)))
        # A loss with this penalty of its own gets both; the mix has warned of that.
        terms[self._term] = terms[self._term] + penalty if self._term in terms else penalty
        return terms

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return self._loss.generator(step)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # `copy` reads these before `loss` is set
            raise AttributeError(name)
        return getattr(self._loss, name)


class _GradientRecorder:
    """D, which records the gradient with respect to one batch of images when the loss computes their scores.

    So the penalty needs no second forward, and batch norm, dropout and spectral vectors are updated once.
    """

    def __init__(self, D: Any, watched: Any, ops: gz.Ops) -> None:
        self._D = D
        self._watched = watched
        self._ops = ops
        self.gradient: Any = None

    def __call__(self, images: Any, **replacements: Any) -> Any:
        if images is not self._watched or replacements:
            return self._D(images, **replacements)
        scores, self.gradient = self._ops.score_and_gradient(self._D, images)
        return scores

    def outputs(self, images: Any, **replacements: Any) -> Mapping[str, Any]:
        return self._D.outputs(images, **replacements)

    def call_as(self, images: Any, original: Any, **replacements: Any) -> Any:
        return self._D.call_as(images, original, **replacements)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._D, name)


def add_penalty(loss: gz.Loss, name: str, batch: str, gamma: float) -> gz.Loss:
    """The loss with a penalty of this weight, or as it is with a weight of 0.

    Args:
        loss: the wrapped loss.
        name: of the modifier: its penalty is `NAME_penalty`, its setting `with.NAME.gamma`.
        batch: `real` or `fake`.
        gamma: γ.

    Raises:
        UsageError: for a negative weight.
    """
    if gamma < 0:
        raise gz.UsageError(f"with.{name}.gamma is {gamma:g}; expected a weight of at least 0, and 0 for no penalty")
    return WithGradientPenalty(loss, term=f"{name}_penalty", batch=batch, gamma=gamma) if gamma else loss
