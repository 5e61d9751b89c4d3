"""Choose the extractor of a score request: the first candidate that can serve the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ganzoo_core.api import ImageSource
from ganzoo_core.discovery import answers, catalog, loading
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import DataError, UsageError
from ganzoo_core.evaluation.request import INSTALL_COMMAND, Candidate, ScoreRequest
from ganzoo_core.image_source import MAX_CLASS_NAME
from ganzoo_core.processes import Say

MAX_REASON = MAX_CLASS_NAME  # characters, as many as `scores.jsonl` allows in any text


class Choice(NamedTuple):
    """The extractor that looks at the images.

    Attributes:
        candidate: with its settings and metrics.
        part: its card.
        extractor: what its hook returned; see `api.Extractor`.
        passed_over: why each candidate before it cannot serve the data, by `distribution/name`.
    """

    candidate: Candidate
    part: Part
    extractor: Any
    passed_over: dict[str, str]


def choose_extractor(request: ScoreRequest, data: str, read_split: Callable[[str], ImageSource], say: Say) -> Choice:
    """Load the first candidate whose needs the data meet and whose hook accepts them; say why others are passed over.

    Args:
        request: with the candidates.
        data: the data set's name.
        read_split: reads a split of the data.
        say: receives progress messages.

    Raises:
        UsageError: if no candidate can serve the data, with the extractors that can.
        DataError: if the data, or what an extractor itself consists of, cannot be read.
        PluginError: if an extractor is faulty.
    """
    read_split(request.reference)  # an error here is the data's, not an extractor's
    installed = catalog.scan()
    errors: dict[str, UsageError] = {}
    for candidate in request.candidates:
        part = installed.find("extractors", candidate.extractor)
        try:
            _check_needs(part, data, read_split)
            extractor = loading.call_hook(
                "extractor",
                part,
                answers.check_extractor,
                name=part.name,
                data=data,
                source=read_split,
                say=say,
                options=candidate.options,
            )
        except UsageError as error:
            if isinstance(error, DataError) and len(request.candidates) > 1:
                raise
            errors[candidate.extractor] = error
            continue
        passed_over = {name: drop_advice(str(error)) for name, error in errors.items()}
        if passed_over:
            say(f"{'; '.join(passed_over.values())}: scored by the features of {part.name}")
        return Choice(candidate, part, extractor, passed_over)
    reasons = "; ".join(map(str, errors.values()))
    advice = _advise(request, read_split, installed)
    if advice:
        reasons += f", or {advice}" if "; " in reasons else f"; {advice}"
    raise (DataError if any(isinstance(error, DataError) for error in errors.values()) else UsageError)(reasons)


def drop_advice(sentence: str) -> str:
    """An error's reason without the advice behind its semicolon, for pages where that command does not apply."""
    return sentence.partition("; ")[0][:MAX_REASON]


def _check_needs(part: Part, data: str, read_split: Callable[[str], ImageSource]) -> None:
    unmet = _list_unmet(part, read_split)
    if unmet:
        raise UsageError(f"the images of {data} have no {' and no '.join(unmet)}, which {part.name} needs")


def _list_unmet(part: Part, read_split: Callable[[str], ImageSource]) -> list[str]:
    """Those of an extractor's needs that the data do not meet."""
    has_labels = "labels" not in part.needs or all(read_split(of).labels is not None for of in ("test", "train"))
    return [] if has_labels else ["labels"]


def _advise(request: ScoreRequest, read_split: Callable[[str], ImageSource], installed: catalog.Catalog) -> str:
    """What to type if no candidate can serve the data; "" if nothing that is known helps."""
    parts = [(installed.find("extractors", name), unfit) for name, unfit in request.alternatives.items()]
    serving = [(installed.find_short_name(part), unfit) for part, unfit in parts if not _list_unmet(part, read_split)]
    if serving:
        unfit = serving[0][1]
        names = " or ".join(name for name, words in serving if words == unfit)
        return f"say --extractor {names}" + (f" and leave {unfit} out" if unfit else "")
    if all(part.needs for part in installed.list_default_extractors()):
        return f"{INSTALL_COMMAND} brings an extractor that needs nothing of the data"
    return ""
