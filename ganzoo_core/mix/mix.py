"""A Mix: the parts that were picked, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ganzoo_core.api import Options
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.messages import format_setting
from ganzoo_core.mix.request import Request
from ganzoo_core.settings import Settings

_DECIDE_SPEEDUP = (  # settings, or what they begin with
    "use.loss", "use.with", "use.schedule", "model.", "generator.", "discriminator.", "loss.", "with.", "data.size",
    "train.batch_size", "train.accumulate", "train.critic_steps", "train.updates",
)  # fmt: skip
SLOTS = {
    "generator": "models",
    "discriminator": "models",
    "loss": "losses",
    "schedule": "schedules",
    "data": "datasets",
}

FEATURES = {
    "second_order": ("discriminator", True),
    "real_in_generator_step": ("", True),
    "same_real_in_generator_step": ("", True),
    "conditions_in_generator": ("generator", False),
    "classes_output": ("discriminator", False),
    "features_output": ("discriminator", False),
    "batchnorm_in_discriminator": ("discriminator", False),
    "batchnorm_in_generator": ("generator", False),
}
"""The features that the core or its contract knows: the network that has it ("" for either), and whether a model has
it whose manifest does not say. Others are an agreement between plugins; docs/features.md describes all."""
CONDITIONS = "conditions_in_generator"  # the feature that `conditions` of a card claims; `has` does not say it


@dataclass(frozen=True)
class Mix:
    """The parts and their merged settings.

    `objects` are Python objects passed instead of names, by slot. `request` is the user's request, if there was one.
    `late` are keys that the user set and that only one of `presets_by_max_images` defines.
    """

    parts: Mapping[str, Part]
    modifiers: tuple[Part, ...]
    settings: Settings
    data_argument: str
    preset: str
    objects: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    trackers: tuple[Part, ...] = ()
    request: Request | None = None
    late: tuple[str, ...] = ()

    @property
    def presets_by_max_images(self) -> dict[str, int]:
        """Preset -> the largest number of images it suits, ascending; one is chosen when the images are counted.

        Empty if the user named a preset, or the data has its own.
        """
        if self.request is None or self.request.preset is not None or self.preset:
            return {}
        return find_presets_by_count(self.parts["generator"])

    @property
    def laptop_preset(self) -> str:
        """The preset to recommend without a GPU; "" if the model has none, or it is in use."""
        suits = self.parts["generator"].suits
        names = [name for name, each in suits.items() if each.machine == "laptop"]
        return names[0] if names and self.preset not in names else ""

    @property
    def framework(self) -> str:
        """The name of the framework that the networks are written in."""
        return self.parts["generator"].frameworks[0]

    @property
    def conditional(self) -> bool:
        """Whether the networks are given labels."""
        return is_claim_true(self.parts["generator"].conditional, self, "generator")

    @property
    def bfloat16_speedup(self) -> float:
        """How many times as fast the preset trains in bfloat16, as the model's author measured it; 0 if unknown.

        It was measured with all that the preset says: another loss may need float32's precision, and smaller networks,
        images or batches gain less.
        """
        generator, discriminator = self.parts["generator"], self.parts["discriminator"]
        chosen = (key for key, entry in self.settings.entries.items() if entry.is_chosen)
        if generator != discriminator or any(key.startswith(_DECIDE_SPEEDUP) for key in chosen):
            return 0.0
        return generator.bfloat16.get(self.preset, 0.0)

    @property
    def latent_dim(self) -> int:
        """The length of z; 0 for a generator without noise."""
        return 0 if self.parts["generator"].latent == "none" else self.settings["model.latent_dim"]

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the conditions that either network takes."""
        both = (*self.parts["generator"].conditions, *self.parts["discriminator"].conditions)
        return tuple(dict.fromkeys(both))

    @property
    def derives(self) -> bool:
        """Whether the condition `source` is made from the images; see `data.derive`."""
        return bool(self.settings["data.derive"]) and DERIVED in self.conditions

    def get_options(self, slot: str) -> Options:
        """A part's own settings: `generator.*` over `model.*`; `loss.*`, `schedule.*` or `data.*` for other slots."""
        own = self.settings.options(slot)
        if slot == "discriminator" and self.parts.get("generator", self.parts[slot]) != self.parts[slot]:
            # model.* belongs to the generator's model; settings of this one are under discriminator.*
            return {"latent_dim": self.latent_dim, **own}
        if slot in ("generator", "discriminator"):
            return {**self.settings.options("model"), **own}
        return own

    def get_modifier_options(self) -> dict[str, Options]:
        """`with.NAME.*` of every picked modifier, by its name."""
        return {part.name: self.settings.options(f"with.{part.name}") for part in self.modifiers}

    def get_tracker_options(self) -> dict[str, Options]:
        """`track.NAME.*` of every picked tracker, by its name."""
        return {part.name: self.settings.options(f"track.{part.name}") for part in self.trackers}

    def has_feature(self, feature: str, *, without: Part | None = None) -> bool:
        """Whether the mix has a feature, from the cards' claims and the settings they depend on.

        Args:
            feature: such as `second_order`.
            without: a part whose claim is ignored.
        """
        if feature == CONDITIONS:
            return bool(self.parts["generator"].conditions)
        _, assumed = FEATURES.get(feature, ("", False))
        own = {slot: self.parts[slot].has.get(feature, assumed) for slot in list_network_slots(feature)}
        return any(is_claim_true(claim, self, slot) for slot, claim in own.items()) or bool(
            self.find_parts_adding(feature, without=without)
        )

    def list_given_values(self) -> list[str]:
        """Values that the schedule gives in place of settings, by its card and the settings that it depends on."""
        claims = self.parts["schedule"].gives
        return [name for name, claim in claims.items() if is_claim_true(claim, self, "schedule")]

    def find_parts_adding(self, feature: str, *, without: Part | None = None) -> list[Part]:
        """The loss and the modifiers that add a feature, except `without` and those where a setting turns it off."""
        slot = list_network_slots(feature)[0]
        others = [part for part in (self.parts["loss"], *self.modifiers) if feature in part.has and part != without]
        return [part for part in others if is_claim_true(part.has[feature], self, slot)]


def find_presets_by_count(model: Part) -> dict[str, int]:
    """Preset -> the largest number of images it suits, ascending, for presets with such a limit."""
    limits = {name: each.max_images for name, each in model.suits.items() if each.max_images is not None}
    return dict(sorted(limits.items(), key=lambda pair: pair[1]))


def list_network_slots(feature: str) -> tuple[str, ...]:
    """The slots whose models may have a feature: of one that is neither known nor ends in a network's name, both."""
    for slot in ("generator", "discriminator"):
        if feature.endswith(f"_in_{slot}") or FEATURES.get(feature, ("",))[0] == slot:
            return (slot,)
    return "generator", "discriminator"


def is_claim_true(claim: Any, mix: Mix, slot: str) -> bool:
    if isinstance(claim, bool):
        return claim
    if isinstance(claim, list):
        return all(is_claim_true(each, mix, slot) for each in claim)
    value = mix.settings[find_deciding_key(claim["setting"], mix, slot)]
    if "is" in claim:
        return bool(value == claim["is"])
    return (
        any(number > claim["above"] for number in value) if isinstance(value, list) else (value or 0) > claim["above"]
    )


def advise_switch(claim: Mapping[str, Any], namespace: str, *, now: bool) -> str:
    """What to type so that networks that a setting makes conditional, or not, are the other.

    Args:
        claim: `{ setting, is }`, of the manifest's `conditional`.
        namespace: `model`, `generator` or `discriminator`.
        now: whether they are conditional.
    """
    key, value = claim["setting"].replace("model.", f"{namespace}.", 1), claim["is"]
    if now and not isinstance(value, bool):
        return f"set another {key}"
    return f"say --set {key}={format_setting(not value if now else value)}"


def find_deciding_key(key: str, mix: Mix, slot: str) -> str:
    """The key that decides: `discriminator.norm` if it is set, else `model.norm`."""
    overlay = key.replace("model.", f"{slot}.", 1)
    return overlay if key.startswith("model.") and overlay in mix.settings else key
