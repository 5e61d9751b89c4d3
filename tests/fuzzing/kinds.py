"""A kind of damaged input: how a case of it is written into a folder, and what reads it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzzing.damage import damage
from fuzzing.fixtures import write_files

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Kind:
    """One file that is damaged, among others that are not.

    Attributes:
        name: of the kind.
        path: of the file, below the case's folder.
        content: of the file as it should be.
        read: called with the path of the damaged file.
        syntax: see `damage.damage`.
        others: the other files, by path.
        finish: makes the files fit the damaged one, such as a manifest with its digest.
        share: of the cases, beside those of other kinds.
    """

    name: str
    path: str
    content: bytes
    read: Callable[[Path], Any]
    syntax: str = ""
    others: Files = field(default_factory=dict)
    finish: Callable[[dict[str, bytes]], Files] = lambda contents: contents
    share: float = 1.0

    def prepare(self, case: Path, rng: random.Random | None) -> tuple[str, Callable[[], Any]]:
        """Write a case; without a generator of random numbers, the undamaged one.

        Returns:
            The input in words, and what reads it.
        """
        content = self.content if rng is None else damage(self.content, self.syntax, rng)
        write_files(case, self.finish({**self.others, self.path: content}))
        return _show_change(content, self.content), lambda: self.read(case / self.path)


def _show_change(content: bytes, good: bytes) -> str:
    """What was changed, with a little of what stands around it."""
    first = next((at for at, (a, b) in enumerate(zip(content, good, strict=False)) if a != b), len(good))
    shown = content if len(content) <= 400 else content[max(0, first - 120) : first + 280]
    return f"{len(content):,} bytes: {shown!r}"
