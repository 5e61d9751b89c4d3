"""HTML pages that one file holds: markup, charts as SVG, styles and scripts."""
