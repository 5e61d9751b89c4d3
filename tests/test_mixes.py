"""Every mix of a framework's parts on `digits`: it trains three steps and stays finite, or is refused in a sentence.

What is found is the table in docs/mixes.md; `python tests/test_mixes.py` writes it anew.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ganzoo_core import mix
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.training import assemble, setup

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "mixes.md"
OURS = {path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")}
FRAMEWORKS = ("torch", "tensorflow")
TRAINS = "trains"
SMALL = {
    "generator.width": 4,
    "discriminator.width": 4,
    "model.latent_dim": 8,
    "data.size": 16,
    "train.batch_size": 4,
    "train.sample_count": 2,
    "engine.threads": 1,
}

CONDITIONED = {"data.size": 32, "data.derive": "edges"}  # beside these, where a network takes a picture
PICTURES = ("pix2pix-torch",)  # models whose networks do


@dataclass(frozen=True)
class Names:
    """A mix by the names of its parts; None for the one that the generator's model picks by itself."""

    generator: str
    discriminator: str
    loss: str | None = None
    schedule: str | None = None

    def __str__(self) -> str:
        return "/".join(name or "own" for name in (self.generator, self.discriminator, self.loss, self.schedule))


def names_of(kind: str, framework: str) -> list[str]:
    """This repository's parts of a kind that go with a framework."""
    ours = [part for part in catalog.scan().list_kind(kind) if part.distribution in OURS]
    return sorted(part.name for part in ours if framework in (part.frameworks or (framework,)))


def pairs(framework: str) -> list[tuple[str, str]]:
    models = names_of("models", framework)
    return list(itertools.product(models, models))


def shown(framework: str) -> list[Names]:
    """Each pair with each loss, and with each schedule."""
    with_losses = [
        Names(*pair, loss, "constant") for pair in pairs(framework) for loss in names_of("losses", framework)
    ]
    return with_losses + [
        Names(*pair, None, name) for pair in pairs(framework) for name in names_of("schedules", framework)
    ]


def every(framework: str) -> list[Names]:
    """All of the product that `shown` leaves out."""
    schedules = [name for name in names_of("schedules", framework) if name != "constant"]
    losses = names_of("losses", framework)
    return [Names(*pair, *rest) for pair in pairs(framework) for rest in itertools.product(losses, schedules)]


def outcome(names: Names, folder: Path) -> str:
    """`trains`, or the sentence in which the mix is refused.

    Raises:
        AssertionError: if it trains and a term is not finite.
    """
    picks = {"data": "digits", **{slot: name for slot, name in vars(names).items() if name is not None}}
    settings = dict(SMALL)
    if {names.generator, names.discriminator} & set(PICTURES):
        settings |= CONDITIONED
    if names.schedule == "progressive":  # 16 pixels are two doublings: five phases
        settings |= {"schedule.stable_images": 0, "schedule.fade_images": 0}
    try:
        resolved = mix.resolve(
            catalog.scan(), mix.Request(picks=picks, assigned=settings, flags={"train.length": ("3steps", "--steps")})
        )
        runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=folder)
    except UsageError as error:
        return str(error)
    assert runner.run()
    (line,) = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    terms = {name: value for name, value in line.items() if "/" in name}
    assert line["step"] == 3
    assert {name.split("/")[0] for name in terms} == {"generator", "discriminator"}
    assert all(value is not None and math.isfinite(value) for value in terms.values()), terms
    return TRAINS


def quick_or_slow(names: Names, framework: str) -> Any:
    """What the quick part tries.

    In PyTorch each model by itself, and each with dcgan-torch's networks. TensorFlow traces each mix and takes seconds
    for it: each pair with its own loss, and with the schedule that grows, and dcgan-tf by itself with all of them.
    """
    pair = {names.generator, names.discriminator}
    if framework == "tensorflow":
        quick = pair == {"dcgan-tf"} or (names.loss is None and names.schedule in ("constant", "progressive"))
    else:
        quick = len(pair) == 1 or "dcgan-torch" in pair
    return pytest.param(names, id=str(names), marks=[] if quick else [pytest.mark.slow])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "names", [quick_or_slow(names, framework) for framework in FRAMEWORKS for names in shown(framework)]
)
def test_a_mix_trains_or_is_refused_as_documented(names: Names, tmp_path: Path) -> None:
    found = outcome(names, tmp_path / "run")
    assert found == TRAINS or is_a_sentence(found)
    assert DOCUMENTED[names] == found, "docs/mixes.md says otherwise; run: python tests/test_mixes.py"


@pytest.mark.slow
@pytest.mark.parametrize("names", [names for framework in FRAMEWORKS for names in every(framework)], ids=str)
def test_every_mix_trains_or_is_refused(names: Names, tmp_path: Path) -> None:
    found = outcome(names, tmp_path / "run")
    assert found == TRAINS or is_a_sentence(found)


def is_a_sentence(text: str) -> bool:
    """It says what does not fit and what to do: one line, two halves."""
    return "\n" not in text and len(text.split()) > 8 and (";" in text or ", and" in text)


def documented(text: str) -> dict[Names, str]:
    """What the tables in docs/mixes.md say of each mix."""
    stated: dict[Names, str] = {}
    for section in text.split("\n## ")[1:]:
        reasons = dict(line.rstrip(".").split(". ", 1) for line in section.splitlines() if line[:1].isdigit())
        head, _, *rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
        for generator, discriminator, *cells in rows:
            for name, mark in zip(head[2:], cells, strict=True):
                kind = (name, "constant") if "each loss" in section.splitlines()[0] else (None, name)
                stated[Names(generator, discriminator, *kind)] = TRAINS if mark == "✓" else reasons[mark]
    return stated


DOCUMENTED = documented(DOCUMENT.read_text(encoding="utf-8")) if DOCUMENT.exists() else {}


def test_every_mix_is_documented() -> None:
    assert set(DOCUMENTED) == {names for framework in FRAMEWORKS for names in shown(framework)}
    assert document(DOCUMENTED) == DOCUMENT.read_text(encoding="utf-8")


def document(found: dict[Names, str]) -> str:
    """The tables, with a footnote for each reason."""
    lines = [
        "# What goes with what",
        "",
        "Generated by `python tests/test_mixes.py`, which trains each of these for three steps on `digits`; the tests",
        "do so with many, and `pytest -m slow tests/test_mixes.py` with all and each loss with each schedule besides.",
        "✓ trains, a number says why not.",
    ]
    for framework, title in zip(FRAMEWORKS, ("PyTorch", "TensorFlow"), strict=True):
        for kind, of in (("losses", "loss"), ("schedules", "schedule")):
            columns = names_of(kind, framework)
            reasons: list[str] = []
            rows = []
            for pair in pairs(framework):
                mixes = [
                    Names(*pair, name, "constant") if of == "loss" else Names(*pair, None, name) for name in columns
                ]
                rows.append([*pair, *(cell(found[names], reasons) for names in mixes)])
            lines += ["", f"## {title}: each pair of networks with each {of}", ""]
            lines += table(["generator", "discriminator", *columns], rows)
            lines += ["", *(f"{number}. {reason}." for number, reason in enumerate(reasons, 1))]
    return "\n".join(lines) + "\n"


def cell(found: str, reasons: list[str]) -> str:
    if found == TRAINS:
        return "✓"
    if found not in reasons:
        reasons.append(found)
    return str(reasons.index(found) + 1)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def main() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, names in enumerate(names for framework in FRAMEWORKS for names in shown(framework)):
            found[names] = outcome(names, Path(folder) / str(number))
            print(names, "|", found[names], file=sys.stderr)
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(found), encoding="utf-8")


if __name__ == "__main__":
    main()
