"""Evaluate a loss on a handful of numbers, outside of training, for a notebook or a lesson."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganzoo_core import engines
from ganzoo_core.api import Options, Spec, Step
from ganzoo_core.discovery import answers, loading
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.engines.loss_memory import make_local_memory
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator
from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import find_framework
from ganzoo_core.settings import find_kind, read_value


@dataclass(frozen=True)
class LossTrial:
    """A loss and its settings, ready to evaluate."""

    part: Part
    options: Options

    def on(self, real: Any, fake: Any, *, discriminator: Any = None) -> dict[str, dict[str, float]]:
        """Compute the loss terms of both networks on these scores.

        Args:
            real, fake: scores [N], as a list, a numpy array or a framework's tensor; with `discriminator`, the images
                to score.
            discriminator: images -> scores, for a loss with a gradient penalty. Numpy finds the gradient by trying each
                pixel, or by a method `score_and_gradient(images)`, if it has one.

        Returns:
            `{"discriminator": {term: value}, "generator": {term: value}}`.
        """
        real, fake = (np.asarray(scores) if isinstance(scores, list | tuple) else scores for scores in (real, fake))
        known = find_framework(type(real))
        framework = "numpy" if known is None else known.name
        if self.part.frameworks and framework not in self.part.frameworks:
            wanted = " and ".join(self.part.frameworks)
            given = f"{self.part.name} is for {wanted}, and these are of {framework}"
            raise UsageError(f"{given}; give tensors of {wanted}")
        ops = engines.make_ops(framework, real)
        D = BoundDiscriminator(
            lambda x, arguments: x if discriminator is None else discriminator(x), {}, real=real, fake=fake
        )
        if discriminator is None:
            ops.score_and_gradient = ops.value_and_gradient = self._refuse  # type: ignore[method-assign,assignment]
        elif framework == "numpy" and hasattr(discriminator, "score_and_gradient"):
            D.score_and_gradient = discriminator.score_and_gradient  # type: ignore[attr-defined]

        # A loss reads at most `spec.framework`; the other fields mean nothing here.
        spec = Spec(height=0, width=0, channels=0, classes=0, latent_dim=0, framework=framework)
        loss = loading.call_hook(
            "loss", self.part, answers.check_loss, name=self.part.name, spec=spec, options=self.options, modifiers={}
        )
        step = Step(
            D,
            BoundGenerator(lambda z, arguments: fake, {}),
            real,
            fake,
            None,
            None,
            {},
            ops,
            make_local_memory(loss, ops),
        )
        terms = {"discriminator": loss.discriminator(step), "generator": loss.generator(step)}
        return {network: {name: _to_float(value) for name, value in own.items()} for network, own in terms.items()}

    def _refuse(self, D: Any, x: Any) -> Any:
        raise UsageError(
            f"{self.part.name} differentiates D, so scores are not enough; give images and the network: "
            f'gz.loss("{self.part.name}").on(real, fake, discriminator=D)'
        )


def _to_float(value: Any) -> float:
    return float(value.detach() if hasattr(value, "detach") else value)


def override_options(part: Part, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A loss's own settings with some of them changed; raises UsageError for a setting that it does not have."""
    options = {key.removeprefix("loss."): value for key, value in part.defaults.items() if key.startswith("loss.")}
    for key, value in changes.items():
        if key not in options:
            raise UsageError(f"the loss {part.name} has no setting {key!r}; it has {', '.join(options) or 'none'}")
        options[key] = read_value(f"loss.{key}", find_kind(f"loss.{key}", options[key]), value)
    return options
