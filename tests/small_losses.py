"""Small losses, written once on `step.ops`, that both frameworks train with; loops by hand are their oracles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ganzoo_core as gz

GAMMA = 0.5


class BCE:
    """The non-saturating loss."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        return {"adversarial": ops.mean(ops.softplus(-step.D(step.real))) + ops.mean(ops.softplus(step.D(step.fake)))}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.softplus(-step.D(step.fake)))}


class LazyR1(BCE):
    """R1 in every n-th round, n times as heavy."""

    def __init__(self, n: int) -> None:
        self.n = n

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops

        def penalty() -> Any:
            _, gradient = ops.score_and_gradient(step.D, step.real)
            return 0.5 * GAMMA * ops.mean(ops.sum_per_sample(ops.square(gradient)))

        return {**super().discriminator(step), "r1_penalty": step.every(self.n, penalty)}


class LazyMean(BCE):
    """The mean of the fakes' pixels, minimised by G in every n-th round."""

    def __init__(self, n: int) -> None:
        self.n = n

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return {**super().generator(step), "mean": step.every(self.n, lambda: step.ops.mean(step.fake))}


class DeadPenalty(LazyR1):
    """A lazy penalty that cannot move D."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        def penalty() -> Any:
            _, gradient = step.ops.score_and_gradient(step.D, step.real)
            return step.ops.mean(step.ops.square(step.ops.stop_gradient(gradient)))

        return {**BCE.discriminator(self, step), "r1_penalty": step.every(self.n, penalty)}


class Counting(BCE):
    """Reports the last three digits of both counts, which float32 would round for large ones."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        step.log("step", step.ops.cast(step.step % 1000, "float32"))
        return super().discriminator(step)

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        step.log("images", step.ops.cast(step.images % 1000, "float32"))
        return super().generator(step)


class SignLog(BCE):
    """Reports E sign D(x), which adaptive augmentation goes by (arXiv:2006.06676)."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        step.log("sign", 2 * ops.mean(real > 0) - 1)
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))}
