"""Client of the scoring process, so that the scoring framework and this process's are never loaded together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.classes import Classes
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.request import ScoreRequest
from ganzoo_core.processes import Child, ChildEnded, Say
from ganzoo_core.runs.scores import Score


def say_nothing(text: str) -> None:
    """Say nothing."""


class Scorer:
    """Scores images in a child process. A context manager; the process ends with it, or with the parent process.

    The data, the extractor and the reference features are loaded once, at the start. `score` blocks until the answer.

    Args:
        request: data, extractor and metrics; see `make_request`.
        say: receives progress messages.
        attempts: how often to start the process if it ends before it is ready.

    Attributes:
        facts: the extractor's facts, with its `balanced_accuracy` if it is a classifier of the data's classes.
        reference_count: number of reference images.
        classes: of the data.
        data_changes: differences between the data and the run's training data, in words.

    Raises:
        GanzooError: if the data, the extractor or a metric cannot be loaded; the process has ended then.
    """

    def __init__(self, request: ScoreRequest, *, say: Say = say_nothing, attempts: int = 1) -> None:
        self._say, self._request = say, request
        self._folder = Path(tempfile.mkdtemp(prefix="ganzoo-scores-"))
        try:
            self._child, ready = self._start(attempts)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.facts: Mapping[str, Any] = ready["facts"]
        self.reference_count: int = ready["reference_count"]
        self.classes = Classes(ready["class_names"])
        self.data_changes: list[str] = ready["data_changes"]

    def _start(self, attempts: int = 1) -> tuple[Child, dict[str, Any]]:
        child = Child("ganzoo_core.evaluation.worker", "scores the images")
        try:
            return child, child.ask({"question": self._request.as_json()}, self._say)
        except BaseException as error:
            child.close()
            if not isinstance(error, ChildEnded) or attempts == 1:
                raise
            self._say(f"{error}; it is started again")
        return self._start(attempts - 1)

    def restart(self) -> None:
        """Restart the process after it ended; raises GanzooError if it ends before it is ready."""
        child, _ = self._start()
        self._child.close()
        self._child = child

    def score(
        self,
        images: np.ndarray,
        labels: str | int | Sequence[str | int] | np.ndarray | None = None,
        *,
        seed: int = 0,
        seen: int | None = None,
        ema: bool | None = None,
        **more: Any,
    ) -> Score:
        """Score images.

        Args:
            images: uint8 [N,H,W,C], of any size; they are resized to the data's original size.
            labels: N classes, or one for all, that a conditional generator was told; None for an unconditional one.
                Left out, with a message, if the data have no classes.
            seed: of the metrics' random numbers, and of the noise from which the images were drawn.
            seen: real images seen by the generator.
            ema: whether the generator is a moving average.
            more: further keys to store with the score; see `Score.extra`.

        Raises:
            ChildEnded: if the process has ended; see `restart`.
            GanzooError: if a metric refuses, such as for too few images.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise UsageError(f"images are {images.dtype} {list(images.shape)}; expected uint8 [N,H,W,C]")
        if labels is not None and not self.classes:
            self._say("the data have no classes: labels are left out")
            labels = None
        path = self._folder / "images.npy"
        np.save(path, images, allow_pickle=False)
        if labels is not None:
            found = self.classes.read_labels(labels, count=len(images))
            np.save(self._folder / "labels.npy", found, allow_pickle=False)
        request = {"images": str(path), "labels": str(self._folder / "labels.npy") if labels is not None else None}
        return self.score_files(request, seed=seed, seen=seen, ema=ema, **more)

    def score_files(
        self, files: Mapping[str, Any], *, seed: int, seen: int | None, ema: bool | None, **more: Any
    ) -> Score:
        """As `score`, but from .npy files: the paths `images` and `labels`; the latter may be None."""
        answer = self._child.ask({**files, "seed": seed}, self._say)
        score = Score(images=seen, **answer, extra=more)
        return replace(score, protocol={**score.protocol, "ema": ema})

    def close(self) -> None:
        """End the process."""
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
