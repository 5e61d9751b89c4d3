"""Reports: an HTML page of one or several runs, a live page, curves as a PNG file, and notebook displays."""

from ganzoo_core.report.run_page import render, write

__all__ = ["render", "write"]
