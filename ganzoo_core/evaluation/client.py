"""Scores from another process, in which the scoring framework is loaded and this one's is not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation.request import ScoreRequest
from ganzoo_core.processes import Child, ChildEnded, Say
from ganzoo_core.runs.scores import Score


def say_nothing(text: str) -> None:
    """Say nothing."""


class Scorer:
    """Scores images, as often as it is asked. A context; the process behind it ends with it, or with this one.

    The data is read, the extractor made and the reference looked at once, when it starts. `score` waits for the answer.

    Args:
        request: what is scored by what; see `pose`.
        say: told what takes long.
        attempts: times that the process is started, where it ends before it is ready.

    Attributes:
        facts: what the extractor says of itself: `accuracy` among it, for one that knows the data's classes.
        reference_count: images that are compared with.
        data_changes: what differs between the data and those that the run was trained on, in words.

    Raises:
        GanzooError: if the data, the extractor or a metric cannot be had. Then no process is left.
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
        """Start the process again, after it ended; raises GanzooError if it ends at once."""
        child, _ = self._start()
        self._child.close()
        self._child = child

    def score(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        seed: int = 0,
        seen: int | None = None,
        ema: bool | None = None,
        **more: Any,
    ) -> Score:
        """Score images.

        Args:
            images: uint8 [N,H,W,C], of any size: they are resized to the data's own.
            labels: int64 [N], the classes that a conditional generator was asked for; None without.
            seed: of the metrics' random numbers, and of the noise that the images were drawn from.
            seen: real images that the generator had seen.
            ema: whether it is a moving average.
            more: what else is kept with the score.

        Raises:
            ChildEnded: if the process has ended; see `restart`.
            GanzooError: if a metric refuses, such as for too few images.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise UsageError(f"images are {images.dtype} {list(images.shape)}; expected uint8 [N,H,W,C]")
        path = self._folder / "images.npy"
        np.save(path, images, allow_pickle=False)
        if labels is not None:
            np.save(self._folder / "labels.npy", np.asarray(labels, np.int64), allow_pickle=False)
        request = {"images": str(path), "labels": str(self._folder / "labels.npy") if labels is not None else None}
        return self.score_files(request, seed=seed, seen=seen, ema=ema, **more)

    def score_files(
        self, files: Mapping[str, Any], *, seed: int, seen: int | None, ema: bool | None, **more: Any
    ) -> Score:
        """The same of what lies in files: `images` and `labels`, paths to .npy, the latter may be None."""
        found = self._child.ask({**files, "seed": seed}, self._say)
        score = Score(images=seen, **found, extra=more)
        return replace(score, protocol={**score.protocol, "ema": ema})

    def close(self) -> None:
        """End the process."""
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
