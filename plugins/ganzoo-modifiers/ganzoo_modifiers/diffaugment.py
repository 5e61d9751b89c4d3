"""DiffAugment: Zhao et al. 2020 (arXiv:2006.10738). The hook; each framework's implementation is in its own module."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Generator
from typing import Any

import ganzoo_core as gz

POLICIES = ("color", "translation", "cutout")


@gz.hookimpl(wrapper=True)
def build_discriminator(spec: gz.Spec, modifiers: dict[str, gz.Options]) -> Generator[None, Any, Any]:
    """The discriminator, which in training gets randomly augmented images, real and fake.

    A schedule's value `augment` comes with each call, and is the chance of each transform in place of the setting.

    Raises:
        UsageError: for a policy that is empty, or has an unknown or repeated name; and for a discriminator that takes a
            picture as a condition, which would no longer lie over the moved image.
    """
    network = yield
    for name, shape in spec.conditions.items():
        if len(shape) == 3:
            raise gz.UsageError(
                f"diffaugment moves the images, and not the picture `{name}` with which this discriminator compares "
                "them; leave --with diffaugment out, or say --set data.flip=on, which mirrors both"
            )
    policy = tuple(modifiers["diffaugment"]["policy"])
    _check_policy(policy)
    chance = modifiers["diffaugment"]["augment"]
    if not 0.0 <= chance <= 1.0:
        raise gz.UsageError(f"with.diffaugment.augment is {chance:g}; expected a probability, from 0 to 1")
    module = importlib.import_module(f"ganzoo_modifiers.diffaugment_{spec.framework}")
    return module.augment_inputs(network, policy=policy, chance=chance)


def _check_policy(policy: tuple[str, ...]) -> None:
    choices = f"{', '.join(POLICIES[:-1])} and {POLICIES[-1]}"
    for name in policy:
        if name not in POLICIES:
            nearest = difflib.get_close_matches(name, POLICIES, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise gz.UsageError(f"with.diffaugment.policy holds {name!r}; expected some of {choices}{hint}")
    if not policy:
        raise gz.UsageError(
            f"with.diffaugment.policy is empty; expected some of {choices}, or a run without --with diffaugment"
        )
    if len(set(policy)) < len(policy):
        raise gz.UsageError(f"with.diffaugment.policy is {','.join(policy)}; expected each name once")
