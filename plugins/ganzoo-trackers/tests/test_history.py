"""What a run's folder tells a tracker, when others have had their hands on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import ganzoo_core as gz
from ganzoo_trackers import history

LINES = [
    b"null", b"{", b"\xff", b"[" * 10_000, b"{}", b'{"images": "64"}', b'{"images": NaN}', b"9" * 5000,
    b'{"images": 128, "a/b": 1e999}', b'{"images": 128, "e/f": ' + b"9" * 400 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_report_is_named(folder: Callable[[str], Any], line: bytes) -> None:
    run = folder("tensorboard").again(images=192)
    kept = run.line(64)
    assert history.read_reports(run.run) == [kept]
    with (run.run.folder / "stats.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(gz.UsageError, match=r"stats\.jsonl"):
        history.read_reports(run.run)


@pytest.mark.skipif(os.name == "nt", reason="it has no pipes")
@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_regular_files_are_read(folder: Callable[[str], Any], kind: str) -> None:
    run = folder("tensorboard").again(images=192)
    outside = run.run.folder.parent / "outside"
    outside.write_bytes(b'{"images": 64}\n')
    (run.run.folder / "stats.jsonl").unlink()
    for path in (run.run.folder / "stats.jsonl", run.run.folder / "samples" / "64.png"):
        {"link": lambda path: path.symlink_to(outside), "pipe": os.mkfifo, "folder": os.mkdir}[kind](path)
    (run.run.folder / "samples" / "²².png").write_bytes(b"x")
    with pytest.raises(gz.UsageError, match="expected a file"):
        history.list_events(run.run)
    (run.run.folder / "stats.jsonl").rename(run.run.folder / "other")
    assert history.list_events(run.run) == []


def test_a_folder_of_samples_that_is_a_link_is_left(folder: Callable[[str], Any]) -> None:
    run = folder("tensorboard").again(images=192)
    run.picture(64)
    samples = run.run.folder / "samples"
    samples.rename(run.run.folder.parent / "elsewhere")
    samples.symlink_to(run.run.folder.parent / "elsewhere")
    assert history.list_events(run.run) == []
