"""What a run's pictures, and those that its first weights learnt from, are under: it covers what the run draws."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import generators, layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.settings import read_facts
from ganzoo_core.storage import files


def find_licences(source: Path | None) -> list[str]:
    """The licences of all that a run, or a saved generator, learnt from.

    Args:
        source: a run, a checkpoint in it, or a saved generator; None for nothing.

    Raises:
        UsageError: if its card or its `config.yaml` cannot be read.
    """
    if source is None:
        return []
    if files.describe(source / layout.CARD):
        return merge_licences([read_card(source).license])
    run = source if files.is_file(source / layout.CONFIG) else source.parents[1]
    kept = read_facts(run / layout.CONFIG).licences
    if kept is None:  # of a run from before they were kept there
        with suppress(UsageError):
            kept = [read_card(generators.find_generator(run)).license]
    return merge_licences(kept or ())


def merge_licences(licences: Iterable[str]) -> list[str]:
    """Each once, in their order; one that another names already is left out."""
    found: list[str] = []
    for licence in licences:
        if licence and not any(licence in other for other in found):
            found.append(licence)
    return found
