"""`curves.png`: a run's curves in one image, drawn with matplotlib."""

from __future__ import annotations

import io
from pathlib import Path

from ganzoo_core.errors import UsageError
from ganzoo_core.report import curves, run_record, score_section
from ganzoo_core.runs.layout import CURVES
from ganzoo_core.storage.outputs import write_output
from ganzoo_core.terminal.text import clean_text

WIDTH, HEIGHT = 7.0, 2.8  # of a chart, in inches


def write(folder: Path, out: Path | None = None) -> Path:
    """Draw a run's curves against images seen.

    Args:
        folder: the run's.
        out: the output file; by default `curves.png` in the run's folder.

    Returns:
        The output file.

    Raises:
        UsageError: if matplotlib or the run's statistics are missing, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            f"{CURVES} takes matplotlib, which is not installed: pip install 'ganzoo-core[report]'"
        ) from None
    run = run_record.read(folder)
    charts = [*curves.make_charts(run), *score_section.make_charts(run)]
    if not charts:
        raise UsageError(f"{folder} has no statistics yet, so there are no curves to draw")
    figure = Figure(figsize=(WIDTH, HEIGHT * len(charts)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, chart in zip(figure.subplots(len(charts), 1, squeeze=False)[:, 0], charts, strict=True):
        for series in chart["series"]:
            y = [float("nan") if value is None else value for value in series["y"]]
            style = "steps-pre" if chart.get("step") else "default"
            marker = "o" if chart.get("points") else ""
            axes.plot(series["x"], y, label=escape_label(series["name"]), linewidth=1.1, drawstyle=style, marker=marker)
            if "lo" in series:
                edges = [[float("nan") if v is None else v for v in series[side]] for side in ("lo", "hi")]
                axes.fill_between(series["x"], *edges, alpha=0.15)
        for images, words in chart.get("marks", ())[1:]:
            axes.axvline(images, color="0.7", linewidth=0.8, linestyle=":")
            axes.annotate(
                escape_label(words),
                (images, 1),
                xycoords=("data", "axes fraction"),
                xytext=(1, 2),
                textcoords="offset points",
                fontsize=7,
                color="0.4",
            )
        axes.set_title(escape_label(chart["title"]), loc="left", fontsize=10, pad=14 if chart.get("marks") else 6)
        axes.set_xlabel("images seen", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        if len(chart["series"]) > 1:
            axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    path = out or folder / CURVES
    write_output(path, buffer.getvalue(), named_by_user=out is not None)
    return path


def escape_label(text: str) -> str:
    """Escape a matplotlib label: no math between dollar signs, no leading underscore, which hides it in a legend."""
    text = clean_text(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
