"""Write HTML pages that are one file each, with their markup, charts as SVG, styles and scripts."""

__all__ = ["chart", "markup", "page"]
