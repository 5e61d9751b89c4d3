"""Writes docs/features.md: what parts may need and have, and the attributes of Python objects.

python docs/features.py
"""

from __future__ import annotations

from pathlib import Path

from ganzoo_core.discovery.manifest import DATA_FEATURES
from ganzoo_core.mix.finding import OBJECT_ATTRIBUTES
from ganzoo_core.mix.mix import FEATURES

ROOT = Path(__file__).parents[1]
MEANINGS = {  # of each of FEATURES: what it means, and who reads it
    "second_order": (
        "D's gradient with respect to images can be differentiated again with respect to D's weights, as a gradient "
        "penalty does",
        "the mix; the contract's `second-order` is left out where a model says `false`",
    ),
    "real_in_generator_step": (
        "the loss sees real images in G's phase, as `step.real`; without it they are not read there, and `step.real` "
        "is None",
        "the engines",
    ),
    "same_real_in_generator_step": (
        "G's phase goes on with D's last batch: `step.real` and `step.conditions` are those that `step.fake` was drawn "
        "beside, and G runs once",
        "the engines",
    ),
    "conditions_in_generator": (
        "G is drawn from conditions, so that each drawn image has a target; true of a model that lists `conditions`, "
        "and `has` does not say it",
        "the mix",
    ),
    "classes_output": ("D returns `classes` [N,K], logits of the classes", "the mix; the contract's `features`"),
    "features_output": (
        "D returns `features`, as feature matching compares them",
        "the mix; the contract's `features`",
    ),
    "batchnorm_in_discriminator": (
        "D normalises over the batch, so that a gradient with respect to one image depends on the others",
        "the mix; the contract's `features`",
    ),
    "batchnorm_in_generator": ("G normalises over the batch", "the mix; the contract's `features`"),
}
EXTRACTORS = {  # of extractors, asked for by the `needs` of metrics
    "logits": "`extract` returns logits [N,K] beside the features",
    "classes": "these logits are of the data's own classes",
}
DATA = {"labels": "every image has a class, in the training part and in the test part"}  # asked for by extractors
RUN = {  # of the run that is scored, asked for by the `needs` of metrics
    "pairs": "`fake.targets`, which images have that were drawn from the conditions of real ones: the metric is "
    "computed for these, and left out for others",
    "training_images": "the metric is called with two more keywords: `training`, the features of the images that were "
    "trained on, and `held_out`, those of others of the same data, or None",
}
ATTRIBUTES = {  # of each of OBJECT_ATTRIBUTES: what it means, what holds without it, who reads it
    ("models", "conditional"): ("the network is called with labels, `G(z, labels)` or `D(images, labels)`", "false",
                                "the mix, the engines"),
    ("models", "output_range"): ("of G: `tanh` for images in [-1, 1], `linear` for unbounded ones", "`tanh`",
                                 "the saved generator's card"),
    ("models", "latent"): ("of G: the distribution of z, `normal`, `uniform` or `sphere`; `none` for z of [N,0]",
                           "`normal`", "the engines"),
    ("models", "conditions"): ("names of the conditions that the network is called with, as keywords", "none",
                               "the mix, the engines"),
    ("models", "discriminator_takes"): ("what else D is called with: `latent`, the z of each batch", "none",
                                        "the engines"),
    ("models", "drawn_alone"): ("of G: each image is drawn by itself, in training mode, so with dropout", "false",
                                "the saved generator's card"),
    ("models", "has"): ("the features in the first table, each true or false", "as in the first table", "the mix"),
    ("losses", "needs"): ("the features that it needs", "`real_in_generator_step`", "the mix, the engines"),
    ("losses", "has"): ("features that it adds, such as `r1_penalty`", "none", "the mix, for `doubles`"),
    ("losses", "takes"): ("values of the schedule that it reads from `step.values` in place of a setting", "none",
                          "the mix, for its notes"),
    ("losses", "decision"): ("the score above which D calls an image real, or `pair`", "no accuracies", "the engines"),
    ("losses", "probability"): ("the function from D's score to a probability, `sigmoid`", "no probabilities",
                                "the engines"),
    ("losses", "clip_discriminator"): ("D's weights are clipped to this magnitude after its step", "not clipped",
                                       "the engines"),
}  # fmt: skip
BESIDES = (  # attributes of the object itself, also where a plugin made it
    (
        "network",
        "grow(resolution)",
        "adds the layers up to that resolution",
        "the networks have one size",
        "the engines",
    ),
    (
        "loss",
        "memory",
        "what it keeps from step to step, by name, with what each starts with",
        "none",
        "the engines",
    ),
    ("extractor", "facts", "what its features depend on", "refused", "`ganzoo evaluate`, which records them"),
)
HEAD = """# What parts need and have

`needs` of a loss or modifier, and `has` of a model, are checked against each other before anything is imported.
`no_FEATURE` in `needs` asks that the model lacks it. `has.FEATURE` is `true`, `false`, or decided by a setting:
`{ setting = "model.norm", is = "batch" }` or `{ setting = "loss.gamma", above = 0.0 }`; where `choices` of that setting
hold a value that meets the need, the mix takes it and says so. What a loss or a modifier `has` may also be a list of
these, all of which must hold.
`python docs/features.py` writes this page.
"""
OWN = """
Any other name is an agreement between plugins. One that ends in `_in_generator` or `_in_discriminator` is looked up in
that network's model, any other in both: it is there if either has it. A loss or a modifier may have features too, such
as `r1_penalty` and `r2_penalty`: `doubles` of a modifier names those that should be there once, and the mix warns of
a second.
"""


def page() -> str:
    """The page, from the features and attributes that the core knows."""
    networks = {"discriminator": "D", "generator": "G", "": "either"}
    features = [
        (f"`{name}`", networks[network], MEANINGS[name][0], "true" if assumed else "false", MEANINGS[name][1])
        for name, (network, assumed) in FEATURES.items()
    ]
    extractors = [(f"`{name}`", meaning) for name, meaning in EXTRACTORS.items()]
    attributes = [
        ("network" if kind == "models" else "loss", f"`{attribute}`", f"`{field}`", *ATTRIBUTES[kind, attribute])
        for kind, fields in OBJECT_ATTRIBUTES.items()
        for attribute, field in fields.items()
    ]
    attributes += [(of, f"`{name}`", "", *rest) for of, name, *rest in BESIDES]
    return "\n".join(
        [
            HEAD,
            _table("feature", "of", "what it means", "if a manifest does not say", "read by", rows=features),
            OWN,
            "## Extractors\n\n`has` of an extractor, asked for by `needs` of a metric; `ganzoo evaluate` reads both.\n",
            _table("feature", "what it means", rows=extractors),
            "\nA metric may also need something of the run that is scored.\n",
            _table("feature", "what it means", rows=[(f"`{name}`", meaning) for name, meaning in RUN.items()]),
            "\n`needs` of an extractor is what the data must have. Of the extractors marked as default the first whose "
            "needs are\nmet is used, the most demanding one first.\n",
            _table("feature", "what it means", rows=[(f"`{name}`", DATA[name]) for name in DATA_FEATURES]),
            "\n## Attributes of Python objects\n\nA network or a loss passed to `gz.train` has no manifest. These "
            "attributes stand for its fields, with the same\nvalues; any other value is refused.\n",
            _table("of", "attribute", "field", "what it means", "without it", "read by", rows=attributes),
            "",
        ]
    )


def _table(*head: str, rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    (ROOT / "docs" / "features.md").write_text(page(), encoding="utf-8")
