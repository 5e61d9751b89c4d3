"""The classes that a saved generator can be told, and the reading of those that a user asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.api import Spec
from ganzoo_core.data.classes import Classes
from ganzoo_core.errors import UsageError


class TellsClasses:
    """What a saved generator does with classes.

    Attributes:
        folder: of the generator, for messages.
        spec: the shapes that it was built for.
        classes: of its training data.
    """

    folder: Path
    spec: Spec
    classes: Classes

    def class_of(self, name_or_index: int | str) -> int:
        """The index of a class, by its name or index; raises UsageError as `labels` does."""
        self._check_conditional()
        with self._list_classes():
            return self.classes.find(name_or_index)

    def means_all(self, labels: object) -> bool:
        """Whether `labels` is `"all"`, for each class, and that is not the name of one."""
        return isinstance(labels, str) and labels == "all" and "all" not in self.classes.names

    def _read_labels(self, labels: Any, n: int) -> np.ndarray:
        self._check_conditional()
        with self._list_classes():
            return self.classes.read_labels(labels, count=n)

    @contextlib.contextmanager
    def _list_classes(self) -> Iterator[None]:
        """Add the classes that there are to a UsageError."""
        try:
            yield
        except UsageError as error:
            raise UsageError(f"{error}; {self.folder} draws {self.classes.describe()}") from None

    def _check_conditional(self) -> None:
        if not self.spec.classes:
            raise UsageError(f"{self.folder} is no conditional generator, so it cannot be told a class")
