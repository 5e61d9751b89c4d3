"""Small losses, written once on `step.ops`, that both frameworks train with; loops by hand are their oracles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_core.distributed.launchers import rank_from_env

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


class LoggedRound(BCE):
    """A lazy 3 that is reported and not minimised."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        step.log("three", step.every(2, lambda: step.ops.cast(3.0, "float32")))
        return super().discriminator(step)


class SignLog(BCE):
    """Reports E sign D(x), which adaptive augmentation goes by (arXiv:2006.06676)."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops
        real, fake = step.D(step.real), step.D(step.fake)
        step.log("sign", 2 * ops.mean(real > 0) - 1)
        return {"adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))}


class RunningMean(BCE):
    """Draws the fakes' mean picture, as D scores it, to a running mean of the reals.

    Args:
        shape: of an image, in the framework's layout.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.memory = {"mean": np.full(shape, 0.25, np.float32), "rounds": np.zeros((), np.int64), "share": 0.0}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, memory = step.ops, step.memory
        memory["mean"] = 0.9 * memory["mean"] + 0.1 * ops.mean_over_samples(step.real)
        memory["share"] = 0.9 * memory["share"] + 0.1
        memory["rounds"] = memory["rounds"] + 1
        return super().discriminator(step)

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, memory = step.ops, step.memory
        far = ops.mean(ops.square(ops.mean_over_samples(step.fake) - memory["mean"] / memory["share"]))
        return {**super().generator(step), "far": far * ops.cast(memory["rounds"], "float32")}


class PastFakes(BCE):
    """D sees the fakes of two rounds before as well, which each process keeps for itself.

    Args:
        shape: of a batch of one process, in the framework's layout.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        empty = gz.Memory(np.zeros(shape, np.float32), across="rank")
        self.memory = {"last": empty, "before": empty}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, memory = step.ops, step.memory
        past = memory["before"]
        memory["before"] = memory["last"]
        memory["last"] = step.fake
        return {**super().discriminator(step), "past": ops.mean(ops.softplus(step.D(past)))}


class SharedAndOwn(PastFakes):
    """Pictures that each process keeps for itself, a mean of pictures and a count that all have, and a lazy penalty.

    Args:
        picture: the shape of one, in the framework's layout.
        batch: of all processes together.
    """

    def __init__(self, picture: Sequence[int] = (1, 16, 16), batch: int = 12) -> None:
        super().__init__((batch // rank_from_env().world_size, *picture))
        self.lazy = LazyR1(3)
        self.memory |= {"mean": np.zeros(picture, np.float32), "updates": np.zeros(2, np.int64)}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        memory = step.memory
        memory["mean"] = 0.9 * memory["mean"] + 0.1 * step.ops.mean_over_samples(step.real)
        memory["updates"] = memory["updates"] + 1
        return {**super().discriminator(step), "r1_penalty": self.lazy.discriminator(step)["r1_penalty"]}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        far = step.ops.mean(step.ops.square(step.fake - step.memory["mean"]))
        return {**super().generator(step), "far": far}


class LazyMemory(BCE):
    """Keeps D's mean score of reals in every second round, inside the lazy term."""

    memory: Mapping[str, Any] = {"score": 0.5}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        def far() -> Any:
            score, former = step.ops.mean(step.D(step.real)), step.memory["score"]
            step.memory["score"] = score
            return step.ops.square(score - former)

        return {**super().discriminator(step), "drift": step.every(2, far)}


class WithRunningScale:
    """A modifier's loss: D sees images that are scaled by a memory of its own, and its terms count as before."""

    def __init__(self, inner: gz.Loss) -> None:
        self.inner = inner
        self.memory = {"scale": 1.0}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        scale = step.memory["scale"]
        step.memory["scale"] = 0.5 * scale + 0.25
        return self.inner.discriminator(replace(step, D=ScaledD(step.D, scale)))

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return self.inner.generator(replace(step, D=ScaledD(step.D, step.memory["scale"])))


class ScaledD:
    """D of scaled images, whose scores count as those of the images themselves."""

    def __init__(self, D: Any, scale: Any) -> None:
        self.D, self.scale = D, scale

    def __call__(self, images: Any, **replacements: Any) -> Any:
        return self.call_as(images, images, **replacements)

    def call_as(self, images: Any, original: Any, **replacements: Any) -> Any:
        return self.D.call_as(self.scale * images, original, **replacements)


class WeightPenalty(BCE):
    """Half the sum of D's squared weights, and of G's, which D's phase cannot change."""

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        def half_squares(network: Any) -> Any:
            return 0.5 * sum(step.ops.sum(step.ops.square(weight)) for weight in step.weights(network).values())

        terms = super().discriminator(step)
        return {**terms, "weight_penalty": half_squares("discriminator"), "of_g": half_squares("generator")}


class PathLength(BCE):
    """In every second round, how far G's path lengths are from their running mean (after arXiv:1912.04958)."""

    memory: Mapping[str, Any] = {"length": 0.0}

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        ops = step.ops

        def penalty() -> Any:
            _, gradient = ops.value_and_gradient(lambda z: ops.sum_per_sample(step.G(z) * step.fake), step.z)
            lengths = ops.sqrt(ops.sum_per_sample(ops.square(gradient)))
            mean = 0.99 * step.memory["length"] + 0.01 * ops.mean(lengths)
            step.memory["length"] = mean
            return ops.mean(ops.square(lengths - ops.stop_gradient(mean)))

        return {**super().generator(step), "path_length": step.every(2, penalty)}


class Pool(BCE):
    """D sees half of the fakes as they are and a past one in the place of each other (after arXiv:1612.07828).

    Args:
        shape: of an image, in the framework's layout.
        size: of the pool.
    """

    def __init__(self, shape: Sequence[int], size: int) -> None:
        self.size = size
        self.memory = {"pool": gz.Memory(np.zeros((size, *shape), np.float32), across="rank")}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        ops, pool, count = step.ops, step.memory["pool"], step.fake.shape[0]
        past = ops.take(pool, ops.cast(ops.uniform((count,)) * self.size, "int64"))
        is_past = (ops.uniform((count,)) < 0.5)[:, None, None, None]
        step.memory["pool"] = ops.concat([step.fake, pool])[: self.size]
        fake = step.D.call_as(ops.where(is_past, past, step.fake), step.fake)
        return {"adversarial": ops.mean(ops.softplus(-step.D(step.real))) + ops.mean(ops.softplus(fake))}


class Several(BCE):
    """The terms of several losses in one; of terms of one name the later ones are numbered."""

    def __init__(self, *parts: gz.Loss) -> None:
        self.parts = parts
        self.memory = {name: each for part in parts for name, each in getattr(part, "memory", {}).items()}

    def discriminator(self, step: gz.Step) -> Mapping[str, Any]:
        return self._collect("discriminator", step)

    def generator(self, step: gz.Step) -> Mapping[str, Any]:
        return self._collect("generator", step)

    def _collect(self, phase: str, step: gz.Step) -> Mapping[str, Any]:
        terms: dict[str, Any] = {}
        for number, part in enumerate(self.parts):
            for name, term in getattr(part, phase)(step).items():
                terms[f"{number} {name}" if name in terms else name] = term
        return terms


def make_everything(shape: Sequence[int], count: int) -> Several:
    """A loss with all that is remembered or rests, for images of this shape, `count` in a batch of one process."""
    remembering = RunningMean(shape), PastFakes((count, *shape)), LazyMemory()
    return Several(LazyR1(3), *remembering, SignLog(), Counting())
