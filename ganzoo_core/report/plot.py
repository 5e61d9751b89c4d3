"""`curves.svg`: a run's curves in one image."""

from __future__ import annotations

from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.html.chart import draw_sheet
from ganzoo_core.report import curves, run_record, score_section
from ganzoo_core.runs.layout import CURVES
from ganzoo_core.storage.outputs import write_output


def write(folder: Path, out: Path | None = None) -> Path:
    """Draw a run's curves against images seen.

    Args:
        folder: the run's.
        out: the output file; by default `curves.svg` in the run's folder.

    Returns:
        The output file.

    Raises:
        UsageError: if the run's statistics are missing, or the file cannot be written.
    """
    run = run_record.read(folder)
    charts = [*curves.make_charts(run), *score_section.make_charts(run)]
    if not charts:
        raise UsageError(f"{folder} has no statistics yet, so there are no curves to draw")
    path = out or folder / CURVES
    write_output(path, f"{draw_sheet(charts)}\n".encode("utf-8", "replace"), named_by_user=out is not None)
    return path
