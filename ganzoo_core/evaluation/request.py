"""Resolve and check a score request (data, extractor, metrics, settings) before any framework is imported."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ganzoo_core.discovery import catalog
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import UsageError
from ganzoo_core.frameworks import get_framework
from ganzoo_core.mix.finding import OBJECT, read_dataset_argument
from ganzoo_core.runs import folder, layout
from ganzoo_core.settings import CORE_SETTINGS, expand_key, find_kind, read_config, read_run_config, read_value
from ganzoo_core.storage import files

INSTALL_COMMAND = 'pip install "ganzoo-core[scores]"'
Pair = tuple[Part, list[Part]]  # an extractor and metrics
PAIRS = "pairs"  # what a metric needs that compares each image with its target
TRAINING_IMAGES = "training_images"  # a metric needs it of the run; its other needs are of the extractor
REFERENCES = ("test", "train", "all")  # splits that can be the reference


@dataclass(frozen=True)
class Candidate:
    """An extractor that may look at the images, with the metrics that are computed from its features.

    Attributes:
        extractor: `distribution/name`; `options` are its settings.
        metrics: settings by `distribution/name`.
    """

    extractor: str
    options: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ScoreRequest:
    """The request to the scoring process, in JSON types.

    Attributes:
        data: `distribution/name` of the data set; `argument` is the text after its colon.
        data_options: `data.*`.
        data_root: folder of the data sets.
        reference: the split to compare with.
        candidates: in order; the first that can serve the data is used, which is known once they are read.
        alternatives: default extractors to advise if no candidate can serve the data, by `distribution/name`: the
            options that do not fit each, such as `--metrics`, in words; "" for none. Those that all fit come first.
        required_metrics: `distribution/name` of those that the user named or set something of: if one refuses, that is
            an error; the others are left out then.
        score_real_images: also compute the scores between two halves of the reference.
        run: folder of the scored run, whose training data are compared with these; "" for none.
        split: the split that the run was trained on.
    """

    data: str
    argument: str
    data_options: Mapping[str, Any]
    data_root: str
    reference: str
    candidates: Sequence[Candidate]
    alternatives: Mapping[str, str] = field(default_factory=dict)
    required_metrics: Sequence[str] = ()
    score_real_images: bool = True
    run: str = ""
    split: str = "train"

    def as_json(self) -> dict[str, Any]:
        """As JSON types, for the scoring process."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ScoreRequest:
        """The request from `as_json`."""
        return cls(**{**fields, "candidates": [Candidate(**candidate) for candidate in fields["candidates"]]})


def make_request(
    *,
    data: str,
    data_settings: Mapping[str, Any],
    data_root: str | Path | None = None,
    reference: str = "test",
    extractor: str | None = None,
    metrics: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    score_real_images: bool = True,
    run: Path | None = None,
) -> ScoreRequest:
    """Make a score request from names and settings as the user gave them.

    Args:
        data: `NAME` or `NAME:ARGUMENT`.
        data_settings: `data.*`, as text or typed.
        data_root: see `building.find_data_root`.
        reference: `test`, `train` or `all`.
        extractor: a name; None for the first of the extractors marked as default that can serve the data. A setting of
            one of those picks it, too.
        metrics: names; None for all metrics marked as default that fit the extractor.
        settings: of the extractor and the metrics, by full key such as `metric.NAME.subsets` or its last part.
        score_real_images: also compute the scores between two halves of the reference.
        run: folder of the scored run; changes in its data are reported.

    Raises:
        UsageError: if a part is not installed, or parts or settings do not fit together.
    """
    from ganzoo_core.building import find_data_root  # imports this module for scores during training

    installed = catalog.scan()
    name, _, argument = data.partition(":")
    dataset = installed.find("datasets", name)
    if reference not in REFERENCES:
        raise UsageError(f"the reference is {reference!r}; expected {', '.join(REFERENCES)}")
    pairs = _keep_runnable(_pair_with_metrics(installed, metrics, _find_extractors(installed, extractor)))
    typed, overridden = _read_settings([part for pair in pairs for part in (pair[0], *pair[1])], settings or {})
    picked = [pair for pair in pairs if overridden & set(pair[0].defaults)]
    candidates = [
        Candidate(
            part.qualified_name,
            _select_own_settings(part, typed),
            {metric.qualified_name: _select_own_settings(metric, typed) for metric in parts},
        )
        for part, parts in picked or pairs
    ]
    return ScoreRequest(
        data=dataset.qualified_name,
        argument=read_dataset_argument(dataset, argument),
        data_options=_read_data_options(dataset, data_settings),
        data_root=str(find_data_root(data_root)),
        reference=reference,
        candidates=candidates,
        alternatives=_find_alternatives(installed, metrics, candidates, overridden),
        required_metrics=[
            part.qualified_name
            for part in installed.list_kind("metrics")
            if any(part in parts for _, parts in pairs) and (metrics is not None or overridden & set(part.defaults))
        ],
        score_real_images=score_real_images,
        run="" if run is None else str(run.absolute()),
        split=str(data_settings.get("data.split", CORE_SETTINGS["data.split"].default)),
    )


def read_run_data(run: Path) -> tuple[str, dict[str, Any]]:
    """The name of a run's training data, and its settings `data.*`.

    Raises:
        UsageError: if it is not a run, or its images were given as an object.
    """
    if not files.is_file(run / layout.CONFIG):
        raise UsageError(f"{run} holds no {layout.CONFIG}, so it is no run's folder; name one, such as runs/NAME-1")
    config = read_run_config(run / layout.CONFIG)
    name = str(config.get("use.data", ""))
    if name in ("", OBJECT):
        raise UsageError(
            f"{run} learnt from an object that was given in Python, which cannot be found again; say --data NAME, the "
            "dataset that holds these images"
        )
    return name, {key: value for key, value in config.items() if key.startswith("data.")}


def has_ema(run: Path) -> bool:
    """Whether a run saves a moving average of its generator."""
    halflife = read_config(run / layout.CONFIG).get("train.ema_halflife", "0")
    stats = folder.RunFolder(run).read_stats()
    return str(halflife) != "0" or (bool(stats) and "ema_halflife" in stats[-1])  # a schedule may set it, too


def _find_extractors(installed: catalog.Catalog, name: str | None) -> list[Part]:
    """The named extractor, or the default ones in the order in which they are tried."""
    if not any(part.kind == "extractors" for part in installed.parts):
        raise UsageError(f"nothing that images are scored with is installed; {INSTALL_COMMAND}")
    if name is not None:
        return [installed.find("extractors", name)]
    parts = installed.list_default_extractors()
    if not parts:
        names = ", ".join(part.name for part in installed.list_kind("extractors"))
        raise UsageError(
            f"no extractor is the default one; `ganzoo evaluate RUN --extractor NAME` takes one of {names}"
        )
    return parts


def _pair_with_metrics(
    installed: catalog.Catalog, names: Sequence[str] | None, extractors: Sequence[Part]
) -> list[Pair]:
    """Each extractor that the metrics fit, with them; by default those marked as default that fit it."""
    if names is None:
        usual = [part for part in installed.parts if part.kind == "metrics" and part.default]
        pairs = [(part, [metric for metric in usual if not _list_lacking(metric, part)]) for part in extractors]
        pairs = [(part, metrics) for part, metrics in pairs if metrics]
        if not pairs:
            raise UsageError(f"no metric is installed that fits the extractor {extractors[0].name}; {INSTALL_COMMAND}")
        return pairs
    parts = list({part.qualified_name: part for part in (installed.find("metrics", name) for name in names)}.values())
    if not parts:
        raise UsageError("no metric is named; `ganzoo list metrics` shows them")
    fitting = [part for part in extractors if not any(_list_lacking(metric, part) for metric in parts)]
    if not fitting:
        _refuse_metrics(installed, parts, extractors[0])
    return [(part, parts) for part in fitting]


def explain_misfit(metric: Part, extractor: Part) -> str:
    """What a metric needs and an extractor does not give, in words; "" if they fit."""
    lacking = " and ".join(_list_lacking(metric, extractor))
    return f"{metric.name} needs {lacking}, which the extractor {extractor.name} does not give" if lacking else ""


def _list_lacking(metric: Part, extractor: Part) -> list[str]:
    """What a metric needs and an extractor does not give; pairs and training images come from the run."""
    return [
        need for need in metric.needs if need not in (PAIRS, TRAINING_IMAGES) and not extractor.has.get(need, False)
    ]


def _refuse_metrics(installed: catalog.Catalog, metrics: Sequence[Part], extractor: Part) -> NoReturn:
    metric = next(metric for metric in metrics if _list_lacking(metric, extractor))
    fitting = [
        part.name
        for part in installed.list_kind("extractors")
        if not any(_list_lacking(metric, part) for metric in metrics)
    ]
    advice = f"; say --extractor {' or '.join(fitting)}" if fitting else ""
    raise UsageError(f"the metric {explain_misfit(metric, extractor)}{advice}")


def _keep_runnable(pairs: Sequence[Pair]) -> list[Pair]:
    """Those whose frameworks are installed; raises UsageError if there are none."""
    runnable, errors = [], []
    for extractor, metrics in pairs:
        try:
            _check_frameworks(extractor, *metrics)
        except UsageError as error:
            errors.append(error)
        else:
            runnable.append((extractor, metrics))
    if not runnable:
        raise errors[0]
    return runnable


def _find_alternatives(
    installed: catalog.Catalog, metrics: Sequence[str] | None, candidates: Sequence[Candidate], overridden: set[str]
) -> dict[str, str]:
    """`ScoreRequest.alternatives`: default extractors that are no candidates, with the metrics and without.

    Those of plugins that `--no-plugin` leaves out come last.
    """
    tried = {candidate.extractor for candidate in candidates}
    alternatives: dict[str, str] = {}
    every = catalog.scan(with_left_out=True)
    for found, names in itertools.product((installed, every), (metrics,) if metrics is None else (metrics, None)):
        try:
            pairs = _keep_runnable(_pair_with_metrics(found, names, _find_extractors(found, None)))
        except UsageError:
            continue
        for part, parts in pairs:
            if part.qualified_name not in tried:
                unfit = [] if names is metrics else ["--metrics"]
                known = {key for one in (part, *parts) for key in one.defaults}
                unfit += [f"--set {key}" for key in sorted(overridden - known)]
                left_out = {one.distribution for one in (part, *parts) if one not in installed.parts}
                unfit += [f"--no-plugin {name}" for name in sorted(left_out)]
                alternatives.setdefault(part.qualified_name, " and ".join(unfit))
    return alternatives


def _check_frameworks(*parts: Part) -> None:
    for part in parts:
        if part.frameworks and not any(get_framework(name).is_installed() for name in part.frameworks):
            raise UsageError(
                f"{part.name} needs {' or '.join(part.frameworks)}, which is not installed; {INSTALL_COMMAND}"
            )


def _read_settings(parts: Sequence[Part], overrides: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """All settings of these parts, typed, with `overrides` applied; and the full keys of the latter."""
    known = {key: value for part in parts for key, value in part.defaults.items()}
    typed, overridden = dict(known), set()
    for word, value in overrides.items():
        try:
            key = expand_key(word, known)
        except UsageError as error:
            advice = "`ganzoo info NAME` lists those of an extractor or a metric"
            raise UsageError(str(error).replace("`ganzoo info MODEL` lists them", advice)) from None
        typed[key] = read_value(key, find_kind(key, known[key]), value)
        overridden.add(key)
    return typed, overridden


def _select_own_settings(part: Part, typed: Mapping[str, Any]) -> dict[str, Any]:
    return {key.split(".", 2)[2]: typed[key] for key in part.defaults}


def _read_data_options(dataset: Part, data_settings: Mapping[str, Any]) -> dict[str, Any]:
    """`data.*` without the prefix, typed, and without `data.split`, which the worker sets per split."""
    options = {
        key: setting.default
        for key, setting in CORE_SETTINGS.items()
        if key.startswith("data.") and key != "data.split"
    }
    options |= dict(dataset.defaults)
    for key in options:
        if key in data_settings:
            options[key] = read_value(key, find_kind(key, dataset.defaults.get(key, options[key])), data_settings[key])
    return {key.removeprefix("data."): value for key, value in options.items()}
