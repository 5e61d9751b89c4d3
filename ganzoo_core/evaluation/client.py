"""Client of the scoring process, so that the scoring framework and this process's are never loaded together."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data.classes import Classes
from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.evaluation.drawn_parts import ARRAYS, PartFiles, choose_part_size, is_drawn_ahead
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
        extracts_only: whether it only looks at images, for a process that scores them; see `extract_parts`.
        environment: of the process; None for that of this one.

    Attributes:
        facts: the extractor's facts, with its `balanced_accuracy` if it is a classifier of the data's classes.
        reference_count: number of reference images.
        classes: of the data.
        batch: of the extractor; 0 if it looks at all images at once.
        part_size: images in a part, for `score_parts`.
        conditions: what the features of images depend on, by its name in words.
        data_changes: differences between the data and the run's training data, in words.

    Raises:
        GanzooError: if the data, the extractor or a metric cannot be loaded; the process has ended then.
    """

    def __init__(
        self,
        request: ScoreRequest,
        *,
        say: Say = say_nothing,
        attempts: int = 1,
        extracts_only: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._say, self._environment = say, environment
        self._request = {"question": request.as_json(), "extracts_only": extracts_only}
        self._folder = Path(tempfile.mkdtemp(prefix="ganzoo-scores-"))
        try:
            self._child, ready = self._start(attempts)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.facts: Mapping[str, Any] = ready["facts"]
        self.reference_count: int = ready["reference_count"]
        self.classes = Classes(ready["class_names"])
        self.batch: int = ready["batch"]
        self.part_size = choose_part_size(self.batch)
        self.conditions: Mapping[str, Any] = ready["conditions"]
        self.data_changes: list[str] = ready["data_changes"]

    def _start(self, attempts: int = 1) -> tuple[Child, dict[str, Any]]:
        child = Child("ganzoo_core.evaluation.worker", "scores the images", environment=self._environment)
        try:
            return child, child.ask(self._request, self._say)
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
        targets: np.ndarray | None = None,
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
            targets: uint8, of the shape of `images`: what each of them should be, for metrics of pairs; None if there
                is no such thing.
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
        if targets is not None and (targets.dtype != np.uint8 or targets.shape != images.shape):
            raise UsageError(
                f"targets are {targets.dtype} {list(targets.shape)}; expected uint8 {list(images.shape)}, as the images"
            )
        if labels is not None and not self.classes:
            self._say("the data have no classes: labels are left out")
            labels = None
        known = None if labels is None else self.classes.read_labels(labels, count=len(images))
        return self.score_parts([images], known, targets=targets, seed=seed, seen=seen, ema=ema, **more)

    def score_parts(
        self,
        parts: Iterable[np.ndarray | Path],
        labels: np.ndarray | None,
        *,
        targets: np.ndarray | None,
        seed: int,
        seen: int | None,
        ema: bool | None,
        **more: Any,
    ) -> Score:
        """As `score`, but of images that are drawn part by part: each is looked at while the next is drawn, if
        `is_drawn_ahead`.

        Args:
            parts: uint8 [P,H,W,C], where P is a multiple of `part_size`, but for the last; or a file with the features
                of `part_size` images, or of the last, which `save_features` wrote in another process.
            labels: int64 [N], of the images of all parts, or None.
            targets: of the images of all parts, or None.
            seed, seen, ema, more: see `score`.
        """
        self.send_parts(self._save_parts(parts, labels if self.classes else None, targets))
        return self.finish(seed=seed, seen=seen, ema=ema, **more)

    def save_features(
        self,
        parts: Iterable[np.ndarray],
        labels: np.ndarray | None,
        *,
        targets: np.ndarray | None,
        paths: Iterable[Path],
    ) -> Iterator[PartFiles]:
        """Write the features of images that are drawn part by part, for another process's `score_parts`.

        Args:
            parts, labels, targets: see `score_parts`; those of these parts alone.
            paths: an .npz file for each part, which is yielded when it is there.
        """
        return self.extract_parts(self._save_parts(parts, labels if self.classes else None, targets), paths)

    def _save_parts(
        self, parts: Iterable[np.ndarray | Path], labels: np.ndarray | None, targets: np.ndarray | None
    ) -> Iterator[PartFiles]:
        first = 0
        for part in parts:
            if isinstance(part, Path):
                copy = self._folder / f"extracted-{first}.npz"  # it is removed once it was read
                shutil.copyfile(part, copy)
                yield {"extracted": str(copy)}
                first += self.part_size
                continue
            rows = slice(first, first + len(part))
            arrays = (part, None if labels is None else labels[rows], None if targets is None else targets[rows])
            paths: dict[str, str | None] = dict.fromkeys(ARRAYS)
            for name, array in zip(ARRAYS, arrays, strict=True):
                if array is not None:
                    paths[name] = str(self._folder / f"{name}-{first}.npy")
                    np.save(self._folder / f"{name}-{first}.npy", array, allow_pickle=False)
            yield paths
            first = rows.stop

    def send_parts(self, parts: Iterable[PartFiles]) -> None:
        """Have images looked at, each part while the next one is drawn if `is_drawn_ahead`; `finish` then scores all.

        Args:
            parts: .npy files of each part, which are removed once they were read. What takes the next of them draws it.
                Or `extracted` alone, a file that `extract_parts` wrote.
        """
        for _ in self._pass_parts(parts):
            pass

    def extract_parts(self, parts: Iterable[PartFiles], paths: Iterable[Path]) -> Iterator[PartFiles]:
        """Write the features of each part to a path, an .npz file; yield the part when that was done.

        Each is looked at while the next one is drawn, as in `send_parts`.
        """
        return self._pass_parts({**part, "save": str(path)} for part, path in zip(parts, paths, strict=False))

    def _pass_parts(self, parts: Iterable[PartFiles]) -> Iterator[PartFiles]:
        waiting: PartFiles | None = None
        try:
            for number, part in enumerate(parts):
                if waiting is not None:
                    previous, waiting = waiting, None
                    self._receive(previous)
                    yield previous
                self._child.send({**part, "is_first": number == 0})
                waiting = part
                if not is_drawn_ahead():
                    waiting = None
                    self._receive(part)
                    yield part
        except Exception:
            if waiting is not None:  # the next request must not be taken for answered
                with contextlib.suppress(GanzooError):
                    self._receive(waiting)
            raise
        if waiting is not None:
            self._receive(waiting)
            yield waiting

    def _receive(self, part: PartFiles) -> None:
        """Wait until a part was looked at, and remove its files."""
        try:
            self._child.receive(self._say)
        finally:
            for name, path in part.items():
                if path is not None and name != "save":
                    Path(path).unlink(missing_ok=True)

    def finish(self, *, seed: int, seen: int | None, ema: bool | None, **more: Any) -> Score:
        """Score the images that were sent; see `score`."""
        score = Score(images=seen, **self._child.ask({"seed": seed}, self._say), extra=more)
        return replace(score, protocol={**score.protocol, "ema": ema})

    def close(self) -> None:
        """End the process."""
        self._child.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
