"""Losses of one framework, which call it by name."""

from __future__ import annotations

from typing import Any

import ganzoo_core as gz


class Hinge:
    """The hinge loss, and with `penalty` the squared gradient at real images; G sees reals, too."""

    def __init__(self, *, penalty: bool) -> None:
        self.penalty = penalty

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        import torch

        terms = {"hinge": torch.relu(1 - step.D(step.real)).mean() + torch.relu(1 + step.D(step.fake)).mean()}
        if self.penalty:
            _, gradient = step.ops.score_and_gradient(step.D, step.real)
            terms["gradient_penalty"] = gradient.flatten(1).norm(dim=1).square().mean()
        return terms

    def generator(self, step: gz.Step) -> dict[str, Any]:
        import torch

        return {"adversarial": torch.mean(step.D(step.real)).detach() - torch.mean(step.D(step.fake))}


@gz.hookimpl
def loss(name: str) -> Hinge:
    return Hinge(penalty=name == "torch-penalty")
