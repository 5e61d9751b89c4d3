"""The checks by name, with the kinds of parts that they apply to."""

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
"""Kinds whose checks run once in each framework that the part supports."""


class Broken(Exception):
    """A check failed: the message says what was found and what was expected."""


class NotApplicable(Exception):
    """A check does not apply to this part, or cannot run here: the message says why."""


@dataclass(frozen=True)
class Check:
    """One check of a part.

    Attributes:
        name: such as `same-seed`.
        kinds: kinds of parts that it applies to; `distribution` for a check that runs once per plugin.
        module: the module of its function, imported only when the check runs, since it may import a framework.
        says: what is true if it passes.
    """

    name: str
    kinds: tuple[str, ...]
    module: str
    says: str

    def __call__(self, subject: Subject) -> None:
        """Run the check; raise Broken if it fails, NotApplicable if it does not apply."""
        module: Any = importlib.import_module(f"ganzoo_core.testing.{self.module}")
        function: Callable[[Subject], None] = getattr(module, self.name.replace("-", "_"))
        function(subject)


_TRAINED_KINDS = ("models", "losses", "modifiers")
CHECKS = (
    Check("manifest", (DISTRIBUTION,), "distribution", "the manifest has no warning, and its parts can be used"),
    Check("wheel", (DISTRIBUTION,), "distribution", "what pip installs holds the manifest"),
    Check("readme", (DISTRIBUTION,), "distribution", "the README names each paper, and what differs from it"),
    Check("hooks", KINDS, "distribution", "the hooks of its kind are there, marked, and take what they are given"),
    Check("light", KINDS, "distribution", "importing the hooks module imports no framework"),
    Check("settings", ("models",), "models", "every preset, choice and own pick resolves"),
    Check("sizes", ("models",), "models", "images and scores have their shape and type, at each size, grey and RGB"),
    Check("bounds", ("models",), "models", "images are finite, and in [-1, 1] where the output is tanh"),
    Check("labels", ("models",), "models", "labels change G's images and D's scores exactly if it is conditional"),
    Check("conditions", ("models",), "models", "each condition changes the outputs of the networks that take it"),
    Check("features", ("models",), "models", "what the manifest says the model has is what the networks have"),
    Check("gradients", ("models",), "learning", "every parameter learns in its own network's step, and no other's"),
    Check(
        "second-order",
        ("models",),
        "learning",
        "a gradient penalty reaches D's weights, where the gradient depends on them",
    ),
    Check("terms", ("losses",), "losses", "both phases give named, finite scalars"),
    Check("rounds", ("losses",), "losses", "both phases give and log the same names in every round"),
    Check("memory", ("losses",), "losses", "what the loss remembers keeps its shape and type, is finite, and is used"),
    Check("needs", ("losses",), "losses", "the loss uses what its manifest says that it needs, and no more"),
    Check("penalty", ("losses",), "losses", "a term called penalty has a gradient in D"),
    Check("decision", ("losses",), "losses", "D's loss is lower where scores lie on the right side of `decision`"),
    Check(
        "agreement", ("losses",), "losses", "values are those of plain numpy, to 1e-5, unless it is for one framework"
    ),
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
    Check("gives", ("schedules",), "schedules", "`gives` names each value that is the same whatever the settings"),
    Check("images", ("datasets",), "datasets", "train, test and all are images with labels as the contract has them"),
    Check("card", ("datasets",), "datasets", "what the manifest says of the images is true"),
    Check("same-images", ("datasets",), "datasets", "reading twice gives the same bytes"),
    Check("watches", ("trackers",), "trackers", "a whole run is watched without a failure"),
    Check("own-folder", ("trackers",), "trackers", "the tracker writes into its own folder alone"),
)
"""All checks, in the order in which they run."""


def list_checks(kind: str) -> tuple[Check, ...]:
    """The checks that apply to a kind of part."""
    return tuple(check for check in CHECKS if kind in check.kinds)
