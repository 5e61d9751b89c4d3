"""Licences of a run's training data and of its initial weights' training data; they apply to generated images too."""

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
    """The licences of all data that a run or saved generator was trained on, directly or through its initial weights.

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
    licences = read_facts(run / layout.CONFIG).licences
    if licences is None:  # runs of older versions do not record them
        with suppress(UsageError):
            licences = [read_card(generators.find_generator(run)).license]
    return merge_licences(licences or ())


def merge_licences(licences: Iterable[str]) -> list[str]:
    """Remove duplicates, keeping the order; a licence contained in an earlier one is dropped too."""
    merged: list[str] = []
    for licence in licences:
        if licence and not any(licence in earlier for earlier in merged):
            merged.append(licence)
    return merged
