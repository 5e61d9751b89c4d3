"""Show runs: one or several as one HTML file, a live page, curves as a picture, a notebook's display."""

from ganzoo_core.report.run_page import render, write

__all__ = ["render", "write"]
