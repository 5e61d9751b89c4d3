"""What is computed in a phase, uncompiled: fake images, and the loss's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ganzoo_core.api import Step
from ganzoo_core.engines.loss_memory import LossMemory, describe_memory
from ganzoo_core.engines.loss_services import PhaseTerms, PlainServices, Round, call_loss
from ganzoo_core.engines.loss_step import BoundDiscriminator, BoundGenerator, drop_labels, make_arguments
from ganzoo_core.engines.torch.forward import Given, as_keywords
from ganzoo_core.engines.torch.protocol import TrainedNetworks


class PlainStep:
    """Calls a trainer's networks and its loss.

    Args:
        trainer: when its networks have grown, make a new `PlainStep`.
    """

    def __init__(self, trainer: TrainedNetworks) -> None:
        self.trainer, self._declared_memory = trainer, describe_memory(trainer.declared_memory)
        self._weights = {
            slot: {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
            for slot, network in (("generator", trainer.G), ("discriminator", trainer.D))
        }

    def generate(self, z: torch.Tensor, given: Given, values: Mapping[str, Any]) -> torch.Tensor:
        """Generate images [N,C,H,W]."""
        trainer = self.trainer
        result: torch.Tensor = trainer.engine.forward(trainer.G, z, self._make_g_arguments(given, values))
        return result

    def compute_terms(
        self,
        phases: tuple[str, ...],
        real: Any,
        fake: Any,
        given: Given,
        z: Any,
        values: Mapping[str, Any],
        here: Round,
    ) -> tuple[list[PhaseTerms], dict[str, torch.Tensor]]:
        """The loss terms of each phase, and D's scores; with several phases, D scores each batch once."""
        loss = self.trainer.loss
        D, services, view = self._make_loss_step(real, fake, given, z, values, here, share=len(phases) > 1)
        terms = [call_loss(loss, phase, view, services) for phase in phases]
        return terms, D.get_scores()

    def _make_loss_step(
        self, real: Any, fake: Any, given: Given, z: Any, values: Mapping[str, float], here: Round, *, share: bool
    ) -> tuple[BoundDiscriminator, PlainServices, Step]:
        trainer, plan = self.trainer, self.trainer.plan
        arguments = make_arguments(
            given,
            self._network_kwargs(values, plan.takes_d),
            takes=plan.conditions_d,
            latent=z if plan.latent_in_discriminator else None,
        )
        forward = trainer.engine.forward
        D = BoundDiscriminator(
            lambda x, arguments: forward(trainer.D, x, arguments), arguments, real=real, fake=fake, share=share
        )
        G = BoundGenerator(lambda z, arguments: forward(trainer.G, z, arguments), self._make_g_arguments(given, values))
        memory = LossMemory(lambda name: trainer.memory[name].clone(), self._write_memory, self._declared_memory)
        services = PlainServices(D, trainer.ops, here, lambda network: dict(self._weights[network]))
        step = Step(
            D,
            G,
            real,
            fake,
            given.get("labels"),
            z,
            values,
            trainer.ops,
            memory,
            conditions=drop_labels(given),
            step=here.step,
            images=here.images,
            services=services,
        )
        return D, services, step

    def _write_memory(self, name: str, value: torch.Tensor) -> None:
        memory = self.trainer.memory[name]
        memory.copy_(torch.as_tensor(value, device=memory.device).detach())

    def _make_g_arguments(self, given: Given, values: Mapping[str, Any]) -> dict[str, Any]:
        plan = self.trainer.plan
        return make_arguments(given, self._network_kwargs(values, plan.takes_g), takes=plan.conditions_g)

    def _network_kwargs(self, values: Mapping[str, float], takes: tuple[str, ...]) -> dict[str, Any]:
        device = self.trainer.engine.device
        return as_keywords({name: values[name] for name in takes if name in values}, device)
