"""Scores for ganzoo: what looks at images (`classifier`, `inception`), and the metrics on what it saw."""
