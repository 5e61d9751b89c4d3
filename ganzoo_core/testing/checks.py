"""The checks by name: what each says of a part, and of which kinds of parts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganzoo_core.discovery.manifest import KINDS

if TYPE_CHECKING:
    from ganzoo_core.testing.subject import Subject

DISTRIBUTION = "distribution"
FRAMEWORK_KINDS = ("models", "losses", "modifiers")
"""Kinds whose checks run once in each framework that the part is for."""


class Broken(Exception):
    """A check failed: the message says what was found and what was expected."""


class NotApplicable(Exception):
    """A check means nothing for this part, or cannot be made here: the message says why."""


@dataclass(frozen=True)
class Check:
    """One thing that a part is held to.

    Attributes:
        name: such as `same-seed`.
        kinds: of which parts; `distribution` for what is checked once for all of a plugin.
        module: where its function is; importing that may be heavy.
        says: what holds when it passes.
    """

    name: str
    kinds: tuple[str, ...]
    module: str
    says: str

    def __call__(self, subject: Subject) -> None:
        """Raise Broken or NotApplicable unless it holds."""
        module: Any = importlib.import_module(f"ganzoo_core.testing.{self.module}")
        function: Callable[[Subject], None] = getattr(module, self.name.replace("-", "_"))
        function(subject)


_TRAINED_KINDS = ("models", "losses", "modifiers")
CHECKS = (
    Check("manifest", (DISTRIBUTION,), "distribution", "the manifest can be read, and all of its parts can be used"),
    Check("wheel", (DISTRIBUTION,), "distribution", "what pip installs holds the manifest"),
    Check("readme", (DISTRIBUTION,), "distribution", "the README names each paper, and what differs from it"),
    Check("hooks", KINDS, "distribution", "the hooks of its kind are there, marked, and take what they are given"),
    Check("light", KINDS, "distribution", "importing the hooks module imports no framework"),
    Check("settings", ("models",), "models", "every preset, choice and own pick resolves"),
    Check("sizes", ("models",), "models", "images and scores have their shape and type, at each size, grey and RGB"),
    Check("bounds", ("models",), "models", "images are finite, and in [-1, 1] where the output is tanh"),
    Check("labels", ("models",), "models", "labels change G's images and D's scores exactly if it is conditional"),
    Check("features", ("models",), "models", "what the manifest says the model has is what the networks have"),
    Check("gradients", ("models",), "models", "every parameter learns in its own network's step, and no other's"),
    Check("second-order", ("models",), "models", "a gradient penalty reaches D's weights"),
    Check("terms", ("losses",), "losses", "both phases give named, finite scalars"),
    Check("needs", ("losses",), "losses", "the loss uses what its manifest says that it needs, and no more"),
    Check("penalty", ("losses",), "losses", "a term called penalty has a gradient in D"),
    Check("decision", ("losses",), "losses", "D's loss is lower where scores lie on the right side of `decision`"),
    Check("agreement", ("losses",), "losses", "values are those of plain numpy, to 1e-5"),
    Check("effect", ("modifiers",), "training", "the modifier changes what it wraps"),
    Check("learns", ("losses", "modifiers"), "training", "both networks move in training"),
    Check("finite", _TRAINED_KINDS, "training", "twenty steps stay finite"),
    Check("same-seed", _TRAINED_KINDS, "training", "the same seed gives the same losses, another seed others"),
    Check("global-state", _TRAINED_KINDS, "training", "global random state, default types and modes stay as they were"),
    Check(
        "resume", _TRAINED_KINDS, "training", "a run that goes on from a checkpoint ends in the bytes of a straight one"
    ),
    Check(
        "saved", ("models", "modifiers"), "training", "a saved generator holds every tensor and draws the same bytes"
    ),
    Check("shipped", ("models",), "shipping", "generators that the manifest lists are in the wheel, and draw"),
    Check("pure", ("schedules",), "schedules", "the values depend on the images seen alone"),
    Check("values", ("schedules",), "schedules", "the values are finite, and rates and resolutions make sense"),
    Check("images", ("datasets",), "datasets", "train, test and all are images with labels as the contract has them"),
    Check("card", ("datasets",), "datasets", "what the manifest says of the images is true"),
    Check("same-images", ("datasets",), "datasets", "reading twice gives the same bytes"),
    Check("watches", ("trackers",), "trackers", "a whole run is watched without a failure"),
    Check("own-folder", ("trackers",), "trackers", "the tracker writes into its own folder alone"),
)
"""All that a plugin is held to, in the order in which it is checked."""


def list_checks(kind: str) -> tuple[Check, ...]:
    """Those that a kind of part is held to."""
    return tuple(check for check in CHECKS if kind in check.kinds)
