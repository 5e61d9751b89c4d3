"""R1: Mescheder, Geiger, Nowozin 2018 (arXiv:1801.04406), equation 9, on top of any loss."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import ganzoo_core as gz


class WithR1:
    """A loss plus, for D, (γ/2)·E‖∇D(x)‖² on real images: summed over a sample's pixels, averaged over the batch.

    Other attributes are those of the wrapped loss.

    Args:
        loss: the wrapped loss.
        gamma: γ; 10 for most of the paper's experiments.
    """

    def __init__(self, loss: gz.Loss, *, gamma: float) -> None:
        self._loss = loss
        self._gamma = gamma

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        watched = _GradientRecorder(step.D, step.real, ops)
        terms = dict(self._loss.discriminator(replace(step, D=watched)))
        gradient = watched.gradient
        if gradient is None:  # the loss did not call D on the real images, or used its other outputs
            _, gradient = ops.score_and_gradient(step.D, step.real)
        penalty = 0.5 * self._gamma * ops.mean(ops.sum_per_sample(ops.square(gradient)))
        # A loss with its own R1 gets both; the mix has warned of that.
        terms["r1_penalty"] = terms["r1_penalty"] + penalty if "r1_penalty" in terms else penalty
        return terms

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return self._loss.generator(step)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # `copy` reads these before `loss` is set
            raise AttributeError(name)
        return getattr(self._loss, name)


class _GradientRecorder:
    """D, which records the gradient with respect to the real images when the loss computes their scores.

    So the penalty needs no second forward, and batch norm, dropout and spectral vectors are updated once.
    """

    def __init__(self, D: Any, real: Any, ops: gz.Ops) -> None:
        self._D = D
        self._real = real
        self._ops = ops
        self.gradient: Any = None

    def __call__(self, images: Any, **replacements: Any) -> Any:
        if images is not self._real or replacements:
            return self._D(images, **replacements)
        scores, self.gradient = self._ops.score_and_gradient(self._D, images)
        return scores

    def outputs(self, images: Any, **replacements: Any) -> Mapping[str, Any]:
        return self._D.outputs(images, **replacements)

    def call_as(self, images: Any, original: Any, **replacements: Any) -> Any:
        return self._D.call_as(images, original, **replacements)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._D, name)


@gz.hookimpl(wrapper=True)
def loss(modifiers: dict[str, gz.Options]) -> Generator[None, gz.Loss, gz.Loss]:
    inner = yield
    gamma = modifiers["r1"]["gamma"]
    if gamma < 0:
        raise gz.UsageError(f"with.r1.gamma is {gamma:g}; expected a weight of at least 0, and 0 for no penalty")
    return WithR1(inner, gamma=gamma) if gamma else inner
