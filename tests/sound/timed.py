"""Losses with all that a step knows of the time: written once, and right in both frameworks and in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

import ganzoo_core as gz

SIZE = 6  # of the pool


class Timed:
    """The non-saturating loss, a lazy penalty, a running mean of features, a count, and a weight penalty."""

    def __init__(self) -> None:
        self.memory = {"mean": 0.25, "rounds": np.zeros((), np.int64)}

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        ops, memory = step.ops, step.memory
        real, fake = step.D(step.real), step.D(step.fake)
        memory["mean"] = 0.9 * memory["mean"] + 0.1 * ops.mean(real)
        memory["rounds"] = memory["rounds"] + 1
        step.log("sign", ops.mean(ops.where(real > 0, 1.0, -1.0)))

        def penalty() -> Any:
            _, gradient = ops.score_and_gradient(step.D, step.real)
            return ops.mean(ops.sum_per_sample(ops.square(gradient)))

        weights = step.weights("discriminator").values()
        return {
            "adversarial": ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake)),
            "r1_penalty": step.every(2, penalty),
            "weight_penalty": 1e-3 * sum(ops.sum(ops.square(weight)) for weight in weights),
            "far": 0.01 * ops.square(ops.mean(real) - memory["mean"]),
        }

    def generator(self, step: gz.Step) -> dict[str, Any]:
        ops = step.ops
        warm = ops.where(step.step < 2, 0.5, 1.0) * ops.cast(step.memory["rounds"], "float32")
        return {"adversarial": warm * ops.mean(ops.softplus(-step.D(step.fake)))}


class Pooled:
    """Least squares on fakes of which half are swapped for past ones, from a pool that each process has for itself.

    Args:
        shape: of an image, in the framework's layout.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.memory = {"pool": gz.Memory(np.zeros((SIZE, *shape), np.float32), across="rank")}

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        ops, pool = step.ops, step.memory["pool"]
        count = step.fake.shape[0]
        past = ops.take(pool, ops.cast(ops.uniform((count,)) * SIZE, "int64"))
        is_past = (ops.uniform((count,)) < 0.5)[:, None, None, None]
        step.memory["pool"] = ops.concat([step.fake, pool])[:SIZE]
        real, fake = step.D(step.real), step.D.call_as(ops.where(is_past, past, step.fake), step.fake)
        return {"adversarial": ops.mean(ops.square(real - 1)) + ops.mean(ops.square(fake))}

    def generator(self, step: gz.Step) -> dict[str, Any]:
        return {"adversarial": step.ops.mean(step.ops.square(step.D(step.fake) - 1))}


@gz.hookimpl
def loss(name: str, spec: gz.Spec) -> Timed | Pooled:
    if name == "timed":
        return Timed()
    return Pooled(spec.image_shape)
